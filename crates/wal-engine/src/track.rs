//! One segment that is being followed: its open file, what was read of it last, and whether the file
//! still holds that.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use wal_format::layout;
use wal_segment::storage::read_up_to;
use wal_segment::{
    Access, Advance, Fault, Position, ReadMethod, Reason, SegmentFile, SegmentReader, Storage, Tail, header,
};

use crate::decide::{self, Against, Behind, Place};
use crate::error::{Error, Result};
use crate::mark::{Mark, Witness};
use crate::scan::{read_error, too_large};
use crate::skip;

/// How many of the last entries are remembered, to find out how far back a file was cut.
const REMEMBERED: usize = 1024;
/// Where the first entry lies.
pub(crate) const FIRST: u64 = layout::HEADER_BYTES as u64;

/// A segment being followed.
pub(crate) struct Track {
    storage: Arc<dyn Storage>,
    pub(crate) file: SegmentFile,
    reader: SegmentReader,
    entry_bytes_max: u64,
    /// A segment with a higher number has its name: nothing is added to this one any more.
    pub(crate) is_final: bool,
    /// The file may hold more than was looked at.
    pub(crate) stale: bool,
    /// The header was seen whole.
    header_seen: bool,
    /// The last entries read, oldest first.
    recent: VecDeque<Witness>,
    /// A fault at this offset was told.
    told: Option<u64>,
    /// Nothing of this segment can be read.
    hopeless: bool,
}

/// What is there of a segment.
pub(crate) enum Found {
    Entry,
    End(Tail),
    /// The header is not whole, or not one.
    Header(Reason),
}

impl Track {
    /// Opens a segment, to be read from its first entry on. `None` when it was taken away meanwhile.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        file: SegmentFile,
        entry_bytes_max: u64,
        is_final: bool,
    ) -> Result<Option<Self>> {
        if !file.regular {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(read_error(&**storage, &file, error));
        }
        let handle = match storage.open(&file.name, Access::Read) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read_error(&**storage, &file, error)),
        };
        let len = handle.len().map_err(|error| read_error(&**storage, &file, error))?;
        let mut reader = SegmentReader::new(handle, len, entry_bytes_max, ReadMethod::Positioned);
        reader.believe_end_mark(!is_final);
        Ok(Some(Self {
            storage: Arc::clone(storage),
            file,
            reader,
            entry_bytes_max,
            is_final,
            stale: false,
            header_seen: false,
            recent: VecDeque::new(),
            told: None,
            hopeless: false,
        }))
    }

    /// Where the next entry is expected.
    pub(crate) fn position(&self) -> Position {
        Position { segment: self.file.number, offset: self.reader.offset() }
    }

    pub(crate) fn entry(&self) -> Option<(u64, wal_format::Entry<'_>)> {
        self.reader.entry()
    }

    /// Moves to the next entry, or says what stands there.
    pub(crate) fn advance(&mut self) -> Result<Found> {
        if self.hopeless {
            return Ok(Found::End(Tail::Exact));
        }
        if !self.header_seen {
            let len = self.reader.len_bytes();
            if let Some(reason) = header::check(self.reader.file(), len).map_err(|e| self.failed(e))? {
                return Ok(Found::Header(reason));
            }
            self.header_seen = true;
        }
        match self.reader.advance().map_err(|error| self.failed(error))? {
            Advance::Entry => Ok(Found::Entry),
            Advance::TooLarge { offset, bytes, .. } => {
                // What is remembered must stand directly before the offset.
                self.recent.clear();
                Err(too_large(&*self.storage, &self.file, offset, bytes))
            }
            Advance::End(tail) => Ok(Found::End(tail)),
        }
    }

    /// The entry moved to counts as read.
    pub(crate) fn accept(&mut self) {
        let end = self.reader.offset();
        if let Some((_, entry)) = self.reader.entry() {
            let checksum = entry.checksum;
            if self.recent.len() == REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(Witness { end, checksum });
        }
    }

    /// The entry moved to is not to be read yet.
    pub(crate) fn take_back(&mut self) {
        if let Some((offset, _)) = self.reader.entry() {
            self.reader.seek(offset);
        }
    }

    /// Goes on at another place, with nothing remembered of what is before it.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.recent.clear();
        self.reader.seek(offset);
    }

    /// Nothing is added to this segment any more: it is read to its end, and judged there.
    pub(crate) fn finalize(&mut self) {
        self.is_final = true;
        self.stale = true;
        self.reader.believe_end_mark(false);
    }

    /// Looks at the file as it is now. Says from where on it is no longer what was read: reading has
    /// gone back to there.
    pub(crate) fn look_again(&mut self) -> Result<Option<u64>> {
        let len = self.reader.file().len().map_err(|error| self.failed(error))?;
        self.reader.look_again(len);
        self.stale = false;
        let Some(last) = self.recent.back().copied() else {
            let here = self.reader.offset();
            // Only the place is known, not what stood before it.
            if FIRST < here && len < here && self.told.is_none() {
                self.reader.seek(FIRST);
                return Ok(Some(FIRST));
            }
            return Ok(None);
        };
        if last.end != self.reader.offset() || self.holds(last)? {
            return Ok(None);
        }
        while let Some(witness) = self.recent.back().copied() {
            if self.holds(witness)? {
                break;
            }
            self.recent.pop_back();
        }
        let back = self.recent.back().map_or(FIRST, |witness| witness.end);
        self.reader.seek(back);
        self.reader.look_again(len);
        self.told = None;
        Ok(Some(back))
    }

    /// Whether the entry remembered still stands in the file.
    fn holds(&self, witness: Witness) -> Result<bool> {
        let Some(at) = witness.end.checked_sub(layout::CHECKSUM_BYTES as u64) else { return Ok(false) };
        let mut stored = [0_u8; layout::CHECKSUM_BYTES];
        let len = self.reader.len_bytes();
        let have =
            read_up_to(self.reader.file(), &mut stored, at, len).map_err(|error| self.failed(error))?;
        Ok(have == stored.len() && u32::from_be_bytes(stored) == witness.checksum)
    }

    /// Stands behind the entry that ends at `offset`, if there is one with this checksum.
    pub(crate) fn stand_behind(&mut self, offset: u64, checksum: u32) -> Result<bool> {
        let witness = Witness { end: offset, checksum };
        // Zeros are what unwritten space holds, so they witness nothing.
        if checksum == 0 || !self.holds(witness)? {
            return Ok(false);
        }
        self.header_seen = true;
        self.reader.seek(offset);
        self.recent.push_back(witness);
        Ok(true)
    }

    /// Reads without yielding up to `offset` or the last entry before it; says where that is.
    pub(crate) fn walk(&mut self, offset: u64) -> Result<u64> {
        while self.reader.offset() < offset {
            match self.advance() {
                Ok(Found::Entry) => self.accept(),
                Ok(_) => break,
                Err(error) if error.kind() == crate::ErrorKind::TooLarge => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.reader.offset())
    }

    /// The checksum of the last entry read, if it ends where reading goes on.
    pub(crate) fn last_checksum(&self) -> Option<u32> {
        self.recent.back().filter(|last| last.end == self.reader.offset()).map(|last| last.checksum)
    }

    /// The same segment by its name, if another file stands there now: `None` when it is the one that
    /// is open, or one that goes on the same way and holds no more, or when the name is gone.
    pub(crate) fn replaced(&self) -> Result<Option<Self>> {
        let file = SegmentFile { regular: true, ..self.file.clone() };
        let opened = Self::open(&self.storage, file, self.entry_bytes_max, self.is_final)?;
        let Some(mut other) = opened else { return Ok(None) };
        if other.reader.len_bytes() == self.reader.file().len().map_err(|error| self.failed(error))? {
            let same = match self.recent.back() {
                Some(last) => other.holds(*last)?,
                None => true,
            };
            // Some file systems count no links at all.
            let links = |track: &Self| track.reader.file().links().map_err(|error| self.failed(error));
            if same && (links(self)? != 0 || links(&other)? == 0) {
                return Ok(None);
            }
        }
        other.header_seen = self.header_seen;
        other.recent.clone_from(&self.recent);
        other.reader.seek(self.reader.offset());
        other.told = self.told;
        Ok(Some(other))
    }

    /// What a fitting mark says against the segment's end here: its offset, if it is further on.
    pub(crate) fn below(&self, mark: &Mark, tail: Tail) -> Result<Option<u64>> {
        let here = self.reader.offset();
        if mark.position.segment != self.file.number || mark.position.offset <= here {
            return Ok(None);
        }
        let rotten = matches!(
            tail,
            Tail::Fault(Reason::Entry(wal_format::EntryFault::Checksum { computed, .. }))
                if mark.has_checksum(computed)
        );
        Ok((rotten || self.fits(mark)?).then_some(mark.position.offset))
    }

    /// Whether the mark belongs to this segment as it is.
    pub(crate) fn fits(&self, mark: &Mark) -> Result<bool> {
        mark.fits(self.reader.file(), self.reader.len_bytes()).map_err(|error| self.failed(error))
    }

    /// The fault at the place reached, unless it was told already. Reading goes on behind it.
    pub(crate) fn fault(&mut self, reason: Reason, against: Against) -> Result<Option<Fault>> {
        let offset = match reason {
            Reason::UnsupportedVersion(_) => 4,
            _ if reason.is_header_fault() => 0,
            _ => self.reader.offset(),
        };
        if self.told == Some(offset) {
            return Ok(None);
        }
        self.told = Some(offset);
        let search = match reason {
            Reason::UnsupportedVersion(_) => None,
            _ => Some(skip::search(&mut self.reader, offset + 1).map_err(|error| self.failed(error))?),
        };
        let behind = match &search {
            Some(search) if search.found.is_some() => Behind::Entry,
            Some(search) if search.exhausted => Behind::Unknown,
            _ => Behind::Nothing,
        };
        let entry_behind = search.and_then(|search| search.found);
        // Only what cannot be a write in flight is judged at all, so the place is never the open end.
        let verdict = decide::verdict(Place::Earlier, against, &reason, behind);
        let at = Position { segment: self.file.number, offset };
        if reason.is_header_fault() {
            self.header_seen = true;
            match entry_behind {
                Some(entry) => self.seek(entry),
                None => self.hopeless = true,
            }
        } else if self.is_final || entry_behind.is_some() {
            let resume = skip::resume_behind(&mut self.reader, offset, entry_behind);
            let resume = resume.map_err(|error| self.failed(error))?;
            self.seek(resume);
        }
        Ok(Some(Fault { at, reason, verdict, entry_behind }))
    }

    fn failed(&self, error: io::Error) -> Error {
        read_error(&*self.storage, &self.file, error)
    }
}
