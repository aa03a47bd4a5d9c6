//! Counters of a running log, read as one plain snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wal_format::EntryKind;

/// Upper bounds of [`WalMetrics::sync_buckets`], in nanoseconds, rising; the last bucket has none. From a
/// disk with a cache that survives power loss to one that is dying.
pub const SYNC_BUCKETS_NANOS: [u64; 12] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_500_000_000,
];

/// How many buckets there are: one for each bound, and one above them all.
const SYNC_BUCKETS: usize = SYNC_BUCKETS_NANOS.len() + 1;

/// What was accepted of one kind of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Entries.
    pub entries: u64,
    /// Their bytes, frames included.
    pub bytes: u64,
}

/// What a log has done since it was opened, and how it stands. All sums; a reader takes differences.
///
/// `sync_*` is what the reference exports as `prometheus_tsdb_wal_fsync_duration_seconds`,
/// `corruptions` is its `prometheus_tsdb_wal_corruptions_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalMetrics {
    /// Entries accepted, of all kinds.
    pub appended_entries: u64,
    /// Bytes accepted, frames included.
    pub appended_bytes: u64,
    /// Of these, entries of series.
    pub series: Appended,
    /// Of these, entries of samples.
    pub samples: Appended,
    /// Of these, entries of deletes.
    pub deletes: Appended,
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
    /// Syncs by the time they took: each counted in the first bucket whose bound in
    /// [`SYNC_BUCKETS_NANOS`] it does not pass, or in the last.
    pub sync_buckets: [u64; SYNC_BUCKETS],
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
    /// Bytes in quarantine, as of opening the log or of its last repair since. What the tool purges
    /// meanwhile is not seen.
    pub quarantine_bytes: u64,
    /// Whether the log is poisoned: 0 or 1.
    pub poisoned: u64,
    /// Whether writing stalls, mostly on a full disk, and the log takes no entries: 0 or 1.
    pub stalled: u64,
}

/// The counters behind the snapshot. Relaxed: each stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) written_bytes: AtomicU64,
    pub(crate) synced_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_nanos_total: AtomicU64,
    pub(crate) sync_nanos_max: AtomicU64,
    pub(crate) sync_buckets: [AtomicU64; SYNC_BUCKETS],
    pub(crate) failures: AtomicU64,
    pub(crate) mark_failures: AtomicU64,
    pub(crate) corruptions: AtomicU64,
    pub(crate) truncations: AtomicU64,
    pub(crate) truncations_failed: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) disk_bytes: AtomicU64,
    pub(crate) quarantine_bytes: AtomicU64,
}

/// What was accepted. Not among the counters: it changes under the append lock with every entry, where
/// counting costs nothing further.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accepted {
    series: Appended,
    samples: Appended,
    deletes: Appended,
}

impl Accepted {
    /// An entry was accepted.
    pub(crate) fn add(&mut self, kind: EntryKind, bytes: u64) {
        let counts = match kind {
            EntryKind::Series => &mut self.series,
            EntryKind::Samples => &mut self.samples,
            EntryKind::Deletes => &mut self.deletes,
        };
        counts.entries += 1;
        counts.bytes += bytes;
    }
}

/// For events: whole milliseconds.
pub(crate) fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// A sync ended well. Returns how many bytes it covered that none had before.
    pub(crate) fn synced(&self, took: Duration) -> u64 {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self::add(&self.syncs, 1);
        Self::add(&self.sync_nanos_total, nanos);
        self.sync_nanos_max.fetch_max(nanos, Ordering::Relaxed);
        let bucket = SYNC_BUCKETS_NANOS.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.sync_buckets.get(bucket) {
            Self::add(bucket, 1);
        }
        // What was written before this sync is covered by it.
        let written = self.written_bytes.load(Ordering::Relaxed);
        written.saturating_sub(self.synced_bytes.swap(written, Ordering::Relaxed))
    }

    /// How much the log takes on disk, as of the last time its files changed.
    pub(crate) fn on_disk(&self, bytes: u64, segments: u64) {
        self.disk_bytes.store(bytes, Ordering::Relaxed);
        self.segments.store(segments, Ordering::Relaxed);
    }

    /// The counts; what else the append side knows is for the caller to add.
    pub(crate) fn snapshot(&self, accepted: Accepted) -> WalMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Accepted { series, samples, deletes } = accepted;
        let appended_bytes = series.bytes + samples.bytes + deletes.bytes;
        WalMetrics {
            appended_entries: series.entries + samples.entries + deletes.entries,
            appended_bytes,
            series,
            samples,
            deletes,
            written_bytes: get(&self.written_bytes),
            unsynced_bytes: appended_bytes.saturating_sub(get(&self.synced_bytes)),
            syncs: get(&self.syncs),
            sync_nanos_total: get(&self.sync_nanos_total),
            sync_nanos_max: get(&self.sync_nanos_max),
            sync_buckets: self.sync_buckets.each_ref().map(get),
            failures: get(&self.failures),
            mark_failures: get(&self.mark_failures),
            corruptions: get(&self.corruptions),
            truncations: get(&self.truncations),
            truncations_failed: get(&self.truncations_failed),
            rotations: get(&self.rotations),
            segments: get(&self.segments),
            disk_bytes: get(&self.disk_bytes),
            quarantine_bytes: get(&self.quarantine_bytes),
            ..WalMetrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_counted_in_the_first_bucket_that_holds_it() {
        let counters = Counters::default();
        for nanos in [0, 50_000, 50_001, u64::MAX] {
            counters.synced(Duration::from_nanos(nanos));
        }
        let buckets = counters.snapshot(Accepted::default()).sync_buckets;
        assert_eq!((buckets[0], buckets[1], buckets[SYNC_BUCKETS - 1]), (2, 1, 1));
        assert_eq!(buckets.iter().sum::<u64>(), counters.snapshot(Accepted::default()).syncs);
    }

    #[test]
    fn entries_are_counted_by_kind_and_in_all() {
        let mut accepted = Accepted::default();
        accepted.add(EntryKind::Series, 100);
        accepted.add(EntryKind::Samples, 20);
        accepted.add(EntryKind::Samples, 30);
        let now = Counters::default().snapshot(accepted);
        assert_eq!(now.series, Appended { entries: 1, bytes: 100 });
        assert_eq!(now.samples, Appended { entries: 2, bytes: 50 });
        assert_eq!((now.deletes.entries, now.appended_entries, now.appended_bytes), (0, 3, 150));
    }
}
