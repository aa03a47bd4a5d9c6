//! What reading found: reasons for ending, and what they are judged to be.

use std::fmt;

use wal_format::EntryFault;

use crate::Position;

/// The judgement on a log or on a fault in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every byte is accounted for.
    #[default]
    Clean,
    /// The last write was cut short: normal after a crash. Nothing durable is missing.
    Torn,
    /// Bytes that were written are not what was written.
    Damaged,
    /// A segment of a version that this library does not know. It is left alone.
    Unsupported,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Torn => "torn",
            Self::Damaged => "damaged",
            Self::Unsupported => "unsupported",
        })
    }
}

/// Why reading a segment stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file has no bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Fewer bytes than a header, and the beginning of the right one.
    #[error("the header is cut short after {have} bytes")]
    ShortHeader {
        /// How many bytes there are.
        have: u64,
    },
    /// The file holds nothing but zero bytes, where a header should be.
    #[error("the file holds only zero bytes ({have} of them), not even a header")]
    ZeroHeader {
        /// How many bytes there are.
        have: u64,
    },
    /// The first four bytes are not those of a segment.
    #[error("wrong magic number {0:#010x}: not a segment of this format, or its header is damaged")]
    WrongMagic(u32),
    /// A version other than 1.
    #[error("format version {0} is not supported (this library knows version 1)")]
    UnsupportedVersion(u8),
    /// No whole, valid entry lies here.
    #[error("{0}")]
    Entry(#[from] EntryFault),
    /// The end mark is followed by something other than zeros.
    #[error("bytes other than zero follow the end mark, the first at offset {first_at}")]
    AfterEndMark {
        /// Offset of the first such byte.
        first_at: u64,
    },
    /// The segment ends before bytes that a sync had made durable.
    #[error("the segment ends here, below the durable mark at offset {mark}")]
    EndsBelowMark {
        /// The offset that the mark names.
        mark: u64,
    },
    /// A name of a segment that is no regular file.
    #[error("not a regular file")]
    NotAFile,
}

impl Reason {
    /// Whether the fault lies in the header, so that nothing of the segment can be read in order.
    #[must_use]
    pub fn is_header_fault(&self) -> bool {
        matches!(
            self,
            Self::Empty
                | Self::ShortHeader { .. }
                | Self::ZeroHeader { .. }
                | Self::WrongMagic(_)
                | Self::UnsupportedVersion(_)
                | Self::NotAFile
        )
    }
}

/// A place where the log cannot be read on, why, and what that is judged to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: for an entry, its first byte; for a header, offset 0; for a version, offset 4.
    pub at: Position,
    /// What was found there.
    pub reason: Reason,
    /// Torn, damaged or unsupported.
    pub verdict: Verdict,
    /// Whether an entry with a valid checksum starts somewhere behind it in the same segment.
    /// `None` where nobody needed to look, or where the search gave up (see
    /// [`wal_format::Resync`]).
    pub entry_behind: Option<u64>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.verdict, self.at, self.reason)?;
        if let Some(offset) = self.entry_behind {
            write!(f, "; a valid entry starts behind it, at offset {offset}")?;
        }
        Ok(())
    }
}
