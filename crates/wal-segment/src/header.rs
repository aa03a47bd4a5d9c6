//! Reading a segment's header, and naming what is wrong with it.

use std::io;

use wal_format::{HeaderFault, SegmentHeader, all_zero, layout};

use crate::storage::{StorageFile, piece_buffer, read_up_to};
use crate::verdict::Reason;

/// Bytes looked at in one go while checking that a file holds nothing but zeros.
const ZERO_CHECK_BYTES: usize = 256 * 1024;

/// Looks at the header of a file of `len` bytes. `Ok(None)` means that entries may follow it.
///
/// # Errors
/// When the file cannot be read; that is no verdict on its bytes.
pub fn check(file: &dyn StorageFile, len: u64) -> io::Result<Option<Reason>> {
    let mut first = [0_u8; layout::HEADER_BYTES];
    let have = read_up_to(file, &mut first, 0, len)?;
    let bytes = first.get(..have).unwrap_or_default();
    let reason = match SegmentHeader::check(bytes) {
        Ok(()) => return Ok(None),
        Err(HeaderFault::Empty) => Reason::Empty,
        Err(HeaderFault::Version(version)) => Reason::UnsupportedVersion(version),
        Err(HeaderFault::Short { prefix_of_header: true, .. }) => Reason::ShortHeader { have: len },
        Err(_) if all_zero(bytes) && first_nonzero(file, 0, len)?.is_none() => {
            Reason::ZeroHeader { have: len }
        }
        Err(HeaderFault::Magic(magic)) => Reason::WrongMagic(magic),
        Err(_) => {
            let mut padded = [0_u8; 4];
            for (to, from) in padded.iter_mut().zip(bytes) {
                *to = *from;
            }
            Reason::WrongMagic(u32::from_be_bytes(padded))
        }
    };
    Ok(Some(reason))
}

/// The offset of the first byte from `from` on that is not zero, if there is one before `len`.
///
/// # Errors
/// When the file cannot be read.
pub fn first_nonzero(file: &dyn StorageFile, from: u64, len: u64) -> io::Result<Option<u64>> {
    let mut buffer = piece_buffer(from, len, ZERO_CHECK_BYTES);
    let mut offset = from;
    loop {
        let have = read_up_to(file, &mut buffer, offset, len)?;
        let bytes = buffer.get(..have).unwrap_or_default();
        if have == 0 {
            return Ok(None);
        }
        if !all_zero(bytes) {
            let within = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
            return Ok(Some(offset + as_u64(within)));
        }
        offset += as_u64(have);
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
