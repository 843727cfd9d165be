//! Amounts of bytes as people write them; `MB` is decimal, `MiB` is binary.

use crate::model::text::shown;

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SizeError {
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Names in lower case, in bytes.
const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads a size in bytes: `512`, `10MB`, `64 KiB`; units in any case.
///
/// # Errors
/// [`SizeError`] says what is wrong and what to write.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let error = |message: String| SizeError {
        message,
        help: "write whole numbers such as `512`, `10MB` (10,000,000 bytes) or `64KiB`".to_owned(),
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (amount, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Some(factor), false) = (factor, amount.is_empty()) else {
        return Err(error(format!("`{}` is no size", shown(text))));
    };
    let bytes = amount.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    // The database keeps sizes in signed integers.
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| error(format!("`{}` is too large", shown(text))))
}

/// `96.1 MB`, `512 B`: one decimal, decimal units.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000_u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    for (unit, factor) in units {
        if bytes >= factor {
            let tenths = u128::from(bytes) * 10 / u128::from(factor);
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_unless_they_say_otherwise() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("10MB", 10_000_000),
            ("10 mb", 10_000_000),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("2G", 2_000_000_000),
            ("1TiB", 1_099_511_627_776),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "MB", "-1", "1.5GB", "10 apples", "9223372036854775808", "9999999999TB", "1 0"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_with_one_decimal() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (96_100_000, "96.1 MB"), (10_000_000, "10 MB")] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
