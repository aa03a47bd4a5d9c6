//! Base-128 integers, as protocol buffers write them: low group first, at most ten bytes.

/// The most bytes a 64-bit number takes.
pub const UVARINT_BYTES_MAX: usize = 10;

/// Appends `value` in the fewest bytes.
///
/// ```
/// let mut out = Vec::new();
/// wal_types::varint::put_uvarint(&mut out, 300);
/// assert_eq!(out, [0xac, 0x02]);
/// ```
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// How many bytes [`put_uvarint`] appends for `value`: 1 to 10.
#[inline]
pub fn uvarint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(UVARINT_BYTES_MAX)
}

/// Reads a number from the front of `bytes`: its value and how many bytes it took.
///
/// `None` when the bytes end before the number does, and when it does not fit 64 bits (ten bytes of which the last
/// is over 1). Longer forms than necessary, such as `80 00` for zero, are read: Go's `binary.Uvarint`, with which the
/// reference reads, does so too.
#[inline]
pub fn uvarint(bytes: &[u8]) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = 0_u64;
    let mut shift = 0;
    for (&byte, len) in bytes.iter().zip(1..=UVARINT_BYTES_MAX) {
        if len == UVARINT_BYTES_MAX && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value, len));
        }
        shift += 7;
    }
    None
}

/// Folds the sign into the lowest bit, so that small numbers of either sign are short: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) ^ (value & 1).wrapping_neg()) as i64
}

fn low_byte(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_uvarint(&mut out, value);
        out
    }

    #[test]
    fn edges_take_the_fewest_bytes() {
        for groups in 1..10 {
            let over = 1_u64 << (7 * groups);
            assert_eq!(put(over - 1).len(), groups);
            assert_eq!(uvarint_len(over - 1), groups);
            assert_eq!(put(over).len(), groups + 1);
            assert_eq!(uvarint_len(over), groups + 1);
        }
        assert_eq!(put(0), [0]);
        assert_eq!(uvarint_len(0), 1);
        assert_eq!(put(u64::MAX).len(), UVARINT_BYTES_MAX);
    }

    #[test]
    fn longer_forms_than_necessary_are_read() {
        assert_eq!(uvarint(&[0x80, 0x00]), Some((0, 2)));
        assert_eq!(uvarint(&[0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Some((5, 10)));
    }

    #[test]
    fn numbers_over_64_bits_are_refused() {
        let mut bytes = [0xff; 10];
        bytes[9] = 0x01;
        assert_eq!(uvarint(&bytes), Some((u64::MAX, 10)));
        bytes[9] = 0x02;
        assert_eq!(uvarint(&bytes), None);
        bytes[9] = 0x81;
        assert_eq!(uvarint(&bytes), None);
        assert_eq!(uvarint(&[0x80; 11]), None);
    }

    #[test]
    fn bytes_that_end_too_early_are_refused() {
        assert_eq!(uvarint(&[]), None);
        for len in 1..10 {
            assert_eq!(uvarint(&[0x80; 9][..len]), None);
        }
    }

    #[test]
    fn zigzag_interleaves_the_signs() {
        let first: Vec<u64> = [0, -1, 1, -2, 2].into_iter().map(zigzag).collect();
        assert_eq!(first, [0, 1, 2, 3, 4]);
        assert_eq!(zigzag(i64::MAX), u64::MAX - 1);
        assert_eq!(zigzag(i64::MIN), u64::MAX);
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(value: u64, shift in 0_u32..64, after: Vec<u8>) {
            let value = value >> shift;
            let mut bytes = put(value);
            let len = bytes.len();
            prop_assert_eq!(len, uvarint_len(value));
            bytes.extend(after);
            prop_assert_eq!(uvarint(&bytes), Some((value, len)));
        }

        #[test]
        fn zigzag_is_undone(value: i64, other: u64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
            prop_assert_eq!(zigzag(unzigzag(other)), other);
        }
    }
}
