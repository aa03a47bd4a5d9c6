//! Hostile directories: links, pipes, devices, sockets and folders under every name that means something
//! to the log, odd and many names, lying bytes. The tool runs with 400 MiB of address space and a time
//! limit; it answers, and nothing outside the directory is touched.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use common::Run;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use wal_engine::{Sample, SeriesRef, Wal, WalOptions};

/// Runs the tool with 400 MiB of address space and twenty seconds of processor time, with a line to import.
fn limited(arguments: &[&str]) -> Run {
    let script = "ulimit -v 409600; ulimit -t 20; exec timeout 200 \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_wal")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = b"{\"type\":\"samples\",\"samples\":[{\"ref\":1,\"t\":5,\"v\":5}]}\n";
    // The tool may refuse before it reads.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), line);
    let run = Run(child.wait_with_output().unwrap());
    let code = run.code();
    assert!((0..=3).contains(&code), "{arguments:?}: {code}: {run}");
    assert!(!run.stderr().contains("panicked"), "{arguments:?}: {run}");
    assert!(code == 0 || !run.stderr().is_empty(), "{arguments:?}: {run}");
    run
}

const READING: [&[&str]; 6] = [
    &["dump"],
    &["verify", "--json"],
    &["stat"],
    &["repair"],
    &["quarantine", "DIR", "list"],
    &["diff", "DIR", "DIR", "--skip-damaged"],
];
const WRITING: [&[&str]; 4] = [
    &["import"],
    &["repair", "--apply"],
    &["truncate", "--mint", "9", "--keep-all"],
    &["quarantine", "DIR", "purge"],
];

/// Runs a command of the lists above on a directory.
fn run_on(command: &[&str], dir: &Path) -> Run {
    let dir = dir.to_str().unwrap();
    let mut arguments = vec![command[0]];
    match command.contains(&"DIR") {
        true => arguments.extend(command[1..].iter().map(|word| if *word == "DIR" { dir } else { word })),
        false => {
            arguments.push(dir);
            arguments.extend(&command[1..]);
        }
    }
    limited(&arguments)
}

/// What a name is, how large, when changed, and what it holds or leads to.
type Fact = (FileType, u64, SystemTime, u64, Vec<u8>);

fn facts(dir: &Path) -> BTreeMap<PathBuf, Fact> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::symlink_metadata(&path).unwrap();
            let kind = data.file_type();
            let bytes = match () {
                () if kind.is_file() => fs::read(&path).unwrap(),
                () if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                () => Vec::new(),
            };
            if kind.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (kind, data.len(), data.modified().unwrap(), data.ino(), bytes));
        }
    }
    found
}

/// A log of a few samples, torn at its end, so that opening it has something to set aside.
fn torn_log(dir: &Path) {
    let (wal, _) = Wal::open(dir, WalOptions::default()).unwrap().replay(&mut ()).unwrap();
    for time_ms in 0..3 {
        wal.log_samples(&[Sample { series_ref: SeriesRef(1), time_ms, value: 1.0 }]).unwrap();
    }
    wal.close().unwrap();
    for name in ["durable", "intent", "reserve", "lock"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let file = fs::OpenOptions::new().write(true).open(dir.join("000001")).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
}

type Make = fn(&Path, &Path);

/// Things that are no files of this directory. The second path is a folder outside.
const THINGS: [(&str, Make); 8] = [
    ("a link to a file", |at, out| symlink(out.join("file"), at).unwrap()),
    ("a link to a folder", |at, out| symlink(out.join("folder"), at).unwrap()),
    ("a link to nothing", |at, out| symlink(out.join("new"), at).unwrap()),
    ("another name of a file", |at, out| fs::hard_link(out.join("file"), at).unwrap()),
    ("a pipe", |at, _| nix::unistd::mkfifo(at, Mode::S_IRWXU).unwrap()),
    ("a device", |at, _| {
        // The null device, which takes and gives nothing. Making one needs root, as CI has.
        let made = mknod(at, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3));
        assert!(made.is_ok() || !nix::unistd::geteuid().is_root(), "{made:?}");
        if made.is_err() {
            symlink("/dev/null", at).unwrap();
        }
    }),
    ("a socket", |at, _| drop(UnixListener::bind(at).unwrap())),
    ("a folder", |at, _| fs::create_dir(at).unwrap()),
];

const NAMES: [&str; 9] = [
    "000001",
    "000002",
    "durable",
    "intent",
    "reserve",
    "lock",
    "quarantine",
    "000002.wal-tmp",
    "durable.wal-tmp",
];

fn try_thing(name: &str, what: &str, make: Make) {
    let root = tempfile::tempdir().unwrap();
    let (log, out) = (root.path().join("log"), root.path().join("outside"));
    fs::create_dir(&log).unwrap();
    fs::create_dir_all(out.join("folder")).unwrap();
    torn_log(&log);
    fs::copy(log.join("000001"), out.join("file")).unwrap();
    fs::copy(log.join("000001"), out.join("folder/000001-000001-8.cut")).unwrap();
    let at = log.join(name);
    if name == "000001" {
        fs::remove_file(&at).unwrap();
    }
    make(&at, &out);
    let is_hard_link = fs::symlink_metadata(&at).unwrap().is_file();
    let kind = fs::symlink_metadata(&at).unwrap().file_type();
    let (outside, inside) = (facts(&out), facts(&log));
    for command in READING {
        run_on(command, &log);
        assert_eq!(facts(&log), inside, "{command:?} changed something: {name} is {what}");
    }
    if name.starts_with("00") && !name.contains('.') && !is_hard_link {
        let refused = run_on(&["dump"], &log).expect(3, &[name, "not a regular file", "next: "]);
        assert!(!refused.stdout().contains("\"segment\":2"), "{refused}");
    }
    for command in WRITING {
        let run = run_on(command, &log);
        assert_eq!(facts(&out), outside, "{command:?} touched {what}, called {name}: {run}");
        let now = fs::symlink_metadata(&at).map(|data| data.file_type());
        assert!(
            is_hard_link || now.is_ok_and(|now| now == kind),
            "{command:?} removed {what}: {name}: {run}"
        );
    }
    let restored = root.path().join("restored");
    limited(&["quarantine", log.to_str().unwrap(), "restore", "--to", restored.to_str().unwrap()]);
    assert_eq!(facts(&out), outside, "restoring touched {what}, called {name}");
}

#[test]
fn nothing_outside_the_directory_is_touched_whatever_its_names_lead_to() {
    let cases: Vec<_> =
        NAMES.iter().flat_map(|name| THINGS.map(|(what, make)| (*name, what, make))).collect();
    std::thread::scope(|scope| {
        for part in 0..2 {
            let cases = &cases;
            scope.spawn(move || {
                for (name, what, make) in cases.iter().skip(part).step_by(2) {
                    println!("{name} is {what}");
                    try_thing(name, what, *make);
                }
            });
        }
    });
}

/// A framed entry with a right checksum around any payload.
fn entry(kind: wal_format::EntryKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    wal_format::frame_payload(kind, 1, payload, &mut bytes).unwrap();
    bytes
}

fn all_commands(dir: &Path) -> Vec<(String, Run)> {
    let commands = READING.iter().chain(&WRITING);
    commands.map(|command| (command.join(" "), run_on(command, dir))).collect()
}

#[test]
fn odd_names_are_left_alone_and_numbers_are_numbers() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path();
    torn_log(log);
    let odd =
        ["18446744073709551616", "-1", "+1", "1.tmp", "compact.tmp", "1 ", "\u{661}", "000003.wal-tmp.x"];
    for name in odd {
        fs::write(log.join(name), name).unwrap();
    }
    fs::write(log.join(OsStr::from_bytes(b"\xff\xfe.wal-tmp")), b"").unwrap();
    // The first and the last number there is, and one with zeros before it.
    for name in ["0", "0000000007", "18446744073709551615"] {
        fs::copy(log.join("000001"), log.join(name)).unwrap();
    }
    let verified = run_on(&["verify", "--json"], log).json();
    let numbers: Vec<_> =
        verified["segments"].as_array().unwrap().iter().map(|s| s["segment"].as_u64()).collect();
    assert_eq!(numbers, [0, 1, 7, u64::MAX].map(Some));
    assert_eq!((&verified["verdict"], &verified["fault"]["segment"]), (&"damaged".into(), &0.into()));
    for command in WRITING {
        run_on(command, log);
    }
    for name in odd {
        assert_eq!(fs::read(log.join(name)).unwrap(), name.as_bytes());
    }
    fs::write(log.join("1"), b"").unwrap();
    for (command, run) in all_commands(log) {
        if !command.starts_with("quarantine") {
            run.expect(3, &["mean the same segment", "next: "]);
        }
    }
}

#[test]
fn behind_the_last_number_there_is_no_segment() {
    let root = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(root.path(), WalOptions::default()).unwrap().replay(&mut ()).unwrap();
    wal.log_samples(&[Sample { series_ref: SeriesRef(1), time_ms: 1, value: 1.0 }]).unwrap();
    wal.close().unwrap();
    fs::remove_file(root.path().join("durable")).unwrap();
    fs::rename(root.path().join("000001"), root.path().join(u64::MAX.to_string())).unwrap();
    run_on(&["import"], root.path()).expect(0, &[]);
    let full = run_on(&["import", "--segment-size", "64"], root.path());
    assert_ne!(full.code(), 0, "{full}");
    assert!(full.stderr().contains("no segment number after"), "{full}");
    let dumped = run_on(&["dump"], root.path()).expect(0, &[]);
    assert_eq!(dumped.entries().len(), 2, "{dumped}");
}

#[test]
fn a_hundred_thousand_names_and_thousands_of_segments_are_no_matter() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path();
    torn_log(log);
    let whole = fs::read(log.join("000001")).unwrap()[..8].to_vec();
    for number in 0..98_000 {
        fs::File::create(log.join(format!("name-{number}"))).unwrap();
    }
    for number in 2..2_000 {
        fs::write(log.join(format!("{number:06}")), &whole).unwrap();
    }
    // The fault is in the first one, so a repair sets all others aside.
    for (command, run) in all_commands(log) {
        let wanted = match command.as_str() {
            "dump" | "verify --json" | "import" | "diff DIR DIR --skip-damaged" => 1,
            _ => 0,
        };
        assert_eq!(run.code(), wanted, "{command}: {}", run.stderr());
    }
    assert!(!log.join("000002").exists());
    run_on(&["verify"], log).expect(0, &[]);
}

#[test]
fn lying_bytes_are_judged_within_the_limits() {
    use wal_format::EntryKind::{Deletes, Samples, Series};
    let header = [0x43, 0xaf, 0x00, 0xef, 1, 0, 0, 0];
    let huge = [&[0x80; 9][..], &[1]].concat();
    let overlong = [0xff; 32].to_vec();
    let one = 1_u64.to_be_bytes().to_vec();
    let payloads: Vec<Vec<u8>> = vec![
        vec![0],
        one.clone(),
        [one.clone(), huge.clone()].concat(),
        [one.clone(), overlong.clone()].concat(),
        [one.clone(), vec![1], huge.clone()].concat(),
        [one.clone(), vec![1, 1, b'a'], huge].concat(),
        [one.clone(), one.clone(), overlong].concat(),
        [one.clone(), one, vec![0; 9]].concat(),
        vec![0xff; 4096],
        vec![0x80; 1 << 20],
    ];
    let mut wrong = header.to_vec();
    for kind in [Series, Samples, Deletes] {
        for payload in &payloads {
            wrong.extend(entry(kind, payload));
        }
    }
    let long = |length: u32| [&header[..], &[3, 1], &length.to_be_bytes(), &[7; 64]].concat();
    let mut claims = header.to_vec();
    // A claim of a long entry at every sixth byte of a megabyte.
    (0..175_000).for_each(|_| claims.extend([3, 1, 0, 1, 0xff, 0xff]));
    let cases = [
        ("payloads that do not decode", wrong),
        ("a length of 4 GiB", long(u32::MAX)),
        ("a length of 2 GiB", long(1 << 31)),
        ("a length just past the end", long(61)),
        ("claims everywhere", claims),
        ("an unknown type", [&header[..], &[1; 4096]].concat()),
        ("a header and nothing else", header.to_vec()),
        ("zeros", vec![0; 4 << 20]),
    ];
    for (what, bytes) in &cases {
        for is_last in [true, false] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("000001"), bytes).unwrap();
            if !is_last {
                fs::write(root.path().join("000002"), header).unwrap();
            }
            for (command, run) in all_commands(root.path()) {
                println!("{what}, last: {is_last}: {command}: {}", run.code());
                assert!(run.code() <= 1, "{what}: {command}: {run}");
            }
            run_on(&["verify"], root.path()).expect(0, &[]);
        }
    }
    // An entry that exists, of four gibibytes of holes: looked at in pieces, and kept out of memory.
    let root = tempfile::tempdir().unwrap();
    let sparse = fs::File::create(root.path().join("000001")).unwrap();
    std::io::Write::write_all(&mut &sparse, &long(160 << 20)[..14]).unwrap();
    sparse.set_len(8 + 10 + (160 << 20)).unwrap();
    run_on(&["verify"], root.path()).expect(1, &[]);
    run_on(&["repair", "--apply"], root.path()).expect(0, &[]);
}

#[test]
fn files_are_0640_and_folders_0750_less_the_umask_and_as_the_options_say() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for (mask, file, folder) in [("000", 0o640, 0o750), ("022", 0o640, 0o750), ("077", 0o600, 0o700)] {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("a/b");
        let script = format!("umask {mask}; exec \"$0\" import \"$1\" --segment-size 64");
        let line = "{\"type\":\"samples\",\"samples\":[{\"ref\":1,\"t\":5,\"v\":5}]}\n".repeat(5);
        fs::write(root.path().join("in"), line).unwrap();
        for tear in [true, false] {
            let input = fs::File::open(root.path().join("in")).unwrap();
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_wal")])
                .arg(&log)
                .stdin(input)
                .output()
                .unwrap();
            Run(output).expect(0, &[]);
            if tear {
                fs::remove_file(log.join("durable")).unwrap();
                let mut names: Vec<_> = fs::read_dir(&log).unwrap().map(|e| e.unwrap().path()).collect();
                names.retain(|path| {
                    path.file_name().is_some_and(|name| name.to_str().unwrap().starts_with('0'))
                });
                let last = fs::OpenOptions::new().write(true).open(names.iter().max().unwrap()).unwrap();
                last.set_len(last.metadata().unwrap().len() - 1).unwrap();
            }
        }
        let mut files = 0;
        for (path, fact) in facts(root.path()) {
            if path.starts_with(root.path().join("a")) {
                let wanted = if fact.0.is_dir() { folder } else { file };
                assert_eq!(mode(&path), wanted, "umask {mask}: {}", path.display());
                files += 1;
            }
        }
        assert!(log.join("quarantine").is_dir() && 12 <= files, "{files}");
    }
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("log");
    let options = WalOptions::default().file_mode(0o604).dir_mode(0o705);
    let (wal, _) = Wal::open(&log, options).unwrap().replay(&mut ()).unwrap();
    wal.log_samples(&[Sample { series_ref: SeriesRef(1), time_ms: 1, value: 1.0 }]).unwrap();
    wal.close().unwrap();
    // Less whatever umask this process has, which only takes bits away.
    assert_eq!(mode(&log) & !0o705, 0);
    assert_eq!(mode(&log.join("000001")) & !0o604, 0);
    assert_eq!(mode(&log.join("000001")) & 0o600, 0o600);
}
