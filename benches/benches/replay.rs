//! Opening a log that the page cache holds: recovery and delivery in one pass, with one and two decoding threads.
#![allow(clippy::expect_used, reason = "a bench that cannot read has nothing to measure and should say why")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal_benches::{SERIES, Sum, write_log};
use wal_engine::{Wal, WalOptions};

const LOG_BYTES: u64 = 64 << 20;

fn replay(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory to write in");
    let samples = write_log(dir.path(), SERIES, LOG_BYTES).expect("the log is written");
    let mut group = c.benchmark_group("replay");
    group.sample_size(10).throughput(Throughput::Elements(samples));
    for threads in [1, 2] {
        let options = || WalOptions::default().flush_interval(None).replay_threads(threads);
        group.bench_function(BenchmarkId::new("samples", format!("{threads}_threads")), |b| {
            b.iter(|| {
                let mut sum = Sum::default();
                let recovery = Wal::open(dir.path(), options()).expect("the log opens");
                let (wal, _) = recovery.replay(&mut sum).expect("the log is clean");
                assert_eq!(sum.items.1, samples, "every sample is delivered");
                wal.close().expect("closing works");
                sum.values
            });
        });
    }
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
