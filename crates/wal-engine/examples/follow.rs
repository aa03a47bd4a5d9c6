//! Ships a log elsewhere: follows it, keeps its place on disk, and goes on there when started again.
//!
//! `cargo run -p wal-engine --example follow -- data/wal place [SECONDS]` prints a line for every entry
//! that is durable. Without SECONDS it runs until it is interrupted. What was printed and not yet noted in
//! the place comes again after a crash: at least once, never not at all.

use std::error::Error;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, io};

use wal_engine::{FollowEvent, FollowOptions, Follower, Position};

/// The place is noted after this many entries, and whenever nothing more is there.
const ENTRIES_A_NOTE: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (dir, place, seconds) = match arguments.as_slice() {
        [dir, place] => (dir, Path::new(place), None),
        [dir, place, seconds] => (dir, Path::new(place), Some(seconds.parse()?)),
        _ => return Err("usage: follow LOG-DIRECTORY PLACE-FILE [SECONDS]".into()),
    };
    let mut options = FollowOptions::default().durable_only(true);
    if let Some((end, checksum)) = read_place(place)? {
        options = options.resume(end, checksum);
    }
    let mut follower = Follower::open(dir, options)?;
    let patience = seconds.map(Duration::from_secs);
    let mut unnoted = None;
    let mut count = 0;
    loop {
        // First what is there, then, with the place noted, what comes.
        let wait = if unnoted.is_some() { Some(Duration::ZERO) } else { patience };
        match follower.next(wait)? {
            Some(FollowEvent::Entry(entry)) => {
                println(&format!("{} {} items", entry.at, entry.payload.items()))?;
                unnoted = Some((entry.end, entry.checksum));
                count += 1;
            }
            // Gone, taken back, rewritten or damaged: a replica would decide here whether to start anew.
            Some(event) => eprintln!("{event:?}"),
            None if unnoted.is_none() => return Ok(()),
            None => count = ENTRIES_A_NOTE,
        }
        let due = if ENTRIES_A_NOTE <= count { unnoted.take() } else { None };
        if let Some((end, checksum)) = due {
            note_place(place, end, checksum)?;
            count = 0;
        }
    }
}

/// The end and the checksum of the last entry that was shipped.
fn read_place(place: &Path) -> Result<Option<(Position, u32)>, Box<dyn Error>> {
    let text = match fs::read_to_string(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let (end, checksum) = text.trim().split_once(' ').ok_or("the place file is not ours")?;
    Ok(Some((end.parse()?, u32::from_str_radix(checksum, 16)?)))
}

/// Replaces the place in one step, so that a crash leaves the old one or the new one.
fn note_place(place: &Path, end: Position, checksum: u32) -> io::Result<()> {
    let fresh = place.with_extension("new");
    fs::write(&fresh, format!("{end} {checksum:08x}\n"))?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, place)
}

/// Like the macro, without its panic at a closed pipe.
fn println(line: &str) -> io::Result<()> {
    use io::Write;
    writeln!(io::stdout().lock(), "{line}")
}
