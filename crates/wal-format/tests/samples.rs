//! Batches of samples: round trips over the full ranges, and the payloads that are malformed or odd.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use proptest::prelude::*;
use wal_format::layout::{SAMPLE_BYTES_MAX, SAMPLES_BASE_BYTES};
use wal_format::{
    DecodeErrorKind, Framed, ItemTooLarge, SamplesPayload, decode_samples, encode_samples, frame_samples,
};
use wal_types::Sample;

fn encoded(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_samples(samples, &mut out);
    out
}

fn decoded(payload: &[u8]) -> Result<Vec<Sample>, (DecodeErrorKind, usize)> {
    let mut out = Vec::new();
    decode_samples(payload, &mut out).map(|()| out).map_err(|error| (error.kind(), error.offset()))
}

/// A base of reference 5 and time 7, then `items`.
fn with_base(items: &[u8]) -> Vec<u8> {
    let mut payload = [5_u64.to_be_bytes(), 7_u64.to_be_bytes()].concat();
    payload.extend(items);
    payload
}

#[test]
fn payloads_without_samples_are_empty_batches() {
    assert_eq!(encoded(&[]), []);
    assert_eq!(decoded(&[]), Ok(vec![]));
    assert_eq!(decoded(&with_base(&[])), Ok(vec![]));
    assert_eq!(SamplesPayload::check(&with_base(&[])).unwrap().len(), 0);
}

#[test]
fn the_base_is_repeated_as_the_first_sample() {
    let payload = encoded(&[Sample::new(5, 7, 1.5), Sample::new(4, 8, -0.0)]);
    let expected = with_base(&[0, 0, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 1, 2, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(payload, expected);
}

#[test]
fn a_cut_sample_is_malformed_wherever_it_is_cut() {
    let samples: Vec<Sample> = (0..40).map(|n| Sample::new(5 + n * 9, 7, 1.0)).collect();
    let payload = encoded(&samples);
    let mut starts = vec![SAMPLES_BASE_BYTES];
    for count in 1..=samples.len() {
        starts.push(encoded(&samples[..count]).len());
    }
    for len in 0..payload.len() {
        let result = decoded(&payload[..len]);
        if len == 0 {
            assert_eq!(result, Ok(vec![]));
        } else if let Ok(count) = starts.binary_search(&len) {
            assert_eq!(result, Ok(samples[..count].to_vec()));
        } else {
            let (kind, offset) = result.unwrap_err();
            assert_eq!(kind, DecodeErrorKind::CutShort);
            assert!(offset <= len);
        }
    }
}

#[test]
fn an_error_restores_the_output() {
    let former = Sample::new(1, 2, 3.0);
    let mut payload = encoded(&vec![Sample::new(9, 9, 9.0); 200]);
    payload.pop();
    let mut out = vec![former];
    assert!(decode_samples(&payload, &mut out).is_err());
    assert_eq!(out, [former]);
}

#[test]
fn overlong_differences_are_read_and_oversize_ones_are_malformed() {
    let mut item = vec![0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x81, 0x00];
    item.extend(2.0_f64.to_bits().to_be_bytes());
    assert_eq!(decoded(&with_base(&item)), Ok(vec![Sample::new(6, 6, 2.0)]));
    item[9] = 0x02;
    assert_eq!(decoded(&with_base(&item)), Err((DecodeErrorKind::Overflow, 16)));
    item[9] = 0x80;
    assert_eq!(decoded(&with_base(&item)), Err((DecodeErrorKind::Overflow, 16)));
}

#[test]
fn differences_of_every_length_are_read_in_the_middle_and_at_the_end() {
    for (bits_a, bits_b) in (0..64).flat_map(|a| (0..64).map(move |b| (a, b))) {
        let samples = [
            Sample::new(0, 0, 1.0),
            Sample::new(1 << bits_a, i64::MIN >> bits_b, f64::NAN),
            Sample::new((1 << bits_a) - 1, (1_i64 << bits_b).wrapping_sub(1), f64::INFINITY),
        ];
        assert_eq!(decoded(&encoded(&samples)), Ok(samples.to_vec()));
        let four_times = samples.repeat(4);
        assert_eq!(decoded(&encoded(&four_times)), Ok(four_times));
    }
}

#[test]
fn a_single_difference_of_any_length_is_written_and_read() {
    for bits in 0..64 {
        let samples =
            [Sample::default(), Sample::new(1 << bits, 0, 1.0), Sample::new(0, i64::MIN >> bits, -1.0)];
        assert_eq!(decoded(&encoded(&samples)), Ok(samples.to_vec()), "{bits}");
        let samples = [Sample::default(), Sample::new(0, 1 << bits, f64::NAN)];
        assert_eq!(decoded(&encoded(&samples)), Ok(samples.to_vec()), "{bits}");
    }
}

#[test]
fn differences_wrap_around() {
    let samples = [Sample::new(u64::MAX, i64::MIN, 0.0), Sample::new(0, i64::MAX, 0.0)];
    let payload = encoded(&samples);
    // One up and one down, around the ends.
    assert_eq!(payload[26..28], [2, 1]);
    assert_eq!(decoded(&payload), Ok(samples.to_vec()));
}

#[test]
fn batches_split_between_samples() {
    let samples: Vec<Sample> = (0..1000).map(|n| Sample::new(n * n * n, 0, 0.0)).collect();
    for limit in [26, 27, 100, 1000, 5000, 10_000, 20_000] {
        let mut rest = samples.as_slice();
        while !rest.is_empty() {
            let mut out = Vec::new();
            let framed = frame_samples(rest, limit, &mut out).unwrap();
            assert_eq!(framed.bytes, out.len());
            let taken = encoded(&rest[..framed.items]);
            assert_eq!(out[6..out.len() - 4], taken);
            let limit = usize::try_from(limit).unwrap();
            assert!(taken.len() <= limit);
            // No more would have fitted.
            let more = rest.len().min(framed.items + 1);
            assert!(framed.items == rest.len() || limit < encoded(&rest[..more]).len());
            rest = &rest[framed.items..];
        }
    }
}

#[test]
fn a_limit_below_one_sample_is_refused() {
    let mut out = Vec::new();
    let error = frame_samples(&[Sample::default(); 2], 25, &mut out).unwrap_err();
    assert_eq!(error, ItemTooLarge { index: 0, bytes: 26, limit: 25 });
    assert_eq!(frame_samples(&[], 0, &mut out), Ok(Framed::default()));
    assert!(out.is_empty());
}

#[test]
fn the_widest_sample_takes_the_most_bytes() {
    let samples = [Sample::default(), Sample::new(1 << 63, i64::MIN, 0.0)];
    assert_eq!(encoded(&samples).len(), SAMPLES_BASE_BYTES + 10 + SAMPLE_BYTES_MAX);
}

proptest! {
    #[test]
    fn samples_survive_bit_for_bit(
        input in prop::collection::vec((any::<u64>(), any::<i64>(), any::<u64>(), 0_u32..64, 0_u32..64), 0..300)
    ) {
        let samples: Vec<Sample> = input
            .into_iter()
            .map(|(series_ref, time_ms, bits, a, b)| Sample::new(series_ref >> a, time_ms >> b, f64::from_bits(bits)))
            .collect();
        let payload = encoded(&samples);
        let payload_view = SamplesPayload::check(&payload).unwrap();
        prop_assert_eq!(payload_view.len(), samples.len());
        prop_assert!(payload_view.iter().eq(samples.iter().copied()));
        prop_assert_eq!(decoded(&payload), Ok(samples));
    }
}
