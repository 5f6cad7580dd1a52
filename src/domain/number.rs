//! Writes numbers of JSON that stand for names as names.

use std::borrow::Cow;

/// Up to here every whole number is one of its own in JSON as most programs read it.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The name that a JSON number is. One without a fraction is its digits however it is written, as `456.0` and `4.56e2`, below
/// 2^53; any other stays as it is.
pub fn number_name(number: &str) -> Cow<'_, str> {
    if !number.contains(['.', 'e', 'E']) {
        return number.into();
    }
    match number.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && value.abs() < MAX_WHOLE => (value as i64).to_string().into(),
        _ => number.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_its_digits() {
        for (number, name) in [
            ("456", "456"),
            ("456.0", "456"),
            ("4.56e2", "456"),
            ("-4.5E1", "-45"),
            ("-0.0", "0"),
            ("4.5", "4.5"),
            ("9007199254740992.0", "9007199254740992.0"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("1e300", "1e300"),
        ] {
            assert_eq!(number_name(number), name);
        }
    }
}
