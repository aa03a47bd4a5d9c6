//! Segment files of a write-ahead log, and the seam below which the disk lies.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod dir;
pub mod error;
pub mod header;
pub mod map;
pub mod options;
pub mod os;
pub mod position;
pub mod reader;
pub mod stats;
pub mod storage;
pub mod verdict;
pub mod writer;

pub use dir::{Listing, SegmentFile};
pub use error::FileError;
pub use map::MappedWindow;
pub use options::{Modes, Preallocation};
pub use os::OsStorage;
pub use position::{ParsePositionError, Position, SegmentId};
pub use reader::{Advance, ReadMethod, Search, SegmentReader, SegmentStep, Tail};
pub use stats::SegmentStats;
pub use storage::{Access, FileKind, Folder, Listed, LockAttempt, LockGuard, Replace, Storage, StorageFile};
pub use verdict::{Fault, Reason, Verdict};
pub use writer::{Prepared, SegmentWriter, Space, WriteFailure};
