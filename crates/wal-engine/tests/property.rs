//! Random histories against a model of a few lines: what a log gives back is what was put in.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use wal_engine::{
    Interval, Intervals, Labels, Position, Preallocation, ReadMethod, RecoveryMode, ReplaySink, Sample,
    Series, SeriesPayload, SeriesRef, Stone, StoneRow, Verdict, Wal, WalOptions,
};

/// One item of the log, owned.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Series(Series),
    Sample(Sample),
    Row(StoneRow),
}

impl Item {
    /// Whether it may be gone after a truncation.
    fn may_go(&self, mint_ms: i64, kept: &BTreeSet<u64>) -> bool {
        match self {
            Self::Series(series) => !kept.contains(&series.series_ref.0),
            Self::Sample(sample) => sample.time_ms < mint_ms,
            Self::Row(row) => row.interval.maxt_ms < mint_ms || !kept.contains(&row.series_ref.0),
        }
    }
}

#[derive(Debug, Default)]
struct Items(Vec<Item>, Option<Position>);

impl Items {
    fn rise(&mut self, at: Position) {
        assert!(self.1.is_none_or(|before| before < at), "positions rise");
        self.1 = Some(at);
    }
}

impl ReplaySink for Items {
    fn series(&mut self, at: Position, batch: &SeriesPayload<'_>) {
        self.rise(at);
        self.0.extend(batch.iter().map(|series| {
            Item::Series(Series { series_ref: series.series_ref, labels: series.labels.to_labels() })
        }));
    }

    fn samples(&mut self, at: Position, batch: &[Sample]) {
        self.rise(at);
        self.0.extend(batch.iter().copied().map(Item::Sample));
    }

    fn deletes(&mut self, at: Position, batch: &[StoneRow]) {
        self.rise(at);
        self.0.extend(batch.iter().copied().map(Item::Row));
    }

    fn malformed(&mut self, at: Position, error: &wal_engine::DecodeError) {
        panic!("{at}: {error}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Series(Vec<Series>),
    Samples(Vec<Sample>),
    Deletes(Vec<Stone>),
    Commit,
    Truncate(i64, BTreeSet<u64>),
    Reopen { close: bool, settings: Settings },
}

/// What may differ from one life of a log to the next.
#[derive(Clone, Debug)]
struct Settings {
    segment_bytes_max: u64,
    entry_bytes_max: u32,
    preallocation: Preallocation,
    mapped: bool,
    threads: usize,
}

impl Settings {
    fn options(&self) -> WalOptions {
        let method = if self.mapped { ReadMethod::Mapped } else { ReadMethod::Positioned };
        WalOptions::default()
            .segment_bytes_max(self.segment_bytes_max)
            .entry_bytes_max(self.entry_bytes_max)
            .buffer_bytes(4096)
            .window_bytes(4096)
            .preallocation(self.preallocation)
            .read_method(method)
            .replay_threads(self.threads)
            .background_thread(self.threads == 2)
            .recovery_mode(RecoveryMode::Strict)
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let sizes = prop_oneof![Just(64_u64), 64..4096_u64, Just(1 << 20)];
    let ways =
        prop_oneof![Just(Preallocation::None), Just(Preallocation::ZeroFill), Just(Preallocation::Fallocate)];
    // An item of the texts below fits into the smallest entry limit.
    (sizes, 600..5000_u32, ways, any::<bool>(), 1..4_usize).prop_map(
        |(segment_bytes_max, entry_bytes_max, preallocation, mapped, threads)| Settings {
            segment_bytes_max,
            entry_bytes_max,
            preallocation,
            mapped,
            threads,
        },
    )
}

/// Few small references, so that `keep` says both, and the ends of their range.
fn reference() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..12_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -100..1000_i64, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

/// Bytes: mostly text, now and then none, not UTF-8, or an entry's first bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z_]{1,12}".prop_map(String::into_bytes),
        "\\PC{0,8}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
        Just(vec![3, 1, 0, 0, 0, 0]),
        Just(vec![0; 20]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let labels = vec((text(), text()), 0..5).prop_map(|pairs| pairs.into_iter().collect::<Labels>());
    let series = (reference(), labels).prop_map(|(r, labels)| Series { series_ref: SeriesRef(r), labels });
    // Every bit pattern is a value: NaN payloads, the stale marker, negative zero.
    let sample = (reference(), time(), any::<u64>()).prop_map(|(r, time_ms, bits)| Sample {
        series_ref: SeriesRef(r),
        time_ms,
        value: f64::from_bits(bits),
    });
    let interval = (time(), time()).prop_map(|(a, b)| Interval { mint_ms: a.min(b), maxt_ms: a.max(b) });
    let stone = (reference(), vec(interval, 0..4))
        .prop_map(|(r, rows)| Stone { series_ref: SeriesRef(r), intervals: Intervals::from_verbatim(rows) });
    prop_oneof![
        3 => vec(series, 0..12).prop_map(Step::Series),
        6 => vec(sample, 0..60).prop_map(Step::Samples),
        2 => vec(stone, 0..8).prop_map(Step::Deletes),
        3 => Just(Step::Commit),
        2 => (time(), btree_set(reference(), 0..10)).prop_map(|(mint, kept)| Step::Truncate(mint, kept)),
        2 => (any::<bool>(), settings()).prop_map(|(close, settings)| Step::Reopen { close, settings }),
    ]
}

fn open(dir: &std::path::Path, settings: &Settings) -> (Wal, Vec<Item>) {
    let mut items = Items::default();
    let (wal, report) = Wal::open(dir, settings.options()).unwrap().replay(&mut items).unwrap();
    assert_eq!((report.verdict, report.malformed_count), (Verdict::Clean, 0));
    (wal, items.0)
}

/// Whether what was found is what was put in, but for items that a truncation was free to drop.
fn agrees(model: &[(Item, bool)], found: &[Item]) -> bool {
    // How many of the found items may stand for the model so far: equal items leave it open.
    let mut reached = BTreeSet::from([0]);
    for (item, may_be_gone) in model {
        let mut next: BTreeSet<usize> =
            reached.iter().filter(|at| found.get(**at) == Some(item)).map(|at| at + 1).collect();
        if *may_be_gone {
            next.append(&mut reached);
        }
        reached = next;
    }
    reached.contains(&found.len())
}

/// After reading, the model is what was found; what could have gone and has not may go no more by itself.
fn settle(dir: &std::path::Path, settings: &Settings, model: &mut Vec<(Item, bool)>) -> Wal {
    let (wal, found) = open(dir, settings);
    assert!(agrees(model, &found), "put in: {model:#?}\nfound: {found:#?}");
    *model = found.into_iter().map(|item| (item, false)).collect();
    wal
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_gives_back_what_was_put_in(first in settings(), steps in vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = first;
        let mut model: Vec<(Item, bool)> = Vec::new();
        let mut wal = settle(dir.path(), &settings, &mut model);
        for step in steps {
            let before = wal.end();
            match step {
                Step::Series(batch) => {
                    wal.log_series(&batch).unwrap();
                    model.extend(batch.into_iter().map(|series| (Item::Series(series), false)));
                }
                Step::Samples(batch) => {
                    wal.log_samples(&batch).unwrap();
                    model.extend(batch.into_iter().map(|sample| (Item::Sample(sample), false)));
                }
                Step::Deletes(batch) => {
                    wal.log_deletes(&batch).unwrap();
                    model.extend(batch.iter().flat_map(Stone::rows).map(|row| (Item::Row(row), false)));
                }
                Step::Commit => {
                    wal.commit(wal.end()).unwrap();
                    prop_assert_eq!(wal.durable_position(), wal.end());
                }
                Step::Truncate(mint_ms, kept) => {
                    wal.truncate(mint_ms, |series_ref| kept.contains(&series_ref.0)).unwrap();
                    for (item, may_be_gone) in &mut model {
                        *may_be_gone |= item.may_go(mint_ms, &kept);
                    }
                }
                Step::Reopen { close, settings: next } => {
                    if close { wal.close().unwrap() } else { drop(wal) }
                    settings = next;
                    wal = settle(dir.path(), &settings, &mut model);
                }
            }
            prop_assert!(before <= wal.end(), "the end never falls");
        }
        wal.close().unwrap();
        drop(settle(dir.path(), &settings, &mut model));
    }
}
