//! Text for people: samples with their labels, times, sizes and rates.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use wal_engine::LogEntry;
use wal_format::Payload;
use wal_types::{Sample, SeriesRef, StoneRow};

use crate::filter::Filter;
use crate::json_out;

/// Prints entries with the labels of the series seen so far; memory grows with the series, not the log.
#[derive(Default)]
pub(crate) struct TextDump {
    labels: HashMap<SeriesRef, String>,
}

impl TextDump {
    /// Writes those items of an entry that are wanted: one line an item.
    pub(crate) fn entry(
        &mut self,
        out: &mut impl Write,
        entry: &LogEntry<'_>,
        filter: &Filter,
    ) -> io::Result<()> {
        match &entry.payload {
            Payload::Series(payload) => {
                for series in payload.iter() {
                    let labels = series.labels.to_labels().to_string();
                    if filter.wants_series(&series) {
                        self::series(out, series.series_ref, &labels)?;
                    }
                    self.labels.insert(series.series_ref, labels);
                }
            }
            Payload::Samples(payload) => {
                for sample in payload.iter().filter(|sample| filter.wants_sample(sample)) {
                    self::sample(out, self.labels(sample.series_ref), &sample)?;
                }
            }
            Payload::Deletes(payload) => {
                for row in payload.iter().filter(|row| filter.wants_row(row)) {
                    delete(out, self.labels(row.series_ref), &row)?;
                }
            }
        }
        Ok(())
    }

    fn labels(&self, series_ref: SeriesRef) -> Option<&str> {
        self.labels.get(&series_ref).map(String::as_str)
    }
}

/// Writes a line for a series.
pub(crate) fn series(out: &mut impl Write, series_ref: SeriesRef, labels: &str) -> io::Result<()> {
    writeln!(out, "series {series_ref} {labels}")
}

/// Writes a line for a sample of a series with these labels.
pub(crate) fn sample(out: &mut impl Write, labels: Option<&str>, sample: &Sample) -> io::Result<()> {
    name(out, labels, sample.series_ref)?;
    out.write_all(b" ")?;
    value(out, sample.value)?;
    writeln!(out, " @{}", sample.time_ms)
}

/// Writes a line for a deleted range of a series with these labels.
pub(crate) fn delete(out: &mut impl Write, labels: Option<&str>, row: &StoneRow) -> io::Result<()> {
    out.write_all(b"delete ")?;
    name(out, labels, row.series_ref)?;
    writeln!(out, " @{}..@{}", row.interval.mint_ms, row.interval.maxt_ms)
}

/// Writes the labels of a series, or its reference where nobody knows them.
fn name(out: &mut impl Write, labels: Option<&str>, series_ref: SeriesRef) -> io::Result<()> {
    match labels {
        Some(labels) => out.write_all(labels.as_bytes()),
        None => write!(out, "{{ref=\"{series_ref}\"}}"),
    }
}

/// Writes a value as in NDJSON, without the quotes and without a fraction of zero.
fn value(out: &mut impl Write, value: f64) -> io::Result<()> {
    if value.is_nan() {
        write!(out, "NaN({:#018x})", value.to_bits())
    } else if value.is_infinite() {
        out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
    } else if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        write!(out, "{value}")
    } else {
        json_out::value(out, value)
    }
}

/// A time in milliseconds since 1970 as `2023-11-14 22:13:20.000 UTC`, or as a bare number where no
/// calendar of four-digit years has it.
pub(crate) fn utc(time_ms: i64) -> String {
    let (days, ms) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
    if !YEARS_OF_FOUR_DIGITS_MS.contains(&time_ms) {
        return format!("{time_ms} ms");
    }
    // Days since 0000-03-01 make every leap day the last day of its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + era * 400 + next_year;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day_of_month:02} {hour:02}:{minute:02}:{second:02}.{:03} UTC", ms % 1000)
}

/// A number of bytes with its unit.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A whole number with its thousands set apart.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// How many a second, to the nearest whole number.
#[expect(clippy::cast_precision_loss, reason = "a rate is printed to three digits")]
pub(crate) fn per_second(number: u64, time: Duration) -> f64 {
    number as f64 / time.as_secs_f64().max(1e-9)
}

/// A ratio of two counts; none where the second is zero.
#[expect(clippy::cast_precision_loss, reason = "a ratio is printed to three digits")]
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}

const DAY_MS: i64 = 86_400_000;
/// 0000-01-01 to 9999-12-31.
const YEARS_OF_FOUR_DIGITS_MS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;
/// From here on a float's digits are longer than its exponent form.
const WHOLE_MAX: f64 = 1e15;

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_calendar_times() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000 UTC");
        assert_eq!(utc(1_700_000_000_123), "2023-11-14 22:13:20.123 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00.000 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59.999 UTC");
        assert_eq!(utc(253_402_300_799_999), "9999-12-31 23:59:59.999 UTC");
        assert_eq!(utc(-62_167_219_200_000), "0000-01-01 00:00:00.000 UTC");
    }

    #[test]
    fn times_beyond_the_calendar_stay_numbers() {
        assert_eq!(utc(i64::MAX), "9223372036854775807 ms");
        assert_eq!(utc(i64::MIN), "-9223372036854775808 ms");
    }

    #[test]
    fn values_keep_what_tells_them_apart() {
        let text = |value| {
            let mut out = Vec::new();
            super::value(&mut out, value).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!([text(1.0), text(-0.0), text(1.5)], ["1", "-0", "1.5"]);
        assert_eq!([text(f64::INFINITY), text(f64::NEG_INFINITY)], ["+Inf", "-Inf"]);
        assert_eq!(text(f64::from_bits(0x7ff0_0000_0000_0002)), "NaN(0x7ff0000000000002)");
        assert_eq!(text(1e300).parse(), Ok(1e300));
    }
}
