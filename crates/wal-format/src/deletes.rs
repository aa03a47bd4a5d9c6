//! The payload of a deletes entry: rows of a reference, a first and a last time.

use std::iter::FusedIterator;

use wal_types::varint::{put_uvarint, uvarint_len, zigzag};
use wal_types::{Interval, SeriesRef, Stone, StoneRow};

use crate::cursor::{Cursor, wide};
use crate::entry::{EntryKind, Framed, fit, frame_items};
use crate::error::{DecodeError, ItemTooLarge};
use crate::layout::DELETE_ROW_BYTES_MIN;

/// Appends the payload of `stones`: one row for every interval. A stone without intervals leaves nothing.
pub fn encode_deletes(stones: &[Stone], out: &mut Vec<u8>) {
    for row in stones.iter().flat_map(Stone::rows) {
        out.extend_from_slice(&row.series_ref.0.to_be_bytes());
        put_uvarint(out, zigzag(row.interval.mint_ms));
        put_uvarint(out, zigzag(row.interval.maxt_ms));
    }
}

/// Appends one entry of as many leading stones as fit `payload_bytes_max`; nothing if they have no interval at all.
///
/// A stone is not split between entries. Stones without intervals count as taken.
///
/// # Errors
///
/// [`ItemTooLarge`] when the first stone that has intervals does not fit alone; nothing is appended.
pub fn frame_deletes(
    items: &[Stone],
    payload_bytes_max: u32,
    out: &mut Vec<u8>,
) -> Result<Framed, ItemTooLarge> {
    let (taken, bytes) = fit(items.iter().map(stone_bytes), 0, payload_bytes_max)?;
    if bytes == 0 {
        return Ok(Framed { items: taken, ..Framed::default() });
    }
    let leading = items.get(..taken).unwrap_or_default();
    Ok(frame_items(EntryKind::Deletes, taken, out, |out| encode_deletes(leading, out)))
}

/// Appends the rows of a payload to `out`.
///
/// # Errors
///
/// A [`DecodeError`] when the payload is malformed; `out` then has its former length.
pub fn decode_deletes(payload: &[u8], out: &mut Vec<StoneRow>) -> Result<(), DecodeError> {
    let before = out.len();
    // Bounded by bytes that exist: no row takes fewer.
    out.reserve(payload.len() / DELETE_ROW_BYTES_MIN);
    let mut cursor = Cursor::new(payload);
    while !cursor.is_empty() {
        match row(&mut cursor) {
            Ok(row) => out.push(row),
            Err(error) => {
                out.truncate(before);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// A deletes payload that was checked whole, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct DeletesPayload<'a> {
    bytes: &'a [u8],
    rows: usize,
}

/// The rows of a [`DeletesPayload`], in wire order.
#[derive(Clone, Debug)]
pub struct DeletesIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> DeletesPayload<'a> {
    /// Checks every row and counts them; allocates nothing. Empty bytes are an empty payload.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] for the first row that does not decode.
    pub fn check(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let mut rows = 0_usize;
        while !cursor.is_empty() {
            row(&mut cursor)?;
            rows = rows.saturating_add(1);
        }
        Ok(DeletesPayload { bytes, rows })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows in wire order.
    pub fn iter(&self) -> DeletesIter<'a> {
        DeletesIter { cursor: Cursor::new(self.bytes), left: self.rows }
    }

    /// Appends every row to `out`.
    pub fn decode_into(&self, out: &mut Vec<StoneRow>) {
        out.extend(self.iter());
    }

    /// The bytes of the payload.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Iterator for DeletesIter<'_> {
    type Item = StoneRow;

    fn next(&mut self) -> Option<StoneRow> {
        self.left = self.left.checked_sub(1)?;
        row(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for DeletesIter<'_> {}
impl FusedIterator for DeletesIter<'_> {}

impl<'a> IntoIterator for &DeletesPayload<'a> {
    type Item = StoneRow;
    type IntoIter = DeletesIter<'a>;

    fn into_iter(self) -> DeletesIter<'a> {
        self.iter()
    }
}

fn row(cursor: &mut Cursor<'_>) -> Result<StoneRow, DecodeError> {
    let series_ref = SeriesRef(cursor.be_u64("a stone's reference")?);
    let mint_ms = cursor.zvarint("a stone's first time")?;
    let maxt_ms = cursor.zvarint("a stone's last time")?;
    Ok(StoneRow { series_ref, interval: Interval { mint_ms, maxt_ms } })
}

fn stone_bytes(stone: &Stone) -> u64 {
    let row_bytes = |row: &Interval| {
        wide(size_of::<SeriesRef>() + uvarint_len(zigzag(row.mint_ms)) + uvarint_len(zigzag(row.maxt_ms)))
    };
    stone.intervals.iter().map(row_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DecodeErrorKind;
    use crate::layout::DELETE_ROW_BYTES_MAX;
    use proptest::prelude::*;
    use wal_types::Intervals;

    fn stone(series_ref: u64, rows: &[(i64, i64)]) -> Stone {
        let rows = rows.iter().map(|&(mint_ms, maxt_ms)| Interval { mint_ms, maxt_ms }).collect();
        Stone::new(series_ref, Intervals::from_verbatim(rows))
    }

    #[test]
    fn stones_without_intervals_are_taken_and_leave_nothing() {
        let mut out = vec![1, 2];
        let framed = frame_deletes(&[stone(1, &[]), stone(2, &[])], 100, &mut out).unwrap();
        assert_eq!(framed, Framed { items: 2, checksum: 0, bytes: 0 });
        assert_eq!(frame_deletes(&[], 0, &mut out), Ok(Framed::default()));
        assert_eq!(out, [1, 2]);
    }

    #[test]
    fn a_stone_over_the_limit_is_refused_with_its_index() {
        let mut out = Vec::new();
        let error = frame_deletes(&[stone(1, &[]), stone(2, &[(0, 0), (1, 1)])], 19, &mut out).unwrap_err();
        assert_eq!(error, ItemTooLarge { index: 1, bytes: 20, limit: 19 });
        assert!(out.is_empty());
        let framed =
            frame_deletes(&[stone(1, &[(0, 0)]), stone(2, &[(0, 0), (1, 1)])], 29, &mut out).unwrap();
        assert_eq!((framed.items, framed.bytes, out.len()), (1, 20, 20));
    }

    #[test]
    fn rows_at_the_ends_of_time_take_the_most_bytes() {
        let mut out = Vec::new();
        encode_deletes(&[stone(0, &[(i64::MIN, i64::MAX)])], &mut out);
        assert_eq!(out.len(), DELETE_ROW_BYTES_MAX);
    }

    #[test]
    fn a_cut_row_is_malformed_and_restores_the_output() {
        let mut payload = Vec::new();
        encode_deletes(&[stone(7, &[(1, 2), (300, 400)])], &mut payload);
        let mut rows = vec![StoneRow::default()];
        for len in 0..payload.len() {
            let cut = &payload[..len];
            let error = decode_deletes(cut, &mut rows).err();
            assert_eq!(error.is_none(), len == 0 || len == 10, "length {len}");
            assert_eq!(error, DeletesPayload::check(cut).err());
            if let Some(error) = error {
                assert_eq!(error.kind(), DecodeErrorKind::CutShort);
                assert_eq!(rows.len(), 1);
            }
            rows.truncate(1);
        }
    }

    proptest! {
        #[test]
        fn stones_survive_as_rows(stones in prop::collection::vec((any::<u64>(), any::<Vec<(i64, i64)>>()), 0..8)) {
            let stones: Vec<Stone> = stones.iter().map(|(series_ref, rows)| stone(*series_ref, rows)).collect();
            let rows: Vec<StoneRow> = stones.iter().flat_map(Stone::rows).collect();
            let mut payload = Vec::new();
            encode_deletes(&stones, &mut payload);
            let mut decoded = Vec::new();
            decode_deletes(&payload, &mut decoded).unwrap();
            prop_assert_eq!(&decoded, &rows);
            let checked = DeletesPayload::check(&payload).unwrap();
            prop_assert_eq!((checked.len(), checked.is_empty()), (rows.len(), rows.is_empty()));
            prop_assert_eq!(checked.iter().collect::<Vec<_>>(), rows);
        }
    }
}
