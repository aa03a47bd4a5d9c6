//! A disk whose every call is a moment at which other threads may run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shuttle::sync::atomic::{AtomicBool, Ordering};
use wal_segment::{Access, Folder, Listed, LockAttempt, Replace, Storage, StorageFile};

/// A disk with a pause before each call.
#[derive(Debug)]
pub(super) struct Pausing(pub(super) Arc<dyn Storage>);

#[derive(Debug)]
struct PausingFile(Box<dyn StorageFile>);

/// The checker may switch at any use of what threads could share.
fn pause() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

impl Storage for Pausing {
    fn create_log_folder(&self) -> io::Result<bool> {
        self.0.create_log_folder()
    }

    fn create_quarantine(&self) -> io::Result<()> {
        self.0.create_quarantine()
    }

    fn list(&self, folder: Folder) -> io::Result<Vec<Listed>> {
        pause();
        self.0.list(folder)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        pause();
        Ok(Box::new(PausingFile(self.0.open(name, access)?)))
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        pause();
        Ok(Box::new(PausingFile(self.0.create_new(name)?)))
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        pause();
        self.0.rename(from, to, replace)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        pause();
        self.0.remove(name)
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        pause();
        self.0.sync_folder(folder)
    }

    fn lock(&self) -> io::Result<LockAttempt> {
        self.0.lock()
    }

    fn is_locked(&self) -> io::Result<bool> {
        self.0.is_locked()
    }

    fn link_out(&self, name: &str, target: &Path) -> io::Result<()> {
        self.0.link_out(name, target)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

impl StorageFile for PausingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        pause();
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        pause();
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        pause();
        self.0.sync()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        pause();
        self.0.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        pause();
        self.0.allocate(offset, bytes)
    }

    fn links(&self) -> io::Result<u64> {
        self.0.links()
    }
}
