//! How a log is opened: every setting with its default and the reason for it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use wal_format::layout;
use wal_segment::{Modes, Preallocation, ReadMethod, Space};

use crate::error::{Error, ErrorKind, Result};

/// What opening may do about a log that is not clean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecoveryMode {
    /// Any fault is an error, and nothing is changed.
    Strict,
    /// A torn tail is trimmed; damage is an error, and nothing is changed.
    TolerateTornTail,
    /// The log ends at the first fault; the rest goes to quarantine. The default, and what the
    /// reference does, except that the reference deletes.
    #[default]
    PointInTime,
    /// Reading goes on at the next valid entry, through all segments; the gaps go to quarantine.
    SkipDamaged,
}

impl fmt::Display for RecoveryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::TolerateTornTail => "tolerate-torn-tail",
            Self::PointInTime => "point-in-time",
            Self::SkipDamaged => "skip-damaged",
        })
    }
}

impl FromStr for RecoveryMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "strict" => Ok(Self::Strict),
            "tolerate-torn-tail" => Ok(Self::TolerateTornTail),
            "point-in-time" => Ok(Self::PointInTime),
            "skip-damaged" => Ok(Self::SkipDamaged),
            other => Err(Error::new(
                ErrorKind::InvalidOptions,
                format!("unknown recovery mode {other:?}"),
                "use strict, tolerate-torn-tail, point-in-time or skip-damaged",
            )),
        }
    }
}

/// Settings of a log. Nothing of them is stored: the next open may use others.
#[derive(Clone, Debug)]
pub struct WalOptions {
    pub(crate) segment_bytes_max: u64,
    pub(crate) preallocation: Preallocation,
    pub(crate) window_bytes: u64,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) recovery_mode: RecoveryMode,
    pub(crate) buffer_bytes: usize,
    pub(crate) entry_bytes_max: u32,
    pub(crate) read_entry_bytes_max: u64,
    pub(crate) modes: Modes,
    pub(crate) replay_threads: usize,
    pub(crate) read_method: ReadMethod,
    pub(crate) strict_payloads: bool,
    pub(crate) background_thread: bool,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 256 << 20,
            preallocation: Preallocation::default(),
            window_bytes: 1 << 20,
            flush_interval: None,
            recovery_mode: RecoveryMode::default(),
            buffer_bytes: 512 << 10,
            entry_bytes_max: layout::ENTRY_BYTES_MAX_DEFAULT,
            read_entry_bytes_max: 128 << 20,
            modes: Modes::default(),
            replay_threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(4)),
            read_method: ReadMethod::default(),
            strict_payloads: false,
            background_thread: true,
        }
    }
}

impl WalOptions {
    /// The size above which a segment does not grow, in bytes; an entry that is larger alone gets a
    /// segment to itself. Default 256 MiB, as in the reference. At least 64.
    #[must_use]
    pub fn segment_bytes_max(mut self, bytes: u64) -> Self {
        self.segment_bytes_max = bytes;
        self
    }

    /// What is done to a file's space before entries go into it. Default [`Preallocation::ZeroFill`].
    #[must_use]
    pub fn preallocation(mut self, preallocation: Preallocation) -> Self {
        self.preallocation = preallocation;
        self
    }

    /// How much space is prepared at once, in bytes. Default 1 MiB: eight thousand small commits
    /// between two preparations, and a small log stays small. Where syncs are usually of more than an
    /// eighth of it nothing is prepared: to write so much twice takes longer than to let the file grow.
    #[must_use]
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Syncs in the background this often, so that an append that nobody commits is lost only within
    /// the interval. Default none: only `commit` and `sync` make anything durable.
    #[must_use]
    pub fn flush_interval(mut self, interval: Option<Duration>) -> Self {
        self.flush_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// What opening may do about a log that is not clean. Default [`RecoveryMode::PointInTime`].
    #[must_use]
    pub fn recovery_mode(mut self, mode: RecoveryMode) -> Self {
        self.recovery_mode = mode;
        self
    }

    /// Size of each of the write buffers, in bytes. Default 512 KiB: large enough that one write costs
    /// little per byte. At least 4 KiB.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// The largest entry that is written, in bytes of payload; a batch above it is split. Default
    /// 64 MiB. A single item above it is an error.
    #[must_use]
    pub fn entry_bytes_max(mut self, bytes: u32) -> Self {
        self.entry_bytes_max = bytes;
        self
    }

    /// The largest entry that is read, in bytes: the bound of what reading allocates. Default 128 MiB.
    /// A valid entry above it is the error [`ErrorKind::TooLarge`], never damage.
    #[must_use]
    pub fn read_entry_bytes_max(mut self, bytes: u64) -> Self {
        self.read_entry_bytes_max = bytes;
        self
    }

    /// Permission bits of files that are created, less the umask. Default 0640.
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.modes.file = mode;
        self
    }

    /// Permission bits of directories that are created, less the umask. Default 0750.
    #[must_use]
    pub fn dir_mode(mut self, mode: u32) -> Self {
        self.modes.dir = mode;
        self
    }

    /// How many threads check and decode during replay. The one that calls the sink is among them whenever it
    /// would wait for the others. Default the number of cores, at most 4. With 1 everything happens on the calling
    /// thread.
    #[must_use]
    pub fn replay_threads(mut self, threads: usize) -> Self {
        self.replay_threads = threads.max(1);
        self
    }

    /// How replay reads. Default positioned reads; [`ReadMethod::Mapped`] reads through mapped windows
    /// on the calling thread, where a cut of the file by someone who ignores the lock, or an I/O error,
    /// kills the process.
    #[must_use]
    pub fn read_method(mut self, method: ReadMethod) -> Self {
        self.read_method = method;
        self
    }

    /// Makes an entry that does not decode an error of opening. Default false: it is skipped, counted
    /// and reported.
    #[must_use]
    pub fn strict_payloads(mut self, strict: bool) -> Self {
        self.strict_payloads = strict;
        self
    }

    /// Whether the log has a thread of its own, for the flush interval, for commits that wait behind
    /// others, and for preparing the next segment. Default true; without it the calling threads do all
    /// the work, and the flush interval is not served.
    #[must_use]
    pub fn background_thread(mut self, wanted: bool) -> Self {
        self.background_thread = wanted;
        self
    }

    /// How space is prepared in the files that the log writes.
    pub(crate) fn space(&self) -> Space {
        Space {
            preallocation: self.preallocation,
            window_bytes: self.window_bytes,
            segment_bytes_max: self.segment_bytes_max,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what: &str, next: &str| Err(Error::new(ErrorKind::InvalidOptions, what, next));
        if self.segment_bytes_max < 64 {
            return invalid("segment_bytes_max is too small", "give at least 64 bytes");
        }
        if self.buffer_bytes < 4096 {
            return invalid("buffer_bytes is too small", "give at least 4096 bytes");
        }
        if self.entry_bytes_max < 64 {
            return invalid("entry_bytes_max is too small", "give at least 64 bytes");
        }
        if self.window_bytes < 4096 && self.preallocation != Preallocation::None {
            return invalid("window_bytes is too small", "give at least 4096 bytes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_reads_back_from_its_name() {
        use RecoveryMode::{PointInTime, SkipDamaged, Strict, TolerateTornTail};
        for mode in [Strict, TolerateTornTail, PointInTime, SkipDamaged] {
            assert_eq!(mode.to_string().parse::<RecoveryMode>().unwrap(), mode);
        }
        assert_eq!("lenient".parse::<RecoveryMode>().unwrap_err().kind(), ErrorKind::InvalidOptions);
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        assert!(WalOptions::default().check().is_ok());
        for bad in [
            WalOptions::default().segment_bytes_max(8),
            WalOptions::default().buffer_bytes(0),
            WalOptions::default().entry_bytes_max(1),
            WalOptions::default().window_bytes(1),
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::InvalidOptions);
        }
    }
}
