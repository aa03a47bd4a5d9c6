//! Full disks: at open, on write, on preallocation, during truncation and repair; quota and inodes that run out.

use std::fmt;
use std::fs;
use std::process::Command;

use crate::crash::Plan;
use crate::disks::Log;
use crate::disks_mount::{self, Disk, Kind};
use crate::{Outcome, golden};

/// What the tool may say when there is no room.
const FULL: [&str; 3] = ["No space left on device", "Quota exceeded", "Disk quota exceeded"];
const FILLER: &str = "filler";
const STRANGER: &str = "notes.txt";
/// Lines that no small rest of a disk holds.
const LINES_MANY: u64 = 5000;
/// More than a disk needs to make a file, also when six tenths of it are gone.
const LINES_LARGE: u64 = 10_000;
/// A log to start with, of some segments.
const LINES_SOME: u64 = 700;

/// What was tried, to know that it was worth something.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    writes: u64,
    writes_acked: u64,
    opened: u64,
    refused: u64,
    truncations: u64,
    given_back: u64,
    tails: u64,
}

impl Counts {
    /// Disks that are full too early or too late try nothing.
    pub(crate) fn enough(&self, kind: Kind) -> Outcome {
        let room_again = kind == Kind::BtrfsMixed || (self.opened != 0 && self.given_back != 0);
        if self.writes_acked == 0 || self.refused == 0 || !room_again {
            return Err(format!("the full disk is not met where it should be: {self}"));
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writes, writes_acked, opened, refused, truncations, given_back, tails } = self;
        write!(
            f,
            "{writes} times full on write ({writes_acked} entries acknowledged first); \
             {opened} logs made on a nearly full disk, {refused} refused; \
             {truncations} truncations, {given_back} KiB given back; {tails} torn tails kept for later"
        )
    }
}

/// All of it on one disk.
pub(crate) fn run(plan: &Plan, disk: &Disk) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for (strategy, leave) in CASES {
        on_write(plan, disk, &["--preallocation", strategy], leave, &mut counts)
            .map_err(|why| format!("full on write, {strategy}, {leave} bytes left: {why}"))?;
    }
    for leave in (0..12).map(|power| (1024 << power) & !1024) {
        at_open(plan, disk, leave, &mut counts)
            .map_err(|why| format!("a new log, {leave} bytes left: {why}"))?;
    }
    truncating(plan, disk, &mut counts)?;
    torn_tail(plan, disk, &mut counts).map_err(|why| format!("a torn tail on a full disk: {why}"))?;
    Ok(counts)
}

/// How the tool prepares space, and how much of it there is.
const CASES: [(&str, usize); 6] = [
    ("zero-fill", 0),
    ("zero-fill", 40 << 10),
    ("fallocate", 3 << 10),
    ("fallocate", 170 << 10),
    ("none", 0),
    ("none", 40 << 10),
];

/// A log that runs into the end of the disk, is read, truncated and appended to there, and goes on when there is room.
fn on_write(plan: &Plan, disk: &Disk, strategy: &[&str], leave: usize, counts: &mut Counts) -> Outcome {
    let mut log = Log::at(plan, disk.at.join("log"));
    // A large one once: what truncation gives back of it is enough on every file system.
    let large = (strategy, leave) == (&["--preallocation", "zero-fill"], 0);
    log.grow(if large { LINES_LARGE } else { LINES_SOME }, strategy)?;
    log.stranger(STRANGER)?;
    let filler = Filler::new(disk, FILLER, leave)?;
    let before = log.oracle.last();
    let answer = log.import(LINES_MANY, 40, strategy)?;
    log.refused(&answer, &FULL)?;
    counts.writes += 1;
    counts.writes_acked += log.oracle.last() - before;

    // Opening and replay work on a full disk; so does giving space back, and appending into it.
    still_opens(&mut log, disk, strategy)?;
    if relieve(&mut log, disk, counts)? {
        append_into(&mut log, strategy, large)?;
    }

    drop(filler);
    log.grow(LINES_SOME, strategy).map_err(|why| format!("with room again: {why}"))?;
    log.close(&[STRANGER])
}

/// An import of nothing: opens, replays, syncs, closes.
fn still_opens(log: &mut Log<'_>, disk: &Disk, strategy: &[&str]) -> Outcome {
    match log.import(0, 1, strategy)? {
        answer if answer.code == 0 => Ok(()),
        // It writes also what is there already to a new place, so opening may leave something for later, and says so.
        answer if disk.kind.copies_on_write() => log.refused(&answer, &FULL),
        answer => Err(format!("opening the full log exits with {}: {}", answer.code, answer.stderr.trim())),
    }
}

/// Truncation works on the full disk, and leaves more room than there was; whether it does.
fn relieve(log: &mut Log<'_>, disk: &Disk, counts: &mut Counts) -> Result<bool, String> {
    let free = disk.free()?;
    let answer = log.truncate(60)?;
    if answer.code != 0 {
        // Full, it may refuse even to give a file another name. Nothing is lost then, but nothing gained.
        if disk.kind == Kind::BtrfsMixed {
            return log.refused(&answer, &FULL).map(|()| false);
        }
        return Err(format!("truncation exits with {}: {}", answer.code, answer.stderr.trim()));
    }
    let gained = disk.free()?.saturating_sub(free);
    if gained == 0 {
        return Err(format!("truncation gave nothing back: {}", answer.stdout.trim()));
    }
    counts.truncations += 1;
    counts.given_back += gained >> 10;
    Ok(true)
}

/// Appends where truncation has made room: little may be refused, but never silently.
fn append_into(log: &mut Log<'_>, strategy: &[&str], must: bool) -> Outcome {
    let answer = log.import(20, 5, strategy)?;
    if must && answer.code != 0 {
        let said = answer.stderr.trim();
        return Err(format!("into what truncation gave back: exit code {}: {said}", answer.code));
    }
    if answer.code == 0 { Ok(()) } else { log.refused(&answer, &FULL) }
}

/// A new log where there is hardly room for one: it is made or refused, and what is left of it is in nobody's way.
fn at_open(plan: &Plan, disk: &Disk, leave: usize, counts: &mut Counts) -> Outcome {
    let mut log = Log::at(plan, disk.at.join("new"));
    let filler = Filler::new(disk, FILLER, leave)?;
    let answer = log.import(30, 10, &[])?;
    if answer.code == 0 {
        counts.opened += 1;
    } else {
        log.refused(&answer, &FULL)?;
        counts.refused += 1;
    }
    drop(filler);
    log.grow(100, &[]).map_err(|why| format!("with room again: {why}"))?;
    log.close(&[])
}

/// Truncation with less and less room for what it has to write.
fn truncating(plan: &Plan, disk: &Disk, counts: &mut Counts) -> Outcome {
    // Made elsewhere, so that each try begins with the same one.
    let mut made = Log::at(plan, plan.scratch.join(format!("{}-made", disk.kind.name())));
    made.grow(LINES_SOME, &[])?;
    for step in (0..8).rev() {
        let leave = step * (5 << 10);
        let mut log = made.copied(disk.at.join("log"));
        golden::copy(&made.dir, &log.dir)?;
        let filler = Filler::new(disk, FILLER, leave)?;
        relieve(&mut log, disk, counts)
            .and_then(|_| append_into(&mut log, &[], false))
            .map_err(|why| format!("truncation with {leave} bytes left: {why}"))?;
        drop(filler);
        log.grow(100, &[])?;
        log.close(&[])?;
    }
    made.close(&[])
}

/// A torn tail that is larger than the room to keep it in: nothing is cut before it is kept.
fn torn_tail(plan: &Plan, disk: &Disk, counts: &mut Counts) -> Outcome {
    let mut log = Log::at(plan, disk.at.join("log"));
    log.grow(LINES_SOME, &[])?;
    let last = last_segment(&log)?;
    let mut bytes = fs::read(&last).map_err(|e| format!("{}: {e}", last.display()))?;
    let torn: Vec<u8> = (0..TAIL_BYTES).map(|at| u8::try_from(at % 251).unwrap_or(0) | 1).collect();
    bytes.extend(&torn);
    fs::write(&last, bytes).map_err(|e| format!("{}: {e}", last.display()))?;
    let filler = Filler::new(disk, FILLER, 0)?;

    let answer = log.import(10, 5, &[])?;
    log.refused(&answer, &["room", "No space", "full"])?;
    let verify = log.tool(&["verify", "--json"])?;
    if verify.code != 1 || !verify.stdout.contains("\"verdict\":\"torn\"") {
        return Err(format!("verify exits with {}: {}", verify.code, verify.stdout.trim()));
    }
    relieve(&mut log, disk, counts)?;
    counts.tails += 1;

    drop(filler);
    log.grow(100, &[]).map_err(|why| format!("with room again: {why}"))?;
    kept(&log, &torn)?;
    log.close(&[])
}

/// Whether exactly these bytes are in quarantine.
fn kept(log: &Log<'_>, torn: &[u8]) -> Outcome {
    let dir = log.dir.join("quarantine");
    let fail = |e: std::io::Error| format!("{}: {e}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).map_err(fail)? {
        found.push(fs::read(entry.map_err(fail)?.path()).map_err(fail)?);
    }
    if found.iter().filter(|bytes| *bytes == torn).count() == 1 {
        return Ok(());
    }
    let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
    Err(format!("the {} bytes cut are not in quarantine, which holds {sizes:?} bytes", torn.len()))
}

fn last_segment(log: &Log<'_>) -> Result<std::path::PathBuf, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", log.dir.display());
    let mut last = None;
    for entry in fs::read_dir(&log.dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            last = last.max(Some(path));
        }
    }
    last.ok_or_else(|| format!("{}: no segment", log.dir.display()))
}

/// A disk without inodes: no name can be made for the next segment.
pub(crate) fn inodes(plan: &Plan) -> Result<String, String> {
    let home = plan.scratch.join("inodes");
    let disk = Disk::make(&home, Kind::Ext4, &["-N", "64"])?;
    let mut log = Log::at(plan, disk.at.join("log"));
    let done = (|| {
        log.grow(100, &[])?;
        let mut taken = Vec::new();
        loop {
            let path = disk.at.join(format!("file-{}", taken.len()));
            match fs::write(&path, "") {
                Ok(()) => taken.push(path),
                Err(e) if e.kind() == std::io::ErrorKind::StorageFull => break,
                Err(e) => return Err(format!("{}: {e}", path.display())),
            }
        }
        let answer = log.import(LINES_SOME, 10, &[])?;
        log.refused(&answer, &FULL)?;
        still_opens(&mut log, &disk, &[])?;
        for path in &taken {
            fs::remove_file(path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        log.grow(LINES_SOME, &[])?;
        Ok(taken.len())
    })();
    let taken = done.map_err(|why| format!("no inodes: {why}"))?;
    log.close(&[])?;
    Ok(format!("; no inode left after {taken} files"))
}

/// A subvolume that may hold two megabytes.
pub(crate) fn quota(plan: &Plan, disk: &Disk) -> Result<String, String> {
    let home = disk.at.join("limited");
    let btrfs = |args: &[&str]| disks_mount::quiet(Command::new("btrfs").args(args)).map(drop);
    let (at, inside) = (disk.at.to_string_lossy(), home.to_string_lossy());
    btrfs(&["quota", "enable", &at])?;
    btrfs(&["subvolume", "create", &inside])?;
    btrfs(&["qgroup", "limit", "2M", &inside])?;
    let mut log = Log::at(plan, home.join("log"));
    let mut acked = 0;
    for leave in [0, 40 << 10, 170 << 10] {
        (|| {
            log.grow(LINES_SOME, &[])?;
            let filler = Filler::new(disk, "limited/filler", leave)?;
            let before = log.oracle.last();
            let answer = log.import(LINES_MANY, 40, &[])?;
            log.refused(&answer, &FULL)?;
            acked += log.oracle.last() - before;
            still_opens(&mut log, disk, &[])?;
            // What was removed counts until the file system has committed that: a second try must find it.
            let mut answer = log.truncate(60)?;
            if answer.code != 0 {
                log.refused(&answer, &FULL)?;
                disks_mount::sync(&disk.at)?;
                answer = log.truncate(60)?;
            }
            if answer.code != 0 {
                return Err(format!("truncation exits with {}: {}", answer.code, answer.stderr.trim()));
            }
            append_into(&mut log, &[], false)?;
            drop(filler);
            log.grow(LINES_SOME, &[])
        })()
        .map_err(|why: String| format!("over quota, {leave} bytes left: {why}"))?;
    }
    log.close(&[])?;
    btrfs(&["subvolume", "delete", &inside])?;
    btrfs(&["quota", "disable", &at])?;
    Ok(format!("; 3 times over quota ({acked} entries acknowledged first)"))
}

/// A file that takes the room on a disk until it is dropped.
struct Filler<'a> {
    disk: &'a Disk,
    name: &'a str,
}

impl<'a> Filler<'a> {
    fn new(disk: &'a Disk, name: &'a str, leave: usize) -> Result<Self, String> {
        let filler = Self { disk, name };
        disk.fill(name, leave)?;
        Ok(filler)
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        // A disk that stays full is noticed by what is written next.
        let _ = self.disk.empty(self.name);
    }
}

/// Far more than the reserve of a log.
const TAIL_BYTES: usize = 1500 << 10;
