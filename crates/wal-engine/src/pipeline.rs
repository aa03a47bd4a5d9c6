//! Replay on several threads: pieces of a segment are checked and decoded ahead of the sink, and
//! delivered in log order through a bounded window.
//!
//! This is only the fast way over clean stretches. Whatever is not a whole, valid entry ends it, and
//! the scan, which knows about verdicts, goes on from there.

use std::collections::VecDeque;
use std::ops::Range;

use parking_lot::{Condvar, Mutex};
use wal_format::{
    CheckedSeries, DecodeError, EntryKind, SampleBuffer, SamplesPayload, SeriesBuffer, Step, decode_deletes,
    frame_bytes, layout, next_entry,
};
use wal_segment::storage::read_up_to;
use wal_segment::{Position, SegmentStats, StorageFile};
use wal_types::StoneRow;

use crate::error::Result;
use crate::mark::Trail;
use crate::options::WalOptions;
use crate::recovery::{Found, refuse_malformed};
use crate::replay::ReplaySink;
use crate::scan::Scan;
use crate::view::View;

/// Bytes of a segment that one thread takes at a time. Larger entries make a larger piece.
const PIECE_BYTES: u64 = 512 << 10;
/// Pieces in flight for each thread: one in work, one waiting for the sink.
const WINDOW_PER_THREAD: u64 = 2;

/// A piece of a segment, checked and decoded.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    events: Vec<Decoded>,
    series: SeriesBuffer,
    samples: SampleBuffer,
    rows: Vec<StoneRow>,
    stats: SegmentStats,
    trail: Trail,
    /// The segment was read up to here.
    end: u64,
    /// Something here is for the scan to judge.
    stop: bool,
}

struct Decoded {
    offset: u64,
    what: What,
}

enum What {
    /// Where the payload lies in the piece.
    Series(Range<usize>, CheckedSeries),
    Samples(Range<usize>),
    /// Counted, and not wanted.
    NoSamples,
    Rows(Range<usize>),
    Malformed(DecodeError),
}

impl Piece {
    fn clear(&mut self) {
        self.events.clear();
        self.series.clear();
        self.samples.clear();
        self.rows.clear();
        self.stats = SegmentStats::default();
        self.trail.clear();
        self.end = 0;
        self.stop = false;
    }
}

/// What the threads share.
struct Board<'a> {
    file: &'a dyn StorageFile,
    len: u64,
    limit: u64,
    wants_samples: bool,
    /// Pieces that may be in work or ready at once.
    window: u64,
    state: Mutex<State>,
    /// The sink's next piece is ready, or there is none.
    ready: Condvar,
    /// The sink took a piece, or wants no more.
    room: Condvar,
    /// Serialises reading and framing, so that pieces begin where entries do. Taken before `state`, and never held
    /// while waiting.
    cursor: Mutex<Cursor>,
}

struct State {
    /// Pieces by their order, from the next one to take on.
    ready: VecDeque<Option<Piece>>,
    /// How many the sink's thread has taken.
    taken: u64,
    free: Vec<Piece>,
    /// No piece has this order or a higher one.
    last: Option<u64>,
}

impl State {
    fn end_at(&mut self, order: u64) {
        self.last = Some(self.last.map_or(order, |last| last.min(order)));
    }

    fn ends_before(&self, order: u64) -> bool {
        self.last.is_some_and(|last| last <= order)
    }

    fn front_is_ready(&self) -> bool {
        matches!(self.ready.front(), Some(Some(_)))
    }
}

struct Cursor {
    next: u64,
    order: u64,
    ended: bool,
}

/// What became of an attempt to work a piece.
enum Attempt {
    Done,
    /// As many pieces as may be are in work or ready.
    NoRoom,
    /// There is no further piece.
    Ended,
}

/// Replays the scan's current segment as far as it is clean.
pub(crate) fn run(
    scan: &mut Scan,
    view: &View,
    options: &WalOptions,
    found: Found<'_>,
    sink: &mut impl ReplaySink,
) -> Result<()> {
    let Some(at) = scan.position() else { return Ok(()) };
    let Some((_, file, len)) = scan.current_file() else { return Ok(()) };
    // Not worth a thread.
    if len.saturating_sub(at.offset) < 2 * PIECE_BYTES {
        return Ok(());
    }
    let threads = options.replay_threads;
    let board = Board {
        file,
        len,
        limit: options.read_entry_bytes_max,
        wants_samples: sink.wants_samples(),
        window: WINDOW_PER_THREAD * threads as u64,
        state: Mutex::new(State { ready: VecDeque::new(), taken: 0, free: Vec::new(), last: None }),
        ready: Condvar::new(),
        room: Condvar::new(),
        cursor: Mutex::new(Cursor { next: at.offset, order: 0, ended: false }),
    };
    let end = std::thread::scope(|scope| {
        // Ends the threads also when the sink panics.
        let _stop = StopOnDrop(&board);
        // The sink's own thread is one of them.
        for _ in 1..threads {
            let board = &board;
            let spawned = std::thread::Builder::new()
                .name("wal-replay".to_owned())
                .spawn_scoped(scope, move || board.work());
            if spawned.is_err() {
                break;
            }
        }
        deliver(&board, at.segment, view, options, found, sink)
    })?;
    scan.skip_to(end.unwrap_or(at.offset));
    Ok(())
}

struct StopOnDrop<'a>(&'a Board<'a>);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let taken = state.taken;
        state.end_at(taken);
        self.0.room.notify_all();
    }
}

/// Hands pieces to the sink in order; returns up to where.
fn deliver(
    board: &Board<'_>,
    segment: u64,
    view: &View,
    options: &WalOptions,
    found: Found<'_>,
    sink: &mut impl ReplaySink,
) -> Result<Option<u64>> {
    let mut end = None;
    loop {
        let Some(mut piece) = board.next_piece() else { return Ok(end) };
        for event in piece.events.drain(..) {
            let at = Position { segment, offset: event.offset };
            match event.what {
                What::Samples(range) => {
                    sink.samples(at, piece.samples.samples().get(range).unwrap_or_default())
                }
                What::NoSamples => {}
                What::Rows(range) => sink.deletes(at, piece.rows.get(range).unwrap_or_default()),
                What::Series(range, checked) => {
                    let bytes = piece.bytes.get(range).unwrap_or_default();
                    sink.series(at, &piece.series.payload(&checked, bytes));
                }
                What::Malformed(error) => {
                    sink.malformed(at, &error);
                    refuse_malformed(options, view, at, &error)?;
                    found.report.add_malformed(at);
                }
            }
        }
        found.stats.merge(&piece.stats);
        found.trail.extend(&piece.trail);
        found.meter.read_to(piece.end);
        end = Some(piece.end);
        let stop = piece.stop;
        let mut state = board.state.lock();
        state.free.push(piece);
        if stop {
            let taken = state.taken;
            state.end_at(taken);
        }
    }
}

impl Board<'_> {
    /// The sink's next piece. While it is not ready its thread works one itself, rather than sleep beside threads
    /// that have the same core to share.
    fn next_piece(&self) -> Option<Piece> {
        let mut idle = false;
        loop {
            let mut state = self.state.lock();
            if state.ends_before(state.taken) {
                return None;
            }
            if state.front_is_ready() {
                let piece = state.ready.pop_front().flatten();
                state.taken += 1;
                drop(state);
                self.room.notify_one();
                return piece;
            }
            if idle {
                self.ready.wait(&mut state);
            }
            drop(state);
            idle = !matches!(self.attempt(), Attempt::Done);
        }
    }

    /// Works piece after piece, until the segment or the wish for it ends.
    fn work(&self) {
        loop {
            match self.attempt() {
                Attempt::Done => {}
                Attempt::Ended => return,
                Attempt::NoRoom => {
                    let mut state = self.state.lock();
                    let in_flight = state.ready.len() as u64;
                    if self.window <= in_flight && state.last.is_none() {
                        self.room.wait(&mut state);
                    }
                }
            }
        }
    }

    /// Reads, checks and decodes the next piece, if there is one and room for it.
    fn attempt(&self) -> Attempt {
        let mut cursor = self.cursor.lock();
        let order = cursor.order;
        let mut piece = {
            let mut state = self.state.lock();
            if cursor.ended {
                state.end_at(order);
                self.ready.notify_one();
            }
            if state.ends_before(order) {
                return Attempt::Ended;
            }
            if state.taken + self.window <= order {
                return Attempt::NoRoom;
            }
            // A place for it: so many pieces are in work or ready.
            state.ready.push_back(None);
            state.free.pop().unwrap_or_default()
        };
        piece.clear();
        let base = cursor.next;
        cursor.ended = !read_piece(&mut piece, self.file, base, self.len, self.limit);
        cursor.next = base + piece.bytes.len() as u64;
        cursor.order += 1;
        drop(cursor);

        decode(&mut piece, base, self.wants_samples);
        let mut state = self.state.lock();
        let index = order.checked_sub(state.taken).and_then(|n| usize::try_from(n).ok());
        if let Some(place) = index.and_then(|index| state.ready.get_mut(index)) {
            *place = Some(piece);
        }
        drop(state);
        if index == Some(0) {
            self.ready.notify_one();
        }
        Attempt::Done
    }
}

/// Fills the piece with whole entries, as their headers claim. Returns whether there is more behind
/// them for this way of reading.
fn read_piece(piece: &mut Piece, file: &dyn StorageFile, base: u64, len: u64, limit: u64) -> bool {
    let left = len.saturating_sub(base);
    let mut wanted = PIECE_BYTES.min(left);
    let mut have = 0;
    while let Ok(size) = usize::try_from(wanted) {
        if piece.bytes.len() < size {
            piece.bytes.resize(size, 0);
        }
        let room = piece.bytes.get_mut(have..size).unwrap_or_default();
        // An error is for the scan to report: it comes to the same place.
        let Ok(read) = read_up_to(file, room, base + have as u64, len) else { break };
        have += read;
        let whole = whole_entries(piece.bytes.get(..have).unwrap_or_default());
        match whole {
            Whole::Upto(0, Some(frame))
                if frame <= limit && frame <= left && wanted < frame && have == size =>
            {
                wanted = frame;
            }
            Whole::Upto(end, more) => {
                piece.bytes.truncate(end);
                return end != 0 && more.is_some_and(|frame| end as u64 + frame <= left);
            }
        }
    }
    piece.bytes.clear();
    false
}

enum Whole {
    /// Whole entries end here; and how large the next one claims to be, if that can be known or is
    /// simply cut off.
    Upto(usize, Option<u64>),
}

fn whole_entries(bytes: &[u8]) -> Whole {
    let mut end = 0;
    loop {
        let rest = bytes.get(end..).unwrap_or_default();
        match frame_bytes(rest) {
            Some((_, frame)) if frame <= rest.len() as u64 => {
                end += usize::try_from(frame).unwrap_or(rest.len());
            }
            Some((_, frame)) => return Whole::Upto(end, Some(frame)),
            // Too few bytes for a header, or no entry: the next read, or the scan, will tell.
            None if rest.len() < layout::FRAME_HEADER_BYTES => {
                return Whole::Upto(end, Some(layout::ENTRY_OVERHEAD_BYTES as u64));
            }
            None => return Whole::Upto(end, None),
        }
    }
}

fn decode(piece: &mut Piece, base: u64, wants_samples: bool) {
    let mut at = 0;
    let bytes = std::mem::take(&mut piece.bytes);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Step::Entry(entry) = next_entry(rest, 0) else { break };
        let frame = entry.frame_bytes();
        let payload_at = at + layout::FRAME_HEADER_BYTES;
        let what = match entry.kind {
            EntryKind::Series => piece.series.check(entry.payload).map(|checked| {
                piece.stats.add_series_entry(checked.items, checked.min_series_ref);
                What::Series(payload_at..payload_at + entry.payload.len(), checked)
            }),
            EntryKind::Samples if !wants_samples => SamplesPayload::check(entry.payload).map(|checked| {
                piece.stats.add_sample_entry(checked.len(), checked.times_ms());
                What::NoSamples
            }),
            EntryKind::Samples => piece.samples.decode(entry.payload).map(|decoded| {
                piece.stats.add_sample_entry(decoded.range.len(), decoded.times_ms);
                What::Samples(decoded.range)
            }),
            EntryKind::Deletes => {
                let from = piece.rows.len();
                decode_deletes(entry.payload, &mut piece.rows).map(|()| {
                    piece.stats.add_deletes(piece.rows.get(from..).unwrap_or_default().iter().copied());
                    What::Rows(from..piece.rows.len())
                })
            }
        };
        let what = what.unwrap_or_else(|error| {
            piece.stats.add_malformed();
            What::Malformed(error)
        });
        piece.events.push(Decoded { offset: base + at as u64, what });
        at += frame;
        piece.trail.push(base + at as u64, entry.checksum);
    }
    piece.stop = at < bytes.len();
    piece.end = base + at as u64;
    piece.bytes = bytes;
}
