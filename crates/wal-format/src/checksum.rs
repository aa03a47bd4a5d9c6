//! The checksum, CRC-32C: the one module around the crate that computes it, and arithmetic on checksums of ranges.

/// The checksum of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksum of some bytes followed by `bytes`, from the checksum of the former.
#[inline]
pub fn append(checksum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(checksum, bytes)
}

/// What a checksum contributes to that of a longer range: `checksum` moved past `bytes` further bytes.
///
/// For two ranges A and B side by side, `crc(AB) == shift(crc(A), len(B)) ^ crc(B)`: the inversions at the start and
/// at the end cancel out. The cost is one multiplication for every byte of the number `bytes` that is not zero.
#[inline]
pub fn shift(checksum: u32, bytes: u64) -> u32 {
    let digits = bytes.to_le_bytes();
    let mut shifted = checksum;
    for (digit, powers) in digits.iter().zip(&POWERS) {
        if let Some(&power) = powers.get(usize::from(*digit)).filter(|_| *digit != 0) {
            shifted = multiply(shifted, power);
        }
    }
    shifted
}

/// The checksum of two ranges side by side, from the checksum of each and the length of the second.
#[inline]
pub fn combine(first: u32, second: u32, second_bytes: u64) -> u32 {
    shift(first, second_bytes) ^ second
}

/// The checksum of a range, from those of everything before its start and before its end, and its length.
#[inline]
pub fn range(before_start: u32, before_end: u32, bytes: u64) -> u32 {
    before_end ^ shift(before_start, bytes)
}

/// The product of two polynomials modulo the one of CRC-32C, both with the highest power in the lowest bit.
const fn multiply(a: u32, b: u32) -> u32 {
    let (mut a, mut b, mut product) = (a, b, 0);
    // Without a branch on the data: the bits of a checksum are as good as random.
    while a != 0 {
        product ^= b & (a >> 31).wrapping_neg();
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
        a <<= 1;
    }
    product
}

const fn powers() -> [[u32; 256]; LENGTH_DIGITS] {
    let mut table = [[ONE; 256]; LENGTH_DIGITS];
    let mut step = BYTE;
    let mut digit = 0;
    while digit < LENGTH_DIGITS {
        let mut value = 1;
        while value < 256 {
            table[digit][value] = multiply(table[digit][value - 1], step);
            value += 1;
        }
        step = multiply(table[digit][255], step);
        digit += 1;
    }
    table
}

/// The polynomial without its highest power, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// The polynomial x^8: one byte further.
const BYTE: u32 = 1 << 23;

/// How many base-256 digits a length has that we shift by: all of them.
const LENGTH_DIGITS: usize = size_of::<u64>();

/// `POWERS[k][d]` moves a checksum past d * 256^k bytes.
static POWERS: [[u32; 256]; LENGTH_DIGITS] = powers();

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_is_that_of_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(append(crc32c(b"12345"), b"6789"), 0xe306_9283);
    }

    #[test]
    fn shifts_add_up() {
        let checksum = 0x1234_5678;
        assert_eq!(shift(checksum, 0), checksum);
        for (a, b) in [(1, 255), (256, 65_280), (1 << 24, 0xffff_ffff), (1 << 40, 77)] {
            assert_eq!(shift(shift(checksum, a), b), shift(checksum, a + b));
        }
    }

    proptest! {
        #[test]
        fn ranges_follow_from_prefixes(bytes in prop::collection::vec(any::<u8>(), 0..2000), a: u64, b: u64) {
            let len = u64::try_from(bytes.len()).unwrap() + 1;
            let (a, b) = (usize::try_from(a % len).unwrap(), usize::try_from(b % len).unwrap());
            let (from, to) = (a.min(b), a.max(b));
            let bytes_between = u64::try_from(to - from).unwrap();
            let (whole, part) = (crc32c(&bytes[..to]), crc32c(&bytes[from..to]));
            prop_assert_eq!(range(crc32c(&bytes[..from]), whole, bytes_between), part);
            prop_assert_eq!(combine(crc32c(&bytes[..from]), part, bytes_between), whole);
        }
    }
}
