//! The words of one line of JSON, pulled one by one by a parser that knows what must come next.
//!
//! Whole numbers keep all their 64 bits and floats are rounded once, which a general value type does not
//! promise; and a line of a million samples needs no tree. Nothing here recurses, so that no input can
//! overflow the stack.

use std::borrow::Cow;
use std::fmt;

/// Why a line is not an entry: the byte it went wrong at, counted from 1, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The column in bytes, counted from 1.
    pub(crate) column: usize,
    /// What was expected, or what is wrong.
    pub(crate) reason: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.reason)
    }
}

/// A place in one line.
pub(crate) struct Lexer<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `line`.
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    /// A refusal at the present place.
    pub(crate) fn bad<T>(&self, reason: impl Into<String>) -> Result<T, Bad> {
        Err(Bad { column: self.at + 1, reason: reason.into() })
    }

    /// The next byte that is not space, without taking it.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.line.get(self.at) {
            self.at += 1;
        }
        self.line.get(self.at).copied()
    }

    /// Takes `wanted` if it comes next.
    pub(crate) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Takes `wanted`, which must come next.
    pub(crate) fn expect(&mut self, wanted: u8) -> Result<(), Bad> {
        if self.take(wanted) { Ok(()) } else { self.bad(format!("expected `{}`", char::from(wanted))) }
    }

    /// Nothing but space may be left over.
    pub(crate) fn expect_end(&mut self) -> Result<(), Bad> {
        if self.peek().is_none() { Ok(()) } else { self.bad("something follows the entry") }
    }

    /// Calls `item` for every element of an array.
    pub(crate) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Bad>) -> Result<(), Bad> {
        self.expect(b'[')?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.bad("expected `,` or `]`");
            }
        }
    }

    /// Calls `member` with every key of an object; it must take the value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            member(self, &key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.bad("expected `,` or `}`");
            }
        }
    }

    /// A string, borrowed where it holds no escape.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Bad> {
        if self.peek() != Some(b'"') {
            return self.bad("expected a string");
        }
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.line.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=0x1f) => return self.bad("a control character in a string must be escaped"),
                Some(_) => self.at += 1,
                None => return Err(Bad { column: start + 1, reason: "this string has no end".into() }),
            }
        }
        self.at += 1;
        let quoted = self.line.get(start..self.at).unwrap_or_default();
        let Ok(quoted) = std::str::from_utf8(quoted) else {
            let reason = r#"this string is not UTF-8: write it as {"bytes":"<base64>"}"#;
            return Err(Bad { column: start + 1, reason: reason.into() });
        };
        if escaped {
            // Escapes are rare, and their rules (surrogate pairs) are not worth a second copy.
            return serde_json::from_str(quoted)
                .map(Cow::Owned)
                .map_err(|_| Bad { column: start + 1, reason: "a bad escape in this string".into() });
        }
        Ok(Cow::Borrowed(quoted.get(1..quoted.len() - 1).unwrap_or_default()))
    }

    /// The text of a number, checked against JSON's grammar.
    pub(crate) fn number(&mut self) -> Result<&'a str, Bad> {
        self.peek();
        let start = self.at;
        self.at += usize::from(self.line.get(self.at) == Some(&b'-'));
        let whole = self.at;
        let mut good = self.digits() > 0;
        good &= self.at - whole == 1 || self.line.get(whole) != Some(&b'0');
        if self.line.get(self.at) == Some(&b'.') {
            self.at += 1;
            good &= self.digits() > 0;
        }
        if let Some(b'e' | b'E') = self.line.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.line.get(self.at), Some(b'+' | b'-')));
            good &= self.digits() > 0;
        }
        let text = self.line.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok());
        match text {
            Some(text) if good => Ok(text),
            _ => Err(Bad { column: start + 1, reason: "expected a number".into() }),
        }
    }

    /// Passes over a value of any kind, for keys that are ignored.
    pub(crate) fn skip(&mut self) -> Result<(), Bad> {
        let mut open = Vec::new();
        loop {
            match self.peek() {
                Some(b'{' | b'[') if open.len() == NESTING_MAX => return self.bad("nested too deep"),
                Some(byte @ (b'{' | b'[')) => {
                    self.at += 1;
                    open.push(if byte == b'{' { b'}' } else { b']' });
                }
                Some(b'}' | b']') if open.last() == self.line.get(self.at) => {
                    self.at += 1;
                    open.pop();
                }
                Some(b',' | b':') if !open.is_empty() => self.at += 1,
                Some(b'"') => drop(self.string()?),
                Some(b'-' | b'0'..=b'9') => drop(self.number()?),
                _ => self.word()?,
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes `true`, `false` or `null`.
    fn word(&mut self) -> Result<(), Bad> {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let Some(word) = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word.as_bytes()))
        else {
            return self.bad("expected a value");
        };
        self.at += word.len();
        Ok(())
    }

    /// Takes decimal digits and says how many.
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.line.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }
}

/// No key that is ignored needs more.
const NESTING_MAX: usize = 64;
