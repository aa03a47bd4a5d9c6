//! Runs of samples whose differences take equally many bytes: several at a time, without a branch on any of them.
//!
//! A batch mostly has one time and references near each other, so that its samples stand at a fixed distance. One
//! comparison for a block of them finds out whether that holds; then every byte of the block has a known place.

use wal_types::varint::unzigzag;
use wal_types::{Interval, Sample, SeriesRef};

use crate::cursor::{array_at, part};
use crate::layout::SAMPLE_BYTES_MIN;

/// Samples in one block of a run: as many as the common registers hold at once.
pub(crate) const RUN_SAMPLES: usize = 4;

/// Where decoded samples go, in order.
pub(crate) trait Take {
    /// The next sample.
    fn one(&mut self, sample: Sample);
    /// The next samples.
    fn run(&mut self, samples: [Sample; RUN_SAMPLES]);
}

/// What the differences of a payload are taken from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Base {
    pub(crate) series_ref: u64,
    pub(crate) time_ms: i64,
}

impl Base {
    #[inline(always)]
    pub(crate) fn apply(self, series_ref: i64, time_ms: i64, bits: u64) -> Sample {
        Sample {
            series_ref: SeriesRef(self.series_ref.wrapping_add_signed(series_ref)),
            time_ms: self.time_ms.wrapping_add(time_ms),
            value: f64::from_bits(bits),
        }
    }
}

/// The lowest and the highest time seen, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    seen: Interval,
}

impl Times {
    pub(crate) fn new() -> Self {
        Times { seen: Interval { mint_ms: i64::MAX, maxt_ms: i64::MIN } }
    }

    #[inline(always)]
    pub(crate) fn see(&mut self, time_ms: i64) {
        self.seen.mint_ms = self.seen.mint_ms.min(time_ms);
        self.seen.maxt_ms = self.seen.maxt_ms.max(time_ms);
    }

    /// Both, if any was seen.
    pub(crate) fn seen(self) -> Option<Interval> {
        (!self.seen.is_inverted()).then_some(self.seen)
    }
}

/// Takes blocks of a run that begins at `at`, if one does, and gives where it ends.
#[inline]
pub(crate) fn take_run(
    payload: &[u8],
    at: usize,
    base: Base,
    times: &mut Times,
    out: &mut impl Take,
) -> usize {
    // The last samples of a payload are too few for a block.
    if payload.len().saturating_sub(at) < RUN_SAMPLES * SAMPLE_BYTES_MIN {
        return at;
    }
    let word = array_at(payload, at).map_or(u64::MAX, |word| u64::from_le_bytes(*word));
    if word & 0x80 == 0 {
        by_time::<1>(payload, at, base, times, out, word >> 8)
    } else if word & 0x8000 == 0 {
        by_time::<2>(payload, at, base, times, out, word >> 16)
    } else if word & 0x80_0000 == 0 {
        by_time::<3>(payload, at, base, times, out, word >> 24)
    } else {
        at
    }
}

#[inline(always)]
fn by_time<const REF: usize>(
    payload: &[u8],
    at: usize,
    base: Base,
    times: &mut Times,
    out: &mut impl Take,
    word: u64,
) -> usize {
    if word & 0xff == 0 {
        blocks::<REF, 0>(payload, at, base, times, out)
    } else if word & 0x80 == 0 {
        blocks::<REF, 1>(payload, at, base, times, out)
    } else if word & 0x8000 == 0 {
        blocks::<REF, 2>(payload, at, base, times, out)
    } else if word & 0x80_0000 == 0 {
        blocks::<REF, 3>(payload, at, base, times, out)
    } else {
        at
    }
}

/// Blocks of samples whose references take `REF` bytes and whose times take `TIME`, or one byte of zero if that is 0.
#[inline(never)]
fn blocks<const REF: usize, const TIME: usize>(
    payload: &[u8],
    mut at: usize,
    base: Base,
    times: &mut Times,
    out: &mut impl Take,
) -> usize {
    let sample_bytes = REF + TIME.max(1) + size_of::<f64>();
    let block_bytes = RUN_SAMPLES * sample_bytes;
    loop {
        let block = part(payload, at..at.saturating_add(block_bytes));
        if block.len() != block_bytes {
            return at;
        }
        let word = |offset| array_at(block, offset).map_or(u64::MAX, |word| u64::from_le_bytes(*word));
        let mut differs = 0;
        for sample in 0..RUN_SAMPLES {
            differs |= (word(sample * sample_bytes) ^ shape(REF, TIME)) & judged(REF, TIME);
        }
        if differs != 0 {
            return at;
        }
        let samples = std::array::from_fn(|sample| {
            let differences = word(sample * sample_bytes);
            let value = word((sample + 1) * sample_bytes - size_of::<f64>()).swap_bytes();
            let time = groups::<TIME>(differences >> (8 * REF));
            base.apply(unzigzag(groups::<REF>(differences)), unzigzag(time), value)
        });
        if TIME == 0 {
            times.see(base.time_ms);
        } else {
            samples.iter().for_each(|sample: &Sample| times.see(sample.time_ms));
        }
        out.run(samples);
        at = at.saturating_add(block_bytes);
    }
}

/// The value of a base-128 integer of `BYTES` bytes, at most three.
#[inline(always)]
fn groups<const BYTES: usize>(word: u64) -> u64 {
    let first = if BYTES > 0 { word & 0x7f } else { 0 };
    let second = if BYTES > 1 { word >> 1 & 0x3f80 } else { 0 };
    let third = if BYTES > 2 { word >> 2 & 0x1f_c000 } else { 0 };
    first | second | third
}

/// The bits of a sample's first word that tell its shape: which bytes go on, and all of a time that is zero.
#[inline(always)]
const fn judged(reference: usize, time: usize) -> u64 {
    let goes_on = CONTINUES & low_bytes(reference + time);
    if time == 0 { goes_on | 0xff << (8 * reference) } else { goes_on }
}

/// What those bits are.
#[inline(always)]
const fn shape(reference: usize, time: usize) -> u64 {
    let second = CONTINUES & low_bytes(time.saturating_sub(1));
    CONTINUES & low_bytes(reference - 1) | second << (8 * reference)
}

const fn low_bytes(bytes: usize) -> u64 {
    (1 << (8 * bytes)) - 1
}

/// The bit of every byte that says that another one follows.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_judged_by_the_bits_that_go_on() {
        assert_eq!((shape(1, 0), judged(1, 0)), (0, 0xff80));
        assert_eq!((shape(1, 1), judged(1, 1)), (0, 0x8080));
        assert_eq!((shape(2, 0), judged(2, 0)), (0x80, 0xff_8080));
        assert_eq!((shape(3, 2), judged(3, 2)), (0x8000_8080, 0x80_8080_8080));
    }

    /// An integer of so many bytes.
    fn integer(bytes: usize) -> impl Iterator<Item = u8> {
        std::iter::repeat_n(0x85, bytes - 1).chain([3])
    }

    #[test]
    fn runs_of_every_shape_are_taken_in_blocks() {
        for (reference, time) in (1..=3).flat_map(|reference| (0..=3).map(move |time| (reference, time))) {
            let one: Vec<u8> = match time {
                0 => integer(reference).chain([0; 9]).collect(),
                _ => integer(reference).chain(integer(time)).chain([0; 8]).collect(),
            };
            let blocks = 2 * RUN_SAMPLES;
            let payload = one.repeat(blocks + 3);
            let (mut times, mut samples) = (Times::new(), Vec::new());
            let end = take_run(&payload, 0, Base::default(), &mut times, &mut samples);
            assert_eq!((end, samples.len()), (blocks * one.len(), blocks), "{reference} and {time} bytes");
            // Four bytes are read one by one.
            let longer: Vec<u8> = integer(4).chain([0; 9]).collect();
            assert_eq!(take_run(&longer.repeat(9), 0, Base::default(), &mut times, &mut samples), 0);
            // As many bytes as one block takes at least, but not this one.
            let few = payload.get(..RUN_SAMPLES * one.len() - 1).unwrap();
            assert_eq!(take_run(few, 0, Base::default(), &mut times, &mut samples), 0);
            let block = payload.get(..RUN_SAMPLES * one.len()).unwrap();
            assert_eq!(take_run(block, 0, Base::default(), &mut times, &mut samples), block.len());
        }
    }

    #[test]
    fn no_time_was_seen_in_nothing() {
        let mut times = Times::new();
        assert_eq!(times.seen(), None);
        times.see(i64::MIN);
        times.see(7);
        assert_eq!(times.seen(), Some(Interval::new(i64::MIN, 7)));
        let mut times = Times::new();
        times.see(i64::MAX);
        assert_eq!(times.seen(), Some(Interval::new(i64::MAX, i64::MAX)));
    }
}
