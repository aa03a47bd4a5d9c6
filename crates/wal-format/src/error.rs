//! What can be wrong with a payload that is read, and with an item that is written.

use std::fmt;

use thiserror::Error;

/// Why a payload does not decode, and where.
///
/// The entry's checksum held, so this is what was written: the entry is malformed, not damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind} in {field}, at payload byte {offset}")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    field: &'static str,
    offset: usize,
}

/// What is wrong with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The payload ends before the field does.
    CutShort,
    /// A base-128 integer does not fit 64 bits.
    Overflow,
    /// A series claims more labels than its bytes can hold.
    LabelCount,
}

impl DecodeError {
    pub(crate) fn new(kind: DecodeErrorKind, field: &'static str, offset: usize) -> Self {
        DecodeError { kind, field, offset }
    }

    /// What is wrong.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// The field that could not be read, for people.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// Where that field starts: bytes from the start of the payload.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeErrorKind::CutShort => "the payload ends",
            DecodeErrorKind::Overflow => "a number over 64 bits",
            DecodeErrorKind::LabelCount => "more labels than bytes for them",
        })
    }
}

/// One item alone takes more payload than an entry may have; it cannot be logged under this limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "item {index} takes {bytes} payload bytes, and an entry may have {limit}: raise the entry limit or make the item smaller"
)]
pub struct ItemTooLarge {
    /// Which item of the slice that was given, counted from 0.
    pub index: usize,
    /// The payload bytes of an entry of this item alone.
    pub bytes: u64,
    /// The payload bytes that an entry may have.
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_and_where() {
        let error = DecodeError::new(DecodeErrorKind::CutShort, "a sample's value", 26);
        assert_eq!(error.to_string(), "the payload ends in a sample's value, at payload byte 26");
        assert_eq!(
            (error.kind(), error.field(), error.offset()),
            (DecodeErrorKind::CutShort, "a sample's value", 26)
        );
        let error = ItemTooLarge { index: 2, bytes: 100, limit: 50 };
        assert!(error.to_string().starts_with("item 2 takes 100 payload bytes, and an entry may have 50"));
    }
}
