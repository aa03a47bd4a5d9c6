//! The first eight bytes of a segment.

use bytemuck::{Pod, Zeroable};
use thiserror::Error;

use crate::cursor::part;
use crate::layout::{HEADER_BYTES, MAGIC, VERSION};

/// The header of a segment, laid out as its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SegmentHeader {
    magic: [u8; 4],
    version: u8,
    /// Written zero and not checked on reading, as the reference does.
    reserved: [u8; 3],
}

const _: () = assert!(size_of::<SegmentHeader>() == HEADER_BYTES);

/// Why a segment's first bytes are not a header that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum HeaderFault {
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The file is shorter than a header.
    #[error("the file is {len} bytes long, shorter than a segment header")]
    Short {
        /// How long the file is, in bytes.
        len: usize,
        /// Whether those bytes are the first ones of the header that we write: a creation cut short.
        prefix_of_header: bool,
    },
    /// The first four bytes, as a big-endian number, are not those of a segment.
    #[error("the file starts with {0:#010x} and not with {MAGIC:#010x}: not a segment")]
    Magic(u32),
    /// A segment of a version that we do not know.
    #[error("the segment has version {0}, and only version {VERSION} is known")]
    Version(u8),
}

impl SegmentHeader {
    /// The header of the segments that we write.
    pub const CURRENT: SegmentHeader =
        SegmentHeader { magic: MAGIC.to_be_bytes(), version: VERSION, reserved: [0; 3] };

    /// The eight bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        bytemuck::cast(self)
    }

    /// Judges the first bytes of a segment. Only the first eight are looked at; fewer are taken for the whole file.
    ///
    /// # Errors
    ///
    /// A [`HeaderFault`] unless magic and version are those of [`CURRENT`](Self::CURRENT). The magic is judged first:
    /// a version means something only in a segment.
    pub fn check(bytes: &[u8]) -> Result<(), HeaderFault> {
        let Some(first) = bytes.first_chunk::<HEADER_BYTES>() else {
            let ours = Self::CURRENT.to_bytes();
            let prefix_of_header = part(&ours, 0..bytes.len()) == bytes;
            return Err(match bytes.len() {
                0 => HeaderFault::Empty,
                len => HeaderFault::Short { len, prefix_of_header },
            });
        };
        let header: SegmentHeader = bytemuck::cast(*first);
        if header.magic != Self::CURRENT.magic {
            return Err(HeaderFault::Magic(u32::from_be_bytes(header.magic)));
        }
        if header.version != VERSION {
            return Err(HeaderFault::Version(header.version));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_header_is_accepted_and_reserved_bytes_are_not_checked() {
        assert_eq!(SegmentHeader::CURRENT.to_bytes(), [0x43, 0xaf, 0x00, 0xef, 1, 0, 0, 0]);
        assert_eq!(SegmentHeader::check(&SegmentHeader::CURRENT.to_bytes()), Ok(()));
        assert_eq!(SegmentHeader::check(&[0x43, 0xaf, 0x00, 0xef, 1, 9, 9, 9, 77]), Ok(()));
    }

    #[test]
    fn a_short_file_says_whether_it_is_a_creation_cut_short() {
        let bytes = SegmentHeader::CURRENT.to_bytes();
        assert_eq!(SegmentHeader::check(&[]), Err(HeaderFault::Empty));
        for len in 1..HEADER_BYTES {
            let fault = SegmentHeader::check(&bytes[..len]);
            assert_eq!(fault, Err(HeaderFault::Short { len, prefix_of_header: true }));
        }
        let fault = SegmentHeader::check(&[0x43, 0]);
        assert_eq!(fault, Err(HeaderFault::Short { len: 2, prefix_of_header: false }));
    }

    #[test]
    fn wrong_magic_is_told_before_wrong_version() {
        assert_eq!(SegmentHeader::check(&[0; 8]), Err(HeaderFault::Magic(0)));
        let mut bytes = SegmentHeader::CURRENT.to_bytes();
        bytes[4] = 2;
        assert_eq!(SegmentHeader::check(&bytes), Err(HeaderFault::Version(2)));
        bytes[0] = 0;
        assert_eq!(SegmentHeader::check(&bytes), Err(HeaderFault::Magic(0x00af_00ef)));
    }
}
