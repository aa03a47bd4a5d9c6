//! A write-ahead log for time-series databases.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod append;
mod backup;
mod commit;
mod commit_future;
mod decide;
mod error;
mod follow;
mod follow_event;
pub mod intent;
mod io;
mod log;
pub mod mark;
mod metrics;
#[cfg(all(test, any(wal_loom, wal_shuttle)))]
mod models;
mod options;
mod piece;
mod pipeline;
mod plan;
mod progress;
#[cfg(feature = "prometheus")]
mod prometheus;
mod quarantine;
mod reader;
mod recovery;
mod repair;
mod replay;
mod report;
mod rewrite;
mod scan;
mod shared;
mod skip;
mod sync;
mod track;
mod truncate;
mod view;
mod wait;
mod wal;

pub use backup::BackupReport;
pub use commit_future::CommitFuture;
pub use error::{Error, ErrorKind, Result};
pub use follow::Follower;
pub use follow_event::{FollowEvent, FollowOptions};
pub use log::{Log, NopWal};
pub use mark::MarkStatus;
pub use metrics::{Appended, SYNC_BUCKETS_NANOS, WalMetrics};
pub use options::{RecoveryMode, WalOptions};
pub use progress::ReadProgress;
#[cfg(feature = "prometheus")]
pub use prometheus::WalCollector;
/// The crate whose registry takes a [`WalCollector`], in the version that fits.
#[cfg(feature = "prometheus")]
pub use prometheus_client;
pub use quarantine::{list_quarantine, purge_quarantine, restore_quarantine};
pub use reader::{LogEntry, ReadEvent, ReadOptions, SegmentSummary, WalReader};
pub use recovery::{Recovery, inspect, inspect_with_progress};
pub use replay::ReplaySink;
pub use report::{Gap, Quarantined, RecoveryReport};
pub use scan::SegmentEnd;
pub use truncate::TruncateReport;
pub use wait::FollowHandle;
pub use wal::Wal;
pub use wal_format::{DecodeError, DeletesPayload, Payload, SamplesPayload, SeriesPayload, SeriesView};
pub use wal_segment::{Fault, Position, Preallocation, ReadMethod, Reason, SegmentStats, Verdict};
pub use wal_types::{Interval, Intervals, Label, Labels, Sample, Series, SeriesRef, Stone, StoneRow};
