//! Where an entry lies: the log's sequence number.

use std::fmt;
use std::str::FromStr;

/// The number of a segment; its file is named by it, in decimal, with at least six digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// A byte offset in a segment: our log sequence number.
///
/// Positions are ordered as the log is. What a logging call returns is the position *behind* its
/// last entry; what a reader returns with an entry is the position *of* it. Printed and parsed as
/// `SEGMENT:OFFSET`, both decimal.
///
/// ```
/// use wal_segment::Position;
/// let at: Position = "2:118".parse()?;
/// assert!(Position { segment: 1, offset: 4096 } < at);
/// assert_eq!(at.to_string(), "2:118");
/// # Ok::<(), wal_segment::ParsePositionError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from the start of the segment's file; the first entry lies at 8.
    pub offset: u64,
}

impl Position {
    /// A position from its two parts.
    #[must_use]
    pub const fn new(segment: u64, offset: u64) -> Self {
        Self { segment, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// The text is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected SEGMENT:OFFSET, two decimal numbers, as in 2:118")]
pub struct ParsePositionError;

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let (segment, offset) = text.split_once(':').ok_or(ParsePositionError)?;
        let number = |part: &str| part.parse::<u64>().map_err(|_| ParsePositionError);
        Ok(Self { segment: number(segment)?, offset: number(offset)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_segment_then_offset() {
        assert!(Position::new(9, 4000) < Position::new(10, 8));
        assert!(Position::new(10, 8) < Position::new(10, 9));
    }

    #[test]
    fn text_that_is_no_position_is_refused() {
        for bad in ["", "1", "1:", ":8", "a:8", "1:8:9", "-1:8"] {
            assert_eq!(bad.parse::<Position>(), Err(ParsePositionError), "{bad}");
        }
    }
}
