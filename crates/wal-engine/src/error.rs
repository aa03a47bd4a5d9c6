//! The error of the log: what failed, where, why, and what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wal_segment::{Fault, FileError, Position, Verdict};

/// What kind of failure it is, for programs; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file operation failed. Never a statement about the bytes of the log.
    Io,
    /// Another writer holds the log.
    Locked,
    /// The path is no directory, or does not exist.
    NotADirectory,
    /// A segment of a version that this library does not know.
    Unsupported,
    /// The log has a torn tail, and the recovery mode does not allow to cut it.
    Torn,
    /// The log is damaged, and the recovery mode does not allow to go on.
    Damaged,
    /// An entry does not decode, and payloads are strict.
    Malformed,
    /// An entry or item is larger than the limit set.
    TooLarge,
    /// Space or quota ran out. Everything accepted is kept; calling again tries again.
    DiskFull,
    /// An earlier failure left it unknown what is on disk. Reopening recovers.
    Poisoned,
    /// The log was closed or dropped before a commit could be answered.
    Closed,
    /// The position lies behind the end of the log.
    BeyondEnd,
    /// A truncation was asked for by the `keep` of a running one.
    Nested,
    /// An option has a value that cannot work.
    InvalidOptions,
    /// Segment numbers are used up.
    NumbersExhausted,
    /// The position asked for is no longer, or not yet, in the log.
    NoSuchPosition,
}

/// A failed operation of the log. Cheap to clone: every waiter of a failed commit gets one.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    path: Option<PathBuf>,
    position: Option<Position>,
    cause: Option<String>,
    io_kind: Option<io::ErrorKind>,
    next: String,
}

/// The usual result of a call to the log.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The place in the log, where there is one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// The file or directory, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What the operating system said, where it was asked.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.0.io_kind
    }

    /// What to do next: the last part of the message.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.0.next
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            what: what.into(),
            path: None,
            position: None,
            cause: None,
            io_kind: None,
            next: next.into(),
        }))
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    pub(crate) fn with_path(self, path: PathBuf) -> Self {
        self.edit(|inner| inner.path = Some(path))
    }

    pub(crate) fn with_position(self, position: Position) -> Self {
        self.edit(|inner| inner.position = Some(position))
    }

    pub(crate) fn with_cause(self, cause: &dyn fmt::Display) -> Self {
        self.edit(|inner| inner.cause = Some(cause.to_string()))
    }

    /// A failed file operation, told as a full disk where it was one.
    pub(crate) fn file(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self::from(FileError::new(action, path, source))
    }

    /// The log is unusable until it is reopened.
    pub(crate) fn poisoned(cause: &Self) -> Self {
        let what = "the log is closed to further use after an earlier failure";
        let next = "reopen the log: recovery keeps everything that was durable";
        let mut error = Self::new(ErrorKind::Poisoned, what, next).with_cause(&cause.sentence());
        if let Some(path) = cause.path() {
            error = error.with_path(path.to_path_buf());
        }
        error.edit(|inner| inner.io_kind = cause.0.io_kind)
    }

    /// A fault that the recovery mode does not allow to repair.
    pub(crate) fn fault(fault: &Fault, path: PathBuf) -> Self {
        let (kind, what, next) = match fault.verdict {
            Verdict::Unsupported => (
                ErrorKind::Unsupported,
                "a segment has an unknown version",
                "nothing was changed; open it with the program that wrote it",
            ),
            Verdict::Torn => (
                ErrorKind::Torn,
                "the log has a torn tail",
                "nothing was changed; open it in the mode tolerate-torn-tail or point-in-time, or run `wal repair`",
            ),
            Verdict::Clean | Verdict::Damaged => (
                ErrorKind::Damaged,
                "the log is damaged",
                "nothing was changed; `wal repair DIR` shows what point-in-time or skip-damaged would keep",
            ),
        };
        Self::new(kind, what, next).with_path(path).with_position(fault.at).with_cause(&fault.reason)
    }

    /// The message without the advice.
    fn sentence(&self) -> String {
        let inner = &self.0;
        let mut text = inner.what.clone();
        let path = inner.path.as_ref().map(|path| path.display().to_string());
        if let Some(path) = path.filter(|path| !text.contains(path)) {
            text = format!("{text}: {path}");
        }
        if let Some(position) = inner.position {
            text = format!("{text}, segment {} offset {}", position.segment, position.offset);
        }
        if let Some(cause) = &inner.cause {
            text = format!("{text}: {cause}");
        }
        text
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let (kind, next) = match error.io().kind() {
            _ if error.is_disk_full() => (
                ErrorKind::DiskFull,
                "make room on the disk or truncate the log; nothing accepted is lost, and the next call tries again",
            ),
            io::ErrorKind::NotADirectory => (ErrorKind::NotADirectory, "give the directory of a log"),
            io::ErrorKind::NotFound => (ErrorKind::Io, "check the path"),
            io::ErrorKind::PermissionDenied => {
                (ErrorKind::Io, "check owner and permissions of the log directory and its files")
            }
            io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::Io, "mount the file system writable"),
            io::ErrorKind::InvalidInput => (
                ErrorKind::Io,
                "a name of the log must be a regular file; move the other thing out of the directory",
            ),
            _ => (
                ErrorKind::Io,
                "nothing was concluded about the log's contents; mend the cause and try again",
            ),
        };
        let what = format!("cannot {} {}", error.action(), error.path().display());
        Self::new(kind, what, next)
            .with_path(error.path().to_path_buf())
            .with_cause(error.io())
            .edit(|inner| inner.io_kind = Some(error.io().kind()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; next: {}", self.sentence(), self.0.next)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_says_what_where_why_and_what_next() {
        let error = Error::file(
            "write to",
            PathBuf::from("/log/000002"),
            io::Error::from(io::ErrorKind::StorageFull),
        );
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        let text = error.to_string();
        for part in ["cannot write to /log/000002", "no storage space", "next: make room"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("/log/000002").count(), 1, "{text}");
    }

    #[test]
    fn poison_carries_the_first_cause() {
        let cause = Error::file("sync", PathBuf::from("/log/000002"), io::Error::other("broken cable"));
        let poisoned = Error::poisoned(&cause);
        assert_eq!(poisoned.kind(), ErrorKind::Poisoned);
        assert!(poisoned.to_string().contains("broken cable"));
        assert!(poisoned.to_string().contains("reopen"));
    }
}
