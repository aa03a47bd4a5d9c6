//! The payload of a series entry: references and their labels.

use std::iter::FusedIterator;
use std::ops::Range;

use wal_types::varint::{put_uvarint, uvarint_len};
use wal_types::{Series, SeriesRef};

use crate::cursor::{narrow, wide};
use crate::entry::{EntryKind, Framed, fit, frame_items};
use crate::error::{DecodeError, ItemTooLarge};
use crate::labels_view::{Extent, SeriesView};

/// Appends the payload of `series`. A label set is packed as the wire wants it, so this is copying.
pub fn encode_series(series: &[Series], out: &mut Vec<u8>) {
    for item in series {
        out.extend_from_slice(&item.series_ref.0.to_be_bytes());
        put_uvarint(out, wide(item.labels.len()));
        out.extend_from_slice(item.labels.packed());
    }
}

/// Appends one entry of as many leading series as fit `payload_bytes_max`; nothing if there are none.
///
/// # Errors
///
/// [`ItemTooLarge`] when the first series does not fit alone; nothing is appended.
pub fn frame_series(
    items: &[Series],
    payload_bytes_max: u32,
    out: &mut Vec<u8>,
) -> Result<Framed, ItemTooLarge> {
    let (taken, bytes) = fit(items.iter().map(series_bytes), 0, payload_bytes_max)?;
    if taken == 0 {
        return Ok(Framed::default());
    }
    let leading = items.get(..taken).unwrap_or_default();
    out.reserve(narrow(bytes).unwrap_or_default());
    Ok(frame_items(EntryKind::Series, taken, out, |out| encode_series(leading, out)))
}

/// A series payload that was checked whole, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct SeriesPayload<'a> {
    bytes: &'a [u8],
    items: usize,
    min_series_ref: Option<SeriesRef>,
    /// Where the first ones of its series are, as far as that is kept.
    known: &'a [Extent],
}

/// The series of a [`SeriesPayload`], in wire order.
#[derive(Clone, Debug)]
pub struct SeriesIter<'a> {
    payload: &'a [u8],
    at: usize,
    known: std::slice::Iter<'a, Extent>,
    left: usize,
}

impl<'a> SeriesPayload<'a> {
    /// Checks every series and counts them; allocates nothing. Empty bytes are an empty payload. Who reads many
    /// payloads does so faster with a [`SeriesBuffer`].
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] for the first series that does not decode. A label count is not believed beyond what the
    /// bytes behind it could hold.
    pub fn check(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let checked = check_all(bytes, |_| ())?;
        Ok(SeriesPayload { bytes, items: checked.items, min_series_ref: checked.min_series_ref, known: &[] })
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The lowest reference; none if there are no series.
    pub fn min_series_ref(&self) -> Option<SeriesRef> {
        self.min_series_ref
    }

    /// The series in wire order.
    pub fn iter(&self) -> SeriesIter<'a> {
        SeriesIter { payload: self.bytes, at: 0, known: self.known.iter(), left: self.items }
    }

    /// The bytes of the payload.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl SeriesIter<'_> {
    /// Where the next series begins in the payload, in bytes: between two calls of `next`, the bytes of one series
    /// as they were read.
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for SeriesIter<'a> {
    type Item = SeriesView<'a>;

    #[inline]
    fn next(&mut self) -> Option<SeriesView<'a>> {
        self.left = self.left.checked_sub(1)?;
        let extent = match self.known.next() {
            Some(known) => *known,
            None => Extent::find(self.payload, self.at).ok()?,
        };
        self.at = extent.end;
        Some(extent.view(self.payload))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SeriesIter<'_> {}
impl FusedIterator for SeriesIter<'_> {}

impl<'a> IntoIterator for &SeriesPayload<'a> {
    type Item = SeriesView<'a>;
    type IntoIter = SeriesIter<'a>;

    fn into_iter(self) -> SeriesIter<'a> {
        self.iter()
    }
}

/// Remembers where the series of payloads are, in memory that is kept from one use to the next: a payload is then
/// walked once, when it is checked, and not again for each look at its series.
///
/// ```
/// use wal_format::{SeriesBuffer, encode_series};
/// use wal_types::{Labels, Series};
///
/// let mut bytes = Vec::new();
/// encode_series(&[Series::new(1, Labels::from_pairs([("job", "node")]))], &mut bytes);
/// let mut buffer = SeriesBuffer::default();
/// let checked = buffer.check(&bytes)?;
/// let payload = buffer.payload(&checked, &bytes);
/// assert_eq!(payload.iter().next().map(|series| series.labels.len()), Some(1));
/// # Ok::<(), wal_format::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SeriesBuffer {
    extents: Vec<Extent>,
}

/// What [`SeriesBuffer::check`] found in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSeries {
    /// How many series there are.
    pub items: usize,
    /// The lowest reference; none if there are no series.
    pub min_series_ref: Option<SeriesRef>,
    known: Range<usize>,
}

impl SeriesBuffer {
    /// Forgets all payloads and keeps the memory.
    pub fn clear(&mut self) {
        self.extents.clear();
    }

    /// Checks a payload as [`SeriesPayload::check`] does, and remembers where its series are, up to a bound on the memory
    /// for that: about a mebibyte for all payloads since the buffer was cleared.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] for the first series that does not decode.
    pub fn check(&mut self, payload: &[u8]) -> Result<CheckedSeries, DecodeError> {
        let from = self.extents.len();
        let extents = &mut self.extents;
        let checked = check_all(payload, |extent| {
            if extents.len() < EXTENTS_MAX {
                extents.push(extent);
            }
        });
        if checked.is_err() {
            self.extents.truncate(from);
        }
        Ok(CheckedSeries { known: from..self.extents.len(), ..checked? })
    }

    /// The payload that was checked. These have to be its bytes; what others seem to hold has no meaning.
    pub fn payload<'a>(&'a self, checked: &CheckedSeries, bytes: &'a [u8]) -> SeriesPayload<'a> {
        let known = self.extents.get(checked.known.clone()).unwrap_or_default();
        SeriesPayload { bytes, items: checked.items, min_series_ref: checked.min_series_ref, known }
    }
}

/// Places that a buffer remembers: all those of an ordinary entry, and not those of one made to cost memory.
const EXTENTS_MAX: usize = 1 << 15;

/// Shows every series of a payload to `see`.
#[inline]
fn check_all(payload: &[u8], mut see: impl FnMut(Extent)) -> Result<CheckedSeries, DecodeError> {
    let (mut at, mut items, mut lowest) = (0, 0_usize, u64::MAX);
    while at < payload.len() {
        let extent = Extent::find(payload, at)?;
        see(extent);
        at = extent.end;
        items = items.saturating_add(1);
        lowest = lowest.min(extent.series_ref.0);
    }
    let min_series_ref = (items != 0).then_some(SeriesRef(lowest));
    Ok(CheckedSeries { items, min_series_ref, known: 0..0 })
}

fn series_bytes(item: &Series) -> u64 {
    let fixed = size_of::<SeriesRef>() + uvarint_len(wide(item.labels.len()));
    wide(fixed).saturating_add(wide(item.labels.packed().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DecodeErrorKind;
    use proptest::prelude::*;
    use wal_types::Labels;

    fn check(bytes: &[u8]) -> Result<Vec<Series>, (DecodeErrorKind, usize)> {
        SeriesPayload::check(bytes)
            .map(|payload| payload.iter().map(|view| view.to_series()).collect())
            .map_err(|error| (error.kind(), error.offset()))
    }

    #[test]
    fn unsorted_labels_are_sorted_on_reading() {
        let bytes = b"\0\0\0\0\0\0\0\x05\x03\x01b\x011\x01a\x012\x01b\x010";
        let payload = SeriesPayload::check(bytes).unwrap();
        let view = payload.iter().next().unwrap();
        assert!(!view.labels.is_sorted());
        assert_eq!(view.labels.iter().map(|label| label.name).collect::<Vec<_>>(), [b"b", b"a", b"b"]);
        assert_eq!(view.to_series().labels.to_string(), r#"{a="2",b="1",b="0"}"#);
    }

    #[test]
    fn overlong_lengths_are_read() {
        let bytes = b"\0\0\0\0\0\0\0\x05\x81\x00\x81\x80\x00a\x80\x00";
        assert_eq!(check(bytes), Ok(vec![Series::new(5, Labels::from_pairs([("a", "")]))]));
    }

    #[test]
    fn a_label_count_without_bytes_is_malformed() {
        let kind = DecodeErrorKind::LabelCount;
        assert_eq!(check(b"\0\0\0\0\0\0\0\x05\x01"), Err((kind, 8)));
        assert_eq!(check(b"\0\0\0\0\0\0\0\x05\x02\0\0\0"), Err((kind, 8)));
        assert_eq!(check(b"\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01aaaa"), Err((kind, 8)));
    }

    #[test]
    fn cut_payloads_are_malformed() {
        assert_eq!(check(b""), Ok(vec![]));
        assert_eq!(check(b"\0\0\0\0\0"), Err((DecodeErrorKind::CutShort, 0)));
        assert_eq!(check(b"\0\0\0\0\0\0\0\x05"), Err((DecodeErrorKind::CutShort, 8)));
        assert_eq!(check(b"\0\0\0\0\0\0\0\x05\x01\x05a"), Err((DecodeErrorKind::CutShort, 9)));
    }

    #[test]
    fn offsets_cut_a_payload_into_its_series() {
        let series = [1, 2, 3].map(|n| Series::new(n, Labels::from_pairs([("a", "b"), ("c", "d")])));
        let mut bytes = Vec::new();
        encode_series(&series, &mut bytes);
        let mut buffer = SeriesBuffer::default();
        let checked = buffer.check(&bytes).unwrap();
        for payload in [SeriesPayload::check(&bytes).unwrap(), buffer.payload(&checked, &bytes)] {
            let mut iter = payload.iter();
            let mut at = iter.offset();
            for one in &series {
                iter.next();
                let part = bytes.get(at..iter.offset()).unwrap();
                assert_eq!(check(part), Ok(vec![one.clone()]));
                at = iter.offset();
            }
            assert_eq!(at, bytes.len());
        }
    }

    #[test]
    fn batches_split_between_series() {
        let series: Vec<Series> = (0..3).map(|n| Series::new(n, Labels::from_pairs([("a", "b")]))).collect();
        let mut out = Vec::new();
        assert_eq!(
            frame_series(&series, 26, &mut out).map(|framed| (framed.items, framed.bytes)),
            Ok((2, 36))
        );
        assert_eq!(
            frame_series(&series, 25, &mut out).map(|framed| (framed.items, framed.bytes)),
            Ok((1, 23))
        );
        assert_eq!(out.len(), 36 + 23);
        let error = frame_series(&series, 12, &mut out).unwrap_err();
        assert_eq!(error, ItemTooLarge { index: 0, bytes: 13, limit: 12 });
        assert_eq!(frame_series(&[], 0, &mut out), Ok(Framed::default()));
        assert_eq!(out.len(), 36 + 23);
    }

    #[test]
    fn a_buffer_forgets_a_payload_that_does_not_decode_and_passes_its_bound_in_order() {
        let one = b"\0\0\0\0\0\0\0\x05\0";
        let mut buffer = SeriesBuffer::default();
        assert!(buffer.check(&[&one[..], &[0; 3]].concat()).is_err());
        assert!(buffer.extents.is_empty());
        let past = wide(EXTENTS_MAX) + 9;
        let many: Vec<u8> = (0..past).flat_map(|n| [&n.to_be_bytes()[..], &[0]].concat()).collect();
        let checked = buffer.check(&many).unwrap();
        assert_eq!((buffer.extents.len(), &checked.known), (EXTENTS_MAX, &(0..EXTENTS_MAX)));
        assert_eq!(EXTENTS_MAX * size_of::<Extent>(), 1 << 20);
        assert!(buffer.payload(&checked, &many).iter().map(|view| view.series_ref.0).eq(0..past));
        let last = buffer.check(one).unwrap();
        assert_eq!(buffer.payload(&last, one).iter().next().unwrap().series_ref, SeriesRef(5));
        assert_eq!(buffer.payload(&checked, &[]).iter().map(|view| view.labels.len()).sum::<usize>(), 0);
        buffer.clear();
        assert!(buffer.extents.is_empty());
        assert_eq!(buffer.payload(&checked, &many).iter().count(), EXTENTS_MAX + 9);
    }

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    proptest! {
        #[test]
        fn series_survive(input in prop::collection::vec((any::<u64>(), any::<Pairs>()), 0..4)) {
            let series: Vec<Series> =
                input.into_iter().map(|(series_ref, pairs)| Series::new(series_ref, Labels::from_pairs(pairs))).collect();
            let mut payload = Vec::new();
            encode_series(&series, &mut payload);
            let checked = SeriesPayload::check(&payload).unwrap();
            prop_assert_eq!(checked.len(), series.len());
            prop_assert!(checked.iter().all(|view| view.labels.is_sorted()));
            prop_assert_eq!(checked.min_series_ref(), series.iter().map(|series| series.series_ref).min());
            let mut buffer = SeriesBuffer::default();
            for _ in 0..2 {
                let again = buffer.check(&payload).unwrap();
                let views = buffer.payload(&again, &payload);
                prop_assert_eq!(views.iter().map(|view| view.to_series()).collect::<Vec<_>>(), series.clone());
            }
            prop_assert_eq!(check(&payload), Ok(series));
        }
    }
}
