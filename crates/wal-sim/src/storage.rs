//! The simulated disk as a storage: what a log is opened on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wal_segment::os::{LOCK_FILE, QUARANTINE_FOLDER};
use wal_segment::{Access, FileKind, Folder, Listed, LockAttempt, LockGuard, Replace, Storage, StorageFile};

use crate::disk::Disk;
use crate::faults::{Call, Fault, Faults, Outcome, error_of};
use crate::handle::SimFile;
use crate::names::{FOLDER_ID, folder_of};

/// Called with the disk as it is before each call that changes it.
pub type Watcher = Box<dyn FnMut(&Disk) + Send>;

/// A running disk. Clones are the same disk; [`disk`](Self::disk) is a copy of what it holds.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Running>>);

pub(crate) struct Running {
    pub(crate) disk: Disk,
    faults: Faults,
    watcher: Option<Watcher>,
    locked: bool,
    off: bool,
    changes: usize,
    pub(crate) overread: usize,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    /// Starts a disk with these contents.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        let faults = Faults::default();
        Self(Arc::new(Mutex::new(Running {
            disk,
            faults,
            watcher: None,
            locked: false,
            off: false,
            changes: 0,
            overread: 0,
        })))
    }

    /// A copy of what the disk holds, pending changes included.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.running().disk.clone()
    }

    /// Has every call that changes the disk seen beforehand.
    pub fn watch(&self, watcher: Watcher) {
        self.running().watcher = Some(watcher);
    }

    /// Ends the watching.
    pub fn unwatch(&self) {
        self.running().watcher = None;
    }

    /// From now on every call fails: the process that used the disk is dead to it. Start another with
    /// [`disk`](Self::disk), as the machine still runs, or with what is left after power loss.
    pub fn switch_off(&self) {
        let mut running = self.running();
        running.off = true;
        running.watcher = None;
    }

    /// Has calls go wrong.
    pub fn fail(&self, fault: Fault) {
        self.running().faults.add(fault);
    }

    /// Has no call go wrong any more.
    pub fn mend(&self) {
        self.running().faults.clear();
    }

    /// How many calls of the kind there were.
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.running().faults.count(call)
    }

    /// How many calls that change the disk there were: the number of the next one, as a
    /// [`Crash`](crate::Crash) counts them.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.running().changes
    }

    /// The faults that were met so far: which call, and of what. A folder is told by its name.
    #[must_use]
    pub fn met(&self) -> Vec<(Call, String)> {
        self.running().faults.met.clone()
    }

    /// How many of them there are.
    #[must_use]
    pub fn met_count(&self) -> usize {
        self.running().faults.met.len()
    }

    /// By how many bytes a buffer for reading was larger than what there was to read, at most: who takes
    /// memory for lengths that nobody checked is told by it.
    #[must_use]
    pub fn overread(&self) -> usize {
        self.running().overread
    }

    /// The disk holds so many sectors from now on; what needs more finds no space. `None` is no limit.
    pub fn limit(&self, sectors: Option<usize>) {
        self.running().disk.capacity = sectors;
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins: it is counted, and fails if it is to fail.
    fn begin(&self, call: Call, name: &str) -> io::Result<MutexGuard<'_, Running>> {
        let mut running = self.running();
        let outcome = running.begin(call, |_| name.to_owned())?;
        error_of(outcome)?;
        Ok(running)
    }
}

impl Running {
    /// The name is asked for where the call goes wrong.
    pub(crate) fn begin(
        &mut self,
        call: Call,
        name: impl FnOnce(&Disk) -> String,
    ) -> io::Result<Option<Outcome>> {
        if self.off {
            return Err(io::Error::from_raw_os_error(5));
        }
        if !matches!(call, Call::Open | Call::List | Call::Read) {
            self.changes += 1;
            if let Some(mut watcher) = self.watcher.take() {
                watcher(&self.disk);
                self.watcher = Some(watcher);
            }
        }
        let outcome = self.faults.next(call);
        if outcome.is_some() {
            self.faults.met.push((call, name(&self.disk)));
        }
        Ok(outcome)
    }

    fn need_folder(&self, name: &str) -> io::Result<()> {
        let there = match folder_of(name) {
            Folder::Quarantine => self.disk.names.has(QUARANTINE_FOLDER),
            _ => self.disk.names.has_log(),
        };
        if there { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
    }
}

impl Storage for SimDisk {
    fn create_log_folder(&self) -> io::Result<bool> {
        if self.running().disk.names.has_log() {
            return Ok(false);
        }
        self.begin(Call::CreateFolder, "")?.disk.names.put("", FOLDER_ID);
        Ok(true)
    }

    fn create_quarantine(&self) -> io::Result<()> {
        if self.running().disk.names.has(QUARANTINE_FOLDER) {
            return Ok(());
        }
        let mut running = self.begin(Call::CreateFolder, QUARANTINE_FOLDER)?;
        running.need_folder(QUARANTINE_FOLDER)?;
        running.disk.names.put(QUARANTINE_FOLDER, FOLDER_ID);
        Ok(())
    }

    fn list(&self, folder: Folder) -> io::Result<Vec<Listed>> {
        let running = self.begin(Call::List, folder_name(folder))?;
        let names = &running.disk.names;
        if folder == Folder::Log && !names.has_log() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let inside = names.live.iter().filter(|(name, _)| folder_of(name) == folder);
        let listed = inside.map(|(name, id)| {
            let file = running.disk.files.get(id);
            Listed {
                name: name.rsplit('/').next().unwrap_or(name).to_owned(),
                kind: if *id == FOLDER_ID { FileKind::Folder } else { FileKind::File },
                bytes: file.map_or(0, |file| as_u64(file.len())),
            }
        });
        Ok(listed.collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let running = self.begin(Call::Open, name)?;
        let id = running.disk.names.get(name)?;
        if id == FOLDER_ID {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Box::new(SimFile::new(self.clone(), id, access)))
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut running = self.begin(Call::CreateNew, name)?;
        running.need_folder(name)?;
        if running.disk.names.has(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let id = running.disk.create(name);
        Ok(Box::new(SimFile::new(self.clone(), id, Access::Write)))
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        let mut running = self.begin(Call::Rename, from)?;
        running.disk.names.get(from)?;
        running.need_folder(to)?;
        if replace == Replace::Never && running.disk.names.has(to) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        running.disk.names.rename(from, to);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // A look at what is not there changes nothing, so it is no moment of its own to lose power.
        self.running().disk.names.get(name)?;
        self.begin(Call::Remove, name)?.disk.names.remove(name);
        Ok(())
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        let mut running = self.begin(Call::SyncFolder, folder_name(folder))?;
        if folder == Folder::Quarantine {
            running.need_folder("quarantine/")?;
        }
        running.disk.names.sync(folder);
        Ok(())
    }

    fn lock(&self) -> io::Result<LockAttempt> {
        let mut running = self.running();
        running.need_folder(LOCK_FILE)?;
        if running.locked {
            return Ok(LockAttempt::HeldBy("another user of this disk".to_owned()));
        }
        running.locked = true;
        Ok(LockAttempt::Taken(LockGuard::new(Held(self.clone()))))
    }

    fn is_locked(&self) -> io::Result<bool> {
        Ok(self.running().locked)
    }

    fn link_out(&self, name: &str, target: &Path) -> io::Result<()> {
        // A change of another directory: no matter of this one's names, and durable when it is asked about.
        let mut running = self.running();
        let id = running.disk.names.get(name)?;
        if running.disk.outside.contains_key(target) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        running.disk.outside.insert(target.to_path_buf(), id);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("/simulated").join(name)
    }
}

/// The lock, which goes with whoever took it.
struct Held(SimDisk);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.running().locked = false;
    }
}

/// What a folder is called among the faults that were met.
fn folder_name(folder: Folder) -> &'static str {
    match folder {
        Folder::Log => "",
        Folder::Quarantine => QUARANTINE_FOLDER,
        Folder::Parent => "..",
    }
}

pub(crate) fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
