//! The page cache after a failed fdatasync: it shows what the disk does not have, and the next fdatasync says yes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Outcome;
use crate::crash;
use crate::crash_oracle::Oracle;
use crate::disks_mount::Kind;
use crate::images::{self, Run, image_file};
use crate::images_disk::Recorded;

const BATCHES: u64 = 8;
/// The batch whose sync finds a disk that refuses writes.
const REFUSED: u64 = 5;
const OLD: [u8; 16] = [1; 16];
const NEW: [u8; 4096] = [2; 4096];

/// The lie itself, and then a log that meets it.
pub(crate) fn run(run: &Run, kind: Kind) -> Outcome {
    let lied = lie(run, kind)?;
    let log = log(run, kind)?;
    println!("    {}: after a failed fdatasync {lied}; the log: {log}", kind.name());
    // Known of these; on others nothing is owed by the file system.
    if kind == Kind::Ext4 && lied != LIED {
        return Err(format!("the lie is not reproduced: {lied}"));
    }
    Ok(())
}

const LIED: &str = "the next one says yes, the cache shows the new bytes, the disk has the old ones";

fn lie(run: &Run, kind: Kind) -> Result<&'static str, String> {
    let mut recorded = Recorded::make(&run.recorder, &run.plan.scratch, kind)?;
    let path = recorded.at.join("file");
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(fail)?;
    file.write_all_at(&[1; 64 << 10], 0).and_then(|()| file.sync_all()).map_err(fail)?;
    file.write_all_at(&NEW, 0).map_err(fail)?;
    recorded.ask("refuse on")?;
    let first = file.sync_data();
    recorded.ask("refuse off")?;
    if first.is_ok() {
        return Err("fdatasync says yes while the disk refuses writes".to_owned());
    }
    let second = file.sync_data();
    let mut shown = [0; 16];
    let read = file.read_exact_at(&mut shown, 0);
    let point = recorded.note()?;
    recorded.ask(&format!("image {} {point} all 0", image_file(run, 0).display()))?;
    drop(file);
    // A file system that went read-only says so here as well.
    let _ = recorded.unmount();
    let on_disk = images::front(run, kind, Path::new("file"))?;
    Ok(match (second.is_ok(), read.is_ok() && NEW.starts_with(&shown), on_disk == OLD) {
        (true, true, true) => LIED,
        (true, false, true) => "the next one says yes, and cache and disk have the old bytes",
        (true, _, false) => "the next one says yes, and the disk has the new bytes",
        (false, _, _) => "the next one fails, too",
    })
}

/// A log whose sync fails: nothing is acknowledged any more, and when it is opened again on the same mount, what it then
/// acknowledges is on the disk, though the cache said so before.
fn log(run: &Run, kind: Kind) -> Result<String, String> {
    let mut recorded = Recorded::make(&run.recorder, &run.plan.scratch, kind)?;
    let dir = recorded.at.join("log");
    let mut oracle = Oracle::default();
    let writer = crash::tool(&run.plan, &images::import("65536"), &dir);
    let (code, said) = recorded.feed(writer, &mut oracle, BATCHES, |recorded, batch| {
        if batch == REFUSED { recorded.ask("refuse on").map(drop) } else { Ok(()) }
    })?;
    recorded.ask("refuse off")?;
    let acked = oracle.acked;
    if code != 3 || acked != REFUSED * crate::images_disk::BATCH_LINES || said.contains("panicked") {
        return Err(format!("the writer exits with {code}, {acked} acknowledged: {said}"));
    }
    // What the cache shows, and what the disk has.
    let mut live = oracle.clone();
    live.read(&crash::dump(&run.plan, &dir)?)?;
    let shown = live.last();
    let point = recorded.note()?;
    recorded.ask(&format!("image {} {point} none 0", image_file(run, 0).display()))?;
    images::judge(run, 0, kind, oracle).map_err(|why| format!("before it is opened again: {why}"))?;
    // Opened again. Until the first acknowledgement nothing more is owed than before.
    live.acked = shown;
    let owed = recorded.known.len();
    let writer = crash::tool(&run.plan, &images::import("65536"), &dir);
    let (code, said) = recorded.feed(writer, &mut live, BATCHES, |_, _| Ok(()))?;
    if code != 0 {
        if kind == Kind::Ext4 {
            return Err(format!("opened again, the writer exits with {code}: {said}"));
        }
        return Ok(format!("{acked} acknowledged, {shown} shown; opened again, it is refused"));
    }
    let known = recorded.known.split_off(owed);
    let count = known.len();
    for (index, (point, mut known)) in known.into_iter().enumerate() {
        if known.acked == shown {
            known.acked = acked;
        }
        for crash in ["none", "mixed"] {
            recorded.ask(&format!("image {} {point} {crash} {index}", image_file(run, 0).display()))?;
            images::judge(run, 0, kind, known.clone())
                .map_err(|why| format!("opened again, point {point}, {crash}: {why}"))?;
        }
    }
    Ok(format!(
        "{acked} acknowledged, {shown} shown by the cache; opened again, {} acknowledged, {} crash images right",
        live.acked,
        2 * count
    ))
}
