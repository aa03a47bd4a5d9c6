//! The least that the work can cost: loops without a log around them. They promise nothing and recover nothing.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use wal_format::layout::HEADER_BYTES;
use wal_format::{SegmentHeader, Step, frame_samples, next_entry};
use wal_types::Sample;

use crate::durable::Committer;
use crate::peer::Answer;
use crate::work::Walk;

/// Encodes, checksums and writes the bytes of a segment from one buffer; with `zeros_ahead` the space is filled with
/// zeros first, a window at a time.
pub(crate) fn append(dir: &Path, batches: Walk<'_>, zeros_ahead: bool) -> Answer<Duration> {
    let file = File::create(dir.join("floor"))?;
    let zeros = vec![0; WINDOW_BYTES];
    let mut buffer = Vec::with_capacity(2 * BUFFER_BYTES);
    let (mut written, mut filled) = (0, 0);
    let start = Instant::now();
    buffer.extend_from_slice(&SegmentHeader::CURRENT.to_bytes());
    let mut write = |buffer: &mut Vec<u8>| -> Answer<()> {
        while zeros_ahead && filled < written + buffer.len() as u64 {
            file.write_all_at(&zeros, filled)?;
            filled += zeros.len() as u64;
        }
        file.write_all_at(buffer, written)?;
        written += buffer.len() as u64;
        buffer.clear();
        Ok(())
    };
    for batch in batches {
        frame_samples(batch, u32::MAX, &mut buffer)?;
        if BUFFER_BYTES <= buffer.len() {
            write(&mut buffer)?;
        }
    }
    write(&mut buffer)?;
    Ok(start.elapsed())
}

/// The file that durable commits go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// It grows with every write.
    Growing,
    /// Its blocks are there, and nothing was ever written to them.
    Fallocated,
    /// Zeros were written to it, durably.
    Zeros,
}

/// One write and one `fdatasync` for whatever has come together meanwhile; whoever comes first does it for all.
pub(crate) struct Commits {
    file: File,
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    spare: Vec<u8>,
    /// Bytes taken, written, durable.
    end: u64,
    written: u64,
    durable: u64,
    busy: bool,
}

impl Commits {
    pub(crate) fn new(dir: &Path, space: Space) -> Answer<Self> {
        let path = dir.join("floor");
        let file = File::create(path)?;
        match space {
            Space::Growing => {}
            Space::Fallocated => fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(SPACE_BYTES)?)?,
            Space::Zeros => {
                let zeros = vec![0; WINDOW_BYTES];
                for at in (0..ZEROS_BYTES).step_by(zeros.len()) {
                    file.write_all_at(&zeros, at)?;
                }
            }
        }
        file.sync_all()?;
        Ok(Self { file, state: Mutex::default(), turned: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer for Commits {
    fn commit(&self, _: usize, batch: &[Sample], scratch: &mut Vec<u8>) -> Answer<()> {
        scratch.clear();
        frame_samples(batch, u32::MAX, scratch)?;
        let mut state = self.lock();
        state.buffer.extend_from_slice(scratch);
        state.end += scratch.len() as u64;
        let mine = state.end;
        while state.durable < mine {
            if state.busy {
                state = self.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.busy = true;
            let spare = std::mem::take(&mut state.spare);
            let mut bytes = std::mem::replace(&mut state.buffer, spare);
            let (at, end) = (state.written, state.end);
            state.written = end;
            drop(state);
            // Round and round: what was written once costs the same the next time.
            let done = self.file.write_all_at(&bytes, at % ZEROS_BYTES).and_then(|()| self.file.sync_data());
            state = self.lock();
            bytes.clear();
            state.spare = bytes;
            state.busy = false;
            self.turned.notify_all();
            done?;
            state.durable = end;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(())
    }
}

/// A segment as pieces of about the same size, one for each thread.
pub(crate) fn pieces(path: &Path, threads: usize) -> Answer<Vec<Range<u64>>> {
    let bytes = std::fs::read(path)?;
    let mut pieces = Vec::new();
    let (mut at, mut start) = (HEADER_BYTES, HEADER_BYTES);
    while let Step::Entry(entry) = next_entry(bytes.get(at..).unwrap_or_default(), 0) {
        at += entry.frame_bytes();
        if bytes.len() / threads * (pieces.len() + 1) <= at && pieces.len() + 1 < threads {
            pieces.push(start as u64..at as u64);
            start = at;
        }
    }
    pieces.push(start as u64..at as u64);
    Ok(pieces)
}

/// Reads the pieces, a thread each, and checks every entry's checksum. Gives the bytes of all payloads.
pub(crate) fn scan(path: &Path, pieces: &[Range<u64>]) -> Answer<(Duration, u64)> {
    let start = Instant::now();
    let payloads = match pieces {
        [whole] => scan_piece(path, whole)?,
        pieces => std::thread::scope(|scope| {
            let threads: Vec<_> =
                pieces.iter().map(|piece| scope.spawn(|| scan_piece(path, piece))).collect();
            threads.into_iter().try_fold(0, |sum, thread| {
                let payloads = thread.join().map_err(|_| "a scanning thread panicked")??;
                Answer::Ok(sum + payloads)
            })
        })?,
    };
    Ok((start.elapsed(), payloads))
}

fn scan_piece(path: &Path, piece: &Range<u64>) -> Answer<u64> {
    let file = File::open(path)?;
    let mut window = vec![0; 2 * BUFFER_BYTES];
    let (mut from, mut to, mut at) = (0, 0, piece.start);
    let mut payloads = 0;
    while at < piece.end {
        window.copy_within(from..to, 0);
        (from, to) = (0, to - from);
        let free = window.get_mut(to..).unwrap_or_default();
        let wanted = usize::try_from(piece.end - at)?.min(free.len());
        file.read_exact_at(free.get_mut(..wanted).unwrap_or_default(), at)?;
        to += wanted;
        at += wanted as u64;
        while let Step::Entry(entry) = next_entry(window.get(from..to).unwrap_or_default(), piece.end - at) {
            from += entry.frame_bytes();
            payloads += entry.payload.len() as u64;
        }
    }
    if from != to {
        return Err("the checksum-only scan did not get to the end".into());
    }
    Ok(payloads)
}

/// Copies so many bytes within memory, from pages that are there to pages that are there.
pub(crate) fn copy(from: &[u8], to: &mut [u8]) -> Duration {
    let start = Instant::now();
    to.copy_from_slice(std::hint::black_box(from));
    std::hint::black_box(to);
    start.elapsed()
}

const BUFFER_BYTES: usize = 256 << 10;
const WINDOW_BYTES: usize = 1 << 20;
const SPACE_BYTES: u64 = 256 << 20;
const ZEROS_BYTES: u64 = 64 << 20;
