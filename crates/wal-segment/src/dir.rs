//! What lies in a log directory: segments in numeric order, our temporaries, and the rest.

use std::io;

use crate::SegmentId;
use crate::storage::{FileKind, Folder, Storage};

/// How the names of our own temporary files end. Nothing else is ever cleaned away.
pub const TEMPORARY_SUFFIX: &str = ".wal-tmp";

/// A segment's number and the name that it bears. A name may have fewer than six digits: the
/// reference reads `7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The number; segments are in its order.
    pub number: u64,
    /// The name in the log directory.
    pub name: String,
    /// Size in bytes when the directory was read.
    pub bytes: u64,
    /// Whether it is a regular file; a link, FIFO, device or folder is refused when read.
    pub regular: bool,
}

/// A log directory as it was when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Segments by rising number.
    pub segments: Vec<SegmentFile>,
    /// Our own temporaries, by name.
    pub temporaries: Vec<String>,
    /// Names that the log does not know, by name: never touched.
    pub others: Vec<String>,
}

impl Listing {
    /// Reads the directory. Names made of decimal digits are segments, as for the reference.
    ///
    /// # Errors
    /// When the directory cannot be read, or two names mean the same number (`InvalidData`).
    pub fn read(storage: &dyn Storage, known: &[&str]) -> io::Result<Self> {
        let mut listing = Self::default();
        for found in storage.list(Folder::Log)? {
            if let Some(number) = segment_number(&found.name) {
                listing.segments.push(SegmentFile {
                    number,
                    name: found.name,
                    bytes: found.bytes,
                    regular: found.kind == FileKind::File,
                });
            } else if found.kind == FileKind::File && found.name.ends_with(TEMPORARY_SUFFIX) {
                listing.temporaries.push(found.name);
            } else if !known.contains(&found.name.as_str()) {
                listing.others.push(found.name);
            }
        }
        listing.segments.sort_by_key(|segment| segment.number);
        listing.temporaries.sort();
        listing.others.sort();
        for (a, b) in listing.segments.iter().zip(listing.segments.iter().skip(1)) {
            if a.number == b.number {
                let text = format!("the names {} and {} mean the same segment", a.name, b.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(listing)
    }

    /// The highest segment number, if there is a segment.
    #[must_use]
    pub fn last_number(&self) -> Option<u64> {
        self.segments.last().map(|segment| segment.number)
    }
}

/// The number that a name means, if it is a segment's.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    if name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// The name that we give a segment.
#[must_use]
pub fn segment_name(number: u64) -> String {
    SegmentId(number).to_string()
}

/// The name under which a segment is prepared before it gets its own.
#[must_use]
pub fn temporary_name(stem: &str) -> String {
    format!("{stem}{TEMPORARY_SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Modes, OsStorage};

    #[test]
    fn numbers_are_ordered_as_numbers_at_any_width() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["1000000", "000002", "999999", "7", "notes.txt", "x.wal-tmp", "+5"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let listing = Listing::read(&OsStorage::new(dir.path(), Modes::default()), &[]).unwrap();
        let numbers: Vec<u64> = listing.segments.iter().map(|s| s.number).collect();
        assert_eq!(numbers, [2, 7, 999_999, 1_000_000]);
        assert_eq!(listing.temporaries, ["x.wal-tmp"]);
        assert_eq!(listing.others, ["+5", "notes.txt"]);
    }

    #[test]
    fn only_a_regular_file_is_one_and_the_last_number_is_the_highest() {
        let dir = tempfile::tempdir().unwrap();
        let storage = OsStorage::new(dir.path(), Modes::default());
        assert_eq!(Listing::read(&storage, &[]).unwrap().last_number(), None);
        std::fs::write(dir.path().join("000003"), b"abc").unwrap();
        std::fs::create_dir(dir.path().join("000012")).unwrap();
        let listing = Listing::read(&storage, &[]).unwrap();
        let found: Vec<_> = listing.segments.iter().map(|s| (s.number, s.bytes, s.regular)).collect();
        assert_eq!(found, [(3, 3, true), (12, 0, false)]);
        assert_eq!(listing.last_number(), Some(12));
    }

    #[test]
    fn names_have_six_digits_or_more_and_temporaries_a_suffix() {
        assert_eq!([1, 999_999, 1_000_000].map(segment_name), ["000001", "999999", "1000000"]);
        assert_eq!(temporary_name("000001.rewrite"), "000001.rewrite.wal-tmp");
    }

    #[test]
    fn two_names_of_one_number_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["7", "000007"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let error = Listing::read(&OsStorage::new(dir.path(), Modes::default()), &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_number_beyond_64_bits_is_no_segment() {
        assert_eq!(segment_number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(segment_number("18446744073709551616"), None);
        assert_eq!(segment_number(""), None);
    }
}
