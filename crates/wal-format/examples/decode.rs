//! Decodes segment files with this crate alone: no log, no lock, no threads.
//!
//! `cargo run -p wal-format --example decode -- data/wal/000001 ...` prints what each entry holds, and how the
//! segment ends. A file is read through a window that grows only for an entry that is larger, so memory stays
//! small however large the file is.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use wal_format::{EntryEnd, Payload, SegmentHeader, Step, layout, next_entry};

const WINDOW_BYTES: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        return Err("usage: decode SEGMENT-FILE...".into());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for path in files {
        let said = decode(&path, &mut out).map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "{}: {said}", path.display())?;
    }
    Ok(out.flush()?)
}

/// Prints the entries of a file; returns how it ends.
fn decode(path: &PathBuf, out: &mut impl Write) -> Result<String, Box<dyn Error>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut header = [0; layout::HEADER_BYTES];
    file.read_exact(&mut header)?;
    SegmentHeader::check(&header)?;
    // Bytes from `offset` on, of which the first `have` are filled.
    let (mut window, mut have, mut offset) = (vec![0; WINDOW_BYTES], 0, layout::HEADER_BYTES as u64);
    loop {
        let behind = len.saturating_sub(offset + have as u64);
        let (used, wanted) = match next_entry(&window[..have], behind) {
            Step::Entry(entry) => {
                match entry.decode() {
                    Ok(payload) => writeln!(out, "{offset}: {}", line(&payload))?,
                    Err(error) => writeln!(out, "{offset}: an entry that does not decode: {error}")?,
                }
                (entry.frame_bytes(), 0)
            }
            Step::NeedMore { window_bytes } => (0, usize::try_from(window_bytes)?),
            Step::End(EntryEnd::EndOfFile) => return Ok("ends behind its last entry".to_owned()),
            Step::End(EntryEnd::EndMark) => return Ok(format!("ends at {offset}, in prepared space")),
            Step::End(EntryEnd::Fault(fault)) => {
                return Ok(format!("cannot be read on at {offset}: {fault}"));
            }
        };
        offset += used as u64;
        window.copy_within(used..have, 0);
        have -= used;
        if have < wanted || wanted == 0 {
            window.resize(window.len().max(wanted), 0);
            have += file.read(&mut window[have..])?;
        }
    }
}

/// What an entry holds, borrowed from the window: nothing is copied but what is printed.
fn line(payload: &Payload<'_>) -> String {
    match payload {
        Payload::Series(batch) => {
            let named = batch.iter().next().map(|series| series.to_series().labels.to_string());
            format!("{} series, the first {}", batch.len(), named.unwrap_or_default())
        }
        Payload::Samples(batch) => {
            let times = batch.iter().map(|sample| sample.time_ms);
            format!("{} samples up to {:?} ms", batch.len(), times.max().unwrap_or_default())
        }
        Payload::Deletes(batch) => format!("{} delete rows", batch.len()),
    }
}
