//! A SHA-256: 32 bytes in memory, 64 hex digits wherever people and the database see it.

use std::fmt;
use std::str::FromStr;

use super::text::hex;

const BYTES: usize = 32;

/// The SHA-256 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; BYTES]);

impl From<[u8; BYTES]> for Digest {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not {} hex digits", 2 * BYTES)]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let digits = text.as_bytes();
        if digits.len() != 2 * BYTES {
            return Err(NoDigest);
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| pair.get(at).and_then(|&c| char::from(c).to_digit(16));
            let value = digit(0).zip(digit(1)).map(|(high, low)| high << 4 | low).ok_or(NoDigest)?;
            *byte = u8::try_from(value).map_err(|_| NoDigest)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let digest = Digest::from(std::array::from_fn(|n| u8::try_from(n * 8).unwrap()));
        let text = digest.to_string();
        assert!(text.starts_with("000810") && text.len() == 64, "{text}");
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
    }

    #[test]
    fn anything_else_is_none() {
        for bad in [String::new(), "0".repeat(63), "0".repeat(65), "g".repeat(64), "é".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(NoDigest), "{bad}");
        }
    }
}
