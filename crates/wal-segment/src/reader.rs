//! Reads one segment: a window over its bytes, entry by entry, until it ends or is at fault.

use std::io;

use wal_format::{Entry, EntryEnd, EntryKind, Progress, Resync, Step, checksum, layout, next_entry};

use crate::header::first_nonzero;
use crate::map::MappedWindow;
use crate::storage::{StorageFile, piece_buffer, read_up_to};
use crate::verdict::Reason;

/// Bytes read in one go.
pub const READ_BYTES: usize = 256 * 1024;
/// Bytes read first by a search: mostly the next entry is near.
const SEARCH_FIRST_BYTES: usize = 16 * 1024;
/// Bytes mapped in one go: what replay by mapping adds to resident memory.
const MAP_BYTES: usize = 4 * 1024 * 1024;
/// Windows are mapped at multiples of this, which every page size divides.
const MAP_ALIGN: u64 = 64 * 1024;

/// How the bytes come into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMethod {
    /// Positioned reads into a reused buffer. An I/O error is an error.
    #[default]
    Positioned,
    /// Mapped windows. Only under the writer's own lock: see [`MappedWindow`].
    Mapped,
}

/// What the next bytes of a segment are.
#[derive(Debug)]
pub enum SegmentStep<'a> {
    /// A whole entry with the right checksum.
    Entry {
        /// Its first byte.
        offset: u64,
        /// The entry.
        entry: Entry<'a>,
    },
    /// A whole entry with the right checksum, larger than the reading limit.
    TooLarge {
        /// Its first byte.
        offset: u64,
        /// Its kind.
        kind: EntryKind,
        /// Its size in bytes, frame included.
        bytes: u64,
    },
    /// No further entry in order.
    End(Tail),
}

/// What the next bytes of a segment are, without a borrow of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// A whole entry with the right checksum; [`SegmentReader::entry`] has it.
    Entry,
    /// A whole entry with the right checksum, larger than the reading limit.
    TooLarge {
        /// Its first byte.
        offset: u64,
        /// Its kind.
        kind: EntryKind,
        /// Its size in bytes, frame included.
        bytes: u64,
    },
    /// No further entry in order.
    End(Tail),
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The file ends exactly behind the last entry.
    Exact,
    /// Only zeros follow: prepared space.
    Zeros {
        /// How many.
        bytes: u64,
    },
    /// Something else follows, from the reader's offset on.
    Fault(Reason),
}

/// The answer of a search for an entry behind a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Where the next valid, non-empty entry starts.
    pub found: Option<u64>,
    /// Whether the search gave up on some places, so that finding nothing proves nothing.
    pub exhausted: bool,
}

enum Window {
    Buffer { bytes: Vec<u8>, filled: usize },
    Mapped(MappedWindow),
    Nothing,
}

impl Window {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer { bytes, filled } => bytes.get(..*filled).unwrap_or_default(),
            Self::Mapped(map) => map,
            Self::Nothing => &[],
        }
    }
}

/// Reads the entries of one segment in order.
///
/// Holds one window of the file: 256 KiB, or as much as the largest entry needs, but never more
/// than the bytes that exist nor than the reading limit.
pub struct SegmentReader {
    file: Box<dyn StorageFile>,
    len: u64,
    limit: u64,
    method: ReadMethod,
    window: Window,
    /// Offset of the window's first byte.
    base: u64,
    offset: u64,
    last: Option<Last>,
    believe_end_mark: bool,
    work_bytes: u64,
}

/// Where the last entry lies in the window.
#[derive(Clone, Copy)]
struct Last {
    offset: u64,
    kind: EntryKind,
    flag: u8,
    checksum: u32,
    payload_bytes: usize,
}

impl SegmentReader {
    /// A reader that stands behind the header. The header is for [`crate::header::check`]; bytes
    /// behind `len` are not looked at, so that a file being appended to is read as it was.
    #[must_use]
    pub fn new(file: Box<dyn StorageFile>, len: u64, entry_bytes_max: u64, method: ReadMethod) -> Self {
        let offset = as_u64(layout::HEADER_BYTES);
        Self {
            file,
            len,
            // A frame has to be read to know how long its entry is.
            limit: entry_bytes_max.max(as_u64(layout::ENTRY_OVERHEAD_BYTES)),
            method,
            window: Window::Nothing,
            base: offset,
            offset,
            last: None,
            believe_end_mark: false,
            work_bytes: 0,
        }
    }

    /// The offset behind the last entry returned.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Size of the segment as far as this reader looks.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Bytes read and checked so far, those twice that were twice. A reader of sound entries comes to about
    /// twice the segment's size; one that is made to look far ahead again and again comes to more.
    #[must_use]
    pub fn work_bytes(&self) -> u64 {
        self.work_bytes
    }

    /// The file, for reading elsewhere in it.
    #[must_use]
    pub fn file(&self) -> &dyn StorageFile {
        &*self.file
    }

    /// Goes on at another entry's first byte.
    pub fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Looks further than before, at a file that has grown. Never shrinks what is looked at.
    pub fn grow_to(&mut self, len: u64) {
        if self.len < len {
            self.len = len;
            // What was read of the old tail may have been incomplete.
            self.window = Window::Nothing;
        }
    }

    /// Looks at the file afresh, as long as it is now: what was read of it before is forgotten. For a
    /// file that someone is writing to, in space prepared for that.
    pub fn look_again(&mut self, len: u64) {
        self.len = len;
        self.last = None;
        self.base = self.offset;
        match &mut self.window {
            Window::Buffer { filled, .. } => *filled = 0,
            window => *window = Window::Nothing,
        }
    }

    /// Whether [`advance`](Self::advance) believes an end mark without looking at all that follows it.
    /// That is right while the segment is written to: the zeros are space that is still to be used.
    pub fn believe_end_mark(&mut self, believe: bool) {
        self.believe_end_mark = believe;
    }

    /// The next entry, or how the segment ends. After an end the offset stays where it is.
    ///
    /// # Errors
    /// When the file cannot be read. That says nothing about its bytes.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> io::Result<SegmentStep<'_>> {
        match self.advance()? {
            Advance::Entry => match self.entry() {
                Some((offset, entry)) => Ok(SegmentStep::Entry { offset, entry }),
                None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            },
            Advance::TooLarge { offset, kind, bytes } => Ok(SegmentStep::TooLarge { offset, kind, bytes }),
            Advance::End(tail) => Ok(SegmentStep::End(tail)),
        }
    }

    /// Like [`next`](Self::next), without borrowing the entry: [`entry`](Self::entry) has it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn advance(&mut self) -> io::Result<Advance> {
        self.last = None;
        loop {
            let window = self.ahead();
            let more = self.len.saturating_sub(self.offset).saturating_sub(as_u64(window.len()));
            match next_entry(window, more) {
                Step::Entry(Entry { kind, flag, payload, checksum }) => {
                    let payload_bytes = payload.len();
                    let (offset, bytes) =
                        (self.offset, as_u64(payload_bytes) + as_u64(layout::ENTRY_OVERHEAD_BYTES));
                    self.offset += bytes;
                    self.work_bytes += bytes;
                    if self.limit < bytes {
                        return Ok(Advance::TooLarge { offset, kind, bytes });
                    }
                    self.last = Some(Last { offset, kind, flag, checksum, payload_bytes });
                    return Ok(Advance::Entry);
                }
                Step::NeedMore { window_bytes } if self.limit < window_bytes => {
                    return self.oversize(window_bytes);
                }
                Step::NeedMore { window_bytes } => {
                    if !self.fill(window_bytes)? {
                        // The file is shorter than it was: someone cut it. What it has now decides.
                        self.len = self.base + as_u64(self.window.bytes().len());
                    }
                }
                Step::End(EntryEnd::EndOfFile) => return Ok(Advance::End(Tail::Exact)),
                Step::End(EntryEnd::Fault(fault)) => {
                    // At most the whole window was summed up to find that out.
                    self.work_bytes += as_u64(self.ahead().len());
                    return Ok(Advance::End(Tail::Fault(Reason::Entry(fault))));
                }
                Step::End(EntryEnd::EndMark) => return Ok(Advance::End(self.zero_tail()?)),
            }
        }
    }

    /// The entry that the last [`advance`](Self::advance) found, and its offset.
    #[inline]
    #[must_use]
    pub fn entry(&self) -> Option<(u64, Entry<'_>)> {
        let Last { offset, kind, flag, checksum, payload_bytes } = self.last?;
        let start = usize::try_from(offset.checked_sub(self.base)?).ok()? + layout::FRAME_HEADER_BYTES;
        let payload = self.window.bytes().get(start..start.checked_add(payload_bytes)?)?;
        Some((offset, Entry { kind, flag, payload, checksum }))
    }

    /// Looks for the next place at or behind `from` where a valid, non-empty entry starts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn search(&mut self, from: u64) -> io::Result<Search> {
        self.search_looking_on(from, Resync::LOOK_ON_BYTES)
    }

    /// The same, looking on behind the first hit for at most so many bytes: see
    /// [`Resync::look_on_at_most`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn search_looking_on(&mut self, from: u64, look_on_bytes: u64) -> io::Result<Search> {
        let mut resync = Resync::new(from, self.len).look_on_at_most(look_on_bytes);
        let mut buffer = piece_buffer(from, self.len, SEARCH_FIRST_BYTES);
        let mut at = from;
        loop {
            let have = read_up_to(&*self.file, &mut buffer, at, self.len)?;
            self.work_bytes += as_u64(have);
            let bytes = buffer.get(..have).unwrap_or_default();
            match resync.feed(bytes) {
                Progress::More if have == 0 => return Ok(Search { found: None, exhausted: false }),
                Progress::More => {
                    at += as_u64(have);
                    buffer.resize(READ_BYTES, 0);
                }
                Progress::Found(found) => {
                    return Ok(Search { found: Some(found.offset), exhausted: false });
                }
                Progress::NotFound { exhausted } => return Ok(Search { found: None, exhausted }),
            }
        }
    }

    /// Whether a whole, valid entry starts at `offset`, or the segment's data ends there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_boundary(&mut self, offset: u64) -> io::Result<bool> {
        let here = self.offset;
        self.offset = offset;
        let fits = self.advance().map(|step| !matches!(step, Advance::End(Tail::Fault(_))));
        self.last = None;
        self.offset = here;
        fits
    }

    /// The part of the window from the offset on.
    fn ahead(&self) -> &[u8] {
        let Some(skip) = self.offset.checked_sub(self.base) else { return &[] };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        self.window.bytes().get(skip..).unwrap_or_default()
    }

    /// Makes at least `wanted` bytes from the offset on visible; says whether they are there.
    fn fill(&mut self, wanted: u64) -> io::Result<bool> {
        if self.method == ReadMethod::Mapped {
            return self.fill_by_mapping(wanted);
        }
        let left = self.len.saturating_sub(self.offset);
        let size = wanted.max(as_u64(READ_BYTES)).min(left);
        let size = usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let (mut bytes, filled) = match std::mem::replace(&mut self.window, Window::Nothing) {
            Window::Buffer { bytes, filled } => (bytes, filled),
            _ => (Vec::new(), 0),
        };
        // What is already here of the entry at the offset moves to the front.
        let skip = self.offset.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok());
        let kept = match skip.and_then(|skip| Some((skip, filled.checked_sub(skip)?))) {
            Some((skip, kept)) => {
                bytes.copy_within(skip..filled, 0);
                kept
            }
            None => 0,
        };
        // Back to the usual size after an entry that needed more.
        if bytes.len() > 4 * READ_BYTES && size <= READ_BYTES {
            bytes.truncate(READ_BYTES);
            bytes.shrink_to_fit();
        }
        bytes.resize(bytes.len().max(size), 0);
        let at = self.offset + as_u64(kept);
        let room = bytes.get_mut(kept..).unwrap_or_default();
        let have = kept + read_up_to(&*self.file, room, at, self.len)?;
        self.work_bytes += as_u64(have - kept);
        self.base = self.offset;
        self.window = Window::Buffer { bytes, filled: have };
        Ok(wanted <= as_u64(have))
    }

    fn fill_by_mapping(&mut self, wanted: u64) -> io::Result<bool> {
        let base = self.offset - self.offset % MAP_ALIGN;
        let left = usize::try_from(self.len.saturating_sub(base)).unwrap_or(usize::MAX);
        let wanted_from_base = usize::try_from(wanted.saturating_add(self.offset - base))
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // The old window goes first, so that two are never resident at once.
        self.window = Window::Nothing;
        match self.file.map(base, wanted_from_base.max(MAP_BYTES).min(left)) {
            Ok(map) => {
                let enough = wanted_from_base <= map.len();
                self.base = base;
                self.window = Window::Mapped(map);
                Ok(enough)
            }
            // No memory to map behind this storage: read instead.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.method = ReadMethod::Positioned;
                self.fill(wanted)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An entry above the reading limit is checked in pieces: it is damage only if its checksum says so.
    fn oversize(&mut self, frame: u64) -> io::Result<Advance> {
        let offset = self.offset;
        let covered_end = offset + frame - as_u64(layout::CHECKSUM_BYTES);
        let mut buffer = piece_buffer(offset, covered_end, READ_BYTES);
        let mut kind = None;
        let mut computed = checksum::crc32c(&[]);
        let mut at = offset;
        loop {
            let have = read_up_to(&*self.file, &mut buffer, at, covered_end)?;
            let bytes = buffer.get(..have).unwrap_or_default();
            if have == 0 {
                break;
            }
            if at == offset {
                kind = bytes.first().copied().and_then(EntryKind::from_code);
            }
            computed = checksum::append(computed, bytes);
            self.work_bytes += as_u64(have);
            at += as_u64(have);
        }
        let mut stored = [0_u8; layout::CHECKSUM_BYTES];
        let have = read_up_to(&*self.file, &mut stored, covered_end, self.len)?;
        let stored = u32::from_be_bytes(stored);
        match kind {
            Some(kind) if have == layout::CHECKSUM_BYTES && stored == computed => {
                self.offset = offset + frame;
                Ok(Advance::TooLarge { offset, kind, bytes: frame })
            }
            _ => Ok(Advance::End(Tail::Fault(Reason::Entry(wal_format::EntryFault::Checksum {
                stored,
                computed,
            })))),
        }
    }

    fn zero_tail(&mut self) -> io::Result<Tail> {
        let bytes = self.len.saturating_sub(self.offset);
        if self.believe_end_mark {
            return Ok(Tail::Zeros { bytes });
        }
        Ok(match first_nonzero(&*self.file, self.offset, self.len)? {
            None => {
                self.work_bytes += bytes;
                Tail::Zeros { bytes }
            }
            Some(first_at) => {
                self.work_bytes += first_at - self.offset;
                Tail::Fault(Reason::AfterEndMark { first_at })
            }
        })
    }
}

impl std::fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentReader").field("offset", &self.offset).field("len", &self.len).finish()
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
