//! Where a page ended, as a word that means nothing to the reader.
//!
//! Pages are cut by key, not by count: rows that come or go meanwhile neither repeat nor hide one.

use std::fmt::Write as _;

use super::error::ApiError;
use super::wire::FieldError;

/// What a cursor belongs to; one of another list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Runs,
    Activity,
    Tasks,
    Tickets,
    Messages,
    Alerts,
}

impl List {
    fn tag(self) -> &'static str {
        match self {
            Self::Runs => "r:",
            Self::Activity => "a:",
            Self::Tasks => "t:",
            Self::Tickets => "k:",
            Self::Messages => "m:",
            Self::Alerts => "l:",
        }
    }
}

/// Writes the key of the last row of a page.
#[must_use]
pub fn encode(list: List, key: &str) -> String {
    let mut word = String::new();
    for byte in list.tag().bytes().chain(key.bytes()) {
        let _ = write!(word, "{byte:02x}");
    }
    word
}

/// Reads it back.
///
/// # Errors
/// 422 for anything that [`encode`] has not written for this list.
pub fn decode(list: List, word: &str) -> Result<String, ApiError> {
    let refuse = || {
        ApiError::invalid("bad_cursor", "the cursor is none of this list").at(FieldError {
            pointer: "cursor".to_owned(),
            column: None,
            message: "not a cursor of this list".to_owned(),
            help: Some("give `next_cursor` back as it came".to_owned()),
        })
    };
    let digits = word.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(refuse());
    }
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for pair in digits.chunks(2) {
        let text = std::str::from_utf8(pair).map_err(|_| refuse())?;
        bytes.push(u8::from_str_radix(text, 16).map_err(|_| refuse())?);
    }
    let key = String::from_utf8(bytes).map_err(|_| refuse())?;
    key.strip_prefix(list.tag()).map(str::to_owned).ok_or_else(refuse)
}

/// Reads a cursor whose key is a number.
///
/// # Errors
/// As [`decode`].
pub fn decode_number(list: List, word: &str) -> Result<i64, ApiError> {
    let key = decode(list, word)?;
    key.parse().map_err(|_| ApiError::invalid("bad_cursor", "the cursor is none of this list"))
}

/// Holds a page's size within its limits; what is over is refused rather than cut, so that nobody
/// takes a cut page for the whole.
///
/// # Errors
/// 422 for 0 or more than `max`.
pub fn page_size(asked: Option<u32>, default: u32, max: u32, name: &str) -> Result<u32, ApiError> {
    match asked {
        None => Ok(default),
        Some(n) if (1..=max).contains(&n) => Ok(n),
        Some(n) => Err(ApiError::invalid("out_of_range", format!("`{name}` is {n}, not 1 to {max}")).at(
            FieldError {
                pointer: name.to_owned(),
                column: None,
                message: format!("must be 1 to {max}"),
                help: None,
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back(key in ".{0,80}") {
            prop_assert_eq!(decode(List::Tasks, &encode(List::Tasks, &key)).unwrap(), key);
        }

        #[test]
        fn any_other_word_is_refused_without_harm(word in ".{0,80}") {
            if let Ok(key) = decode(List::Runs, &word) {
                prop_assert_eq!(encode(List::Runs, &key), word.to_lowercase());
            }
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let word = encode(List::Runs, "8132");
        assert_eq!(decode_number(List::Runs, &word).unwrap(), 8132);
        assert!(decode(List::Activity, &word).is_err());
        assert!(decode_number(List::Runs, &encode(List::Runs, "x")).is_err());
    }

    #[test]
    fn a_page_is_never_cut_in_silence() {
        assert_eq!(page_size(None, 50, 500, "limit").unwrap(), 50);
        assert_eq!(page_size(Some(500), 50, 500, "limit").unwrap(), 500);
        for over in [0, 501, u32::MAX] {
            assert_eq!(page_size(Some(over), 50, 500, "limit").unwrap_err().status(), 422);
        }
    }
}
