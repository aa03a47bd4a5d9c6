//! Reads what `wal dump` prints and compares it value by value: whole numbers exactly, sample values by bits.

use serde_json::Value;

/// The first difference between two outputs, in words; `None` when they say the same.
pub(crate) fn difference(expected: &str, got: &str) -> Result<Option<String>, String> {
    let (expected, got) = (parse(expected)?, parse(got)?);
    for (index, (want, have)) in expected.iter().zip(&got).enumerate() {
        if !same(want, have, "") {
            let (number, want, have) = (index + 1, shorten(want), shorten(have));
            return Ok(Some(format!("line {number}:\n  expected {want}\n  got      {have}")));
        }
    }
    if expected.len() != got.len() {
        return Ok(Some(format!("{} lines expected, {} printed", expected.len(), got.len())));
    }
    Ok(None)
}

/// One value a line; empty lines are not allowed, as `wal dump` prints none.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, String> {
    let one = |(index, line)| {
        serde_json::from_str(line).map_err(|e| format!("line {} is not JSON: {e}", index + 1))
    };
    text.lines().enumerate().map(one).collect()
}

/// Equal, where the order of keys means nothing and a sample's value `v` may be spelled as a whole number.
fn same(a: &Value, b: &Value, key: &str) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter().all(|(key, in_x)| y.get(key).is_some_and(|in_y| same(in_x, in_y, key)))
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(in_x, in_y)| same(in_x, in_y, key))
        }
        (Value::Number(x), Value::Number(y)) if key == "v" => {
            x.as_f64().map(f64::to_bits) == y.as_f64().map(f64::to_bits)
        }
        // Whole numbers compare exactly here over the ranges of both i64 and u64; 1 and 1.0 differ.
        (a, b) => a == b,
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(300).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(a: &str, b: &str) -> bool {
        difference(a, b).unwrap().is_some()
    }

    #[test]
    fn spelling_and_the_order_of_keys_mean_nothing() {
        assert!(!differ(r#"{"t": 1, "v": 1.0}"#, r#"{"v":1,"t":1}"#));
        assert!(!differ(r#"{"v": 1e300}"#, r#"{"v": 1.0e+300}"#));
    }

    #[test]
    fn negative_zero_differs_from_zero() {
        assert!(differ(r#"{"v": -0.0}"#, r#"{"v": 0.0}"#));
    }

    #[test]
    fn neighbours_in_the_last_bit_differ() {
        assert!(differ(r#"{"v": 0.1}"#, r#"{"v": 0.10000000000000002}"#));
        assert!(differ(r#"{"ref": 18446744073709551615}"#, r#"{"ref": 18446744073709551614}"#));
        assert!(differ(r#"{"t": -9223372036854775808}"#, r#"{"t": -9223372036854775807}"#));
    }

    #[test]
    fn a_time_may_not_be_spelled_as_a_fraction() {
        assert!(differ(r#"{"t": 1}"#, r#"{"t": 1.0}"#));
    }

    #[test]
    fn a_missing_line_is_a_difference() {
        assert!(differ("{\"t\":1}\n{\"t\":2}\n", "{\"t\":1}\n"));
    }

    #[test]
    fn text_that_is_not_json_is_an_error() {
        assert!(difference("{}", "{").is_err());
    }
}
