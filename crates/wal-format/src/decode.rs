//! Samples out of a payload, in one pass: runs in blocks, others by two words, and whatever is left byte by byte.

use wal_types::varint::unzigzag;
use wal_types::{Interval, Sample};

use crate::cursor::{Cursor, last_words_at, signed, words_at};
use crate::error::DecodeError;
use crate::layout::{SAMPLE_BYTES_MIN, SAMPLES_BASE_BYTES};
use crate::run::{Base, RUN_SAMPLES, Take, Times, take_run};
use crate::word::Word;

impl Base {
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let series_ref = cursor.be_u64("the base reference")?;
        let time_ms = signed(cursor.be_u64("the base time")?);
        Ok(Base { series_ref, time_ms })
    }

    /// Reads one sample, whatever its differences and however near the end.
    fn sample(self, cursor: &mut Cursor<'_>) -> Result<Sample, DecodeError> {
        let series_ref = cursor.zvarint("a sample's reference")?;
        let time_ms = cursor.zvarint("a sample's time")?;
        let bits = cursor.be_u64("a sample's value")?;
        Ok(self.apply(series_ref, time_ms, bits))
    }
}

/// No more samples than this are in a payload: bounded by bytes that exist, as none takes fewer.
#[inline]
pub(crate) fn samples_max(payload: &[u8]) -> usize {
    payload.len().saturating_sub(SAMPLES_BASE_BYTES) / SAMPLE_BYTES_MIN
}

/// Gives every sample of a payload to `out`, in order, up to the first that does not decode. Returns their times.
#[inline]
pub(crate) fn decode_all(payload: &[u8], out: &mut impl Take) -> Result<Option<Interval>, DecodeError> {
    let mut times = Times::new();
    let mut cursor = Cursor::new(payload);
    if cursor.is_empty() {
        return Ok(None);
    }
    let base = Base::read(&mut cursor)?;
    let mut at = cursor.offset();
    while at < payload.len() {
        let before = at;
        at = take_run(payload, at, base, &mut times, out);
        // Where no run begins, a few are read one by one before one is looked for again.
        let mut singles = if at == before { SINGLES } else { 1 };
        while singles != 0 {
            let Some((sample, next)) = quick_sample(payload, at, base) else { break };
            times.see(sample.time_ms);
            out.one(sample);
            at = next;
            singles -= 1;
        }
        if singles != 0 && at < payload.len() {
            let (sample, next) = any_sample(payload, at, base)?;
            times.see(sample.time_ms);
            out.one(sample);
            at = next;
        }
    }
    Ok(times.seen())
}

/// Samples read one by one where no run begins: looking for a run then costs little where there is none.
const SINGLES: usize = 4 * RUN_SAMPLES;

/// Reads the sample at `at`, and gives where the next one starts.
///
/// # Errors
///
/// When there is none.
#[inline]
pub(crate) fn any_sample(payload: &[u8], at: usize, base: Base) -> Result<(Sample, usize), DecodeError> {
    if let Some(quick) = quick_sample(payload, at, base).or_else(|| last_sample(payload, at, base)) {
        return Ok(quick);
    }
    let mut cursor = Cursor::at(payload, at);
    let sample = base.sample(&mut cursor)?;
    Ok((sample, cursor.offset()))
}

/// The same from two words, if both differences together take fewer than eight bytes and sixteen bytes are left.
#[inline(always)]
fn quick_sample(payload: &[u8], at: usize, base: Base) -> Option<(Sample, usize)> {
    sample_of_words(words_at(payload, at)?, at, base)
}

/// The same where fewer than sixteen bytes are left, as they mostly are at the last sample.
#[inline]
fn last_sample(payload: &[u8], at: usize, base: Base) -> Option<(Sample, usize)> {
    let words = last_words_at(payload, at)?;
    // What was read of the zeros behind the end is no sample.
    sample_of_words(words, at, base).filter(|(_, next)| *next <= payload.len())
}

#[inline(always)]
fn sample_of_words((low, high): (u64, u64), at: usize, base: Base) -> Option<(Sample, usize)> {
    let word = Word::new(low);
    let (series_ref, first_bytes) = word.take()?;
    let (time_ms, second_bytes) = word.skip(first_bytes).take()?;
    let used = first_bytes + second_bytes;
    if used >= size_of::<u64>() {
        return None;
    }
    // What is left of the low word, then as much of the high one as the value needs.
    let value = low >> (8 * used) | high << (64 - 8 * used);
    let sample = base.apply(unzigzag(series_ref), unzigzag(time_ms), value.swap_bytes());
    Some((sample, at + used + size_of::<f64>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The plain way: byte by byte from the first sample to the last.
    fn plainly(payload: &[u8]) -> Result<Vec<Sample>, DecodeError> {
        let mut cursor = Cursor::new(payload);
        let mut samples = Vec::new();
        if !cursor.is_empty() {
            let base = Base::read(&mut cursor)?;
            while !cursor.is_empty() {
                samples.push(base.sample(&mut cursor)?);
            }
        }
        Ok(samples)
    }

    /// Appends an integer of exactly `bytes` bytes, which need not be its shortest form.
    fn put(payload: &mut Vec<u8>, bytes: usize, seed: u64) {
        let groups = seed.to_le_bytes();
        for at in 0..bytes {
            let goes_on = if at + 1 < bytes { 0x80 } else { 0 };
            let group = if at == 9 { groups[1] & 1 } else { groups[at % 8] & 0x7f };
            payload.push(group | goes_on);
        }
    }

    fn payload(base: (u64, i64), runs: &[(usize, usize, usize, u64)]) -> Vec<u8> {
        let mut payload = base.0.to_be_bytes().to_vec();
        payload.extend(base.1.to_be_bytes());
        let mut seed = 1_u64;
        for &(reference, time, samples, mask) in runs {
            for _ in 0..samples {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                put(&mut payload, reference, seed.rotate_left(21) & mask);
                put(&mut payload, time, seed.rotate_left(42) & mask);
                payload.extend(seed.to_be_bytes());
            }
        }
        payload
    }

    proptest! {
        #[test]
        fn runs_of_every_shape_agree_with_one_by_one(
            base: (u64, i64),
            runs in prop::collection::vec((1_usize..11, 1_usize..11, 0_usize..14, prop::sample::select(vec![0, u64::MAX])), 0..6),
            short in prop::collection::vec((1_usize..5, 1_usize..5, 0_usize..40, prop::sample::select(vec![0, u64::MAX])), 0..6),
            cut: prop::sample::Index,
        ) {
            for runs in [runs, short] {
                let whole = payload(base, &runs);
                for bytes in [&whole[..], &whole[..cut.index(whole.len())]] {
                    let mut samples = Vec::new();
                    let decoded = decode_all(bytes, &mut samples);
                    match plainly(bytes) {
                        Ok(expected) => {
                            let times = || expected.iter().map(|sample| sample.time_ms);
                            let ends = times().min().zip(times().max());
                            prop_assert_eq!(decoded, Ok(ends.map(|(min, max)| Interval::new(min, max))));
                            prop_assert_eq!(samples, expected);
                        }
                        Err(error) => prop_assert_eq!(decoded, Err(error)),
                    }
                }
            }
        }
    }
}
