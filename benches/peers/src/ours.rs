//! Our own log, asked for the same.

use std::path::Path;
use std::time::{Duration, Instant};

use wal_benches::{Sum, open};
use wal_engine::{Preallocation, Wal, WalOptions};
use wal_types::Sample;

use crate::durable::Committer;
use crate::peer::Answer;
use crate::work::{Totals, Walk};

/// From the first batch until all bytes are with the kernel: dropping a log writes its buffers and does not sync.
pub(crate) fn append(dir: &Path, batches: Walk<'_>, preallocation: Preallocation) -> Answer<Duration> {
    let wal = open(dir, WalOptions::default().preallocation(preallocation))?;
    let start = Instant::now();
    for batch in batches {
        wal.log_samples(batch)?;
    }
    drop(wal);
    Ok(start.elapsed())
}

/// Makes durable what `append` left to the kernel: that is the disk's time, and not replay's.
pub(crate) fn settle(dir: &Path) -> Answer<()> {
    Ok(open(dir, WalOptions::default())?.close()?)
}

/// Opening included, as a database does it when it starts.
pub(crate) fn replay(dir: &Path, threads: usize) -> Answer<(Duration, Totals)> {
    let mut sum = Sum::default();
    let start = Instant::now();
    let (wal, _) = Wal::open(dir, WalOptions::default().replay_threads(threads))?.replay(&mut sum)?;
    let elapsed = start.elapsed();
    wal.close()?;
    Ok((elapsed, Totals::new(sum.items.1, sum.values)))
}

/// Commits to a log with default options.
pub(crate) struct Committing(pub(crate) Wal);

impl Committer for Committing {
    fn commit(&self, _: usize, batch: &[Sample], _: &mut Vec<u8>) -> Answer<()> {
        let at = self.0.log_samples(batch)?;
        Ok(self.0.commit(at)?)
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(self.0.close()?)
    }
}
