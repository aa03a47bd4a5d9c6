//! The storage seam: all that the log asks of a disk, in two small traits.
//!
//! Everything above is pure or goes through here, so a simulated disk, a failing one or a
//! recording one takes the place of the real one without a change above. The comments on the
//! methods are contracts: what is durable when the call returns, and what may run beside it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::MappedWindow;

/// The directories of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Folder {
    /// The log directory itself.
    Log,
    /// `quarantine/` in it, where repair puts what it cuts.
    Quarantine,
    /// The directory that holds the log directory.
    Parent,
}

/// What a directory entry is, without following it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link, a FIFO, a socket or a device: never opened.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name; bytes that are not UTF-8 are replaced, and such a name is never opened.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes (0 for what is no regular file).
    pub bytes: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// For reading; works on a read-only file system.
    Read,
    /// For reading and writing.
    Write,
}

/// Whether a rename may replace the file that bears the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replace {
    /// An existing file is an error of kind `AlreadyExists`.
    Never,
    /// An existing file is replaced; at no moment is there none of the name.
    Allowed,
}

/// The answer to a request for the writer's lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// It is ours until the guard is dropped or the process ends.
    Taken(LockGuard),
    /// Another holds it; the text says who, as far as is known.
    HeldBy(String),
}

/// Holds the writer's lock; dropping it lets go.
pub struct LockGuard {
    _held: Box<dyn Send + Sync>,
}

impl LockGuard {
    /// Wraps what holds the lock as long as it lives.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// The directory of one log. Names are relative to it; those in quarantine begin with
/// `quarantine/`. Safe to share: every method may run beside every other.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Creates the log directory (and what is missing above it) with the given permission bits.
    /// Returns whether it was missing. Its own name is not durable until `sync_folder(Parent)`; the
    /// names of directories made above it are.
    fn create_log_folder(&self) -> io::Result<bool>;

    /// Creates `quarantine/` unless it is there. Durable after `sync_folder(Log)`.
    fn create_quarantine(&self) -> io::Result<()>;

    /// The names in a folder, in no order. A missing quarantine is an empty one.
    fn list(&self, folder: Folder) -> io::Result<Vec<Listed>>;

    /// Opens an existing regular file. Links are not followed, and nothing blocks on a FIFO: what is
    /// no regular file is an error of kind `InvalidInput`.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>>;

    /// Creates a file that must not exist yet, for reading and writing, empty. Neither the name nor
    /// later contents are durable: the name needs `sync_folder`, the contents `StorageFile::sync`.
    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Gives a file another name, at once for everyone who looks. Durable after `sync_folder` of the
    /// folder (both, when it moves between two); until then power loss may leave either name.
    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()>;

    /// Removes a name. Durable after `sync_folder`; until then power loss may bring it back.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all earlier changes of names in the folder durable. After an error nothing is known
    /// about them, and asking again proves nothing.
    fn sync_folder(&self, folder: Folder) -> io::Result<()>;

    /// Asks for the writer's lock without waiting. It dies with the process.
    fn lock(&self) -> io::Result<LockAttempt>;

    /// Whether a writer holds the lock. Takes and writes nothing, and needs no permission to write.
    fn is_locked(&self) -> io::Result<bool>;

    /// Hard-links or copies nothing by itself: gives `name` a second name outside the log, where the
    /// file system can. The target must not exist.
    fn link_out(&self, name: &str, target: &std::path::Path) -> io::Result<()>;

    /// The path to show people for a name; the empty name is the log directory.
    fn path(&self, name: &str) -> PathBuf;
}

/// One open file. Reads and writes are positioned, so threads need no order among themselves;
/// the log never writes the same file from two threads at once.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// The size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the size is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at most `buffer.len()` bytes; 0 means the end of the file. May return fewer than asked.
    /// Interrupted calls are taken up again.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at most `bytes.len()` bytes, and may write fewer. Readers see them at once; power loss
    /// before `sync` may keep, lose, reorder or tear them at sectors. Interrupted calls are taken up again.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes contents and size durable (fdatasync). After an error the written pages may be lost
    /// while reads still show them: never ask again, reopen.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with a hole of zeros. Durable after `sync`.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Reserves space, which reads as zeros, and extends the file over it. `Unsupported` where the
    /// file system does not offer it. Durable after `sync`.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()>;

    /// How many names the file has; above one, a backup shares it and it must not be changed in place.
    fn links(&self) -> io::Result<u64>;

    /// Maps a part of the file for reading. Only for files that nobody can cut meanwhile: see
    /// [`MappedWindow`]. Implementations without memory to map answer `Unsupported`.
    fn map(&self, offset: u64, bytes: usize) -> io::Result<MappedWindow> {
        let _ = (offset, bytes);
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Reads until the buffer is full or `len` is reached; returns how many bytes that were.
///
/// # Errors
/// Whatever reading says.
pub fn read_up_to(file: &dyn StorageFile, buffer: &mut [u8], offset: u64, len: u64) -> io::Result<usize> {
    let room = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
    let wanted = buffer.len().min(room);
    let mut have = 0;
    while have < wanted {
        let at = offset + u64::try_from(have).unwrap_or(u64::MAX);
        let Some(rest) = buffer.get_mut(have..wanted) else { break };
        match file.read_at(rest, at)? {
            0 => break,
            n => have += n,
        }
    }
    Ok(have)
}

/// A buffer of zeros for reading from one offset to another in pieces of at most `bytes_max`: never
/// larger than what there is to read.
#[must_use]
pub fn piece_buffer(from: u64, to: u64, bytes_max: usize) -> Vec<u8> {
    vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX).min(bytes_max)]
}

/// Writes all bytes, however many calls that takes.
///
/// # Errors
/// The first failure, with how many bytes had been written before it. A call that writes nothing
/// without an error is `WriteZero`.
pub fn write_all_at(file: &dyn StorageFile, bytes: &[u8], offset: u64) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + u64::try_from(done).unwrap_or(u64::MAX);
        match file.write_at(rest, at) {
            Ok(0) => return Err((done, io::Error::from(io::ErrorKind::WriteZero))),
            Ok(n) => done += n,
            Err(error) => return Err((done, error)),
        }
    }
    Ok(())
}
