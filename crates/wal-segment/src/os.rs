//! The real storage: one directory of a Linux file system.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, FallocateFlags, FcntlArg, OFlag, RenameFlags};
use nix::libc;

use crate::storage::{
    Access, FileKind, Folder, Listed, LockAttempt, LockGuard, Replace, Storage, StorageFile,
};
use crate::{MappedWindow, Modes};

/// The name of the lock file in the log directory.
pub const LOCK_FILE: &str = "lock";
/// The name of the quarantine in the log directory.
pub const QUARANTINE_FOLDER: &str = "quarantine";

/// A log directory on a real file system.
#[derive(Debug)]
pub struct OsStorage {
    dir: PathBuf,
    modes: Modes,
}

impl OsStorage {
    /// Storage at `dir`, which need not exist yet. Touches nothing.
    #[must_use]
    pub fn new(dir: &Path, modes: Modes) -> Self {
        Self { dir: dir.to_path_buf(), modes }
    }

    fn folder(&self, folder: Folder) -> PathBuf {
        match folder {
            Folder::Log => self.dir.clone(),
            Folder::Quarantine => self.dir.join(QUARANTINE_FOLDER),
            Folder::Parent => match self.dir.parent() {
                Some(parent) if parent != Path::new("") => parent.to_path_buf(),
                Some(_) => PathBuf::from("."),
                None => PathBuf::from("/"),
            },
        }
    }

    /// Creates the log directory and what is missing above it, from above; every name but the last is
    /// durable before the next one is made.
    fn create_with_parents(&self) -> io::Result<()> {
        let mut missing = vec![self.dir.clone()];
        let mut there = self.folder(Folder::Parent);
        while let Err(error) = fs::metadata(&there) {
            let above = Self::new(&there, self.modes).folder(Folder::Parent);
            if error.kind() != io::ErrorKind::NotFound || above == there {
                return Err(error);
            }
            missing.push(std::mem::replace(&mut there, above));
        }
        // DURABILITY: create-parents. An earlier try may have made this one and died before it was synced.
        match File::open(there.join("..")).and_then(|above| above.sync_all()) {
            // A place that is not ours to open was made by someone else, with its name.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        while let Some(dir) = missing.pop() {
            match DirBuilder::new().mode(self.modes.dir).create(&dir) {
                // Somebody else made it in this moment.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => {
                    return Err(error);
                }
                _ => {}
            }
            if !missing.is_empty() {
                // DURABILITY: create-parents. Else the whole log could vanish with the name of a directory
                // above it.
                File::open(&there)?.sync_all()?;
                there = dir;
            }
        }
        Ok(())
    }
}

impl Storage for OsStorage {
    fn create_log_folder(&self) -> io::Result<bool> {
        match fs::metadata(&self.dir) {
            Ok(found) if found.is_dir() => Ok(false),
            Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_with_parents()?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn create_quarantine(&self) -> io::Result<()> {
        let path = self.folder(Folder::Quarantine);
        match DirBuilder::new().mode(self.modes.dir).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A link here would lead what is cut out of the log directory.
                if fs::symlink_metadata(&path)?.is_dir() { Ok(()) } else { Err(error) }
            }
            other => other,
        }
    }

    fn list(&self, folder: Folder) -> io::Result<Vec<Listed>> {
        let path = self.folder(folder);
        if folder == Folder::Quarantine {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Ok(Vec::new()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        let mut listed = Vec::new();
        for entry in retry(|| fs::read_dir(&path))? {
            let entry = entry?;
            let Some(found) = metadata_unless_gone(&entry)? else { continue };
            let kind = match found.file_type() {
                t if t.is_file() => FileKind::File,
                t if t.is_dir() => FileKind::Folder,
                _ => FileKind::Other,
            };
            let bytes = if kind == FileKind::File { found.len() } else { 0 };
            listed.push(Listed { name: shown(&entry.file_name()), kind, bytes });
        }
        Ok(listed)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let write = access == Access::Write;
        open_regular(OpenOptions::new().read(true).write(write), &self.dir.join(name))
            .map(|file| Box::new(OsFile(file)) as _)
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(self.modes.file)
            .open(self.dir.join(name))?;
        Ok(Box::new(OsFile(file)))
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        let (from, to) = (self.dir.join(from), self.dir.join(to));
        if replace == Replace::Allowed {
            return fs::rename(from, to);
        }
        let here = fcntl::AT_FDCWD;
        match fcntl::renameat2(here, &from, here, &to, RenameFlags::RENAME_NOREPLACE) {
            // A file system without the flag: the lock makes us the only one who renames here, so
            // looking first is as good.
            Err(Errno::EINVAL | Errno::ENOSYS) => match fs::symlink_metadata(&to) {
                Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                Err(error) => Err(error),
            },
            other => other.map_err(io::Error::from),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        // Only a folder: opening a pipe would wait for its other end. A link is followed to the log
        // directory, which its user named, but not to a quarantine.
        let no_link = if folder == Folder::Quarantine { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        let flags = (OFlag::O_DIRECTORY | no_link).bits();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(self.folder(folder));
        let opened = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory if folder == Folder::Quarantine => not_a_folder(),
            _ => error,
        })?;
        opened.sync_all()
    }

    fn lock(&self) -> io::Result<LockAttempt> {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(self.modes.file);
        let mut file = open_regular(&mut how, &self.dir.join(LOCK_FILE))?;
        let found = file.metadata()?;
        let whole = whole_file_lock();
        loop {
            match fcntl::fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole)) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(LockAttempt::HeldBy(holder(&file))),
                Err(error) => return Err(error.into()),
            }
        }
        // For people only: who holds it. Neither durable nor believed. A full disk must not keep a
        // log shut, so a failure here is none. A file that has another name too is not ours alone.
        if found.nlink() == 1 {
            let _ = file
                .set_len(0)
                .and_then(|()| file.write_all(format!("process {}\n", std::process::id()).as_bytes()));
        }
        Ok(LockAttempt::Taken(LockGuard::new(HeldLock(file))))
    }

    fn is_locked(&self) -> io::Result<bool> {
        let file = match open_regular(OpenOptions::new().read(true), &self.dir.join(LOCK_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut asked = whole_file_lock();
        fcntl::fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut asked))?;
        Ok(i32::from(asked.l_type) != libc::F_UNLCK)
    }

    fn link_out(&self, name: &str, target: &Path) -> io::Result<()> {
        fs::hard_link(self.dir.join(name), target)
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.clone() } else { self.dir.join(name) }
    }
}

/// The lock file while we hold the lock.
struct HeldLock(File);

impl Drop for HeldLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a copy of the descriptor, as a child process between
        // fork and exec has one. Nobody is left to hear of a failure, and closing follows.
        let mut unlock = whole_file_lock();
        unlock.l_type = i16::try_from(libc::F_UNLCK).unwrap_or(2);
        let _ = fcntl::fcntl(self.0.as_fd(), FcntlArg::F_OFD_SETLK(&unlock));
    }
}

/// A file of the real file system.
#[derive(Debug)]
struct OsFile(File);

impl StorageFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| self.0.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        retry(|| self.0.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let signed = |n: u64| i64::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
        let (offset, bytes) = (signed(offset)?, signed(bytes)?);
        loop {
            match fcntl::fallocate(self.0.as_fd(), FallocateFlags::empty(), offset, bytes) {
                Err(Errno::EINTR) => {}
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => {
                    return Err(io::Error::from(io::ErrorKind::Unsupported));
                }
                other => return other.map_err(io::Error::from),
            }
        }
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.nlink())
    }

    fn map(&self, offset: u64, bytes: usize) -> io::Result<MappedWindow> {
        MappedWindow::new(&self.0, offset, bytes)
    }
}

/// Takes an interrupted call up again: a signal is none of the log's business.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Opens what is a regular file, or is not there yet. Anything else is refused, if it can be without having been
/// opened: that alone can do something to a device, or to who waits at a pipe.
fn open_regular(how: &mut OpenOptions, path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(not_a_file()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // It may have been put there since: a link is not followed, nothing is waited for, and it is looked at again.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = how.custom_flags(flags.bits()).open(path).map_err(|error| match error.raw_os_error() {
        // A link, a folder opened for writing, a socket: the system's own words do not say so.
        Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => not_a_file(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_a_file()) }
}

fn not_a_folder() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a folder")
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// What lies behind a name, or nothing when it went away since the directory was read: a writer
/// may be at work beside a reader.
fn metadata_unless_gone(entry: &fs::DirEntry) -> io::Result<Option<fs::Metadata>> {
    match entry.metadata() {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// An open-file-description lock: it belongs to the open file, so two logs in one process exclude
/// each other too, and it ends with the process.
fn whole_file_lock() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or(1),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn holder(file: &File) -> String {
    let mut text = [0_u8; 64];
    let have = file.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(text.get(..have).unwrap_or_default());
    match text.trim() {
        "" => "another process".to_owned(),
        known => known.to_owned(),
    }
}
