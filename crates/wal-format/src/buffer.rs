//! A buffer for decoded samples that is used again and again.

use std::mem;
use std::ops::Range;

use wal_types::{Interval, Sample};

use crate::decode::{decode_all, samples_max};
use crate::error::DecodeError;
use crate::run::{RUN_SAMPLES, Take};

/// Decoded samples of one or more payloads, in memory that is kept from one use to the next.
///
/// Its slots stay initialised when it is cleared, so that decoding fills them in place, without asking for each sample
/// whether there is room, as pushing to a vector does. It never holds more slots than the payloads
/// decoded between two clearings could have needed.
///
/// ```
/// use wal_format::{SampleBuffer, encode_samples};
/// use wal_types::Sample;
///
/// let mut payload = Vec::new();
/// encode_samples(&[Sample::new(1, 1_700_000_000_000, 1.5)], &mut payload);
/// let mut buffer = SampleBuffer::default();
/// let decoded = buffer.decode(&payload)?;
/// assert_eq!(buffer.samples()[decoded.range], [Sample::new(1, 1_700_000_000_000, 1.5)]);
/// # Ok::<(), wal_format::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SampleBuffer {
    slots: Vec<Sample>,
    used: usize,
}

/// What [`SampleBuffer::decode`] found in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedSamples {
    /// Where its samples are in the buffer.
    pub range: Range<usize>,
    /// The lowest and the highest of their times, in milliseconds; none if there are no samples.
    pub times_ms: Option<Interval>,
}

impl SampleBuffer {
    /// The samples decoded since it was cleared.
    pub fn samples(&self) -> &[Sample] {
        self.slots.get(..self.used).unwrap_or_default()
    }

    /// Forgets the samples and keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Appends the samples of a payload, and says where they are.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when the payload is malformed; the buffer then holds what it held before.
    pub fn decode(&mut self, payload: &[u8]) -> Result<DecodedSamples, DecodeError> {
        let wanted = self.used.saturating_add(samples_max(payload));
        self.slots.resize(self.slots.len().max(wanted), Sample::default());
        let free = self.slots.get_mut(self.used..).unwrap_or_default();
        let before = free.len();
        let mut fill = Fill { free };
        let times_ms = decode_all(payload, &mut fill)?;
        let from = self.used;
        self.used += before - fill.free.len();
        Ok(DecodedSamples { range: from..self.used, times_ms })
    }
}

/// Fills slots from the first one on; there are enough of them.
struct Fill<'a> {
    free: &'a mut [Sample],
}

impl Take for Fill<'_> {
    #[inline(always)]
    fn one(&mut self, sample: Sample) {
        if let Some((slot, free)) = mem::take(&mut self.free).split_first_mut() {
            *slot = sample;
            self.free = free;
        }
    }

    #[inline(always)]
    fn run(&mut self, samples: [Sample; RUN_SAMPLES]) {
        if let Some((slots, free)) = mem::take(&mut self.free).split_first_chunk_mut() {
            *slots = samples;
            self.free = free;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{decode_samples, encode_samples};
    use proptest::prelude::*;

    fn sample(seed: u64) -> Sample {
        let wide = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Sample::new(wide >> (seed % 64), crate::cursor::signed(wide) >> (seed % 61), f64::from_bits(wide))
    }

    proptest! {
        #[test]
        fn a_used_buffer_agrees_with_a_vector(batches in prop::collection::vec((any::<u64>(), 0_u64..40), 1..6)) {
            let mut buffer = SampleBuffer::default();
            for _ in 0..2 {
                buffer.clear();
                let mut expected = Vec::new();
                for (seed, items) in &batches {
                    let batch: Vec<_> = (0..*items).map(|i| sample(seed.wrapping_add(i))).collect();
                    let mut payload = Vec::new();
                    encode_samples(&batch, &mut payload);
                    let decoded = buffer.decode(&payload).unwrap();
                    prop_assert_eq!(&buffer.samples()[decoded.range], &batch[..]);
                    let times = || batch.iter().map(|sample| sample.time_ms);
                    let ends = times().min().zip(times().max());
                    prop_assert_eq!(decoded.times_ms, ends.map(|(min, max)| Interval::new(min, max)));
                    decode_samples(&payload, &mut expected).unwrap();
                }
                prop_assert_eq!(buffer.samples(), &expected[..]);
            }
        }
    }

    #[test]
    fn a_malformed_payload_leaves_the_buffer_as_it_was() {
        let mut payload = Vec::new();
        encode_samples(&[sample(1), sample(2)], &mut payload);
        let mut buffer = SampleBuffer::default();
        buffer.decode(&payload).unwrap();
        let cut = &payload[..payload.len() - 1];
        assert!(buffer.decode(cut).is_err());
        assert_eq!(buffer.samples(), [sample(1), sample(2)]);
    }
}
