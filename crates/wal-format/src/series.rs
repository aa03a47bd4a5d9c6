//! The payload of a series entry: references and their labels.

use std::iter::FusedIterator;

use wal_types::varint::{put_uvarint, uvarint_len};
use wal_types::{Label, Labels, Series, SeriesRef};

use crate::cursor::{Cursor, narrow, part, wide};
use crate::entry::{EntryKind, Framed, fit, frame_items};
use crate::error::{DecodeError, DecodeErrorKind, ItemTooLarge};
use crate::layout::LABEL_BYTES_MIN;

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
}

/// The series of a [`SeriesPayload`], in wire order.
#[derive(Clone, Debug)]
pub struct SeriesIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

/// One series, borrowed from a payload.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    /// The number that samples and stones use.
    pub series_ref: SeriesRef,
    /// Its labels.
    pub labels: LabelsView<'a>,
}

/// A label set, borrowed from a payload: in wire order, which need not be sorted.
#[derive(Clone, Copy, Debug)]
pub struct LabelsView<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// The labels of a [`LabelsView`], in wire order.
#[derive(Clone, Debug)]
pub struct LabelsViewIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> SeriesPayload<'a> {
    /// Checks every series and counts them; allocates nothing. Empty bytes are an empty payload.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] for the first series that does not decode. A label count is not believed beyond what the
    /// bytes behind it could hold.
    pub fn check(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let mut items = 0_usize;
        while !cursor.is_empty() {
            item(&mut cursor)?;
            items = items.saturating_add(1);
        }
        Ok(SeriesPayload { bytes, items })
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The series in wire order.
    pub fn iter(&self) -> SeriesIter<'a> {
        SeriesIter { cursor: Cursor::new(self.bytes), left: self.items }
    }

    /// The bytes of the payload.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl SeriesView<'_> {
    /// An owned copy, labels sorted.
    pub fn to_series(&self) -> Series {
        Series { series_ref: self.series_ref, labels: self.labels.to_labels() }
    }
}

impl<'a> LabelsView<'a> {
    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The labels in wire order.
    pub fn iter(&self) -> LabelsViewIter<'a> {
        LabelsViewIter { cursor: Cursor::new(self.bytes), left: self.count }
    }

    /// Whether wire order is ascending by name, as the reference and this crate write it.
    pub fn is_sorted(&self) -> bool {
        self.iter().is_sorted_by_key(|label| label.name)
    }

    /// An owned copy, sorted by name; labels of equal name keep their wire order.
    ///
    /// One allocation and one copy when the wire has the labels sorted and their lengths in shortest form.
    pub fn to_labels(&self) -> Labels {
        Labels::from_sorted_packed(self.bytes, self.count)
            .unwrap_or_else(|| Labels::from_pairs(self.iter().map(|label| (label.name, label.value))))
    }

    /// The bytes behind the label count.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for SeriesIter<'a> {
    type Item = SeriesView<'a>;

    fn next(&mut self) -> Option<SeriesView<'a>> {
        self.left = self.left.checked_sub(1)?;
        item(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> Iterator for LabelsViewIter<'a> {
    type Item = Label<'a>;

    fn next(&mut self) -> Option<Label<'a>> {
        self.left = self.left.checked_sub(1)?;
        label(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SeriesIter<'_> {}
impl FusedIterator for SeriesIter<'_> {}
impl ExactSizeIterator for LabelsViewIter<'_> {}
impl FusedIterator for LabelsViewIter<'_> {}

impl<'a> IntoIterator for &SeriesPayload<'a> {
    type Item = SeriesView<'a>;
    type IntoIter = SeriesIter<'a>;

    fn into_iter(self) -> SeriesIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &LabelsView<'a> {
    type Item = Label<'a>;
    type IntoIter = LabelsViewIter<'a>;

    fn into_iter(self) -> LabelsViewIter<'a> {
        self.iter()
    }
}

fn item<'a>(cursor: &mut Cursor<'a>) -> Result<SeriesView<'a>, DecodeError> {
    let series_ref = SeriesRef(cursor.be_u64("a series' reference")?);
    let at_count = cursor.clone();
    let count = cursor.uvarint("a series' label count")?;
    let behind = cursor.rest();
    let room = behind.len() / LABEL_BYTES_MIN;
    let Some(count) = narrow(count).filter(|count| *count <= room) else {
        return Err(at_count.error(DecodeErrorKind::LabelCount, "a series' label count"));
    };
    let start = cursor.offset();
    for _ in 0..count {
        label(cursor)?;
    }
    let bytes = part(behind, 0..cursor.offset().saturating_sub(start));
    Ok(SeriesView { series_ref, labels: LabelsView { bytes, count } })
}

fn label<'a>(cursor: &mut Cursor<'a>) -> Result<Label<'a>, DecodeError> {
    Ok(Label { name: cursor.text("a label's name")?, value: cursor.text("a label's value")? })
}

fn series_bytes(item: &Series) -> u64 {
    let fixed = size_of::<SeriesRef>() + uvarint_len(wide(item.labels.len()));
    wide(fixed).saturating_add(wide(item.labels.packed().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            prop_assert_eq!(check(&payload), Ok(series));
        }
    }
}
