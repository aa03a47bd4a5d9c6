//! A disk that fails on request: the real storage with a fault in front of it.
#![allow(unreachable_pub)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wal_segment::{
    Access, Folder, Listed, LockAttempt, MappedWindow, Modes, OsStorage, Replace, Storage, StorageFile,
};

/// Kinds of calls that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Write,
    Sync,
    SyncFolder,
    Create,
    Rename,
    Remove,
    SetLen,
    Open,
    Read,
}

/// The real directory; calls fail as [`Faults`] say.
#[derive(Debug)]
pub struct FaultyDisk {
    real: OsStorage,
    pub faults: Arc<Faults>,
}

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub struct Faults {
    rules: parking_lot::Mutex<Vec<(Call, u64, bool, i32)>>,
    counts: [AtomicU64; 9],
    /// Every write, sync, creation and set_len by name, in order: for tests of order.
    pub journal: parking_lot::Mutex<Vec<String>>,
    /// While set, whatever needs space fails.
    pub full: AtomicBool,
}

impl Faults {
    /// The n-th call of the kind from now on (1 is the next) fails with the errno: once or for good.
    pub fn fail(&self, call: Call, nth: u64, for_good: bool, errno: i32) {
        let at = self.counts[call as usize].load(Ordering::SeqCst) + nth;
        self.rules.lock().push((call, at, for_good, errno));
    }

    /// How many calls of the kind there were.
    pub fn count(&self, call: Call) -> u64 {
        self.counts[call as usize].load(Ordering::SeqCst)
    }

    fn check(&self, call: Call, name: &str) -> io::Result<()> {
        let n = self.counts[call as usize].fetch_add(1, Ordering::SeqCst) + 1;
        self.journal.lock().push(format!("{call:?} {name}"));
        if self.full.load(Ordering::SeqCst) && matches!(call, Call::Write | Call::Create) {
            return Err(io::Error::from_raw_os_error(28));
        }
        for (kind, at, for_good, errno) in self.rules.lock().iter() {
            if *kind == call && (n == *at || (*for_good && *at < n)) {
                return Err(io::Error::from_raw_os_error(*errno));
            }
        }
        Ok(())
    }
}

impl FaultyDisk {
    pub fn new(dir: &Path) -> Self {
        Self { real: OsStorage::new(dir, Modes::default()), faults: Arc::default() }
    }

    fn wrap(&self, file: Box<dyn StorageFile>, name: &str) -> Box<dyn StorageFile> {
        Box::new(FaultyFile { real: file, name: name.to_owned(), faults: Arc::clone(&self.faults) })
    }
}

impl Storage for FaultyDisk {
    fn create_log_folder(&self) -> io::Result<bool> {
        self.real.create_log_folder()
    }

    fn create_quarantine(&self) -> io::Result<()> {
        self.real.create_quarantine()
    }

    fn list(&self, folder: Folder) -> io::Result<Vec<Listed>> {
        self.real.list(folder)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        self.faults.check(Call::Open, name)?;
        Ok(self.wrap(self.real.open(name, access)?, name))
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.faults.check(Call::Create, name)?;
        Ok(self.wrap(self.real.create_new(name)?, name))
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        self.faults.check(Call::Rename, &format!("{from} {to}"))?;
        self.real.rename(from, to, replace)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.check(Call::Remove, name)?;
        self.real.remove(name)
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        self.faults.check(Call::SyncFolder, &format!("{folder:?}"))?;
        self.real.sync_folder(folder)
    }

    fn lock(&self) -> io::Result<LockAttempt> {
        self.real.lock()
    }

    fn is_locked(&self) -> io::Result<bool> {
        self.real.is_locked()
    }

    fn link_out(&self, name: &str, target: &Path) -> io::Result<()> {
        self.real.link_out(name, target)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.real.path(name)
    }
}

#[derive(Debug)]
struct FaultyFile {
    real: Box<dyn StorageFile>,
    name: String,
    faults: Arc<Faults>,
}

impl StorageFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.check(Call::Read, &self.name)?;
        self.real.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // A full disk still overwrites what is there.
        if self.faults.full.load(Ordering::SeqCst) && offset + bytes.len() as u64 <= self.real.len()? {
            return self.real.write_at(bytes, offset);
        }
        self.faults.check(Call::Write, &self.name)?;
        self.real.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.check(Call::Sync, &self.name)?;
        self.real.sync()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.faults.check(Call::SetLen, &self.name)?;
        self.real.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.faults.check(Call::Write, &self.name)?;
        self.real.allocate(offset, bytes)
    }

    fn links(&self) -> io::Result<u64> {
        self.real.links()
    }

    fn map(&self, offset: u64, bytes: usize) -> io::Result<MappedWindow> {
        self.real.map(offset, bytes)
    }
}
