//! Replay on several threads: pieces of a segment are checked and decoded ahead of the sink, and
//! delivered in log order through a bounded window.
//!
//! This is only the fast way over clean stretches. Whatever is not a whole, valid entry ends it, and
//! the scan, which knows about verdicts, goes on from there.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use wal_segment::{Position, StorageFile};

use crate::error::Result;
use crate::options::WalOptions;
use crate::piece::{PIECE_BYTES, Piece, What};
use crate::recovery::{Found, refuse_malformed};
use crate::replay::ReplaySink;
use crate::scan::Scan;
use crate::view::View;

/// Pieces in flight for each thread: one in work, one waiting for the sink.
const WINDOW_PER_THREAD: u64 = 2;

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
    wants_samples: bool,
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
        wants_samples,
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
        cursor.ended = !piece.read(self.file, base, self.len, self.limit);
        cursor.next = base + piece.bytes.len() as u64;
        cursor.order += 1;
        drop(cursor);

        piece.decode(base, self.wants_samples);
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
