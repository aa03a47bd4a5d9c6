//! The only code that slices input: a cursor that cannot run over, and two helpers for windows.

use std::ops::Range;

use wal_types::varint;

use crate::error::{DecodeError, DecodeErrorKind};

/// A position in a payload, moved on by what is read.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Bytes behind the cursor; errors name it.
    offset: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes, offset: 0 }
    }

    /// A cursor that stands `offset` bytes into `bytes`, or at their end if they are fewer.
    #[inline]
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Self {
        let offset = offset.min(bytes.len());
        Cursor { rest: part(bytes, offset..bytes.len()), offset }
    }

    /// The bytes not read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes were read.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn be_u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                self.offset += bytes.len();
                Ok(u64::from_be_bytes(*bytes))
            }
            None => Err(self.error(DecodeErrorKind::CutShort, field)),
        }
    }

    #[inline]
    pub(crate) fn uvarint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match varint::uvarint(self.rest) {
            Some((value, used)) => {
                self.skip(used);
                Ok(value)
            }
            None => Err(self.bad_uvarint(field)),
        }
    }

    /// A signed number: zigzag, then base 128.
    #[inline]
    pub(crate) fn zvarint(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.uvarint(field).map(varint::unzigzag)
    }

    /// A length, then that many bytes.
    #[inline]
    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        // Almost every text is shorter than 128 bytes.
        let [len @ ..0x80, rest @ ..] = self.rest else { return self.long_text(field) };
        let Some((text, rest)) = rest.split_at_checked(usize::from(*len)) else {
            return self.long_text(field);
        };
        self.rest = rest;
        self.offset += 1 + text.len();
        Ok(text)
    }

    fn long_text(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let start = self.clone();
        let len = self.uvarint(field)?;
        match narrow(len).and_then(|len| self.rest.split_at_checked(len)) {
            Some((text, rest)) => {
                self.rest = rest;
                self.offset += text.len();
                Ok(text)
            }
            None => Err(start.error(DecodeErrorKind::CutShort, field)),
        }
    }

    pub(crate) fn error(&self, kind: DecodeErrorKind, field: &'static str) -> DecodeError {
        DecodeError::new(kind, field, self.offset)
    }

    #[inline]
    fn skip(&mut self, bytes: usize) {
        self.rest = part(self.rest, bytes..self.rest.len());
        self.offset += bytes;
    }

    /// Out of line: it runs at most once in a payload.
    #[cold]
    fn bad_uvarint(&self, field: &'static str) -> DecodeError {
        let cut_short =
            self.rest.len() < varint::UVARINT_BYTES_MAX && self.rest.iter().all(|byte| *byte >= 0x80);
        self.error(if cut_short { DecodeErrorKind::CutShort } else { DecodeErrorKind::Overflow }, field)
    }
}

/// A part of `bytes`; nothing where the range does not lie within them.
#[inline]
pub(crate) fn part(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

/// The `N` bytes at `offset`, if they are there.
#[inline]
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<&[u8; N]> {
    bytes.get(offset..)?.first_chunk()
}

/// The sixteen bytes at `offset` as two numbers, first bytes lowest, if they are there.
#[inline(always)]
pub(crate) fn words_at(bytes: &[u8], offset: usize) -> Option<(u64, u64)> {
    let (low, rest) = array_at::<16>(bytes, offset)?.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*low), u64::from_le_bytes(*rest.first_chunk()?)))
}

/// The last bytes, from `offset` on, as two numbers with zeros behind them: if they are fewer than sixteen, and others
/// before them make them sixteen.
#[inline]
pub(crate) fn last_words_at(bytes: &[u8], offset: usize) -> Option<(u64, u64)> {
    let last = bytes.len().checked_sub(16)?;
    let (low, high) = words_at(bytes, last)?;
    Some(match offset.checked_sub(last)? {
        0 => return None,
        skip @ 1..8 => (low >> (8 * skip) | high << (64 - 8 * skip), high >> (8 * skip)),
        skip @ 8..16 => (high >> (8 * (skip - 8)), 0),
        _ => (0, 0),
    })
}

/// A size in memory as a 64-bit number; no platform that Rust supports has wider ones.
#[inline]
pub(crate) fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A 64-bit number as a size in memory, if it can be one here.
#[inline]
pub(crate) fn narrow(number: u64) -> Option<usize> {
    usize::try_from(number).ok()
}

/// The same 64 bits as a signed number.
#[inline(always)]
pub(crate) fn signed(number: u64) -> i64 {
    i64::from_le_bytes(number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_advance_and_name_the_field_they_miss() {
        let mut cursor = Cursor::new(b"\0\0\0\0\0\0\0\x05\x03abc\xac\x02\x03");
        assert_eq!(cursor.be_u64("ref"), Ok(5));
        assert_eq!(cursor.text("name"), Ok(b"abc".as_slice()));
        assert_eq!(cursor.uvarint("count"), Ok(300));
        assert_eq!(cursor.zvarint("delta"), Ok(-2));
        assert!(cursor.is_empty());
        let error = cursor.be_u64("ref").unwrap_err();
        assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::CutShort, 15));
    }

    #[test]
    fn a_number_that_ends_too_early_is_not_one_that_is_too_large() {
        let kind = |bytes: &[u8]| Cursor::new(bytes).uvarint("n").unwrap_err().kind();
        assert_eq!(kind(&[]), DecodeErrorKind::CutShort);
        assert_eq!(kind(&[0x80; 9]), DecodeErrorKind::CutShort);
        assert_eq!(kind(&[0x80; 10]), DecodeErrorKind::Overflow);
        assert_eq!(
            kind(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0]),
            DecodeErrorKind::Overflow
        );
    }

    #[test]
    fn text_of_every_length_is_read_whole() {
        for len in (0..400).chain([16_383, 16_384, 40_000]) {
            // Bytes that would read as a length too, if one were looked for in the wrong place.
            let mut bytes = Vec::new();
            varint::put_uvarint(&mut bytes, wide(len));
            let head = bytes.len();
            bytes.extend((0..len).map(|at| u8::try_from(at % 251).unwrap()));
            bytes.push(0x2a);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.text("name"), Ok(&bytes[head..head + len]));
            assert_eq!((cursor.offset(), cursor.rest()), (head + len, &[0x2a][..]));
        }
    }

    #[test]
    fn text_longer_than_the_rest_is_refused_at_its_length() {
        let mut cursor = Cursor::at(b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", 1);
        let error = cursor.text("label name").unwrap_err();
        assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::CutShort, 1));
    }

    #[test]
    fn parts_outside_are_empty() {
        assert_eq!(part(b"abc", 1..2), b"b");
        assert_eq!(part(b"abc", 2..4), b"");
        assert_eq!(array_at::<2>(b"abc", 1), Some(b"bc"));
        assert_eq!(array_at::<2>(b"abc", 2), None);
        assert_eq!(array_at::<2>(b"abc", 9), None);
        assert_eq!(words_at(b"-\x01\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0", 1), Some((1, 0x200)));
        assert_eq!(words_at(&[0; 16], 1), None);
        assert!(Cursor::at(b"abc", 9).is_empty());
    }
}
