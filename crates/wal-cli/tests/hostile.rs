//! Hostile directories: links, pipes, devices, sockets and folders under every name that means something
//! to the log, odd and many names, lying bytes. The tool runs with 400 MiB of address space and a time
//! limit; it answers, and nothing outside the directory is touched.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, FileType, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use common::{Run, snapshot};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use tempfile::TempDir;
use wal_engine::{Sample, SeriesRef, Wal, WalOptions};

/// Runs the tool with 400 MiB of address space for at most twenty seconds, with a line to import.
fn limited(arguments: &[&str]) -> Run {
    let script = "ulimit -v 409600; exec timeout 20 \"$@\"";
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

const READING: [&[&str]; 5] =
    [&["dump"], &["verify", "--json"], &["stat"], &["repair"], &["quarantine", "DIR", "list"]];
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
                () if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
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
        assert!(is_hard_link || now.is_ok_and(|now| now == kind), "{command:?} removed {what}: {name}: {run}");
    }
    let restored = root.path().join("restored");
    limited(&["quarantine", log.to_str().unwrap(), "restore", "--to", restored.to_str().unwrap()]);
    assert_eq!(facts(&out), outside, "restoring touched {what}, called {name}");
}

#[test]
fn nothing_outside_the_directory_is_touched_whatever_its_names_lead_to() {
    let cases: Vec<_> = NAMES.iter().flat_map(|name| THINGS.map(|(what, make)| (*name, what, make))).collect();
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
