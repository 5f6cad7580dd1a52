//! Durations as people write them in settings.

use std::time::Duration;

/// Reads `250ms`, `10s`, `5m`, `24h` or `7d`; a bare number means seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let total = milliseconds.and_then(|unit| number.checked_mul(unit)).ok_or_else(wrong)?;
    Ok(Duration::from_millis(total))
}

/// Reads a duration that is longer than nothing.
pub fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .and_then(|duration| if duration.is_zero() { Err("must not be zero".to_owned()) } else { Ok(duration) })
}

fn wrong() -> String {
    "expected a time such as 250ms, 10s, 5m, 24h or 7d".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_number_and_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        for text in ["", "s", "-1s", "1.5s", "1 s", "1w", "99999999999999999999s", "99999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
