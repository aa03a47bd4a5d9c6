//! Entries as NDJSON: one line an entry, written by hand straight into the output buffer.
//!
//! Samples are the bulk of every log, so no value tree is built for them; `serde_json` only formats
//! numbers (the shortest text that reads back to the same bits) and escapes strings.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wal_engine::LogEntry;
use wal_format::{Payload, SeriesView};
use wal_types::{Label, Sample, SeriesRef, StoneRow};

use crate::filter::Filter;

/// Writes those items of an entry that are wanted, and a line end.
pub(crate) fn entry(out: &mut impl Write, entry: &LogEntry<'_>, filter: &Filter) -> io::Result<()> {
    write!(out, r#"{{"segment":{},"offset":{},"type":"#, entry.at.segment, entry.at.offset)?;
    match &entry.payload {
        Payload::Series(payload) => {
            out.write_all(br#""series","series":["#)?;
            list(out, payload.iter().filter(|series| filter.wants_series(series)), view)?;
        }
        Payload::Samples(payload) => {
            out.write_all(br#""samples","samples":["#)?;
            list(out, payload.iter().filter(|sample| filter.wants_sample(sample)), sample)?;
        }
        Payload::Deletes(payload) => {
            out.write_all(br#""deletes","deletes":["#)?;
            list(out, payload.iter().filter(|row| filter.wants_row(row)), stone)?;
        }
    }
    out.write_all(b"]}\n")
}

/// Writes a value: a JSON number where it is finite, `"+Inf"`, `"-Inf"`, or the bits of a NaN.
pub(crate) fn value(out: &mut impl Write, value: f64) -> io::Result<()> {
    if value.is_finite() {
        Ok(serde_json::to_writer(out, &value)?)
    } else if value.is_nan() {
        // A stale marker is a NaN among many: only its bits tell.
        write!(out, "\"{:#018x}\"", value.to_bits())
    } else if value.is_sign_positive() {
        out.write_all(b"\"+Inf\"")
    } else {
        out.write_all(b"\"-Inf\"")
    }
}

/// Writes the items of a batch with commas between them.
fn list<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    one: impl Fn(&mut W, T) -> io::Result<()>,
) -> io::Result<()> {
    for (index, item) in items.enumerate() {
        if index != 0 {
            out.write_all(b",")?;
        }
        one(out, item)?;
    }
    Ok(())
}

/// Writes one sample.
pub(crate) fn sample(out: &mut impl Write, sample: Sample) -> io::Result<()> {
    out.write_all(br#"{"ref":"#)?;
    serde_json::to_writer(&mut *out, &sample.series_ref.0)?;
    out.write_all(br#","t":"#)?;
    serde_json::to_writer(&mut *out, &sample.time_ms)?;
    out.write_all(br#","v":"#)?;
    value(out, sample.value)?;
    out.write_all(b"}")
}

/// Writes one row of a stone.
pub(crate) fn stone(out: &mut impl Write, row: StoneRow) -> io::Result<()> {
    let (reference, mint, maxt) = (row.series_ref.0, row.interval.mint_ms, row.interval.maxt_ms);
    write!(out, r#"{{"ref":{reference},"mint":{mint},"maxt":{maxt}}}"#)
}

/// Writes one series as it was read, its labels sorted by name.
fn view(out: &mut impl Write, view: SeriesView<'_>) -> io::Result<()> {
    if view.labels.is_sorted() {
        series(out, view.series_ref, view.labels.iter())
    } else {
        series(out, view.series_ref, view.labels.to_labels().iter())
    }
}

/// Writes one series with these labels.
pub(crate) fn series<'a>(
    out: &mut impl Write,
    series_ref: SeriesRef,
    labels: impl Iterator<Item = Label<'a>>,
) -> io::Result<()> {
    write!(out, r#"{{"ref":{},"labels":["#, series_ref.0)?;
    list(out, labels, label)?;
    out.write_all(b"]}")
}

/// Writes one label as a pair.
fn label<W: Write>(out: &mut W, label: Label<'_>) -> io::Result<()> {
    out.write_all(b"[")?;
    bytes(out, label.name)?;
    out.write_all(b",")?;
    bytes(out, label.value)?;
    out.write_all(b"]")
}

/// Writes bytes as a string, or as `{"bytes":"<base64>"}` where they are not UTF-8.
fn bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(serde_json::to_writer(out, text)?),
        Err(_) => write!(out, r#"{{"bytes":"{}"}}"#, STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, value};

    fn text_of(number: f64) -> String {
        let mut out = Vec::new();
        value(&mut out, number).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn finite_values_read_back_to_the_same_bits() {
        for number in [0.0, -0.0, 1.0, 1.5, 5e-324, f64::MAX, f64::MIN, 0.1 + 0.2, 1e16, 1e21, -1e-7] {
            let read: f64 = text_of(number).parse().unwrap();
            assert_eq!(read.to_bits(), number.to_bits(), "{number:?}");
            assert!(serde_json::from_str::<serde_json::Value>(&text_of(number)).unwrap().is_number());
        }
        assert!(text_of(-0.0).starts_with('-'));
    }

    #[test]
    fn other_values_are_strings_and_a_nan_keeps_its_bits() {
        assert_eq!(text_of(f64::INFINITY), "\"+Inf\"");
        assert_eq!(text_of(f64::NEG_INFINITY), "\"-Inf\"");
        assert_eq!(text_of(f64::from_bits(0x7ff0_0000_0000_0002)), "\"0x7ff0000000000002\"");
        assert_eq!(text_of(f64::from_bits(u64::MAX)), "\"0xffffffffffffffff\"");
    }

    #[test]
    fn bytes_that_are_not_text_are_base64() {
        let mut out = Vec::new();
        bytes(&mut out, b"\xff\xfe").unwrap();
        out.push(b' ');
        bytes(&mut out, "a\"\n".as_bytes()).unwrap();
        assert_eq!(out, br#"{"bytes":"//4="} "a\"\n""#);
    }
}
