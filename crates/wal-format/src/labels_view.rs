//! Series and labels as they are borrowed from a payload.

use std::iter::FusedIterator;

use wal_types::{Label, Labels, Series, SeriesRef};

use crate::cursor::{Cursor, narrow, part};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::layout::LABEL_BYTES_MIN;

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
    #[inline]
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

impl<'a> Iterator for LabelsViewIter<'a> {
    type Item = Label<'a>;

    #[inline]
    fn next(&mut self) -> Option<Label<'a>> {
        self.left = self.left.checked_sub(1)?;
        label(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for LabelsViewIter<'_> {}
impl FusedIterator for LabelsViewIter<'_> {}

impl<'a> IntoIterator for &LabelsView<'a> {
    type Item = Label<'a>;
    type IntoIter = LabelsViewIter<'a>;

    fn into_iter(self) -> LabelsViewIter<'a> {
        self.iter()
    }
}

/// Where a series is in its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) series_ref: SeriesRef,
    /// Where its labels begin, behind their count.
    labels_at: usize,
    /// Where it ends, and the next one begins.
    pub(crate) end: usize,
    labels: usize,
}

impl Extent {
    /// The series, of the payload that it was found in.
    #[inline]
    pub(crate) fn view(self, payload: &[u8]) -> SeriesView<'_> {
        let bytes = part(payload, self.labels_at..self.end);
        SeriesView { series_ref: self.series_ref, labels: LabelsView { bytes, count: self.labels } }
    }

    /// Finds the series at `at`.
    ///
    /// # Errors
    ///
    /// When there is none.
    #[inline]
    pub(crate) fn find(payload: &[u8], at: usize) -> Result<Self, DecodeError> {
        match Self::find_short(payload, at) {
            Some(found) => Ok(found),
            None => Self::find_any(payload, at),
        }
    }

    /// The same for a series all of whose lengths take one byte, which is almost every one; and nothing else.
    #[inline]
    fn find_short(payload: &[u8], at: usize) -> Option<Self> {
        let (series_ref, behind) = payload.get(at..)?.split_first_chunk()?;
        let labels = short(behind.first())?;
        // Each text that is stepped over has its length within the bytes, so no more are there than could be.
        let mut next = 1_usize;
        for _ in 0..labels {
            next += 1 + short(behind.get(next))?;
            next += 1 + short(behind.get(next))?;
        }
        let labels_at = payload.len() - behind.len() + 1;
        (next <= behind.len()).then(|| Self {
            series_ref: SeriesRef(u64::from_be_bytes(*series_ref)),
            labels_at,
            end: labels_at + next - 1,
            labels,
        })
    }

    fn find_any(payload: &[u8], at: usize) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::at(payload, at);
        let series_ref = SeriesRef(cursor.be_u64("a series' reference")?);
        let at_count = cursor.clone();
        let count = cursor.uvarint("a series' label count")?;
        let room = cursor.rest().len() / LABEL_BYTES_MIN;
        let Some(labels) = narrow(count).filter(|count| *count <= room) else {
            return Err(at_count.error(DecodeErrorKind::LabelCount, "a series' label count"));
        };
        let labels_at = cursor.offset();
        for _ in 0..labels {
            label(&mut cursor)?;
        }
        Ok(Self { series_ref, labels_at, end: cursor.offset(), labels })
    }
}

/// A length of one byte.
#[inline]
fn short(byte: Option<&u8>) -> Option<usize> {
    byte.filter(|byte| **byte < 0x80).map(|byte| usize::from(*byte))
}

#[inline]
fn label<'a>(cursor: &mut Cursor<'a>) -> Result<Label<'a>, DecodeError> {
    Ok(Label { name: cursor.text("a label's name")?, value: cursor.text("a label's value")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wal_types::varint::put_uvarint;

    fn text(payload: &mut Vec<u8>, bytes: &[u8]) {
        put_uvarint(payload, u64::try_from(bytes.len()).unwrap());
        payload.extend_from_slice(bytes);
    }

    proptest! {
        #[test]
        fn the_short_way_finds_what_the_long_one_finds(
            labels in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..140), any::<[u8; 3]>()), 0..5),
            front in 0_usize..9,
            cut: prop::sample::Index,
            spoiled: (prop::sample::Index, u8),
        ) {
            let mut payload = vec![7; front];
            payload.extend(77_u64.to_be_bytes());
            put_uvarint(&mut payload, u64::try_from(labels.len()).unwrap());
            for (name, value) in &labels {
                text(&mut payload, name);
                text(&mut payload, value);
            }
            let mut other = payload.clone();
            *other.get_mut(spoiled.0.index(payload.len())).unwrap() = spoiled.1;
            for bytes in [&payload[..], &payload[..cut.index(payload.len())], &other] {
                prop_assert_eq!(Extent::find(bytes, front), Extent::find_any(bytes, front));
            }
            let is_short = labels.iter().all(|(name, _)| name.len() < 0x80);
            prop_assert_eq!(Extent::find_short(&payload, front).is_some(), is_short);
            let found = Extent::find(&payload, front).unwrap();
            let view = found.view(&payload);
            prop_assert_eq!((found.end, view.series_ref, view.labels.len()), (payload.len(), SeriesRef(77), labels.len()));
            let read = view.labels.iter().map(|label| (label.name, label.value));
            prop_assert!(read.eq(labels.iter().map(|(name, value)| (&name[..], &value[..]))));
        }
    }
}
