//! The decorator that makes the seeded defects: a storage that breaks one rule.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wal_segment::dir::segment_number;
use wal_segment::{Access, Folder, Listed, LockAttempt, Replace, Storage, StorageFile};

use crate::broken_file::{BrokenFile, Empty};
use crate::defects::Defect;

/// A storage with a defect.
#[derive(Debug)]
pub struct Broken {
    inner: Arc<dyn Storage>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) defect: Defect,
    /// What was last done to names.
    last: Mutex<LastChange>,
    /// A sync that is put off.
    late: Mutex<Option<Arc<dyn StorageFile>>>,
    /// A disk was full.
    pub(crate) was_full: AtomicBool,
    /// A sync of the directory that is put off.
    names_late: AtomicBool,
    /// So many slots of the mark were written, and nothing else meanwhile: both, where something is to change
    /// below it.
    pub(crate) slots: AtomicU64,
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
        let (last, late) = (Mutex::default(), Mutex::default());
        let (was_full, names_late) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            inner,
            shared: Arc::new(Shared { defect, last, late, was_full, names_late, slots: AtomicU64::new(0) }),
        }
    }

    fn wrap(&self, file: Box<dyn StorageFile>, name: &str, access: Access) -> Box<dyn StorageFile> {
        Box::new(BrokenFile::new(file, Kind::of(name), Arc::clone(&self.shared), access))
    }

    fn note(&self, change: LastChange) {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = change;
    }

    fn last(&self) -> LastChange {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Does the sync that was put off, if there is one.
    pub(crate) fn sync_late(&self) -> io::Result<()> {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        late.map_or(Ok(()), |file| file.sync())
    }

    /// Puts a file's sync off.
    pub(crate) fn put_off(&self, file: &Arc<dyn StorageFile>) {
        *self.late.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(file));
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
        let mut listed = self.inner.list(folder)?;
        if self.shared.defect == Defect::LongNamesHidden {
            listed.retain(|found| found.name.len() <= 6 || segment_number(&found.name).is_none());
        }
        Ok(listed)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        match self.inner.open(name, access) {
            Err(error)
                if self.shared.defect == Defect::OpenErrorIsEmpty
                    && Kind::of(name) == Kind::Segment
                    && error.kind() != io::ErrorKind::NotFound =>
            {
                Ok(Box::new(Empty))
            }
            opened => Ok(self.wrap(opened?, name, access)),
        }
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
        match self.shared.defect {
            Defect::TargetRemovedFirst if replace == Replace::Allowed => _ = self.inner.remove(to),
            Defect::NoQuarantine if Kind::of(to) == Kind::Quarantined => return self.inner.remove(from),
            // What a rotation cut is synced all the same.
            Defect::NoCloseSync => self.shared.sync_late()?,
            _ => {}
        }
        self.inner.rename(from, to, replace)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.shared.defect == Defect::ReserveKept && name == "reserve" {
            return Ok(());
        }
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
            // Every other one is done, for itself and for the one before.
            Defect::FolderSyncTooLate if folder == Folder::Log => {
                !self.shared.names_late.fetch_xor(true, Ordering::Relaxed)
            }
            _ => false,
        };
        self.note(LastChange::Other);
        let synced = if skipped { Ok(()) } else { self.inner.sync_folder(folder) };
        if self.shared.defect != Defect::FolderSyncErrorSwallowed {
            synced?;
        }
        self.shared.sync_late()
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
pub(crate) enum Kind {
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
