//! The frame around a payload: kind, flag, length, checksum.

use crate::checksum;
use crate::cursor::wide;
use crate::deletes::DeletesPayload;
use crate::error::{DecodeError, ItemTooLarge};
use crate::layout::{ENTRY_OVERHEAD_BYTES, FLAG_DEFAULT, FRAME_HEADER_BYTES, LENGTH_AT, PAYLOAD_BYTES_MAX};
use crate::samples::SamplesPayload;
use crate::series::SeriesPayload;

/// What an entry carries: its first byte.
///
/// 0 is the end mark and 1 (symbols) is reserved and never written; both, and everything else, are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// References and the labels they stand for.
    Series = 2,
    /// Values.
    Samples = 3,
    /// Deleted time ranges.
    Deletes = 4,
}

/// One entry whose checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the payload carries.
    pub kind: EntryKind,
    /// The second byte; without meaning.
    pub flag: u8,
    /// The bytes between frame header and checksum. They may be no payload of their kind: see [`Entry::decode`].
    pub payload: &'a [u8],
    /// CRC-32C over everything before it in the entry.
    pub checksum: u32,
}

/// The checked payload of an entry, borrowed from its bytes.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// References and the labels they stand for.
    Series(SeriesPayload<'a>),
    /// Values.
    Samples(SamplesPayload<'a>),
    /// Deleted time ranges.
    Deletes(DeletesPayload<'a>),
}

/// What a `frame_*` function did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framed {
    /// How many leading items were taken; those without a row on the wire are counted too.
    pub items: usize,
    /// The checksum of the entry appended; 0 if none was.
    pub checksum: u32,
    /// How many bytes were appended: one whole entry, or 0.
    pub bytes: usize,
}

impl EntryKind {
    /// Every kind, in the order of the codes.
    pub const ALL: [EntryKind; 3] = [EntryKind::Series, EntryKind::Samples, EntryKind::Deletes];

    /// The byte that stands for this kind.
    #[inline]
    pub const fn code(self) -> u8 {
        match self {
            EntryKind::Series => 2,
            EntryKind::Samples => 3,
            EntryKind::Deletes => 4,
        }
    }

    /// The kind that a byte stands for, if any.
    #[inline]
    pub const fn from_code(code: u8) -> Option<EntryKind> {
        match code {
            2 => Some(EntryKind::Series),
            3 => Some(EntryKind::Samples),
            4 => Some(EntryKind::Deletes),
            _ => None,
        }
    }
}

impl<'a> Entry<'a> {
    /// How many bytes the whole entry takes, frame included.
    pub fn frame_bytes(&self) -> usize {
        self.payload.len().saturating_add(ENTRY_OVERHEAD_BYTES)
    }

    /// Checks the payload, once and whole; reading it cannot fail afterwards. Allocates nothing.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when the bytes are no payload of this kind: the entry is malformed.
    pub fn decode(&self) -> Result<Payload<'a>, DecodeError> {
        match self.kind {
            EntryKind::Series => SeriesPayload::check(self.payload).map(Payload::Series),
            EntryKind::Samples => SamplesPayload::check(self.payload).map(Payload::Samples),
            EntryKind::Deletes => DeletesPayload::check(self.payload).map(Payload::Deletes),
        }
    }
}

impl Payload<'_> {
    /// Which kind of entry this is the payload of.
    pub fn kind(&self) -> EntryKind {
        match self {
            Payload::Series(_) => EntryKind::Series,
            Payload::Samples(_) => EntryKind::Samples,
            Payload::Deletes(_) => EntryKind::Deletes,
        }
    }

    /// How many items it has: series, samples, or rows of deletes.
    pub fn items(&self) -> usize {
        match self {
            Payload::Series(payload) => payload.len(),
            Payload::Samples(payload) => payload.len(),
            Payload::Deletes(payload) => payload.len(),
        }
    }
}

/// Appends one entry around a payload that is encoded already, and returns its checksum.
///
/// An empty payload is framed too: the reference never writes such an entry, but reads it.
///
/// # Errors
///
/// [`ItemTooLarge`] (with index 0) when the payload is longer than the length field can tell; nothing is appended.
pub fn frame_payload(
    kind: EntryKind,
    flag: u8,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<u32, ItemTooLarge> {
    // The longest payload is what the length field can tell: the conversion is the check.
    if u32::try_from(payload.len()).is_err() {
        return Err(ItemTooLarge { index: 0, bytes: wide(payload.len()), limit: PAYLOAD_BYTES_MAX });
    }
    out.reserve(payload.len().saturating_add(ENTRY_OVERHEAD_BYTES));
    Ok(frame_with(kind, flag, out, |out| out.extend_from_slice(payload)).checksum)
}

/// Appends one entry whose payload `encode` appends. The caller has seen to it that it is not over the longest.
pub(crate) fn frame_with(
    kind: EntryKind,
    flag: u8,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Framed {
    let start = out.len();
    out.extend_from_slice(&[kind.code(), flag, 0, 0, 0, 0]);
    encode(out);
    let entry = out.get_mut(start..).unwrap_or_default();
    let length = u32::try_from(entry.len().saturating_sub(FRAME_HEADER_BYTES)).unwrap_or(PAYLOAD_BYTES_MAX);
    if let Some(field) = entry.get_mut(LENGTH_AT..FRAME_HEADER_BYTES) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    let checksum = checksum::crc32c(entry);
    out.extend_from_slice(&checksum.to_be_bytes());
    Framed { items: 0, checksum, bytes: out.len().saturating_sub(start) }
}

/// Appends one entry of ours with the default flag for `items` items.
pub(crate) fn frame_items(
    kind: EntryKind,
    items: usize,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Framed {
    Framed { items, ..frame_with(kind, FLAG_DEFAULT, out, encode) }
}

/// How many leading items fit into one payload, and the payload bytes that they take.
///
/// `sizes` gives every item's bytes, and `base` what the payload has before its first item. Items of no bytes, of which
/// a payload with a base has none, are taken along.
pub(crate) fn fit(
    sizes: impl Iterator<Item = u64>,
    base: u64,
    limit: u32,
) -> Result<(usize, u64), ItemTooLarge> {
    let mut items = 0;
    let mut total = 0_u64;
    for (index, size) in sizes.enumerate() {
        let before = if total == 0 { base } else { total };
        let after = before.saturating_add(size);
        if after > u64::from(limit) {
            if total == 0 {
                return Err(ItemTooLarge { index, bytes: after, limit });
            }
            break;
        }
        total = after;
        items = index.saturating_add(1);
    }
    Ok((items, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_format() {
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::from_code(kind.code()), Some(kind));
        }
        let known: Vec<u8> = (0..=u8::MAX).filter(|code| EntryKind::from_code(*code).is_some()).collect();
        assert_eq!(known, [2, 3, 4]);
    }

    #[test]
    fn a_frame_is_kind_flag_length_payload_checksum() {
        let mut out = vec![0xaa];
        let checksum = frame_payload(EntryKind::Samples, 7, b"abc", &mut out).unwrap();
        assert_eq!(out[..10], *b"\xaa\x03\x07\0\0\0\x03abc");
        assert_eq!(out[10..], checksum.to_be_bytes());
        assert_eq!(checksum, crc32c::crc32c(&out[1..10]));
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_payload_over_32_bits_of_length_is_refused_and_nothing_is_appended() {
        // Asked of the system as zeros and never touched, so it takes no memory.
        let payload = vec![0; (1 << 32) + 5];
        let mut out = vec![0xaa];
        let error = frame_payload(EntryKind::Samples, 1, &payload, &mut out).unwrap_err();
        assert_eq!(error, ItemTooLarge { index: 0, bytes: (1 << 32) + 5, limit: u32::MAX });
        assert_eq!(out, [0xaa]);
    }

    #[test]
    fn items_fit_up_to_the_limit_and_no_further() {
        let fits = |sizes: &[u64], base, limit| fit(sizes.iter().copied(), base, limit);
        assert_eq!(fits(&[], 16, 0), Ok((0, 0)));
        assert_eq!(fits(&[10, 10, 10], 16, 46), Ok((3, 46)));
        assert_eq!(fits(&[10, 10, 10], 16, 45), Ok((2, 36)));
        assert_eq!(fits(&[10, 30], 0, 10), Ok((1, 10)));
        assert_eq!(fits(&[0, 0, 30], 0, 10), Err(ItemTooLarge { index: 2, bytes: 30, limit: 10 }));
        assert_eq!(fits(&[0, 5, 0, 9], 0, 10), Ok((3, 5)));
        assert_eq!(
            fits(&[u64::MAX], 16, u32::MAX),
            Err(ItemTooLarge { index: 0, bytes: u64::MAX, limit: u32::MAX })
        );
    }
}
