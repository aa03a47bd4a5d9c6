//! A failed file operation, with the file and what was tried.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file of the log failed.
///
/// This is never a verdict on bytes: a file that cannot be read is not a damaged file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
    of_sync: bool,
}

impl FileError {
    /// `action` completes the sentence "cannot ... FILE".
    #[must_use]
    pub fn new(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self { action, path, source, of_sync: false }
    }

    /// The operation was a sync: whatever the operating system answered, it must not be asked again, so
    /// it is no full disk that room can mend.
    #[must_use]
    pub fn of_sync(mut self) -> Self {
        self.of_sync = true;
        self
    }

    /// What was tried, as a verb.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// The file or directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the operating system answered.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.source
    }

    /// Whether space or quota ran out: the one failure that time can mend, unless a sync said so.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        !self.of_sync && is_disk_full(&self.source)
    }
}

/// Whether the error says that space or quota ran out.
#[must_use]
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_action_file_and_cause() {
        let cause = io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let error = FileError::new("write to", PathBuf::from("/log/000001"), cause);
        assert!(error.is_disk_full());
        assert!(error.to_string().starts_with("cannot write to /log/000001: No space left"));
        assert!(!error.of_sync().is_disk_full(), "a failed sync is never asked again");
    }

    #[test]
    fn quota_is_a_full_disk_and_a_device_error_is_not() {
        assert!(is_disk_full(&io::Error::from_raw_os_error(nix::libc::EDQUOT)));
        assert!(!is_disk_full(&io::Error::from_raw_os_error(nix::libc::EIO)));
    }
}
