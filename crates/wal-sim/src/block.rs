//! One sector's worth of bytes, shared between the copies of a disk.

use std::sync::Arc;

/// What a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR_BYTES: usize = 512;

const ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];

/// The bytes of a sector and a hash of them, computed once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) bytes: [u8; SECTOR_BYTES],
    pub(crate) hash: u64,
}

/// The content of a sector; `None` is zeros.
pub(crate) type Content = Option<Arc<Block>>;

/// Content of these bytes.
pub(crate) fn content(bytes: [u8; SECTOR_BYTES]) -> Content {
    let mut hash = 0;
    let mut any = 0;
    for word in bytes.chunks_exact(8) {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        any |= word;
        hash = mix(hash, word);
    }
    (any != 0).then(|| Arc::new(Block { bytes, hash }))
}

/// Whether two contents are the same bytes.
pub(crate) fn same(one: &Content, other: &Content) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        _ => false,
    }
}

/// The bytes of a content.
pub(crate) fn bytes_of(content: &Content) -> [u8; SECTOR_BYTES] {
    content.as_ref().map_or(ZEROS, |block| block.bytes)
}

/// The content with zeros from `keep` bytes on.
pub(crate) fn cut(content: &Content, keep: usize) -> Content {
    let mut bytes = bytes_of(content);
    bytes.get_mut(keep..)?.fill(0);
    self::content(bytes)
}

/// The content with these bytes from `at` on.
pub(crate) fn written(content: &Content, at: usize, bytes: &[u8]) -> Content {
    // Most of what a log writes is zeros ahead of it, over zeros.
    if content.is_none() && ZEROS.get(..bytes.len()) == Some(bytes) {
        return None;
    }
    let mut now = bytes_of(content);
    now.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    self::content(now)
}

/// Mixes a word into a hash. Fast, and good enough to tell disks apart; nothing else relies on it.
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let mut z = hash.rotate_left(23) ^ word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    z ^ (z >> 29)
}

/// Mixes text into a hash.
pub(crate) fn mix_text(hash: u64, text: &str) -> u64 {
    text.bytes().fold(mix(hash, 1), |hash, byte| mix(hash, u64::from(byte)))
}
