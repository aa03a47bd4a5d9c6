//! Entries from NDJSON: what `dump` prints, read back exactly.
//!
//! A line is taken whole or not at all. Keys may come in any order; a key that is not known is refused,
//! since a mistyped `sample` would otherwise write nothing and say yes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wal_types::{Interval, Intervals, Labels, Sample, Series, SeriesRef, Stone};

use crate::json_lex::{Bad, Lexer};

/// The items of one line.
#[derive(Debug)]
pub(crate) enum Batch<'a> {
    /// New series.
    Series(&'a [Series]),
    /// Samples.
    Samples(&'a [Sample]),
    /// Deletes, every row a stone of its own, in the order and with the bounds given.
    Deletes(&'a [Stone]),
}

/// Reads lines into buffers that it keeps from line to line.
#[derive(Default)]
pub(crate) struct Parser {
    series: Vec<Series>,
    samples: Vec<Sample>,
    deletes: Vec<Stone>,
}

impl Parser {
    /// Reads one line; fails with the place and the reason where it is not an entry.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<Batch<'_>, Bad> {
        self.series.clear();
        self.samples.clear();
        self.deletes.clear();
        let mut lexer = Lexer::new(line);
        let mut kind = None;
        let mut items = None;
        lexer.object(|lexer, key| match key {
            "segment" | "offset" => lexer.skip(),
            "type" => once(lexer, &mut kind, key, |lexer| match &*lexer.string()? {
                "series" => Ok("series"),
                "samples" => Ok("samples"),
                "deletes" => Ok("deletes"),
                other => lexer.bad(format!("`{other}` is no type: series, samples or deletes is")),
            }),
            "series" => once(lexer, &mut items, key, |lexer| {
                lexer.array(|lexer| series(lexer).map(|series| self.series.push(series)))?;
                Ok("series")
            }),
            "samples" => once(lexer, &mut items, key, |lexer| {
                lexer.array(|lexer| sample(lexer).map(|sample| self.samples.push(sample)))?;
                Ok("samples")
            }),
            "deletes" => once(lexer, &mut items, key, |lexer| {
                lexer.array(|lexer| stone(lexer).map(|stone| self.deletes.push(stone)))?;
                Ok("deletes")
            }),
            _ => lexer.bad(format!("`{key}` is no key of an entry")),
        })?;
        lexer.expect_end()?;
        match (kind, items) {
            (Some("series"), Some("series")) => Ok(Batch::Series(&self.series)),
            (Some("samples"), Some("samples")) => Ok(Batch::Samples(&self.samples)),
            (Some("deletes"), Some("deletes")) => Ok(Batch::Deletes(&self.deletes)),
            (None, _) => lexer.bad("`type` is missing"),
            (Some(kind), _) => lexer.bad(format!("`{kind}` with its items is missing")),
        }
    }
}

/// Reads the value of a key that may stand only once.
fn once<'a, T>(
    lexer: &mut Lexer<'a>,
    place: &mut Option<T>,
    key: &str,
    read: impl FnOnce(&mut Lexer<'a>) -> Result<T, Bad>,
) -> Result<(), Bad> {
    if place.is_some() {
        // A second list of items of another kind counts as well: one line is one entry.
        return lexer.bad(format!("`{key}` is one too many"));
    }
    *place = Some(read(lexer)?);
    Ok(())
}

/// Unwraps a value whose key must be there.
fn needed<T>(lexer: &Lexer<'_>, value: Option<T>, key: &str) -> Result<T, Bad> {
    value.map_or_else(|| lexer.bad(format!("`{key}` is missing")), Ok)
}

/// `{"ref":1,"t":1700000000000,"v":1.5}`
fn sample(lexer: &mut Lexer<'_>) -> Result<Sample, Bad> {
    let (mut series_ref, mut time_ms, mut number) = (None, None, None);
    lexer.object(|lexer, key| match key {
        "ref" => once(lexer, &mut series_ref, key, reference),
        "t" => once(lexer, &mut time_ms, key, time),
        "v" => once(lexer, &mut number, key, value),
        _ => lexer.bad(format!("`{key}` is no key of a sample")),
    })?;
    Ok(Sample {
        series_ref: needed(lexer, series_ref, "ref")?,
        time_ms: needed(lexer, time_ms, "t")?,
        value: needed(lexer, number, "v")?,
    })
}

/// `{"ref":1,"mint":0,"maxt":100}`
fn stone(lexer: &mut Lexer<'_>) -> Result<Stone, Bad> {
    let (mut series_ref, mut mint, mut maxt) = (None, None, None);
    lexer.object(|lexer, key| match key {
        "ref" => once(lexer, &mut series_ref, key, reference),
        "mint" => once(lexer, &mut mint, key, time),
        "maxt" => once(lexer, &mut maxt, key, time),
        _ => lexer.bad(format!("`{key}` is no key of a delete")),
    })?;
    let interval = Interval { mint_ms: needed(lexer, mint, "mint")?, maxt_ms: needed(lexer, maxt, "maxt")? };
    // Also an interval that ends before it begins: this command writes what it is given.
    let intervals = Intervals::from_verbatim(vec![interval]);
    Ok(Stone { series_ref: needed(lexer, series_ref, "ref")?, intervals })
}

/// `{"ref":1,"labels":[["__name__","up"],["job","node"]]}`
fn series(lexer: &mut Lexer<'_>) -> Result<Series, Bad> {
    let (mut series_ref, mut labels) = (None, None);
    lexer.object(|lexer, key| match key {
        "ref" => once(lexer, &mut series_ref, key, reference),
        "labels" => once(lexer, &mut labels, key, |lexer| {
            let mut pairs = Vec::new();
            lexer.array(|lexer| {
                lexer.expect(b'[')?;
                let name = bytes(lexer)?;
                lexer.expect(b',')?;
                pairs.push((name, bytes(lexer)?));
                lexer.expect(b']')
            })?;
            Ok(Labels::from_pairs(pairs))
        }),
        _ => lexer.bad(format!("`{key}` is no key of a series")),
    })?;
    Ok(Series { series_ref: needed(lexer, series_ref, "ref")?, labels: needed(lexer, labels, "labels")? })
}

/// A whole number from 0 to 2^64-1.
fn reference(lexer: &mut Lexer<'_>) -> Result<SeriesRef, Bad> {
    let text = lexer.number()?;
    match text.parse() {
        Ok(number) => Ok(SeriesRef(number)),
        Err(_) => {
            lexer.bad(format!("{text} is no series reference: a whole number from 0 to {} is", u64::MAX))
        }
    }
}

/// A whole number of milliseconds, all 64 bits of it.
fn time(lexer: &mut Lexer<'_>) -> Result<i64, Bad> {
    let text = lexer.number()?;
    text.parse().or_else(|_| {
        lexer.bad(format!("{text} is no time: a whole number from {} to {} is", i64::MIN, i64::MAX))
    })
}

/// A number, `"+Inf"`, `"-Inf"`, or sixteen digits of bits.
fn value(lexer: &mut Lexer<'_>) -> Result<f64, Bad> {
    if lexer.peek() != Some(b'"') {
        let text = lexer.number()?;
        // Only a number too large becomes infinite here; a JSON number cannot spell infinity.
        return match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => lexer.bad(format!("{text} does not fit a 64-bit float")),
        };
    }
    let text = lexer.string()?;
    match &*text {
        "+Inf" => return Ok(f64::INFINITY),
        "-Inf" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let bits = text
        .strip_prefix("0x")
        .filter(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match bits {
        Some(bits) => Ok(f64::from_bits(bits)),
        None => {
            lexer.bad(r#"a value is a number, "+Inf", "-Inf", or the bits of a NaN, "0x7ff8000000000001""#)
        }
    }
}

/// A string, or bytes as `{"bytes":"<base64>"}`.
fn bytes(lexer: &mut Lexer<'_>) -> Result<Vec<u8>, Bad> {
    if lexer.peek() != Some(b'{') {
        return Ok(lexer.string()?.into_owned().into_bytes());
    }
    let mut decoded = None;
    lexer.object(|lexer, key| match key {
        "bytes" => once(lexer, &mut decoded, key, |lexer| {
            let text = lexer.string()?;
            STANDARD.decode(&*text).or_else(|error| lexer.bad(format!("not base64: {error}")))
        }),
        _ => lexer.bad(format!("`{key}` is no key of a label's text")),
    })?;
    needed(lexer, decoded, "bytes")
}

#[cfg(test)]
mod tests {
    use super::{Batch, Parser};

    fn samples(items: &str) -> Result<Vec<(u64, i64, u64)>, String> {
        let line = format!(r#"{{"type":"samples","samples":[{items}]}}"#);
        match Parser::default().line(line.as_bytes()).map_err(|bad| bad.to_string())? {
            Batch::Samples(samples) => {
                Ok(samples.iter().map(|s| (s.series_ref.0, s.time_ms, s.value.to_bits())).collect())
            }
            other => Err(format!("{other:?}")),
        }
    }

    fn refused(line: &str) -> String {
        Parser::default().line(line.as_bytes()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_exact_to_the_last_bit() {
        let text = r#"{"ref":18446744073709551615,"t":-9223372036854775808,"v":-0.0},
            {"v":1,"t":9007199254740993,"ref":0}, {"ref":1,"t":0,"v":1e300}, {"ref":1,"t":0,"v":5e-324},
            {"ref":1,"t":0,"v":"0x7ff0000000000002"},{"ref":1,"t":0,"v":"+Inf"},{"ref":1,"t":0,"v":"-Inf"}"#;
        let read = samples(text).unwrap();
        assert_eq!(read[0], (u64::MAX, i64::MIN, (-0.0_f64).to_bits()));
        assert_eq!(read[1], (0, 9_007_199_254_740_993, 1.0_f64.to_bits()));
        assert_eq!(read[2].2, 1e300_f64.to_bits());
        assert_eq!(read[3].2, 1);
        assert_eq!(read[4].2, 0x7ff0_0000_0000_0002);
        assert_eq!([read[5].2, read[6].2], [f64::INFINITY.to_bits(), f64::NEG_INFINITY.to_bits()]);
    }

    #[test]
    fn numbers_that_do_not_fit_or_are_no_json_are_refused() {
        for bad in ["1.0", "-1", "18446744073709551616", "01", "1e3", "\"1\"", "null", ""] {
            assert!(samples(&format!(r#"{{"ref":{bad},"t":0,"v":0}}"#)).is_err(), "ref {bad}");
        }
        for bad in ["9223372036854775808", "0.5", "+1", "true"] {
            assert!(samples(&format!(r#"{{"ref":1,"t":{bad},"v":0}}"#)).is_err(), "t {bad}");
        }
        for bad in ["1e400", ".5", "1.", "NaN", "\"NaN\"", "\"0x1\"", "\"0x+ff0000000000002\"", "-", "1e"] {
            assert!(samples(&format!(r#"{{"ref":1,"t":0,"v":{bad}}}"#)).is_err(), "v {bad}");
        }
    }

    #[test]
    fn lines_that_are_no_entry_are_refused_with_column_and_reason() {
        assert_eq!(refused(""), "column 1: expected `{`");
        assert_eq!(refused("{}"), "column 3: `type` is missing");
        assert!(refused(r#"{"type":"samples"}"#).contains("`samples` with its items is missing"));
        assert!(refused(r#"{"type":"samples","series":[]}"#).contains("`samples` with its items"));
        assert!(refused(r#"{"type":"symbols","symbols":[]}"#).contains("is no type"));
        assert!(refused(r#"{"type":"samples","samples":[],"samples":[]}"#).contains("one too many"));
        assert!(refused(r#"{"type":"samples","sample":[]}"#).contains("is no key of an entry"));
        assert!(refused(r#"{"type":"samples","samples":[]} x"#).contains("something follows"));
        assert!(refused(r#"{"type":"samples","samples":[{"ref":1,"t":2}]}"#).contains("`v` is missing"));
        assert!(refused(r#"{"type":"samples","samples":["#).contains("expected `{`"));
        assert!(refused("{\"type\":\"sam").contains("no end"));
        let deep = format!(r#"{{"segment":{}"#, "[".repeat(100_000));
        assert!(refused(&deep).contains("nested too deep"));
    }

    #[test]
    fn positions_of_any_shape_are_ignored_and_keys_come_in_any_order() {
        let line = r#" {"offset":{"a":[1,"x]",null]},"deletes":[{"maxt":1,"ref":7,"mint":2}],"segment":-1.5e3,"type":"deletes"} "#;
        let mut parser = Parser::default();
        let Batch::Deletes(stones) = parser.line(line.as_bytes()).unwrap() else { panic!("not deletes") };
        let rows = stones[0].intervals.as_slice();
        assert_eq!((stones[0].series_ref.0, rows[0].mint_ms, rows[0].maxt_ms), (7, 2, 1));
    }

    #[test]
    fn labels_may_be_escaped_text_or_bytes() {
        let line = r#"{"type":"series","series":[{"ref":1,"labels":[["a","\ud83d\ude00\n"],[{"bytes":"//4="},"\u00e9"]]}]}"#;
        let mut parser = Parser::default();
        let Batch::Series(series) = parser.line(line.as_bytes()).unwrap() else { panic!("not series") };
        assert_eq!(series[0].labels.get(b"a"), Some("\u{1f600}\n".as_bytes()));
        assert_eq!(series[0].labels.get(b"\xff\xfe"), Some("\u{e9}".as_bytes()));
        assert!(
            refused(r#"{"type":"series","series":[{"ref":1,"labels":[["a","\ud83d"]]}]}"#).contains("escape")
        );
        assert!(
            refused(r#"{"type":"series","series":[{"ref":1,"labels":[["a"]]}]}"#).contains("expected `,`")
        );
    }
}
