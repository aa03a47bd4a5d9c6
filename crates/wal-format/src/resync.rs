//! Finding the next valid entry behind a fault, in time linear in the bytes, hostile ones included.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::checksum;
use crate::cursor::{array_at, narrow, part, wide};
use crate::entry::EntryKind;
use crate::layout::{CHECKSUM_BYTES, ENTRY_OVERHEAD_BYTES, FRAME_HEADER_BYTES};
use crate::scan::frame_bytes;

/// A search for the next entry with a valid checksum and a payload that is not empty.
///
/// Every place that could start an entry (a known kind, a length above zero, an end within the segment) is a
/// *candidate*. Checking each on its own would read its bytes again: quadratic, where lengths are chosen by an
/// adversary. Instead one checksum runs over all bytes once; a candidate remembers its value at its start, and when
/// the stream comes to the candidate's own checksum, that of its range follows from the two values
/// ([`checksum::range`]) in constant time. Short candidates are read at once, a byte a bounded number of times.
///
/// The entry with the smallest start is preferred, since a label's text may look like an entry and then lies within a
/// real one: after the first hit the search goes on for at most [`LOOK_ON_BYTES`](Self::LOOK_ON_BYTES) for one that
/// started earlier. An entry longer than that budget may lose to bytes within it that look like an entry.
///
/// Candidates of at most [`NEAR_FRAME_BYTES`](Self::NEAR_FRAME_BYTES) are never dropped: no more than that many can
/// be pending. Of longer ones at most [`FAR_PENDING_MAX`](Self::FAR_PENDING_MAX) are kept, and
/// [`Progress::NotFound`] says if some were dropped. Both bounds together keep memory under 64 MiB.
///
/// ```
/// use wal_format::{EntryKind, Found, Progress, Resync, frame_payload};
///
/// let mut bytes = b"debris".to_vec();
/// frame_payload(EntryKind::Samples, 1, &[0; 16], &mut bytes)?;
/// let mut resync = Resync::new(1000, 1000 + 32);
/// let found = Found { offset: 1006, kind: EntryKind::Samples, frame_bytes: 26 };
/// assert_eq!(resync.feed(&bytes), Progress::Found(found));
/// # Ok::<(), wal_format::ItemTooLarge>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resync {
    /// Offset of the first byte whose place was not examined yet; `prefix` covers everything fed before it.
    position: u64,
    end: u64,
    prefix: u32,
    /// The bytes from `position` on that were fed: fewer than an examination may look ahead.
    carry: [u8; CARRY_BYTES],
    carried: usize,
    pending: BinaryHeap<Reverse<Candidate>>,
    far_pending: usize,
    exhausted: bool,
    best: Option<Found>,
    look_on_bytes: u64,
    look_on_until: u64,
    done: Option<Progress>,
}

/// What is known after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet: feed the bytes that follow.
    More,
    /// The entry; later bytes change nothing.
    Found(Found),
    /// The segment ended without one.
    NotFound {
        /// Some long candidates were dropped for lack of room: one of them may have been an entry.
        exhausted: bool,
    },
}

/// Where an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// Where it starts: bytes from the start of the segment.
    pub offset: u64,
    /// What it carries.
    pub kind: EntryKind,
    /// How many bytes it takes, frame included.
    pub frame_bytes: u64,
}

impl Resync {
    /// How far the search goes on after a hit, for an entry that started earlier, in bytes.
    pub const LOOK_ON_BYTES: u64 = 64 << 20;

    /// The longest entry, in bytes, whose candidates are never dropped.
    pub const NEAR_FRAME_BYTES: u64 = 1 << 20;

    /// How many candidates longer than that are kept at a time.
    pub const FAR_PENDING_MAX: usize = 1 << 20;

    /// A search for an entry that starts at `first_offset` or later in a segment of `end_offset` bytes.
    pub fn new(first_offset: u64, end_offset: u64) -> Self {
        Resync {
            position: first_offset.min(end_offset),
            end: end_offset,
            prefix: checksum::crc32c(&[]),
            carry: [0; CARRY_BYTES],
            carried: 0,
            pending: BinaryHeap::new(),
            far_pending: 0,
            exhausted: false,
            best: None,
            look_on_bytes: Self::LOOK_ON_BYTES,
            look_on_until: 0,
            done: None,
        }
    }

    /// The same search, but going on after a hit for at most so many bytes: with 0 the first hit counts. For one who
    /// searches again and again in bytes that an adversary may have chosen.
    #[must_use]
    pub fn look_on_at_most(mut self, bytes: u64) -> Self {
        self.look_on_bytes = self.look_on_bytes.min(bytes);
        self
    }

    /// Takes the next bytes, in order and without gaps, the first call those at `first_offset`. Any number at a time;
    /// what lies past the segment's end is ignored.
    ///
    /// Once the answer is other than [`Progress::More`] it stays the same.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        let fed = self.position.saturating_add(wide(self.carried));
        let room = narrow(self.end.saturating_sub(fed)).unwrap_or(usize::MAX);
        let bytes = part(bytes, 0..bytes.len().min(room));
        let last = fed.saturating_add(wide(bytes.len())) == self.end;
        if self.done.is_none() {
            self.take(bytes, last);
            self.done = self.verdict(last);
        }
        self.done.unwrap_or(Progress::More)
    }

    /// Examines every place whose look-ahead is there, and carries the rest.
    fn take(&mut self, bytes: &[u8], last: bool) {
        let bytes = if self.carried == 0 {
            bytes
        } else {
            // Only the few places in the carry are examined in the joint buffer; those behind them in `bytes`.
            let mut joint = [0; 2 * CARRY_BYTES];
            let ahead = bytes.len().min(CARRY_BYTES);
            let sources = part(&self.carry, 0..self.carried).iter().chain(part(bytes, 0..ahead));
            joint.iter_mut().zip(sources).for_each(|(to, from)| *to = *from);
            let joint = part(&joint, 0..self.carried + ahead);
            if ahead == bytes.len() {
                return self.take_whole(joint, last);
            }
            self.examine(joint, self.carried);
            bytes
        };
        self.take_whole(bytes, last);
    }

    fn take_whole(&mut self, bytes: &[u8], last: bool) {
        let places = if last { bytes.len() } else { bytes.len().saturating_sub(CARRY_BYTES) };
        self.examine(bytes, places);
        let rest = part(bytes, places..bytes.len());
        self.carried = rest.len().min(CARRY_BYTES);
        self.carry.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    }

    /// Examines the first `places` of `bytes`, whose first byte is at `self.position`.
    fn examine(&mut self, bytes: &[u8], places: usize) {
        let start = self.position;
        let mut summed = 0;
        let mut place = 0;
        while place < places && !self.settled() {
            let due = self.pending.peek().map_or(u64::MAX, |Reverse(next)| next.body_end);
            let stop = narrow(due.saturating_sub(start)).unwrap_or(usize::MAX).min(places);
            // After a hit only those that are pending count: what starts now starts later.
            let candidate =
                if self.best.is_some() { None } else { next_candidate(bytes, place..stop, start, self.end) };
            let short = candidate.and_then(|(at, (kind, frame_bytes))| {
                Some((short_is_valid(bytes, at, frame_bytes)?, at, kind, frame_bytes))
            });
            if let Some((valid, at, kind, frame_bytes)) = short {
                place = at.saturating_add(1);
                if valid {
                    self.hit(Found { offset: start.saturating_add(wide(at)), kind, frame_bytes });
                }
                continue;
            }
            let (at, shape) = candidate.map_or((stop, None), |(at, shape)| (at, Some(shape)));
            self.prefix = checksum::append(self.prefix, part(bytes, summed..at));
            (summed, place) = (at, at);
            self.position = start.saturating_add(wide(at));
            if let Some((kind, frame_bytes)) = shape {
                self.remember(kind, frame_bytes);
                place = at.saturating_add(1);
            } else if let Some(stored) = array_at(bytes, at) {
                self.settle(u32::from_be_bytes(*stored));
            }
        }
        // The last place may be a candidate; its own byte is not summed yet.
        self.prefix = checksum::append(self.prefix, part(bytes, summed..places));
        self.position = start.saturating_add(wide(places));
    }

    fn remember(&mut self, kind: EntryKind, frame_bytes: u64) {
        let body_end = self.position.saturating_add(frame_bytes).saturating_sub(wide(CHECKSUM_BYTES));
        let candidate = Candidate { body_end, start: self.position, prefix: self.prefix, kind };
        if candidate.is_far() {
            if self.far_pending == Self::FAR_PENDING_MAX {
                self.exhausted = true;
                return;
            }
            self.far_pending = self.far_pending.saturating_add(1);
        }
        self.pending.push(Reverse(candidate));
    }

    /// Judges the candidates whose payload ends at `self.position`, where `stored` stands.
    fn settle(&mut self, stored: u32) {
        while let Some(&Reverse(candidate)) = self.pending.peek() {
            if candidate.body_end != self.position {
                return;
            }
            self.pending.pop();
            if candidate.is_far() {
                self.far_pending = self.far_pending.saturating_sub(1);
            }
            let body_bytes = candidate.body_end.saturating_sub(candidate.start);
            if checksum::range(candidate.prefix, self.prefix, body_bytes) == stored {
                let Candidate { start: offset, kind, .. } = candidate;
                self.hit(Found { offset, kind, frame_bytes: candidate.frame_bytes() });
            }
        }
    }

    fn hit(&mut self, found: Found) {
        if self.best.is_none() {
            self.look_on_until =
                found.offset.saturating_add(found.frame_bytes).saturating_add(self.look_on_bytes);
        }
        self.best = Some(found);
        self.pending.retain(|Reverse(other)| other.start < found.offset);
    }

    /// Whether an entry was found that no further bytes could replace.
    fn settled(&self) -> bool {
        self.best.is_some() && (self.pending.is_empty() || self.look_on_until <= self.position)
    }

    fn verdict(&self, last: bool) -> Option<Progress> {
        match self.best {
            Some(found) if last || self.settled() => Some(Progress::Found(found)),
            None if last => Some(Progress::NotFound { exhausted: self.exhausted }),
            _ => None,
        }
    }
}

/// A place that may start an entry. Ordered by where its checksum stands, then by start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    body_end: u64,
    start: u64,
    /// The running checksum at `start`.
    prefix: u32,
    kind: EntryKind,
}

impl Candidate {
    fn frame_bytes(&self) -> u64 {
        self.body_end.saturating_sub(self.start).saturating_add(wide(CHECKSUM_BYTES))
    }

    /// Whether it is so long that only so many of its kind are kept.
    fn is_far(&self) -> bool {
        Resync::NEAR_FRAME_BYTES < self.frame_bytes()
    }
}

/// Whether the short entry at `at` is one, if all of it is at hand; `None` if it is not short or not at hand.
fn short_is_valid(bytes: &[u8], at: usize, frame_bytes: u64) -> Option<bool> {
    let size = narrow(frame_bytes).filter(|_| frame_bytes <= SHORT_FRAME_BYTES)?;
    let (body, stored) = bytes.get(at..at.checked_add(size)?)?.split_last_chunk::<CHECKSUM_BYTES>()?;
    Some(checksum::crc32c(body) == u32::from_be_bytes(*stored))
}

/// The first place in `places` whose bytes could start an entry that ends at or before `end`; `bytes` start at
/// `start` of the segment.
fn next_candidate(
    bytes: &[u8],
    places: std::ops::Range<usize>,
    start: u64,
    end: u64,
) -> Option<(usize, (EntryKind, u64))> {
    let mut from = places.start;
    loop {
        let at = from.saturating_add(first_kind(part(bytes, from..places.end))?);
        let header = array_at::<FRAME_HEADER_BYTES>(bytes, at)?;
        let room = end.saturating_sub(start.saturating_add(wide(at)));
        let shape = frame_bytes(header);
        if let Some((kind, size)) = shape.filter(|(_, size)| PLAUSIBLE_BYTES_MIN <= *size && *size <= room) {
            return Some((at, (kind, size)));
        }
        from = at.saturating_add(1);
    }
}

/// Where the first byte is that stands for a kind.
fn first_kind(bytes: &[u8]) -> Option<usize> {
    let is_kind = |byte: &u8| byte.wrapping_sub(KIND_FIRST) < KINDS;
    // Whole blocks without a branch per byte, as most bytes are no kind.
    let blocks = bytes.chunks_exact(BLOCK_BYTES);
    let without =
        blocks.take_while(|block| !block.iter().fold(false, |any, byte| any | is_kind(byte))).count();
    let skipped = without.saturating_mul(BLOCK_BYTES);
    let ahead = part(bytes, skipped..bytes.len()).iter().position(is_kind)?;
    Some(skipped.saturating_add(ahead))
}

/// What an examination looks ahead beyond the place itself: the rest of a frame header, which is more than a checksum.
const CARRY_BYTES: usize = FRAME_HEADER_BYTES - 1;
const _: () = assert!(CHECKSUM_BYTES <= CARRY_BYTES);

/// How many bytes are looked through at once for a kind.
const BLOCK_BYTES: usize = 32;

/// Candidates up to this size are checked at once by reading them, where they are at hand: cheaper than remembering
/// them, and a byte is read again at most this many times.
const SHORT_FRAME_BYTES: u64 = 256;

/// The smallest entry with a payload. An empty one proves little: ten bytes, six of them predictable.
const PLAUSIBLE_BYTES_MIN: u64 = 11;
const _: () = assert!(ENTRY_OVERHEAD_BYTES == 10);

/// The kinds as a range of codes, which one comparison tells.
const KIND_FIRST: u8 = EntryKind::Series.code();
const KINDS: u8 = EntryKind::Deletes.code() - KIND_FIRST + 1;
const _: () = assert!(EntryKind::Samples.code() == KIND_FIRST + 1 && KINDS == 3);
