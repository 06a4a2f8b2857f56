//! Decimal numbers as text: exact, plain, never through a float.

use std::borrow::Cow;

/// Digits that DynamoDB keeps.
const MAX_DIGITS: usize = 38;
/// DynamoDB's range: magnitudes from 1E-130 to 9.99...E+125.
const EXPONENTS: std::ops::RangeInclusive<i64> = -130..=125;

/// The number's plain notation: a number without an exponent is kept as it is; one with an exponent is written out
/// if it lies in DynamoDB's range (38 digits, 1E-130 to 9.99E+125), and kept as it is otherwise. `None` if the text
/// is not a JSON number.
pub(crate) fn plain(text: &str) -> Option<Cow<'_, str>> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, Some(unsigned.get(at + 1..)?)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || (whole.len() > 1 && whole.starts_with('0')) || !fraction.is_none_or(digits) {
        return None;
    }
    let Some(exponent) = exponent else {
        return Some(Cow::Borrowed(text));
    };
    if !digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)) {
        return None;
    }
    let sign = if unsigned.len() < text.len() { "-" } else { "" };
    let expanded = exponent
        .parse()
        .ok()
        .and_then(|exponent| expand(sign, whole, fraction.unwrap_or(""), exponent));
    Some(expanded.map_or(Cow::Borrowed(text), Cow::Owned))
}

/// `whole.fraction` times ten to the `exponent`, written out; `None` outside DynamoDB's range.
fn expand(sign: &str, whole: &str, fraction: &str, exponent: i64) -> Option<String> {
    let all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_matches('0');
    if digits.is_empty() {
        return Some(format!("{sign}0"));
    }
    // Where the decimal point stands, counted from the first digit that is not zero.
    let point = point.checked_sub(i64::try_from(leading).ok()?)?;
    if digits.len() > MAX_DIGITS || !EXPONENTS.contains(&(point - 1)) {
        return None;
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let count = i64::try_from(digits.len()).ok()?;
    Some(if point <= 0 {
        format!("{sign}0.{}{digits}", zeros(-point))
    } else if point >= count {
        format!("{sign}{digits}{}", zeros(point - count))
    } else {
        let (before, after) = digits.split_at_checked(usize::try_from(point).ok()?)?;
        format!("{sign}{before}.{after}")
    })
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn numbers_without_exponent_are_kept_as_they_are() {
        for text in [
            "0",
            "-0",
            "1.50",
            "9223372036854776000",
            "-123456.789",
            "0.000000000000000000025",
        ] {
            assert_eq!(plain(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn exponents_are_written_out_within_dynamodbs_range_and_kept_beyond() {
        for (text, expected) in [
            ("1e21", "1000000000000000000000"),
            ("2.147483646e+09", "2147483646"),
            ("1.5E3", "1500"),
            ("1.25e1", "12.5"),
            ("-1e-7", "-0.0000001"),
            ("100e-2", "1"),
            ("0.00120e2", "0.12"),
            ("0e99999999999", "0e99999999999"),
            ("0e5", "0"),
            ("1e125", &format!("1{}", "0".repeat(125))),
            ("1e126", "1e126"),
            ("1e-130", &format!("0.{}1", "0".repeat(129))),
            ("1e-131", "1e-131"),
            ("1e999999999999999999999", "1e999999999999999999999"),
            (
                "123456789012345678901234567890123456789e1",
                "123456789012345678901234567890123456789e1",
            ),
        ] {
            let expected = if text == "0e99999999999" { "0" } else { expected };
            assert_eq!(plain(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_number_is_refused() {
        for text in [
            "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "NaN", "Infinity", "0x10", " 1", "1 ", "1_0", "١",
        ] {
            assert_eq!(plain(text), None, "{text:?}");
        }
    }
}
