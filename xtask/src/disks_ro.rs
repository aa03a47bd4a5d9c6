//! File systems that are read-only when a log is opened, or become so under a running writer.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::cmd::Answer;
use crate::crash::{self, Plan};
use crate::crash_oracle;
use crate::disks::{Log, SEGMENT_BYTES};
use crate::disks_mount::{self, Disk, Kind};
use crate::{Outcome, golden};

const LINES: u64 = 300;
/// Acknowledged before the disk goes away, and fed afterwards; each fits a pipe.
const LINES_FED: u64 = 100;
const EVERY: u64 = 10;
const READ_ONLY: [&str; 2] = ["Read-only file system", "Input/output error"];

/// Both, on one disk; what was done.
pub(crate) fn run(plan: &Plan, disk: &Disk) -> Result<String, String> {
    at_open(plan, disk).map_err(|why| format!("mounted read-only: {why}"))?;
    let how = under_writer(plan, disk).map_err(|why| format!("read-only under a writer: {why}"))?;
    Ok(format!("; read-only at open, and under a writer by {how}"))
}

/// Whatever reads works on a read-only mount, whatever writes is refused, and nothing changes.
fn at_open(plan: &Plan, disk: &Disk) -> Outcome {
    let mut log = Log::at(plan, disk.at.join("log"));
    log.grow(LINES, &[])?;
    disk.remount("ro")?;
    for args in [
        &["dump"][..],
        &["dump", "--format", "text"],
        &["verify"],
        &["verify", "--json"],
        &["stat"],
        &["repair"],
    ] {
        let answer = log.tool(args)?;
        if answer.code != 0 {
            return Err(format!("{args:?} exits with {}: {}", answer.code, answer.stderr.trim()));
        }
    }
    let answer = log.import(LINES, EVERY, &[])?;
    log.refused(&answer, &READ_ONLY)?;
    let answer = log.truncate(50)?;
    log.refused(&answer, &READ_ONLY)?;
    let answer = log.tool(&["repair", "--apply"])?;
    log.refused(&answer, &READ_ONLY)?;
    let mut new = Log::at(plan, disk.at.join("new"));
    let answer = new.import(LINES, EVERY, &[])?;
    new.refused(&answer, &READ_ONLY)?;
    disk.remount("rw")?;
    if new.dir.exists() {
        return Err(format!("{} was made on a read-only disk", new.dir.display()));
    }
    log.grow(LINES, &[])?;
    log.close(&[])
}

/// A writer whose disk stops taking writes in the middle of its work.
fn under_writer(plan: &Plan, disk: &Disk) -> Result<&'static str, String> {
    let mut log = Log::at(plan, disk.at.join("log"));
    log.grow(LINES, &[])?;
    let how = match disk.kind {
        Kind::Ext4 => "an error of the file system",
        Kind::Xfs => "a forced shutdown",
        Kind::Btrfs | Kind::BtrfsMixed => "a subvolume made read-only",
    };
    if how.contains("subvolume") {
        fs::remove_dir_all(&log.dir).map_err(|e| format!("{}: {e}", log.dir.display()))?;
        disks_mount::quiet(Command::new("btrfs").args(["subvolume", "create"]).arg(disk.at.join("sub")))?;
        log = Log::at(plan, disk.at.join("sub/log"));
        log.grow(LINES, &[])?;
    }
    let answer = fed_across(plan, &mut log, || stop(disk))?;
    log.refused(&answer, &READ_ONLY)?;
    // Mounted anew: its journal brings back what the log was promised.
    if how.contains("subvolume") {
        property(disk, "false")?;
    }
    disk.unmount()?;
    disk.mount("rw")?;
    log.check()?;
    log.grow(LINES, &[])?;
    let copy = plan.scratch.join(format!("{}-after", disk.kind.name()));
    golden::copy(&log.dir, &copy)?;
    log.copied(copy).close(&[])?;
    log.close(&[])?;
    Ok(how)
}

/// Makes the disk refuse to be written to, though files are open for writing, which forbids an ordinary remount.
fn stop(disk: &Disk) -> Outcome {
    match disk.kind {
        // The mount says what an error leads to; this one is made for tests.
        Kind::Ext4 => {
            disk.remount("errors=remount-ro")?;
            let device = disk.device()?;
            let path = format!("/sys/fs/ext4/{device}/trigger_fs_error");
            fs::write(&path, "made by a test").map_err(|e| format!("{path}: {e}"))
        }
        Kind::Xfs => {
            disks_mount::quiet(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&disk.at)).map(drop)
        }
        Kind::Btrfs | Kind::BtrfsMixed => property(disk, "true"),
    }
}

fn property(disk: &Disk, read_only: &str) -> Outcome {
    let mut set = Command::new("btrfs");
    set.args(["property", "set", "-f", "-t", "subvol"]).arg(disk.at.join("sub")).args(["ro", read_only]);
    disks_mount::quiet(&mut set).map(drop)
}

/// Feeds a writer, waits for its acknowledgements, changes the world, and feeds more.
fn fed_across(plan: &Plan, log: &mut Log<'_>, change: impl FnOnce() -> Outcome) -> Result<Answer, String> {
    let first = log.oracle.last() + 1;
    log.oracle.life += 1;
    log.oracle.fed = first - 1 + 2 * LINES_FED;
    let text = |from| crash_oracle::lines(from, LINES_FED, log.oracle.life).concat();
    let (before, after) = (text(first), text(first + LINES_FED));
    let every = EVERY.to_string();
    let args = ["import", "--segment-size", SEGMENT_BYTES, "--sync-every", &every, "--ack"];
    let mut command = crash::tool(plan, &args, &log.dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("the tool does not start: {e}"))?;
    let talked = (|| {
        let mut input = child.stdin.take().ok_or("no input of the tool")?;
        let output = child.stdout.take().ok_or("no output of the tool")?;
        input.write_all(before.as_bytes()).map_err(|e| format!("the tool's input: {e}"))?;
        let mut output = BufReader::new(output);
        let mut said = String::new();
        while crash_oracle::acked(&said) < LINES_FED {
            if output.read_line(&mut said).map_err(|e| format!("the tool's output: {e}"))? == 0 {
                return Err("it ends before its disk does".to_owned());
            }
        }
        change()?;
        // A tool that ended early reads no more; why it did, its exit code says.
        let _ = input.write_all(after.as_bytes());
        drop(input);
        while output.read_line(&mut said).map_err(|e| format!("the tool's output: {e}"))? != 0 {}
        Ok(said)
    })();
    if talked.is_err() {
        let _ = child.kill();
    }
    let done = child.wait_with_output().map_err(|e| format!("the tool: {e}"))?;
    let stdout = talked?;
    log.oracle.acked = first - 1 + crash_oracle::acked(&stdout);
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    Ok(Answer { code: done.status.code().unwrap_or(-1), stdout, stderr })
}
