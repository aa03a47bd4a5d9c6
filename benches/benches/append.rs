//! Appending from one thread: encode, checksum, place, write. No sync is in the measured part; every write is.
//!
//! One iteration appends a fixed number of items and ends with `sync` on a log without preallocation, so that the
//! buffers are written out inside the iteration; the sync itself is part of it and is small beside the rest only on a
//! fast disk. The table of `figures` leaves it out.
#![allow(clippy::expect_used, reason = "a bench that cannot write has nothing to measure and should say why")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal_benches::{SERIES, Workload, open};
use wal_engine::WalOptions;

/// Samples in one iteration: about 11 MB of log.
const SAMPLES: usize = 1_000_000;

fn samples(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(10);
    for size in [1000, 100, 10] {
        let batches = Workload::new(SERIES).batches(SAMPLES / size, size);
        let dir = tempfile::tempdir().expect("a directory to write in");
        let wal = open(dir.path(), options()).expect("an empty directory opens");
        group.throughput(Throughput::Elements(u64::try_from(SAMPLES).unwrap_or(0)));
        group.bench_with_input(BenchmarkId::new("samples", size), &batches, |b, batches| {
            b.iter(|| {
                for batch in batches {
                    wal.log_samples(batch).expect("appending works");
                }
                wal.sync().expect("the disk takes it");
            });
        });
        wal.close().expect("closing works");
    }
    group.finish();
}

fn series(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(10);
    let series = Workload::new(SERIES).series();
    let dir = tempfile::tempdir().expect("a directory to write in");
    let wal = open(dir.path(), options()).expect("an empty directory opens");
    group.throughput(Throughput::Elements(SERIES));
    group.bench_function(BenchmarkId::new("series", 1000), |b| {
        b.iter(|| {
            for batch in series.chunks(1000) {
                wal.log_series(batch).expect("appending works");
            }
            wal.sync().expect("the disk takes it");
        });
    });
    wal.close().expect("closing works");
    group.finish();
}

/// Nothing runs but what the bench asks for.
fn options() -> WalOptions {
    WalOptions::default().flush_interval(None)
}

criterion_group!(benches, samples, series);
criterion_main!(benches);
