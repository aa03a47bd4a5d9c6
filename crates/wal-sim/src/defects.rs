//! Storages that break one rule each, so that a test can see whether its crashes notice.
//!
//! A defect stands for a mistake in the log: a sync that was forgotten, a write that came too late.
//! It is made at the seam, so the log itself is the real one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wal_segment::dir::segment_number;
use wal_segment::{Access, Folder, Listed, LockAttempt, Replace, Storage, StorageFile};

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// None: for a test that the decorator itself changes nothing.
    None,
    /// The log directory is never synced.
    NoFolderSync,
    /// The parent of a fresh log directory is never synced.
    NoParentSync,
    /// Segments are never synced.
    NoSegmentSync,
    /// A segment that is finished is synced only after its successor has its name.
    SealSyncTooLate,
    /// A prepared segment gets its name before its header is durable.
    NoPreparedSync,
    /// What a truncation keeps is not synced before it takes the place of the old.
    NoRewriteSync,
    /// The names of what a truncation keeps are not durable before the intent is.
    NoRewriteNameSync,
    /// The removals of a truncation are not durable before the intent is cleared.
    NoRemovalSync,
    /// The intent of a truncation is not written.
    NoIntentWrite,
    /// The intent of a truncation is never cleared.
    NoIntentClear,
    /// Tails are not cut.
    NoCut,
    /// Bytes behind the durable mark are not written again after a failed sync.
    NoRewriteOfShown,
    /// The durable mark is never synced.
    NoMarkSync,
    /// Writes to segments leave out their last byte and say nothing.
    WritesFallShort,
    /// The name of the next segment is not durable before entries go into it.
    NoRotationNameSync,
    /// What repair puts into quarantine is not synced.
    NoQuarantineSync,
}

/// All defects.
pub const DEFECTS: [Defect; 16] = [
    Defect::NoFolderSync,
    Defect::NoParentSync,
    Defect::NoSegmentSync,
    Defect::SealSyncTooLate,
    Defect::NoPreparedSync,
    Defect::NoRewriteSync,
    Defect::NoRewriteNameSync,
    Defect::NoRemovalSync,
    Defect::NoIntentWrite,
    Defect::NoIntentClear,
    Defect::NoCut,
    Defect::NoRewriteOfShown,
    Defect::NoMarkSync,
    Defect::WritesFallShort,
    Defect::NoRotationNameSync,
    Defect::NoQuarantineSync,
];

/// A storage with a defect.
#[derive(Debug)]
pub struct Broken {
    inner: Arc<dyn Storage>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    defect: Defect,
    /// What was last done to names.
    last: Mutex<LastChange>,
    /// A sync that is put off until names were synced.
    late: Mutex<Option<Arc<dyn StorageFile>>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LastChange {
    #[default]
    Other,
    RewriteCreated,
    Removed,
    Rotated,
}

impl Broken {
    /// The storage with the defect.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, defect: Defect) -> Self {
        Self { inner, shared: Arc::new(Shared { defect, last: Mutex::default(), late: Mutex::default() }) }
    }

    fn wrap(&self, file: Box<dyn StorageFile>, name: &str, access: Access) -> Box<dyn StorageFile> {
        Box::new(BrokenFile {
            inner: Arc::from(file),
            kind: Kind::of(name),
            shared: Arc::clone(&self.shared),
            opened_to_write: access == Access::Write,
            written: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        })
    }

    fn note(&self, change: LastChange) {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = change;
    }

    fn last(&self) -> LastChange {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Broken {
    fn create_log_folder(&self) -> io::Result<bool> {
        self.inner.create_log_folder()
    }

    fn create_quarantine(&self) -> io::Result<()> {
        self.inner.create_quarantine()
    }

    fn list(&self, folder: Folder) -> io::Result<Vec<Listed>> {
        self.inner.list(folder)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.wrap(self.inner.open(name, access)?, name, access))
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        if Kind::of(name) == Kind::Rewrite {
            self.note(LastChange::RewriteCreated);
        }
        Ok(self.wrap(self.inner.create_new(name)?, name, Access::Read))
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        let rotated = Kind::of(from) == Kind::Prepared && Kind::of(to) == Kind::Segment;
        self.note(if rotated { LastChange::Rotated } else { LastChange::Other });
        self.inner.rename(from, to, replace)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.inner.remove(name);
        if removed.is_ok() && Kind::of(name) == Kind::Segment {
            self.note(LastChange::Removed);
        }
        removed
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        let last = self.last();
        let skipped = match self.shared.defect {
            Defect::NoFolderSync => folder == Folder::Log,
            Defect::NoParentSync => folder == Folder::Parent,
            Defect::NoRewriteNameSync => last == LastChange::RewriteCreated,
            Defect::NoRemovalSync => last == LastChange::Removed,
            Defect::NoRotationNameSync => last == LastChange::Rotated,
            _ => false,
        };
        self.note(LastChange::Other);
        if !skipped {
            self.inner.sync_folder(folder)?;
        }
        let late = self.shared.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        late.map_or(Ok(()), |file| file.sync())
    }

    fn lock(&self) -> io::Result<LockAttempt> {
        self.inner.lock()
    }

    fn is_locked(&self) -> io::Result<bool> {
        self.inner.is_locked()
    }

    fn link_out(&self, name: &str, target: &Path) -> io::Result<()> {
        self.inner.link_out(name, target)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    Prepared,
    Rewrite,
    Intent,
    Mark,
    Quarantined,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "intent" => Self::Intent,
            "durable" => Self::Mark,
            _ if name.starts_with("quarantine/") => Self::Quarantined,
            _ if segment_number(name).is_some() => Self::Segment,
            _ if name.contains(".rewrite.") => Self::Rewrite,
            _ if name.ends_with(wal_segment::dir::TEMPORARY_SUFFIX) => Self::Prepared,
            _ => Self::Other,
        }
    }
}

#[derive(Debug)]
struct BrokenFile {
    inner: Arc<dyn StorageFile>,
    kind: Kind,
    shared: Arc<Shared>,
    opened_to_write: bool,
    written: AtomicBool,
    cut: AtomicBool,
}

impl BrokenFile {
    /// A segment, or what became of a prepared one.
    fn is_segment(&self) -> bool {
        matches!(self.kind, Kind::Segment | Kind::Prepared)
    }

    fn shows(&self, bytes: &[u8], offset: u64) -> bool {
        let mut now = vec![0; bytes.len()];
        matches!(self.inner.read_at(&mut now, offset), Ok(n) if n == bytes.len()) && now == bytes
    }
}

impl StorageFile for BrokenFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let clears = bytes.iter().all(|byte| *byte == 0);
        let skipped = match self.shared.defect {
            Defect::NoIntentWrite => self.kind == Kind::Intent && !clears,
            // Its creation is left alone: that one is longer.
            Defect::NoIntentClear => self.kind == Kind::Intent && clears && bytes.len() < 512,
            Defect::NoRewriteOfShown => {
                self.kind == Kind::Segment && self.opened_to_write && self.shows(bytes, offset)
            }
            _ => false,
        };
        if skipped {
            return Ok(bytes.len());
        }
        if self.shared.defect == Defect::WritesFallShort && self.is_segment() && !clears {
            let but_one = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
            self.inner.write_at(but_one, offset)?;
            return Ok(bytes.len());
        }
        self.written.store(true, Ordering::Relaxed);
        self.cut.store(false, Ordering::Relaxed);
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let first_cut = self.cut.swap(false, Ordering::Relaxed);
        let skipped = match self.shared.defect {
            Defect::NoSegmentSync => self.is_segment(),
            Defect::NoPreparedSync => self.kind == Kind::Prepared && !self.written_entries(),
            Defect::NoRewriteSync => self.kind == Kind::Rewrite,
            Defect::NoQuarantineSync => self.kind == Kind::Quarantined,
            Defect::NoMarkSync => self.kind == Kind::Mark,
            Defect::SealSyncTooLate if first_cut && self.is_segment() => {
                let mut late = self.shared.late.lock().unwrap_or_else(PoisonError::into_inner);
                *late = Some(Arc::clone(&self.inner));
                true
            }
            _ => false,
        };
        if skipped { Ok(()) } else { self.inner.sync() }
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

impl BrokenFile {
    /// Whether more than a header and zeros is in it: the first byte behind the header is no end mark.
    fn written_entries(&self) -> bool {
        let mut first = [0];
        matches!(self.inner.read_at(&mut first, 8), Ok(1)) && first != [0]
    }
}
