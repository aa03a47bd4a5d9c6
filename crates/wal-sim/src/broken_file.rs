//! The files of a storage with a defect.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wal_segment::error::is_disk_full;
use wal_segment::{Access, StorageFile};

use crate::broken::{Kind, Shared};
use crate::defects::Defect;
use crate::storage::as_u64;

/// So much more than there is, a file says it has.
const UNCHECKED: u64 = 1 << 20;
/// So many zeros in a row are a hole: no entry of a test has as many.
const HOLE_BYTES: usize = 64;

/// An open file of such a storage.
#[derive(Debug)]
pub(crate) struct BrokenFile {
    inner: Arc<dyn StorageFile>,
    kind: Kind,
    shared: Arc<Shared>,
    opened_to_write: bool,
    written: AtomicBool,
    cut: AtomicBool,
    /// From here on a reader that is blind sees nothing.
    ends_at: AtomicU64,
}

impl BrokenFile {
    pub(crate) fn new(file: Box<dyn StorageFile>, kind: Kind, shared: Arc<Shared>, access: Access) -> Self {
        Self {
            inner: Arc::from(file),
            kind,
            shared,
            opened_to_write: access == Access::Write,
            written: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            ends_at: AtomicU64::new(u64::MAX),
        }
    }

    /// A segment, or what became of a prepared one.
    fn is_segment(&self) -> bool {
        matches!(self.kind, Kind::Segment | Kind::Prepared)
    }

    /// A segment that is looked at only.
    fn is_read_segment(&self) -> bool {
        self.kind == Kind::Segment && !self.opened_to_write
    }

    /// Whether more than a header and zeros is in it: the first byte behind the header is no end mark.
    fn written_entries(&self) -> bool {
        let mut first = [0];
        matches!(self.inner.read_at(&mut first, 8), Ok(1)) && first != [0]
    }

    fn shows(&self, bytes: &[u8], offset: u64) -> bool {
        let mut now = vec![0; bytes.len()];
        matches!(self.inner.read_at(&mut now, offset), Ok(n) if n == bytes.len()) && now == bytes
    }
}

impl StorageFile for BrokenFile {
    fn len(&self) -> io::Result<u64> {
        let lies = self.shared.defect == Defect::BuffersUnchecked && self.is_read_segment();
        self.inner.len().map(|bytes| if lies { bytes + UNCHECKED } else { bytes })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.inner.read_at(buffer, offset);
        match self.shared.defect {
            Defect::ReadErrorIsTheEnd => read.or(Ok(0)),
            Defect::ShortReadIsTheEnd => {
                if self.ends_at.load(Ordering::Relaxed) == offset {
                    return Ok(0);
                }
                let n = read?;
                if n < buffer.len() {
                    self.ends_at.store(offset + as_u64(n), Ordering::Relaxed);
                }
                Ok(n)
            }
            Defect::BlindBehindZeros if self.is_read_segment() => {
                let seen = buffer.get_mut(..read?).unwrap_or_default();
                if let Some(at) = seen.windows(HOLE_BYTES).position(|run| run.iter().all(|byte| *byte == 0)) {
                    self.ends_at.fetch_min(offset + as_u64(at), Ordering::Relaxed);
                }
                let sees = self.ends_at.load(Ordering::Relaxed).saturating_sub(offset);
                seen.iter_mut().skip(usize::try_from(sees).unwrap_or(usize::MAX)).for_each(|byte| *byte = 0);
                Ok(seen.len())
            }
            _ => read,
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // Asked last: most writes are zeros ahead of the log, and most runs have no defect.
        let clears = || bytes.iter().all(|byte| *byte == 0);
        match self.kind {
            Kind::Mark => _ = self.shared.slots.fetch_add(1, Ordering::Relaxed),
            _ => self.shared.slots.store(0, Ordering::Relaxed),
        }
        let skipped = match self.shared.defect {
            Defect::NoIntentWrite => self.kind == Kind::Intent && !clears(),
            // Its creation is left alone: that one is longer.
            Defect::NoIntentClear => self.kind == Kind::Intent && bytes.len() < 512 && clears(),
            Defect::NoRewriteOfShown => {
                self.kind == Kind::Segment && self.opened_to_write && self.shows(bytes, offset)
            }
            Defect::NoQuarantine => self.kind == Kind::Quarantined,
            Defect::FullForGood if self.is_segment() && self.shared.was_full.load(Ordering::Relaxed) => {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Defect::SpaceOnlyReserved if self.is_segment() && clears() && self.inner.len()? <= offset => {
                self.inner.allocate(offset, as_u64(bytes.len()))?;
                true
            }
            _ => false,
        };
        if skipped {
            return Ok(bytes.len());
        }
        if self.shared.defect == Defect::WritesFallShort && self.is_segment() && !clears() {
            let but_one = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
            self.inner.write_at(but_one, offset)?;
            return Ok(bytes.len());
        }
        self.written.store(true, Ordering::Relaxed);
        self.cut.store(false, Ordering::Relaxed);
        let written = self.inner.write_at(bytes, offset);
        match self.shared.defect {
            Defect::WriteErrorSwallowed if self.is_segment() => written.or(Ok(bytes.len())),
            Defect::FullForGood if self.is_segment() && written.as_ref().is_err_and(is_disk_full) => {
                self.shared.was_full.store(true, Ordering::Relaxed);
                written
            }
            Defect::MarkBeforeSync if self.kind == Kind::Mark => {
                self.shared.sync_late()?;
                written
            }
            _ => written,
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.kind != Kind::Mark {
            self.shared.slots.store(0, Ordering::Relaxed);
        }
        let first_cut = self.cut.swap(false, Ordering::Relaxed);
        let skipped = match self.shared.defect {
            Defect::NoSegmentSync => self.is_segment(),
            Defect::NoPreparedSync => self.kind == Kind::Prepared && !self.written_entries(),
            Defect::NoRewriteSync => self.kind == Kind::Rewrite,
            Defect::NoQuarantineSync => self.kind == Kind::Quarantined,
            Defect::NoMarkSync => self.kind == Kind::Mark && 1 < self.shared.slots.load(Ordering::Relaxed),
            Defect::NoIntentSync => self.kind == Kind::Intent,
            Defect::SealSyncTooLate | Defect::NoCloseSync if first_cut && self.is_segment() => {
                self.shared.put_off(&self.inner);
                true
            }
            Defect::MarkBeforeSync if self.is_segment() => {
                self.shared.sync_late()?;
                self.shared.put_off(&self.inner);
                true
            }
            _ => false,
        };
        if skipped {
            return Ok(());
        }
        let synced = self.inner.sync();
        match self.shared.defect {
            Defect::SyncErrorSwallowed if self.is_segment() => Ok(()),
            Defect::RewriteSyncErrorSwallowed if self.kind == Kind::Rewrite => Ok(()),
            Defect::SyncTriedAgain if self.is_segment() => synced.or_else(|_| self.inner.sync()),
            _ => synced,
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if self.shared.defect == Defect::NoCut && self.is_segment() {
            return Ok(());
        }
        self.cut.store(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
        self.inner.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.inner.allocate(offset, bytes)
    }

    fn links(&self) -> io::Result<u64> {
        self.inner.links()
    }
}

/// What stands for a file that could not be opened: nothing is in it, and nothing stays.
#[derive(Debug)]
pub(crate) struct Empty;

impl StorageFile for Empty {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }
}
