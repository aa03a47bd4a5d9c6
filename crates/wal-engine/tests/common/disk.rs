//! A disk that fails on request: the real storage with a fault in front of it.
#![allow(unreachable_pub)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wal_engine::{RecoveryReport, Wal, WalOptions};
use wal_segment::{
    Access, Folder, Listed, LockAttempt, MappedWindow, Modes, OsStorage, Replace, Storage, StorageFile,
};

use super::Memory;

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
    dir: PathBuf,
    pub faults: Arc<Faults>,
    /// Of files that were opened here: they follow renames.
    names: parking_lot::Mutex<Vec<Name>>,
}

type Name = Arc<parking_lot::Mutex<String>>;

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub struct Faults {
    rules: parking_lot::Mutex<Vec<(Call, u64, bool, i32)>>,
    named: parking_lot::Mutex<Vec<(Call, String, i32)>>,
    counts: [AtomicU64; 9],
    /// Every write, sync, creation and set_len by name, in order: for tests of order.
    pub journal: parking_lot::Mutex<Vec<String>>,
    /// Bytes read, by all calls together.
    pub read_bytes: AtomicU64,
    /// While set, whatever needs space fails.
    pub full: AtomicBool,
    /// Where and how much was written, by name, in order.
    pub writes: parking_lot::Mutex<Vec<(String, u64, usize)>>,
    /// All bytes of the log directory together, when the disk has an end: a write beyond it is short,
    /// the next one fails.
    pub room: parking_lot::Mutex<Option<u64>>,
    /// Writes to files of this name, or with "rename" all renames, find no room while the reserve is there, also over
    /// what is there already: a file system that writes every block anew.
    pub full_above_reserve: parking_lot::Mutex<Option<&'static str>>,
    held: parking_lot::Mutex<bool>,
    let_go: parking_lot::Condvar,
    /// Syncs that wait at the gate.
    pub waiting: AtomicU64,
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

    /// Every call of the kind on files of that name fails with the errno, until mended.
    pub fn fail_named(&self, call: Call, name: &str, errno: i32) {
        self.named.lock().push((call, name.to_owned(), errno));
    }

    /// From now on no call fails.
    pub fn mend(&self) {
        self.rules.lock().clear();
        self.named.lock().clear();
    }

    /// While set, syncs of segments stop at a gate.
    pub fn hold_syncs(&self, hold: bool) {
        *self.held.lock() = hold;
        self.let_go.notify_all();
    }

    fn pass_gate(&self, name: &str) {
        let mut held = self.held.lock();
        if *held && name.bytes().all(|b| b.is_ascii_digit()) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.let_go.wait_while(&mut held, |held| *held);
        }
    }

    fn check_reserve(&self, dir: &Path, name: &str) -> io::Result<()> {
        let full = self.full_above_reserve.lock().is_some_and(|wanted| wanted == name);
        if full && dir.join("reserve").exists() { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
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
        let named = self.named.lock();
        match named.iter().find(|(kind, wanted, _)| *kind == call && wanted == name) {
            Some((.., errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(()),
        }
    }
}

impl FaultyDisk {
    pub fn new(dir: &Path) -> Self {
        Self {
            real: OsStorage::new(dir, Modes::default()),
            dir: dir.to_path_buf(),
            faults: Arc::default(),
            names: parking_lot::Mutex::default(),
        }
    }

    /// Opens the log on a disk of this kind.
    pub fn open_log(dir: &Path, options: WalOptions) -> (Wal, Memory, RecoveryReport, Arc<Faults>) {
        let disk = Self::new(dir);
        let faults = Arc::clone(&disk.faults);
        let mut memory = Memory::default();
        let recovery = Wal::open_storage(Arc::new(disk), options).unwrap();
        let (wal, report) = recovery.replay(&mut memory).unwrap();
        (wal, memory, report, faults)
    }

    fn wrap(&self, file: Box<dyn StorageFile>, name: &str) -> Box<dyn StorageFile> {
        let (name, dir) = (Name::new(name.to_owned().into()), self.dir.clone());
        let mut names = self.names.lock();
        names.retain(|name| 1 < Arc::strong_count(name));
        names.push(Arc::clone(&name));
        Box::new(FaultyFile { real: file, name, dir, faults: Arc::clone(&self.faults) })
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
        self.faults.check_reserve(&self.dir, "rename")?;
        self.real.rename(from, to, replace)?;
        for name in self.names.lock().iter() {
            let mut name = name.lock();
            if *name == from {
                to.clone_into(&mut name);
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.check(Call::Remove, name)?;
        self.real.remove(name)
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        // Power never fails here, so the real disk need not be asked.
        self.faults.check(Call::SyncFolder, &format!("{folder:?}"))
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
    name: Name,
    dir: PathBuf,
    faults: Arc<Faults>,
}

impl FaultyFile {
    fn check(&self, call: Call) -> io::Result<()> {
        let name = self.name.lock().clone();
        self.faults.check(call, &name)
    }

    /// How much of a write there is room for.
    fn fits(&self, bytes: usize, offset: u64) -> io::Result<usize> {
        let Some(room) = *self.faults.room.lock() else { return Ok(bytes) };
        let grows = (offset + bytes as u64).saturating_sub(self.real.len()?);
        let used: u64 = super::snapshot(&self.dir).iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let lacks = (used + grows).saturating_sub(room).min(grows);
        match bytes - usize::try_from(lacks).unwrap() {
            0 if bytes != 0 => Err(io::Error::from_raw_os_error(28)),
            fits => Ok(fits),
        }
    }
}

impl StorageFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(Call::Read)?;
        let have = self.real.read_at(buffer, offset)?;
        self.faults.read_bytes.fetch_add(have as u64, Ordering::Relaxed);
        Ok(have)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // A full disk still overwrites what is there.
        if self.faults.full.load(Ordering::SeqCst) && offset + bytes.len() as u64 <= self.real.len()? {
            return self.real.write_at(bytes, offset);
        }
        self.check(Call::Write)?;
        self.faults.check_reserve(&self.dir, &self.name.lock())?;
        let fits = self.fits(bytes.len(), offset)?;
        self.faults.writes.lock().push((self.name.lock().clone(), offset, fits));
        self.real.write_at(bytes.get(..fits).unwrap(), offset)
    }

    fn sync(&self) -> io::Result<()> {
        let name = self.name.lock().clone();
        self.faults.pass_gate(&name);
        self.check(Call::Sync)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.check(Call::SetLen)?;
        self.real.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.check(Call::Write)?;
        self.real.allocate(offset, bytes)
    }

    fn links(&self) -> io::Result<u64> {
        self.real.links()
    }

    fn map(&self, offset: u64, bytes: usize) -> io::Result<MappedWindow> {
        self.real.map(offset, bytes)
    }
}
