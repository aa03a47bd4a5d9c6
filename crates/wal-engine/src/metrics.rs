//! Counters of a running log, read as one plain snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a log has done since it was opened, and how it stands. All sums; a reader takes differences.
///
/// `sync_*` is what the reference exports as `prometheus_tsdb_wal_fsync_duration_seconds`,
/// `corruptions` is its `prometheus_tsdb_wal_corruptions_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalMetrics {
    /// Entries accepted.
    pub appended_entries: u64,
    /// Bytes accepted, frames included.
    pub appended_bytes: u64,
    /// Bytes written to segment files.
    pub written_bytes: u64,
    /// Bytes accepted that no sync has covered yet.
    pub unsynced_bytes: u64,
    /// Syncs of segment files that succeeded.
    pub syncs: u64,
    /// Time spent in them, in nanoseconds.
    pub sync_nanos_total: u64,
    /// The longest of them, in nanoseconds.
    pub sync_nanos_max: u64,
    /// Writes and syncs of segments that failed, a full disk included.
    pub failures: u64,
    /// Writes of the durable mark that failed; commits succeed all the same.
    pub mark_failures: u64,
    /// Faults found when the log was opened, and in segments read by truncations.
    pub corruptions: u64,
    /// Truncations that ended well.
    pub truncations: u64,
    /// Truncations that failed.
    pub truncations_failed: u64,
    /// Rotations to a further segment.
    pub rotations: u64,
    /// The number of the segment that entries go into.
    pub segment: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment files, prepared space included.
    pub disk_bytes: u64,
    /// Whether the log is poisoned: 0 or 1.
    pub poisoned: u64,
    /// Whether writing stalls, mostly on a full disk, and the log takes no entries: 0 or 1.
    pub stalled: u64,
}

/// The counters behind the snapshot. Relaxed: each stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended_entries: AtomicU64,
    pub(crate) appended_bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) synced_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_nanos_total: AtomicU64,
    pub(crate) sync_nanos_max: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) mark_failures: AtomicU64,
    pub(crate) corruptions: AtomicU64,
    pub(crate) truncations: AtomicU64,
    pub(crate) truncations_failed: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) disk_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self::add(&self.syncs, 1);
        Self::add(&self.sync_nanos_total, nanos);
        self.sync_nanos_max.fetch_max(nanos, Ordering::Relaxed);
        // What was written before this sync is covered by it.
        self.synced_bytes.store(self.written_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// How much the log takes on disk, as of the last time its files changed.
    pub(crate) fn on_disk(&self, bytes: u64, segments: u64) {
        self.disk_bytes.store(bytes, Ordering::Relaxed);
        self.segments.store(segments, Ordering::Relaxed);
    }

    /// The counts; what the append side knows is for the caller to add.
    pub(crate) fn snapshot(&self) -> WalMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let appended_bytes = get(&self.appended_bytes);
        WalMetrics {
            appended_entries: get(&self.appended_entries),
            appended_bytes,
            written_bytes: get(&self.written_bytes),
            unsynced_bytes: appended_bytes.saturating_sub(get(&self.synced_bytes)),
            syncs: get(&self.syncs),
            sync_nanos_total: get(&self.sync_nanos_total),
            sync_nanos_max: get(&self.sync_nanos_max),
            failures: get(&self.failures),
            mark_failures: get(&self.mark_failures),
            corruptions: get(&self.corruptions),
            truncations: get(&self.truncations),
            truncations_failed: get(&self.truncations_failed),
            rotations: get(&self.rotations),
            segments: get(&self.segments),
            disk_bytes: get(&self.disk_bytes),
            ..WalMetrics::default()
        }
    }
}
