//! A second implementation of the format, as plain as can be and sharing no code, that must agree bit for bit.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use proptest::prelude::*;
use wal_format::{EntryEnd, Payload, Resync, Step, frame_deletes, frame_samples, frame_series, next_entry};
use wal_types::{Interval, Intervals, Labels, Sample, Series, Stone};

/// Names and values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// One entry of a log, in the plainest terms; values as bits.
#[derive(Clone, Debug, PartialEq)]
enum Batch {
    Series(Vec<(u64, Pairs)>),
    Samples(Vec<(u64, i64, u64)>),
    Deletes(Vec<(u64, i64, i64)>),
}

/// One bit at a time.
fn naive_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn naive_put(out: &mut Vec<u8>, value: u64) {
    if value < 128 {
        out.push(u8::try_from(value).unwrap());
    } else {
        out.push(u8::try_from(value % 128 + 128).unwrap());
        naive_put(out, value / 128);
    }
}

fn naive_put_signed(out: &mut Vec<u8>, value: i64) {
    // 2v for v >= 0, -2v - 1 below, in numbers wide enough for both.
    let wide = i128::from(value);
    naive_put(out, u64::try_from(if wide < 0 { -2 * wide - 1 } else { 2 * wide }).unwrap());
}

fn naive_encode(batch: &Batch) -> Vec<u8> {
    let mut payload = Vec::new();
    let kind = match batch {
        Batch::Series(items) => {
            for (series_ref, labels) in items {
                payload.extend(series_ref.to_be_bytes());
                naive_put(&mut payload, u64::try_from(labels.len()).unwrap());
                for text in labels.iter().flat_map(|(name, value)| [name, value]) {
                    naive_put(&mut payload, u64::try_from(text.len()).unwrap());
                    payload.extend(text);
                }
            }
            2
        }
        Batch::Samples(items) => {
            let (base_ref, base_time, _) = items[0];
            payload.extend(base_ref.to_be_bytes());
            payload.extend(base_time.to_be_bytes());
            for (series_ref, time_ms, bits) in items {
                naive_put_signed(&mut payload, series_ref.wrapping_sub(base_ref) as i64);
                naive_put_signed(&mut payload, time_ms.wrapping_sub(base_time));
                payload.extend(bits.to_be_bytes());
            }
            3
        }
        Batch::Deletes(items) => {
            for (series_ref, mint_ms, maxt_ms) in items {
                payload.extend(series_ref.to_be_bytes());
                naive_put_signed(&mut payload, *mint_ms);
                naive_put_signed(&mut payload, *maxt_ms);
            }
            4
        }
    };
    let mut entry = vec![kind, 1];
    entry.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    entry.extend(payload);
    entry.extend(naive_crc(&entry).to_be_bytes());
    entry
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn naive_u64(bytes: &mut &[u8]) -> u64 {
    take(bytes, 8).iter().fold(0, |value, byte| value * 256 + u64::from(*byte))
}

fn naive_varint(bytes: &mut &[u8]) -> u64 {
    let byte = u64::from(take(bytes, 1)[0]);
    if byte < 128 { byte } else { byte % 128 + 128 * naive_varint(bytes) }
}

fn naive_signed(bytes: &mut &[u8]) -> i64 {
    let value = i128::from(naive_varint(bytes));
    i64::try_from(if value % 2 == 1 { -(value + 1) / 2 } else { value / 2 }).unwrap()
}

fn naive_text(bytes: &mut &[u8]) -> Vec<u8> {
    let len = usize::try_from(naive_varint(bytes)).unwrap();
    take(bytes, len).to_vec()
}

/// Reads a log that is known to be sound; anything else panics.
fn naive_decode(mut log: &[u8]) -> Vec<Batch> {
    let mut batches = Vec::new();
    while !log.is_empty() {
        let whole = log;
        let head = take(&mut log, 6);
        let len = head[2..].iter().fold(0, |len, byte| len * 256 + usize::from(*byte));
        let mut body = take(&mut log, len);
        assert_eq!(take(&mut log, 4), naive_crc(&whole[..6 + len]).to_be_bytes());
        let body = &mut body;
        batches.push(match head[0] {
            2 => Batch::Series(until_empty(body, |body| {
                let series_ref = naive_u64(body);
                let labels = (0..naive_varint(body)).map(|_| (naive_text(body), naive_text(body))).collect();
                (series_ref, labels)
            })),
            3 => {
                let (base_ref, base_time) = (naive_u64(body), naive_u64(body) as i64);
                Batch::Samples(until_empty(body, |body| {
                    let series_ref = base_ref.wrapping_add(naive_signed(body) as u64);
                    (series_ref, base_time.wrapping_add(naive_signed(body)), naive_u64(body))
                }))
            }
            _ => Batch::Deletes(until_empty(body, |body| {
                (naive_u64(body), naive_signed(body), naive_signed(body))
            })),
        });
    }
    batches
}

fn until_empty<T>(bytes: &mut &[u8], mut read: impl FnMut(&mut &[u8]) -> T) -> Vec<T> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        items.push(read(bytes));
    }
    items
}

fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    let framed = match batch {
        Batch::Series(items) => {
            let series = |(series_ref, labels): &(u64, Pairs)| {
                Series::new(*series_ref, Labels::from_pairs(labels.iter().cloned()))
            };
            frame_series(&items.iter().map(series).collect::<Vec<_>>(), u32::MAX, &mut out)
        }
        Batch::Samples(items) => {
            let sample =
                |&(series_ref, time_ms, bits)| Sample::new(series_ref, time_ms, f64::from_bits(bits));
            frame_samples(&items.iter().map(sample).collect::<Vec<_>>(), u32::MAX, &mut out)
        }
        Batch::Deletes(items) => {
            let stone = |&(series_ref, mint_ms, maxt_ms)| {
                Stone::new(series_ref, Intervals::from_verbatim(vec![Interval::new(mint_ms, maxt_ms)]))
            };
            frame_deletes(&items.iter().map(stone).collect::<Vec<_>>(), u32::MAX, &mut out)
        }
    };
    assert_eq!(framed.unwrap().bytes, out.len());
    out
}

fn decode(mut log: &[u8]) -> Vec<Batch> {
    let mut batches = Vec::new();
    loop {
        let entry = match next_entry(log, 0) {
            Step::Entry(entry) => entry,
            step => {
                assert_eq!(step, Step::End(EntryEnd::EndOfFile));
                return batches;
            }
        };
        batches.push(match entry.decode().unwrap() {
            Payload::Series(payload) => {
                let pairs = |labels: wal_format::LabelsView<'_>| {
                    labels.iter().map(|label| (label.name.to_vec(), label.value.to_vec())).collect()
                };
                Batch::Series(payload.iter().map(|view| (view.series_ref.0, pairs(view.labels))).collect())
            }
            Payload::Samples(payload) => {
                let mut samples = Vec::new();
                payload.decode_into(&mut samples);
                let bits = |s: wal_types::Sample| (s.series_ref, s.time_ms, s.value.to_bits());
                let mut seen = Vec::new();
                payload.for_each(|sample| seen.push(bits(sample)));
                assert!(payload.iter().map(bits).eq(seen));
                Batch::Samples(
                    samples.iter().map(|s| (s.series_ref.0, s.time_ms, s.value.to_bits())).collect(),
                )
            }
            Payload::Deletes(payload) => Batch::Deletes(
                payload
                    .iter()
                    .map(|row| (row.series_ref.0, row.interval.mint_ms, row.interval.maxt_ms))
                    .collect(),
            ),
        });
        log = &log[entry.frame_bytes()..];
    }
}

/// Numbers of all sizes, the ends of the range more often than chance would have them.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![
        (any::<u64>(), 0_u32..64).prop_map(|(value, shift)| value >> shift),
        prop::sample::select(vec![0, 1, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1]),
    ]
}

/// Values by their bits: the special ones, quiet and signalling NaNs of any payload included.
fn value_bits() -> impl Strategy<Value = u64> {
    let special =
        [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE].map(f64::to_bits);
    prop_oneof![
        any::<u64>(),
        prop::sample::select(special.to_vec()),
        any::<u64>().prop_map(|bits| bits | 0x7ff0_0000_0000_0000),
    ]
}

fn batches() -> impl Strategy<Value = Batch> {
    let label = (prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..300));
    let labels = prop::collection::vec(label, 0..6).prop_map(|mut labels| {
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels
    });
    let time = || numbers().prop_map(|time| time as i64);
    prop_oneof![
        prop::collection::vec((numbers(), labels), 1..6).prop_map(Batch::Series),
        prop::collection::vec((numbers(), time(), value_bits()), 1..200).prop_map(Batch::Samples),
        prop::collection::vec((numbers(), time(), time()), 1..20).prop_map(Batch::Deletes),
    ]
}

proptest! {
    #[test]
    fn random_logs_agree_both_ways(log in prop::collection::vec(batches(), 0..6)) {
        let ours: Vec<u8> = log.iter().flat_map(encode).collect();
        let naive: Vec<u8> = log.iter().flat_map(naive_encode).collect();
        prop_assert_eq!(&ours, &naive);
        prop_assert_eq!(&decode(&naive), &log);
        prop_assert_eq!(naive_decode(&ours), log);
    }

    #[test]
    fn an_entry_behind_debris_is_found(debris in prop::collection::vec(0_u8..6, 0..40), batch in batches()) {
        let mut bytes = debris;
        let start = u64::try_from(bytes.len()).unwrap();
        bytes.extend(naive_encode(&batch));
        let end = u64::try_from(bytes.len()).unwrap();
        let wal_format::Progress::Found(found) = Resync::new(0, end).feed(&bytes) else {
            return Err(TestCaseError::fail("the entry was not found"));
        };
        prop_assert!(found.offset == start && found.offset + found.frame_bytes == end);
    }
}
