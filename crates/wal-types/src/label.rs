//! One name and value, borrowed from a label set.

use std::fmt;
use std::str;

/// One label of a series: a name and a value, as bytes that are usually UTF-8.
///
/// Bytes rather than `str` because the log's format promises no encoding, and an entry whose checksum holds is never
/// unreadable because of its text.
///
/// `Display` prints `name="value"`; a backslash, a double quote and a newline are escaped with a backslash as in the
/// Prometheus text format, and every byte that is not part of valid UTF-8 appears as `\xNN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<'a> {
    /// The name, for instance `job`. Sets are ordered by it, bytewise.
    pub name: &'a [u8],
    /// The value, for instance `node`.
    pub value: &'a [u8],
}

impl<'a> Label<'a> {
    /// The name as text, or `None` when it is not UTF-8.
    pub fn name_str(&self) -> Option<&'a str> {
        str::from_utf8(self.name).ok()
    }

    /// The value as text, or `None` when it is not UTF-8.
    pub fn value_str(&self) -> Option<&'a str> {
        str::from_utf8(self.value).ok()
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.name)?;
        f.write_str("=\"")?;
        write_escaped(f, self.value)?;
        f.write_str("\"")
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            // The three characters are one byte each, so the split after them is on a boundary.
            let (special, after) = special.split_at(1);
            f.write_str(match special {
                "\\" => "\\\\",
                "\"" => "\\\"",
                _ => "\\n",
            })?;
            rest = after;
        }
        f.write_str(rest)?;
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &[u8], value: &[u8]) -> String {
        Label { name, value }.to_string()
    }

    #[test]
    fn plain_text_is_printed_as_it_is() {
        assert_eq!(shown(b"job", b"node"), "job=\"node\"");
        assert_eq!(shown(b"", b""), "=\"\"");
        assert_eq!(shown(b"n", "\u{e4}\u{1f980}".as_bytes()), "n=\"\u{e4}\u{1f980}\"");
    }

    #[test]
    fn quotes_backslashes_and_newlines_are_escaped() {
        assert_eq!(shown(b"a", b"x\"y\\z\nw"), r#"a="x\"y\\z\nw""#);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_in_hex() {
        assert_eq!(shown(b"a", b"x\xff\xfey"), r#"a="x\xff\xfey""#);
        // A literal backslash is doubled, so the two readings stay apart.
        assert_eq!(shown(b"a", br"\xff"), r#"a="\\xff""#);
    }

    #[test]
    fn text_access_is_none_where_it_is_not_text() {
        let label = Label { name: b"job", value: b"\xff" };
        assert_eq!(label.name_str(), Some("job"));
        assert_eq!(label.value_str(), None);
    }
}
