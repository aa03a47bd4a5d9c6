//! How a log is followed, and what following it can come to.

use std::time::Duration;

use wal_format::DecodeError;
use wal_segment::{Fault, Position};

use crate::reader::LogEntry;

/// How a [`Follower`](crate::Follower) reads.
#[derive(Clone, Copy, Debug)]
pub struct FollowOptions {
    pub(crate) start: Option<Position>,
    pub(crate) checksum: Option<u32>,
    pub(crate) durable_only: bool,
    pub(crate) entry_bytes_max: u64,
    pub(crate) poll_interval: Duration,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            start: None,
            checksum: None,
            durable_only: false,
            entry_bytes_max: 128 << 20,
            poll_interval: Duration::from_millis(100),
        }
    }
}

impl FollowOptions {
    /// Start at this position: an entry's first byte or its end. Default the first entry there is. A
    /// segment that does not exist yet is waited for, when the position is its first.
    #[must_use]
    pub fn from(mut self, from: Position) -> Self {
        (self.start, self.checksum) = (Some(from), None);
        self
    }

    /// Go on behind an entry that was read before: its [`end`](LogEntry::end) and its checksum. When
    /// the log is no longer the same there, that is told by an event.
    #[must_use]
    pub fn resume(mut self, end: Position, checksum: u32) -> Self {
        (self.start, self.checksum) = (Some(end), Some(checksum));
        self
    }

    /// Yield only what survives power loss: up to the durable mark; in a log without one, only finished
    /// segments. Default false: also what a crash may take back.
    #[must_use]
    pub fn durable_only(mut self, durable_only: bool) -> Self {
        self.durable_only = durable_only;
        self
    }

    /// The largest entry that is read, in bytes. Default 128 MiB.
    #[must_use]
    pub fn entry_bytes_max(mut self, bytes: u64) -> Self {
        self.entry_bytes_max = bytes;
        self
    }

    /// How often to look where the system gives no notifications. Default 100 ms; at least 1 ms,
    /// at most a minute.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }
}

/// What comes next in a log that is followed.
#[derive(Debug)]
#[non_exhaustive]
pub enum FollowEvent<'a> {
    /// An entry.
    Entry(LogEntry<'a>),
    /// An entry with a valid checksum that does not decode; it is skipped.
    Malformed {
        /// Where it begins.
        at: Position,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Bytes that cannot be read, in a finished segment or below the durable mark. The next call goes on
    /// behind them, at the next valid entry.
    Fault(Fault),
    /// What lay from `asked` on is gone: truncated, or set aside by a repair.
    Moved {
        /// Where reading should have gone on.
        asked: Position,
        /// Where it goes on.
        now: Position,
    },
    /// The log ends before what was read, or differs from there on: power loss, a repair, or a full disk
    /// took entries back that were not durable. What stands from `now` on is yielded, even if it was
    /// before.
    Rewound {
        /// Up to where it was read.
        asked: Position,
        /// Where it goes on.
        now: Position,
    },
    /// Other bytes stand where the log was read: a truncation or a repair wrote the segment anew. What a
    /// truncation kept of segments not read yet may lie in it: who needs every series reads the log
    /// again from the start.
    Rewritten {
        /// Up to where it was read.
        asked: Position,
        /// Where it goes on: the segment's first entry when resuming, else the next segment.
        now: Position,
    },
}
