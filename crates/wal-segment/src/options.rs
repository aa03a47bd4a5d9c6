//! How segment files are made.

/// What is done to a file's space before entries go into it.
///
/// The format makes all three readable: a zero where an entry should begin is the end mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preallocation {
    /// Nothing: the file grows with every write, and every sync also writes its size.
    None,
    /// `fallocate` in windows. Where the file system does not offer it, zeros are written instead.
    /// The first write to each block still converts an extent, so a sync may commit the journal.
    Fallocate,
    /// Zeros are written and synced in windows ahead of the tail, so that a small commit touches no
    /// file-system metadata. The default: the fastest small commits, and the only strategy that lost
    /// nothing under forced shutdowns of ext4.
    #[default]
    ZeroFill,
}

/// Permission bits of what the log creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// For files; 0640 by default, less the umask.
    pub file: u32,
    /// For directories; 0750 by default, less the umask.
    pub dir: u32,
}

impl Default for Modes {
    fn default() -> Self {
        Self { file: 0o640, dir: 0o750 }
    }
}
