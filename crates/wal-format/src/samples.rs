//! The payload of a samples entry: a base, then differences from it and values.

use std::iter::FusedIterator;

use wal_types::varint::{uvarint_len, zigzag};
use wal_types::{Interval, Sample};

use crate::cursor::{Cursor, part, signed, wide};
use crate::decode::{any_sample, decode_all, samples_max};
use crate::entry::{EntryKind, Framed, fit, frame_items};
use crate::error::{DecodeError, ItemTooLarge};
use crate::layout::{SAMPLE_BYTES_MAX, SAMPLES_BASE_BYTES};
use crate::run::{Base, RUN_SAMPLES, Take};
use crate::word::{SHORT_BITS, spread, spread_short};

/// Appends the payload of `samples`; nothing if there are none.
///
/// The first sample is the base, and appears again as a difference of nothing. Differences wrap modulo 2^64.
pub fn encode_samples(samples: &[Sample], out: &mut Vec<u8>) {
    let Some(base) = samples.first() else { return };
    out.extend_from_slice(&base.series_ref.0.to_be_bytes());
    out.extend_from_slice(&base.time_ms.to_be_bytes());
    for chunk in samples.chunks(CHUNK_SAMPLES) {
        // Encoded into a block of fixed size first: storing whole words at a running index costs no growth check.
        let mut block = [0; CHUNK_SAMPLES * SAMPLE_BYTES_MAX];
        let mut end = 0;
        for sample in chunk {
            end = put_sample(&mut block, end, base, sample);
        }
        out.extend_from_slice(part(&block, 0..end));
    }
}

/// Appends one entry of as many leading samples as fit `payload_bytes_max`; nothing if there are none.
///
/// # Errors
///
/// [`ItemTooLarge`] when not even one sample fits; nothing is appended.
pub fn frame_samples(
    items: &[Sample],
    payload_bytes_max: u32,
    out: &mut Vec<u8>,
) -> Result<Framed, ItemTooLarge> {
    let Some(base) = items.first() else { return Ok(Framed::default()) };
    let most =
        wide(items.len()).saturating_mul(wide(SAMPLE_BYTES_MAX)).saturating_add(wide(SAMPLES_BASE_BYTES));
    let taken = if most <= u64::from(payload_bytes_max) {
        items.len()
    } else {
        let sizes = items.iter().map(|sample| sample_bytes(base, sample));
        fit(sizes, wide(SAMPLES_BASE_BYTES), payload_bytes_max)?.0
    };
    let leading = items.get(..taken).unwrap_or_default();
    Ok(frame_items(EntryKind::Samples, taken, out, |out| encode_samples(leading, out)))
}

/// Appends the samples of a payload to `out`, in one pass. Memory is bounded by the payload's own size.
///
/// # Errors
///
/// A [`DecodeError`] when the payload is malformed; `out` then has its former length.
pub fn decode_samples(payload: &[u8], out: &mut Vec<Sample>) -> Result<(), DecodeError> {
    let before = out.len();
    out.reserve(samples_max(payload));
    let decoded = decode_all(payload, out);
    if decoded.is_err() {
        out.truncate(before);
    }
    decoded.map(|_| ())
}

impl Take for Vec<Sample> {
    #[inline]
    fn one(&mut self, sample: Sample) {
        self.push(sample);
    }

    #[inline]
    fn run(&mut self, samples: [Sample; RUN_SAMPLES]) {
        self.extend_from_slice(&samples);
    }
}

/// Counts samples and keeps none.
struct Count(usize);

impl Take for Count {
    #[inline]
    fn one(&mut self, _: Sample) {
        self.0 = self.0.saturating_add(1);
    }

    #[inline]
    fn run(&mut self, samples: [Sample; RUN_SAMPLES]) {
        self.0 = self.0.saturating_add(samples.len());
    }
}

/// Shows samples to a function.
struct Each<F>(F);

impl<F: FnMut(Sample)> Take for Each<F> {
    #[inline]
    fn one(&mut self, sample: Sample) {
        self.0(sample);
    }

    #[inline]
    fn run(&mut self, samples: [Sample; RUN_SAMPLES]) {
        samples.into_iter().for_each(&mut self.0);
    }
}

/// A samples payload that was checked whole, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct SamplesPayload<'a> {
    bytes: &'a [u8],
    items: usize,
    times_ms: Option<Interval>,
}

/// The samples of a [`SamplesPayload`], in wire order.
#[derive(Clone, Debug)]
pub struct SamplesIter<'a> {
    payload: &'a [u8],
    at: usize,
    base: Base,
    left: usize,
}

impl<'a> SamplesPayload<'a> {
    /// Checks every sample and counts them; allocates nothing.
    ///
    /// Empty bytes are an empty payload, and so are sixteen bytes, a base that nothing refers to: the reference reads
    /// both.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] for the first sample that does not decode.
    pub fn check(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut count = Count(0);
        let times_ms = decode_all(bytes, &mut count)?;
        Ok(SamplesPayload { bytes, items: count.0, times_ms })
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The lowest and the highest time of the samples, in milliseconds; none if there are no samples.
    pub fn times_ms(&self) -> Option<Interval> {
        self.times_ms
    }

    /// The samples in wire order.
    pub fn iter(&self) -> SamplesIter<'a> {
        let mut cursor = Cursor::new(self.bytes);
        let base = Base::read(&mut cursor).unwrap_or_default();
        SamplesIter { payload: self.bytes, at: cursor.offset(), base, left: self.items }
    }

    /// Shows every sample to `look`, in wire order: what [`iter`](Self::iter) gives, several at a time.
    pub fn for_each(&self, look: impl FnMut(Sample)) {
        let checked = decode_all(self.bytes, &mut Each(look));
        debug_assert!(checked.is_ok(), "the payload was checked: {checked:?}");
    }

    /// Appends every sample to `out`.
    pub fn decode_into(&self, out: &mut Vec<Sample>) {
        let checked = decode_samples(self.bytes, out);
        debug_assert!(checked.is_ok(), "the payload was checked: {checked:?}");
    }

    /// The bytes of the payload.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Iterator for SamplesIter<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        self.left = self.left.checked_sub(1)?;
        let (sample, next) = any_sample(self.payload, self.at, self.base).ok()?;
        self.at = next;
        Some(sample)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SamplesIter<'_> {}
impl FusedIterator for SamplesIter<'_> {}

impl<'a> IntoIterator for &SamplesPayload<'a> {
    type Item = Sample;
    type IntoIter = SamplesIter<'a>;

    fn into_iter(self) -> SamplesIter<'a> {
        self.iter()
    }
}

/// Writes one sample at `at` of a block that has room for the widest one, and gives where the next one goes.
///
/// More bytes are stored than the sample takes, within that room: the next sample is stored over them.
#[inline(always)]
fn put_sample(block: &mut [u8], at: usize, base: &Sample, sample: &Sample) -> usize {
    let (series_ref, time_ms) = differences(base, sample);
    let value = sample.value.to_bits();
    if (series_ref | time_ms) >> SHORT_BITS != 0 {
        return put_wide_sample(block, at, series_ref, time_ms, value);
    }
    // Both differences in one word, without a branch on their lengths, and one store for both.
    let (first, first_bytes) = spread_short(series_ref);
    let (second, second_bytes) = spread_short(time_ms);
    let differences = first | second << (8 * first_bytes);
    let used = first_bytes + second_bytes;
    put(block, at, differences.to_le_bytes());
    put(block, at + used, value.to_be_bytes());
    at + used + size_of::<f64>()
}

/// The same for differences of any size.
#[inline(never)]
fn put_wide_sample(block: &mut [u8], at: usize, series_ref: u64, time_ms: u64, value: u64) -> usize {
    let at = put_varint(block, at, series_ref);
    let at = put_varint(block, at, time_ms);
    put(block, at, value.to_be_bytes());
    at + size_of::<f64>()
}

#[inline(always)]
fn put_varint(block: &mut [u8], at: usize, value: u64) -> usize {
    let (word, more) = spread(value);
    put(block, at, word.to_le_bytes());
    if let Some(more) = more {
        put(block, at + size_of::<u64>(), more);
    }
    at + uvarint_len(value)
}

#[inline(always)]
fn put<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(slot) = block.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *slot = bytes;
    }
}

#[inline(always)]
fn differences(base: &Sample, sample: &Sample) -> (u64, u64) {
    let series_ref = signed(sample.series_ref.0.wrapping_sub(base.series_ref.0));
    (zigzag(series_ref), zigzag(sample.time_ms.wrapping_sub(base.time_ms)))
}

fn sample_bytes(base: &Sample, sample: &Sample) -> u64 {
    let (series_ref, time_ms) = differences(base, sample);
    wide(uvarint_len(series_ref) + uvarint_len(time_ms) + size_of::<f64>())
}

/// Samples encoded between two growth checks; their block stays well within the first-level cache.
const CHUNK_SAMPLES: usize = 64;
