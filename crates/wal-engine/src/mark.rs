//! The durable mark: a small file that says up to where a sync has answered yes.
//!
//! Two slots of one sector each are written in turn after every successful sync, without a sync of
//! their own. Whichever value survives a power loss was true when it was written, and durable data
//! stays durable, so it is a lower bound for nothing. It tells rot from a torn write: what lies below
//! a mark that fits is damage if it cannot be read; what lies above it was never acknowledged.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use wal_format::{checksum, layout};
use wal_segment::storage::{read_up_to, write_all_at};
use wal_segment::{Access, Position, Storage, StorageFile};

/// The name of the mark's file.
pub const MARK_FILE: &str = "durable";
/// One sector a slot, so that a torn write spoils one slot at most.
const SLOT_BYTES: usize = 512;
const FILE_BYTES: usize = 2 * SLOT_BYTES;
const MAGIC: [u8; 8] = *b"WALMARK1";
/// Distances behind the mark, in bytes, at which a witness is wanted.
const DISTANCES: [u64; 4] = [1, 4 << 10, 64 << 10, 1 << 20];
/// No log writes its mark that often: a counter from here on is none that a log wrote.
const COUNTER_END: u64 = 1 << 63;
/// How many of a segment's first entries are witnesses too: a log that begins like another one, and then
/// is another, is told by them.
const FRONT: usize = 8;
const WITNESSES_MAX: usize = FRONT + DISTANCES.len() + 1;
/// Between two entries remembered for witnesses, in bytes.
const TRAIL_STEP_BYTES: u64 = 2 << 10;

/// An entry known to be durable: where it ends, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The offset behind the entry.
    pub end: u64,
    /// The checksum stored in the entry's last four bytes.
    pub checksum: u32,
}

impl Witness {
    fn stands_in(&self, file: &dyn StorageFile, len: u64) -> io::Result<bool> {
        let mut stored = [0_u8; layout::CHECKSUM_BYTES];
        let Some(at) = self.end.checked_sub(layout::CHECKSUM_BYTES as u64) else { return Ok(false) };
        Ok(read_up_to(file, &mut stored, at, len)? == stored.len()
            && u32::from_be_bytes(stored) == self.checksum)
    }
}

/// One value of the mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Rises with every write; the higher slot counts.
    pub counter: u64,
    /// Everything before it is durable.
    pub position: Position,
    /// Appending goes on in no segment with a lower number: a repair may have cut positions there that
    /// were durable once, and they are never given again.
    pub floor: u64,
    /// Entries before the position, to find out whether the mark belongs to what is read.
    pub witnesses: Vec<Witness>,
}

/// What the mark says about the log that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkStatus {
    /// There is none: the log was written by another program, or copied without it.
    #[default]
    Absent,
    /// There is a file, but neither slot is whole.
    Unreadable,
    /// It belongs to this log: everything before the position was durable.
    Fits(Position),
    /// It names no entry yet, so it proves nothing.
    ProvesNothing(Position),
    /// Its segment is there and was not read, because reading ended before it or began behind it: whether it belongs
    /// to this log was not looked at.
    NotReached(Position),
    /// It belongs to other bytes than these (a restored or edited log); it is not used.
    DoesNotFit(Position),
}

impl fmt::Display for MarkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Unreadable => f.write_str("unreadable"),
            Self::Fits(at) => write!(f, "durable up to {at}"),
            Self::ProvesNothing(at) => write!(f, "at {at}, proves nothing"),
            Self::NotReached(at) => write!(f, "at {at}, in a segment that was not read"),
            Self::DoesNotFit(at) => write!(f, "at {at}, does not belong to these segments"),
        }
    }
}

impl Mark {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut body = Vec::with_capacity(SLOT_BYTES);
        body.extend_from_slice(&MAGIC);
        body.extend_from_slice(&self.counter.to_be_bytes());
        body.extend_from_slice(&self.position.segment.to_be_bytes());
        body.extend_from_slice(&self.position.offset.to_be_bytes());
        body.extend_from_slice(&self.floor.to_be_bytes());
        let count = self.witnesses.len().min(WITNESSES_MAX);
        body.push(u8::try_from(count).unwrap_or(0));
        for witness in self.witnesses.iter().take(count) {
            body.extend_from_slice(&witness.end.to_be_bytes());
            body.extend_from_slice(&witness.checksum.to_be_bytes());
        }
        body.extend_from_slice(&checksum::crc32c(&body).to_be_bytes());
        let mut slot = [0; SLOT_BYTES];
        for (to, from) in slot.iter_mut().zip(body) {
            *to = from;
        }
        slot
    }

    /// Reads one slot; `None` when it is not whole. Never panics on any bytes.
    #[must_use]
    pub fn decode(slot: &[u8]) -> Option<Self> {
        let mut rest = slot.strip_prefix(&MAGIC)?;
        let counter = take_u64(&mut rest)?;
        let segment = take_u64(&mut rest)?;
        let offset = take_u64(&mut rest)?;
        let floor = take_u64(&mut rest)?;
        let (count, mut rest) = rest.split_first()?;
        let count = usize::from(*count);
        if WITNESSES_MAX < count {
            return None;
        }
        let mut witnesses = Vec::with_capacity(count);
        for _ in 0..count {
            let end = take_u64(&mut rest)?;
            witnesses.push(Witness { end, checksum: take_u32(&mut rest)? });
        }
        let body = slot.get(..slot.len() - rest.len())?;
        if take_u32(&mut rest)? != checksum::crc32c(body) {
            return None;
        }
        Some(Self { counter, position: Position { segment, offset }, floor, witnesses })
    }

    /// The newer whole slot of a mark file's bytes.
    #[must_use]
    pub fn newest(bytes: &[u8]) -> Option<Self> {
        bytes.chunks(SLOT_BYTES).take(2).filter_map(Self::decode).max_by_key(|mark| mark.counter)
    }

    /// Whether the position has no entry before it in its segment.
    #[must_use]
    pub fn proves_nothing(&self) -> bool {
        self.witnesses.is_empty() || self.position.offset <= layout::HEADER_BYTES as u64
    }

    /// Whether any witness's checksum stands where it should in the mark's segment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn fits(&self, file: &dyn StorageFile, len: u64) -> io::Result<bool> {
        for witness in &self.witnesses {
            // Zeros are what unwritten space holds, so they witness nothing.
            if witness.checksum != 0 && witness.stands_in(file, len)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a witness is not where it should be, though everything before `end` was read as valid
    /// entries: then these are not the bytes that the mark was written for, only some that begin alike.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_contradicted(&self, file: &dyn StorageFile, end: u64, len: u64) -> io::Result<bool> {
        for witness in self.witnesses.iter().filter(|witness| witness.end <= end) {
            if !witness.stands_in(file, len)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the entry at a fault, whose payload still has this checksum, is a witness: then only
    /// the stored checksum rotted.
    #[must_use]
    pub fn has_checksum(&self, computed: u32) -> bool {
        self.witnesses.iter().any(|witness| witness.checksum == computed)
    }
}

/// Reads the mark of a log, without changing anything.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn load(storage: &dyn Storage) -> io::Result<(Option<Mark>, MarkStatus)> {
    let file = match storage.open(MARK_FILE, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, MarkStatus::Absent)),
        Err(error) => return Err(error),
    };
    let mut bytes = [0_u8; FILE_BYTES];
    let have = read_up_to(&*file, &mut bytes, 0, FILE_BYTES as u64)?;
    match Mark::newest(bytes.get(..have).unwrap_or_default()) {
        None => Ok((None, MarkStatus::Unreadable)),
        Some(mark) => {
            let status = if mark.proves_nothing() {
                MarkStatus::ProvesNothing(mark.position)
            } else {
                MarkStatus::DoesNotFit(mark.position)
            };
            Ok((Some(mark), status))
        }
    }
}

/// The entries remembered to be named as witnesses: the last one and a sparse trail behind it.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    front: Vec<Witness>,
    last: Option<Witness>,
    sparse: VecDeque<Witness>,
    /// Up to this end, `push` only has to remember the last entry.
    quiet_to: u64,
}

impl Trail {
    /// Remembers the entry that ends at `end`; ends rise within a segment.
    pub fn push(&mut self, end: u64, checksum: u32) {
        let entry = Witness { end, checksum };
        match self.last.replace(entry) {
            Some(last) if self.quiet_to < last.end => self.keep(last),
            _ => {}
        }
        if self.front.len() < FRONT {
            self.front.push(entry);
        }
    }

    /// Keeps an entry as one of the sparse trail.
    fn keep(&mut self, entry: Witness) {
        self.sparse.push_back(entry);
        self.quiet_to = entry.end + TRAIL_STEP_BYTES - 1;
        let far = DISTANCES[DISTANCES.len() - 1];
        while self.sparse.get(1).is_some_and(|next| next.end + far < entry.end) {
            self.sparse.pop_front();
        }
    }

    /// Appends what a later part of the same segment remembered.
    pub fn extend(&mut self, later: &Self) {
        for witness in later.front.iter().chain(&later.sparse).chain(&later.last) {
            if self.last.is_none_or(|last| last.end < witness.end) {
                self.push(witness.end, witness.checksum);
            }
        }
    }

    /// The same entries where they are in a file that was written anew.
    #[must_use]
    pub fn moved(&self, to: impl Fn(u64) -> u64) -> Self {
        let moved = |witness: &Witness| Witness { end: to(witness.end), checksum: witness.checksum };
        Self {
            front: self.front.iter().map(moved).collect(),
            last: self.last.as_ref().map(moved),
            sparse: self.sparse.iter().map(moved).collect(),
            quiet_to: self.sparse.back().map_or(0, |kept| to(kept.end) + TRAIL_STEP_BYTES - 1),
        }
    }

    /// Forgets everything: another segment begins.
    pub fn clear(&mut self) {
        self.front.clear();
        self.last = None;
        self.sparse.clear();
        self.quiet_to = 0;
    }

    /// The last entry remembered.
    #[must_use]
    pub fn last(&self) -> Option<Witness> {
        self.last
    }

    /// Witnesses for a mark behind the last entry: that one, others at growing distances, and the first
    /// few of the segment.
    #[must_use]
    pub fn witnesses(&self) -> Vec<Witness> {
        let Some(last) = self.last else { return Vec::new() };
        let mut chosen = vec![last];
        for distance in DISTANCES {
            let wanted = last.end.saturating_sub(distance);
            let found = self.sparse.iter().rev().find(|kept| kept.end <= wanted);
            chosen.extend(found.filter(|witness| !chosen.contains(witness)).copied());
        }
        for witness in &self.front {
            if !chosen.contains(witness) {
                chosen.push(*witness);
            }
        }
        chosen
    }
}

/// The mark's file, open for writing.
#[derive(Debug)]
pub struct MarkFile {
    file: Box<dyn StorageFile>,
    counter: u64,
    floor: u64,
    last: Option<Mark>,
}

impl MarkFile {
    /// Opens the mark's file, or creates it with room for both slots. `above` is the highest counter
    /// read before, `floor` goes into every value written.
    ///
    /// # Errors
    /// Whatever the disk says; a log works without a mark.
    pub fn open(storage: &dyn Storage, above: u64, floor: u64) -> io::Result<Self> {
        let file = match crate::repair::open_own(storage, MARK_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create_new(MARK_FILE)?,
            other => other?,
        };
        if file.len()? < FILE_BYTES as u64 {
            write_all_at(&*file, &[0; FILE_BYTES], 0).map_err(|(_, error)| error)?;
        }
        // Such a counter could not rise. The first write of both slots ends it; until then it counts, as before.
        let counter = if above < COUNTER_END { above } else { 0 };
        Ok(Self { file, counter, floor, last: None })
    }

    /// Writes the mark into the older slot. Not synced: whichever slot survives is true.
    ///
    /// # Errors
    /// When the write fails; the commit that it belongs to has succeeded all the same.
    pub fn write(&mut self, position: Position, witnesses: Vec<Witness>) -> io::Result<()> {
        self.counter += 1;
        let mark = Mark { counter: self.counter, position, floor: self.floor, witnesses };
        let slot = mark.encode();
        self.last = Some(mark);
        let at = if self.counter % 2 == 0 { 0 } else { SLOT_BYTES as u64 };
        write_all_at(&*self.file, &slot, at).map_err(|(_, error)| error)
    }

    /// The value last written in this life of the log.
    #[must_use]
    pub fn last(&self) -> Option<&Mark> {
        self.last.as_ref()
    }

    /// Writes both slots and syncs them, so that no older value can come back. Needed before anything
    /// below the old mark is cut, renamed or removed.
    ///
    /// # Errors
    /// When a write or the sync fails: then nothing may be cut.
    pub fn write_both(&mut self, position: Position, witnesses: Vec<Witness>) -> io::Result<()> {
        self.write(position, witnesses.clone())?;
        self.write(position, witnesses)?;
        self.file.sync()
    }

    /// Makes the slots durable.
    ///
    /// # Errors
    /// When the sync fails; the older value stays a true lower bound.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (first, behind) = rest.split_first_chunk::<8>()?;
    *rest = behind;
    Some(u64::from_be_bytes(*first))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (first, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some(u32::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_segment::{Modes, OsStorage};

    fn mark(counter: u64, offset: u64) -> Mark {
        let witnesses = vec![Witness { end: offset, checksum: 7 }, Witness { end: 20, checksum: 9 }];
        Mark { counter, position: Position { segment: 3, offset }, floor: 2, witnesses }
    }

    #[test]
    fn the_newer_whole_slot_counts() {
        let mut bytes = mark(4, 400).encode().to_vec();
        bytes.extend_from_slice(&mark(5, 500).encode());
        assert_eq!(Mark::newest(&bytes), Some(mark(5, 500)));
        // A slot torn while being written leaves the other one.
        bytes[SLOT_BYTES + 20] ^= 1;
        assert_eq!(Mark::newest(&bytes), Some(mark(4, 400)));
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_noticed() {
        let slot = mark(1, 100).encode();
        let used = 8 + 32 + 1 + 2 * 12 + 4;
        for bit in 0..used * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_counter_that_could_not_rise_begins_anew() {
        for counter in [COUNTER_END - 1, COUNTER_END, u64::MAX] {
            let dir = tempfile::tempdir().unwrap();
            let storage = OsStorage::new(dir.path(), Modes::default());
            let slot = mark(counter, 100).encode();
            std::fs::write(dir.path().join(MARK_FILE), [slot, slot].concat()).unwrap();
            let read = load(&storage).unwrap().0.unwrap();
            assert_eq!(read.counter, counter);
            let mut file = MarkFile::open(&storage, read.counter, 0).unwrap();
            file.write_both(Position { segment: 3, offset: 200 }, Vec::new()).unwrap();
            for offset in [300, 400, 500] {
                file.write(Position { segment: 3, offset }, Vec::new()).unwrap();
                assert_eq!(load(&storage).unwrap().0.as_ref(), file.last(), "counter {counter}");
            }
        }
    }

    #[test]
    fn short_bytes_are_no_mark() {
        let slot = mark(1, 100).encode();
        for len in 0..60 {
            assert_eq!(Mark::decode(&slot[..len]), None);
        }
    }

    #[test]
    fn witnesses_stand_at_growing_distances() {
        let mut trail = Trail::default();
        let mut end = 8;
        for i in 0..200_000_u32 {
            end += 50;
            trail.push(end, i + 1);
        }
        let ends: Vec<u64> = trail.witnesses().iter().map(|w| end - w.end).collect();
        assert_eq!(ends.len(), WITNESSES_MAX);
        assert_eq!(ends[0], 0);
        for (found, wanted) in ends[1..].iter().zip(DISTANCES) {
            assert!(wanted <= *found && *found <= wanted + 3 * TRAIL_STEP_BYTES, "{ends:?}");
        }
        let front: Vec<u64> = ends[1 + DISTANCES.len()..].iter().map(|distance| end - distance).collect();
        assert_eq!(front, [58, 108, 158, 208, 258, 308, 358, 408]);
        assert!(trail.sparse.len() < 1000);
    }

    #[test]
    fn a_short_segment_names_its_first_entries_too() {
        let mut trail = Trail::default();
        for i in 1..=3 {
            trail.push(8 + 20 * u64::from(i), i);
        }
        let witnesses = trail.witnesses();
        assert_eq!(witnesses[0], Witness { end: 68, checksum: 3 });
        assert_eq!(witnesses.len(), 3);
        assert!(witnesses.contains(&Witness { end: 28, checksum: 1 }));
    }

    #[test]
    fn a_trail_read_in_pieces_is_the_trail_of_the_whole() {
        let mut whole = Trail::default();
        let mut pieces = Trail::default();
        for piece in 0..20_u32 {
            let mut part = Trail::default();
            for entry in 0..5 {
                let end = 8 + 700 * u64::from(piece * 5 + entry + 1);
                whole.push(end, piece * 5 + entry + 1);
                part.push(end, piece * 5 + entry + 1);
            }
            pieces.extend(&part);
        }
        assert_eq!(pieces.front, whole.front);
        assert_eq!(pieces.last, whole.last);
    }
}
