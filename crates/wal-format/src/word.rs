//! Base-128 integers eight bytes at a time: what the hot paths of samples do instead of bytes.

/// Eight bytes of a payload, the first in the lowest bits, and how many of them count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    bits: u64,
    bytes: usize,
}

impl Word {
    #[inline(always)]
    pub(crate) fn new(bits: u64) -> Self {
        Word { bits, bytes: WORD_BYTES }
    }

    /// The word without its first bytes, of which there must be fewer than eight.
    #[inline(always)]
    pub(crate) fn skip(self, bytes: usize) -> Self {
        Word { bits: self.bits >> (8 * bytes), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// The integer at the front and how many bytes it takes, if it ends within the word and takes fewer than eight.
    ///
    /// The short cases come first and are branches on purpose: a batch mostly has differences of one length, and a
    /// predicted branch lets the next sample start before this one is done.
    #[inline(always)]
    pub(crate) fn take(self) -> Option<(u64, usize)> {
        let bits = self.bits;
        let (value, used) = if bits & 0x80 == 0 {
            (bits & 0x7f, 1)
        } else if bits & 0x8000 == 0 {
            ((bits & 0x7f) | (bits >> 1 & 0x3f80), 2)
        } else if bits & 0x80_0000 == 0 {
            ((bits & 0x7f) | (bits >> 1 & 0x3f80) | (bits >> 2 & 0x1f_c000), 3)
        } else {
            self.take_long()?
        };
        (used <= self.bytes).then_some((value, used))
    }

    #[inline]
    fn take_long(self) -> Option<(u64, usize)> {
        let last = !self.bits & CONTINUES;
        // All eight go on: too long for a word. Only the eighth ends it: then a second integer would find no bytes.
        if last & !(1 << 63) == 0 {
            return None;
        }
        let used = usize::try_from(last.trailing_zeros() / 8).ok()? + 1;
        // What lies below the bit that ends it; higher bits of `last` go with the other ones of its kind.
        let mut groups = self.bits & last.wrapping_sub(1) & !CONTINUES;
        groups = (groups & 0x007f_007f_007f_007f) | (groups & 0x7f00_7f00_7f00_7f00) >> 1;
        groups = (groups & 0x0000_3fff_0000_3fff) | (groups & 0x3fff_0000_3fff_0000) >> 2;
        groups = (groups & 0x0000_0000_0fff_ffff) | (groups & 0x0fff_ffff_0000_0000) >> 4;
        Some((groups, used))
    }
}

/// The first eight bytes of `value` as a base-128 integer, the first byte lowest, and the last two if it takes more.
///
/// The bytes past the integer's end are zero.
#[inline(always)]
pub(crate) fn spread(value: u64) -> (u64, Option<[u8; 2]>) {
    let low = value & LOW_GROUPS;
    let mut groups = (low & 0x0fff_ffff) | (low & 0x00ff_ffff_f000_0000) << 4;
    groups = (groups & 0x0000_3fff_0000_3fff) | (groups & 0x0fff_c000_0fff_c000) << 2;
    groups = (groups & 0x007f_007f_007f_007f) | (groups & 0x3f80_3f80_3f80_3f80) << 1;
    if value <= LOW_GROUPS {
        // Every byte below the highest one in use goes on.
        let below = u64::MAX >> 8 >> ((groups | 1).leading_zeros() & 0x38);
        return (groups | (CONTINUES & below), None);
    }
    let high = value >> LOW_GROUPS_BITS;
    let [ninth, ..] = (high & 0x7f).to_le_bytes();
    let [tenth, ..] = (high >> 7).to_le_bytes();
    let goes_on = if tenth == 0 { 0 } else { 0x80 };
    (groups | CONTINUES, Some([ninth | goes_on, tenth]))
}

/// The same for a value of at most [`SHORT_BITS`] bits, with the number of bytes it takes: 1 to 4.
#[inline(always)]
pub(crate) fn spread_short(value: u64) -> (u64, usize) {
    let mut groups = (value & 0x3fff) | (value & 0x0fff_c000) << 2;
    groups = (groups & 0x007f_007f) | (groups & 0x3f80_3f80) << 1;
    // Compared rather than by the highest bit set, which is slow to find on common processors.
    let more = usize::from(value >= 1 << 7) + usize::from(value >= 1 << 14) + usize::from(value >= 1 << 21);
    (groups | (CONTINUES & ((1 << (8 * more)) - 1)), 1 + more)
}

/// Bits of a value that takes at most four bytes, so that two of them fit a word.
pub(crate) const SHORT_BITS: u32 = 28;

const WORD_BYTES: usize = size_of::<u64>();

/// The bit of every byte that says that another one follows.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// Eight groups of seven bits.
const LOW_GROUPS_BITS: u32 = 56;
const LOW_GROUPS: u64 = (1 << LOW_GROUPS_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wal_types::varint::{put_uvarint, uvarint};

    proptest! {
        #[test]
        fn spreading_agrees_with_the_plain_encoder(value: u64, shift in 0_u32..64) {
            let value = value >> shift;
            let mut expected = Vec::new();
            put_uvarint(&mut expected, value);
            let (word, more) = spread(value);
            let mut bytes = word.to_le_bytes().to_vec();
            bytes.extend(more.unwrap_or_default());
            prop_assert_eq!(&bytes[..expected.len()], &expected);
            prop_assert!(bytes[expected.len()..].iter().all(|byte| *byte == 0));
            prop_assert_eq!(more.is_some(), expected.len() > 8);
            if value >> SHORT_BITS == 0 {
                prop_assert_eq!(spread_short(value), (word, expected.len()));
            }
        }

        #[test]
        fn taking_agrees_with_the_plain_decoder(bytes: [u8; 8], masks: [bool; 8], skip in 0_usize..8) {
            let mut bytes = bytes;
            for (byte, mask) in bytes.iter_mut().zip(masks) {
                *byte &= if mask { 0x7f } else { 0xff };
            }
            let word = Word::new(u64::from_le_bytes(bytes)).skip(skip);
            let expected = uvarint(&bytes[skip..]);
            match word.take() {
                Some(taken) => prop_assert_eq!(Some(taken), expected),
                None => prop_assert!(expected.is_none_or(|(_, used)| used == 8)),
            }
        }
    }

    #[test]
    fn what_ends_past_the_word_is_not_taken() {
        // The bits that a skip moves in are zero and look like an end.
        let word = Word::new(u64::from_le_bytes([0x80; 8])).skip(5);
        assert_eq!(word.take(), None);
        assert_eq!(Word::new(u64::from_le_bytes([0x85, 0x80, 0x00, 1, 1, 1, 1, 1])).take(), Some((5, 3)));
    }
}
