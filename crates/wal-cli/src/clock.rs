//! Times given as arguments: milliseconds since 1970, or a calendar time.

/// A time in milliseconds: `1700000000000`, `2023-11-14`, `2023-11-14T22:13:20Z`, with a fraction of a
/// second or an offset such as `+01:00` if wanted.
pub(crate) fn time_ms(text: &str) -> Result<i64, String> {
    if let Ok(time_ms) = text.parse() {
        return Ok(time_ms);
    }
    calendar(text).ok_or_else(|| {
        "write milliseconds since 1970 or a time such as 2023-11-14T22:13:20Z or 2023-11-14".to_owned()
    })
}

fn calendar(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.trim_end_matches(" UTC")),
        None => (text, "00:00:00Z"),
    };
    let [year, month, day] = numbers(date, '-', [9999, 12, 31])?;
    let last = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if month < 1 || day < 1 || last < day {
        return None;
    }
    let (time, offset_min) = offset(time)?;
    let (time, ms) = match time.split_once('.') {
        Some((time, fraction)) => (time, milliseconds(fraction)?),
        None => (time, 0),
    };
    let [hour, minute, second] = numbers(time, ':', [23, 59, 59])?;
    // March is the first month, so that a leap day is the last day of a year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 1
        - 719_468;
    let seconds = (hour * 60 + minute - offset_min) * 60 + second;
    Some((days * 86_400 + seconds) * 1000 + ms)
}

/// Three numbers of fixed width, none above its greatest.
fn numbers(text: &str, between: char, greatest: [i64; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (to, most) in found.iter_mut().zip(greatest) {
        let part = parts.next()?;
        let digits = if most == 9999 { 4 } else { 2 };
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *to = part.parse().ok().filter(|number| *number <= most)?;
    }
    parts.next().is_none().then_some(found)
}

/// The first three digits of a fraction of a second.
fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{fraction}000").get(..3)?.parse().ok()
}

/// The time without its offset, and the offset in minutes; a time without one is taken as UTC.
fn offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.find(['+', '-']) else { return Some((time, 0)) };
    let (time, offset) = time.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let [hours, minutes, _] = numbers(&format!("{}:00", offset.get(1..)?), ':', [23, 59, 59])?;
    Some((time, sign * (hours * 60 + minutes)))
}

#[cfg(test)]
mod tests {
    use super::time_ms;
    use crate::text::utc;

    #[test]
    fn calendar_times_are_those_that_are_printed() {
        let mut time = -62_167_219_200_000;
        while time < 253_402_300_800_000 {
            assert_eq!(time_ms(&utc(time)), Ok(time), "{}", utc(time));
            // A prime, so that every part of a time takes many values.
            time += 86_413_000_007;
        }
        assert_eq!(time_ms("2000-02-29"), Ok(951_782_400_000));
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        assert_eq!(time_ms("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(time_ms("2023-11-14T23:13:20.5+01:00"), Ok(1_700_000_000_500));
        assert_eq!(time_ms("2023-11-14T22:13:20.123456-00:00"), Ok(1_700_000_000_123));
        assert_eq!(time_ms("-5"), Ok(-5));
        assert_eq!(time_ms("9223372036854775807"), Ok(i64::MAX));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "soon",
            "2023-13-01",
            "2023-02-29",
            "2023-1-1",
            "2023-11-14T25:00:00Z",
            "1.5",
            "2023-11-14T22:13",
            "2023-11-14T22:13:20.Z",
            "9223372036854775808",
            "2023-11-14T22:13:20+1",
        ] {
            assert!(time_ms(wrong).is_err(), "{wrong}");
        }
    }
}
