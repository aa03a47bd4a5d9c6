//! Replay: entries decoded and handed to a sink, in log order.

use wal_format::{
    DecodeError, Entry, EntryKind, SampleBuffer, SamplesPayload, SeriesBuffer, SeriesPayload, decode_deletes,
};
use wal_segment::{Position, SegmentStats};
use wal_types::{Sample, StoneRow};

/// Receives what a log holds, batch by batch, in log order.
///
/// Called on the thread that replays, with no lock held. A panic unwinds through replay and leaves
/// the log on disk as it was. Slices are only lent: what must stay is copied. Positions are those of
/// the entries' first bytes. `()` ignores everything.
pub trait ReplaySink {
    /// A batch of series; their labels are borrowed, in wire order.
    fn series(&mut self, at: Position, batch: &SeriesPayload<'_>) {
        let _ = (at, batch);
    }

    /// Whether samples are wanted. When they are not, [`samples`](Self::samples) is not called: their entries are
    /// checked and counted all the same, and take no memory, which makes replay of a log of mostly samples faster.
    /// Asked once, before anything is read.
    fn wants_samples(&self) -> bool {
        true
    }

    /// A batch of samples.
    fn samples(&mut self, at: Position, batch: &[Sample]) {
        let _ = (at, batch);
    }

    /// A batch of delete rows; a stone of three intervals comes back as three rows.
    fn deletes(&mut self, at: Position, batch: &[StoneRow]) {
        let _ = (at, batch);
    }

    /// An entry whose checksum holds and whose payload does not decode. It is skipped whole.
    fn malformed(&mut self, at: Position, error: &DecodeError) {
        let _ = (at, error);
    }
}

impl ReplaySink for () {
    fn wants_samples(&self) -> bool {
        false
    }
}

impl<S: ReplaySink + ?Sized> ReplaySink for &mut S {
    fn series(&mut self, at: Position, batch: &SeriesPayload<'_>) {
        (**self).series(at, batch);
    }

    fn wants_samples(&self) -> bool {
        (**self).wants_samples()
    }

    fn samples(&mut self, at: Position, batch: &[Sample]) {
        (**self).samples(at, batch);
    }

    fn deletes(&mut self, at: Position, batch: &[StoneRow]) {
        (**self).deletes(at, batch);
    }

    fn malformed(&mut self, at: Position, error: &DecodeError) {
        (**self).malformed(at, error);
    }
}

/// Decodes entries into reused buffers, and counts what they hold.
#[derive(Debug)]
pub(crate) struct Decoder {
    wants_samples: bool,
    series: SeriesBuffer,
    samples: SampleBuffer,
    rows: Vec<StoneRow>,
}

impl Decoder {
    pub(crate) fn new(wants_samples: bool) -> Self {
        Self {
            wants_samples,
            series: SeriesBuffer::default(),
            samples: SampleBuffer::default(),
            rows: Vec::new(),
        }
    }

    /// Hands one entry to the sink. An entry that does not decode goes to `malformed`, and its error
    /// comes back.
    pub(crate) fn deliver(
        &mut self,
        at: Position,
        entry: &Entry<'_>,
        stats: &mut SegmentStats,
        sink: &mut impl ReplaySink,
    ) -> Result<(), DecodeError> {
        let outcome = match entry.kind {
            EntryKind::Series => {
                self.series.clear();
                self.series.check(entry.payload).map(|checked| {
                    stats.add_series_entry(checked.items, checked.min_series_ref);
                    sink.series(at, &self.series.payload(&checked, entry.payload));
                })
            }
            EntryKind::Samples if !self.wants_samples => SamplesPayload::check(entry.payload)
                .map(|checked| stats.add_sample_entry(checked.len(), checked.times_ms())),
            EntryKind::Samples => {
                self.samples.clear();
                self.samples.decode(entry.payload).map(|decoded| {
                    stats.add_sample_entry(decoded.range.len(), decoded.times_ms);
                    sink.samples(at, self.samples.samples());
                })
            }
            EntryKind::Deletes => {
                self.rows.clear();
                decode_deletes(entry.payload, &mut self.rows).map(|()| {
                    stats.add_deletes(self.rows.iter().copied());
                    sink.deletes(at, &self.rows);
                })
            }
        };
        if let Err(error) = &outcome {
            stats.add_malformed();
            sink.malformed(at, error);
        }
        outcome
    }
}
