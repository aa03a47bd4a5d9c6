//! Durable commits: every batch is on the disk before the next one of its thread begins.
#![allow(clippy::expect_used, reason = "a bench that cannot write has nothing to measure and should say why")]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal_benches::{SERIES, Workload, open};
use wal_engine::{Wal, WalOptions};
use wal_types::Sample;

/// About 128 bytes of log, and about 11 KiB: a small transaction and a scrape.
const SIZES: [usize; 2] = [10, 1000];

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for threads in [1, 8] {
        for size in SIZES {
            let batch = Workload::new(SERIES).next_batch(size).to_vec();
            let dir = tempfile::tempdir().expect("a directory to write in");
            let wal = open(dir.path(), WalOptions::default()).expect("an empty directory opens");
            let name = BenchmarkId::new(format!("samples_{size}"), format!("{threads}_threads"));
            // Throughput is counted in commits, of all threads together.
            group.bench_function(name, |b| b.iter_custom(|commits| spend(&wal, &batch, threads, commits)));
            wal.close().expect("closing works");
        }
    }
    group.finish();
}

/// How long `commits` commits take when the threads share them out.
fn spend(wal: &Wal, batch: &[Sample], threads: u64, commits: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let share = commits / threads + u64::from(thread < commits % threads);
            scope.spawn(move || {
                for _ in 0..share {
                    let at = wal.log_samples(batch).expect("appending works");
                    wal.commit(at).expect("the disk takes it");
                }
            });
        }
    });
    start.elapsed()
}

criterion_group!(benches, commit);
criterion_main!(benches);
