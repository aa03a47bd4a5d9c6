//! The codec alone: encoding with framing, decoding, and scanning with checksums; nothing touches a file.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal_benches::Workload;
use wal_format::{Payload, Step, frame_samples, frame_series, next_entry};

const ROOM: u32 = 64 << 20;

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for samples in [10, 100, 1000] {
        let batch = Workload::new(100_000).next_batch(samples).to_vec();
        let mut out = Vec::new();
        group.throughput(Throughput::Elements(u64::try_from(samples).unwrap_or(0)));
        group.bench_with_input(BenchmarkId::new("samples", samples), &batch, |b, batch| {
            b.iter(|| {
                out.clear();
                black_box(frame_samples(batch, ROOM, &mut out).is_ok())
            });
        });
    }
    let series = Workload::new(1000).series();
    let mut out = Vec::new();
    group.throughput(Throughput::Elements(1000));
    group.bench_function(BenchmarkId::new("series", 1000), |b| {
        b.iter(|| {
            out.clear();
            black_box(frame_series(&series, ROOM, &mut out).is_ok())
        });
    });
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let mut payload = Vec::new();
    wal_format::encode_samples(Workload::new(100_000).next_batch(1000), &mut payload);
    let mut out = Vec::with_capacity(1000);
    group.throughput(Throughput::Elements(1000));
    group.bench_function(BenchmarkId::new("samples", 1000), |b| {
        b.iter(|| {
            out.clear();
            wal_format::decode_samples(black_box(&payload), &mut out).is_ok()
        });
    });
    let mut payload = Vec::new();
    wal_format::encode_series(&Workload::new(1000).series(), &mut payload);
    group.bench_function(BenchmarkId::new("series_views", 1000), |b| {
        b.iter(|| {
            wal_format::SeriesPayload::check(black_box(&payload)).map_or(0, |checked| checked.iter().count())
        });
    });
    group.bench_function(BenchmarkId::new("series_owned", 1000), |b| {
        b.iter(|| {
            let checked = wal_format::SeriesPayload::check(black_box(&payload));
            checked.map_or(0, |checked| checked.iter().map(|view| view.to_series().labels.len()).sum())
        });
    });
    group.finish();
}

/// A megabyte of entries, checked by checksum; then the same, decoded as well.
fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    for samples in [10, 1000] {
        let mut workload = Workload::new(100_000);
        let (mut log, mut total) = (Vec::new(), 0);
        while log.len() < 1 << 20 && frame_samples(workload.next_batch(samples), ROOM, &mut log).is_ok() {
            total += samples;
        }
        group.throughput(Throughput::Elements(u64::try_from(total).unwrap_or(0)));
        group.bench_with_input(BenchmarkId::new("checksum", samples), &log, |b, log| {
            b.iter(|| walk(log, |_| {}))
        });
        let mut out = Vec::new();
        group.bench_with_input(BenchmarkId::new("checksum_and_decode", samples), &log, |b, log| {
            b.iter(|| {
                walk(log, |payload| {
                    out.clear();
                    if wal_format::decode_samples(payload, &mut out).is_err() {
                        out.clear();
                    }
                })
            });
        });
    }
    group.finish();
}

/// Steps over all entries; returns how many there were.
fn walk(log: &[u8], mut each: impl FnMut(&[u8])) -> usize {
    let (mut rest, mut count) = (log, 0);
    while let Step::Entry(entry) = next_entry(rest, 0) {
        each(entry.payload);
        count += 1;
        rest = rest.get(entry.frame_bytes()..).unwrap_or_default();
    }
    count
}

/// What a caller meets who does not know the kind of an entry.
fn dispatch(c: &mut Criterion) {
    let mut log = Vec::new();
    let framed = frame_series(&Workload::new(100).series(), ROOM, &mut log);
    assert!(framed.is_ok(), "a hundred series fit into one entry");
    c.bench_function("entry_decode/series_100", |b| {
        b.iter(|| match next_entry(black_box(&log), 0) {
            Step::Entry(entry) => entry.decode().map_or(0, |payload| match payload {
                Payload::Series(series) => series.len(),
                _ => 0,
            }),
            _ => 0,
        });
    });
}

criterion_group!(benches, encode, decode, scan, dispatch);
criterion_main!(benches);
