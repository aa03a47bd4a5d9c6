//! A disk that writes down what reaches it: one file of a FUSE file system, for a loop device to stand on.
//!
//! `recorder DIR BYTES` mounts itself at DIR, where `disk` is then a file of so many bytes, and answers one line for each
//! line of standard input, until that ends:
//!
//! - `start`: forgets how the disk came to be what it is; the record begins here.
//! - `note`: how many events the record has by now, for the caller to remember.
//! - `refuse on`, `refuse off`: whether writes fail with EIO.
//! - `image FILE POINT KIND SEED`: makes FILE what the disk may be if power fails after the first POINT events.
//! - `counts`: writes, bytes and flushes recorded.
#![allow(clippy::print_stdout, reason = "answers are what it is for")]

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

mod disk;
mod fs;
mod record;

use record::Record;

/// The record, between the thread that serves the kernel and the one that answers the caller.
pub(crate) type Shared = Arc<Mutex<Record>>;

/// Nothing that panics leaves the record half changed.
pub(crate) fn locked(shared: &Shared) -> std::sync::MutexGuard<'_, Record> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("recorder: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, bytes] = args.as_slice() else { return Err("recorder DIR BYTES".to_owned()) };
    let bytes: u64 = bytes.parse().map_err(|e| format!("{bytes}: {e}"))?;
    let shared: Shared = Arc::new(Mutex::new(Record::new(bytes)));
    let session = fs::mount(Path::new(dir), Arc::clone(&shared))
        .map_err(|e| format!("{dir}: cannot mount ({e}); needed: root, and /dev/fuse"))?;
    let mut out = io::stdout().lock();
    let said = |e: io::Error| format!("standard output: {e}");
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(said)?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|e| format!("standard input: {e}"))?;
        let answer = answer(&shared, &line).unwrap_or_else(|why| format!("error {why}"));
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(said)?;
    }
    session.umount_and_join().map_err(|e| format!("{dir}: {e}"))
}

fn answer(shared: &Shared, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["start"] => locked(shared).start(),
        ["note"] => return Ok(locked(shared).len().to_string()),
        ["refuse", "on"] => locked(shared).refuse = true,
        ["refuse", "off"] => locked(shared).refuse = false,
        ["counts"] => return Ok(locked(shared).counts()),
        ["image", file, point, kind, seed] => {
            let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
            let point = usize::try_from(number(point)?).map_err(|e| e.to_string())?;
            let image = locked(shared).image(point, kind.parse()?, number(seed)?)?;
            return image
                .write_to(Path::new(file))
                .map(|()| "ok".to_owned())
                .map_err(|e| format!("{file}: {e}"));
        }
        _ => return Err(format!("`{line}`?")),
    }
    Ok("ok".to_owned())
}
