//! The work: samples that are appended, and what must come back of them.

use wal_benches::{SERIES, Workload};
use wal_format::{SampleBuffer, encode_samples};
use wal_types::Sample;

use crate::peer::Answer;

/// Batches of one size, made ahead, gone through again and again.
pub(crate) struct Batches {
    samples: Vec<Sample>,
    pub(crate) size: usize,
}

impl Batches {
    pub(crate) fn new(size: usize) -> Self {
        let mut workload = Workload::new(SERIES);
        let mut samples = Vec::with_capacity(POOL_SAMPLES);
        while samples.len() + size <= POOL_SAMPLES {
            samples.extend_from_slice(workload.next_batch(size));
        }
        Self { samples, size }
    }

    /// So many batches, beginning with the one of number `from`.
    pub(crate) fn walk(&self, from: usize, count: usize) -> Walk<'_> {
        let at = from * self.size % self.samples.len();
        Walk { samples: &self.samples, size: self.size, at, left: count }
    }

    /// What must come back of the first `count` batches.
    pub(crate) fn totals(&self, count: usize) -> Totals {
        let mut totals = Totals::default();
        self.walk(0, count).for_each(|batch| totals.add(batch));
        totals
    }

    /// Bytes of the payloads of the first `count` batches.
    pub(crate) fn payload_bytes(&self, count: usize) -> u64 {
        let mut payload = Vec::new();
        encode_samples(self.samples.get(..self.size).unwrap_or_default(), &mut payload);
        (payload.len() * count) as u64
    }
}

/// Some of the batches, in order.
pub(crate) struct Walk<'a> {
    samples: &'a [Sample],
    size: usize,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a [Sample];

    #[inline]
    fn next(&mut self) -> Option<&'a [Sample]> {
        self.left = self.left.checked_sub(1)?;
        if self.samples.len() < self.at + self.size {
            self.at = 0;
        }
        let batch = self.samples.get(self.at..self.at + self.size)?;
        self.at += self.size;
        Some(batch)
    }
}

/// Payloads for a peer, encoded by our codec one after the other.
pub(crate) struct Source<'a> {
    batches: Walk<'a>,
    payload: Vec<u8>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(batches: Walk<'a>) -> Self {
        Self { batches, payload: Vec::new() }
    }

    /// The next payload, lent.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let batch = self.batches.next()?;
        self.payload.clear();
        encode_samples(batch, &mut self.payload);
        Some(&self.payload)
    }

    /// The next payload, for a peer that takes vectors.
    pub(crate) fn next_owned(&mut self) -> Option<Vec<u8>> {
        let batch = self.batches.next()?;
        // Room for the usual sample: growing would be our fault and not the peer's.
        let mut payload = Vec::with_capacity(PAYLOAD_BASE_BYTES + batch.len() * PAYLOAD_SAMPLE_BYTES);
        encode_samples(batch, &mut payload);
        Some(payload)
    }
}

/// A sink that touches every sample, so that nobody can leave out making them.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) samples: u64,
    pub(crate) values: f64,
    buffer: SampleBuffer,
}

impl Totals {
    pub(crate) fn new(samples: u64, values: f64) -> Self {
        Self { samples, values, buffer: SampleBuffer::default() }
    }

    pub(crate) fn add(&mut self, batch: &[Sample]) {
        self.samples += batch.len() as u64;
        self.values += batch.iter().map(|sample| sample.value).sum::<f64>();
    }

    /// Decodes a payload and adds it up.
    pub(crate) fn take(&mut self, payload: &[u8]) -> Answer<()> {
        self.buffer.clear();
        self.buffer.decode(payload)?;
        let batch = self.buffer.samples();
        self.samples += batch.len() as u64;
        self.values += batch.iter().map(|sample| sample.value).sum::<f64>();
        Ok(())
    }

    /// Fails unless everything came back: the batches are the same, so the sums are, to the last bit.
    pub(crate) fn check(&self, expected: &Totals) -> Answer<()> {
        if (self.samples, self.values.to_bits()) == (expected.samples, expected.values.to_bits()) {
            return Ok(());
        }
        let (got, wanted) = ((self.samples, self.values), (expected.samples, expected.values));
        Err(format!("{got:?} samples and their sum came back, and not {wanted:?}").into())
    }
}

const POOL_SAMPLES: usize = 1_000_000;
const PAYLOAD_BASE_BYTES: usize = 16;
const PAYLOAD_SAMPLE_BYTES: usize = 12;
