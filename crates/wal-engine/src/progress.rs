//! How far the reading of segments has come, to be asked from other threads.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a replay or a truncation has read so far; see [`Recovery::progress`](crate::Recovery::progress) and
/// [`Wal::truncate_with_progress`](crate::Wal::truncate_with_progress). Cloning gives another handle on the same one.
#[derive(Clone, Debug, Default)]
pub struct ReadProgress(Arc<Bytes>);

#[derive(Debug, Default)]
struct Bytes {
    total: AtomicU64,
    done: AtomicU64,
}

impl ReadProgress {
    /// There are so many bytes to read.
    pub(crate) fn expect(&self, total_bytes: u64) {
        self.0.total.store(total_bytes, Ordering::Relaxed);
    }

    /// Bytes of all segments that are read: of a replay those of the log as it was when it was opened, of a truncation
    /// those of the segments that are old enough. Zero before they are known.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Bytes of these that need no reading any more. Never falls, and reaches the total when everything is read; what
    /// is written and synced for them comes after that.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Everything in the segments up to `bytes` is read.
    pub(crate) fn reach(&self, bytes: u64) {
        self.0.done.fetch_max(bytes.min(self.total_bytes()), Ordering::Relaxed);
    }

    /// There is nothing more to read.
    pub(crate) fn finish(&self) {
        self.reach(self.total_bytes());
    }
}

/// Counts for a progress while segments are read one after another.
pub(crate) struct Meter<'a> {
    progress: &'a ReadProgress,
    /// Bytes of the segments before the one being read.
    before: u64,
    /// The offset in the segment being read that was told last.
    told: Cell<u64>,
}

/// Bytes read before the progress is told again: telling takes longer than reading a short entry.
const STEP_BYTES: u64 = 64 << 10;

impl<'a> Meter<'a> {
    pub(crate) fn new(progress: &'a ReadProgress) -> Self {
        Self { progress, before: 0, told: Cell::new(0) }
    }

    /// The current segment is read up to here.
    pub(crate) fn read_to(&self, offset: u64) {
        if STEP_BYTES <= offset.saturating_sub(self.told.get()) {
            self.told.set(offset);
            self.progress.reach(self.before.saturating_add(offset));
        }
    }

    /// The current segment, of so many bytes, is done with.
    pub(crate) fn end_segment(&mut self, bytes: u64) {
        self.before = self.before.saturating_add(bytes);
        self.told.set(0);
        self.progress.reach(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_falls_and_never_passes_the_total() {
        let progress = ReadProgress::default();
        progress.expect(100_000);
        let mut meter = Meter::new(&progress);
        meter.read_to(70_000);
        meter.read_to(70_001);
        meter.read_to(20_000);
        assert_eq!(progress.done_bytes(), 70_000);
        meter.end_segment(80_000);
        assert_eq!(progress.done_bytes(), 80_000);
        meter.read_to(70_000);
        assert_eq!((progress.done_bytes(), progress.total_bytes()), (100_000, 100_000));
    }
}
