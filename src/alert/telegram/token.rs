//! The token, from the file that holds it.

use std::io::Read as _;
use std::path::Path;

use secrecy::ExposeSecret as _;

use super::Telegram;
use crate::platform::glimpse::{self, LOOK_MAX, Look};

/// Largest token file, in bytes.
const FILE_MAX_BYTES: u64 = 4096;

impl Telegram {
    /// The bot whose token stands in `path`.
    ///
    /// # Errors
    /// Says what is wrong with the file, without a word of what is in it.
    pub fn from_file(path: &Path, api_url: &str) -> Result<Self, String> {
        let file = path.to_owned();
        // It may lie on a disk that hangs, and be a pipe that nobody writes to.
        let look = Look::new(path, move || read(&file));
        let late = || Err(format!("it did not answer within {} s", LOOK_MAX.as_secs()));
        let token = glimpse::within(LOOK_MAX, vec![look])
            .pop()
            .flatten()
            .unwrap_or_else(late)
            .map_err(|why| format!("telegram.token_file {}: {why}", path.display()))?;
        Self::new(token.into(), api_url).map_err(|e| e.to_string())
    }

    /// The token, for whoever keeps it out of what is written.
    pub(in crate::alert) fn secret(&self) -> &str {
        self.token.expose_secret()
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(|e| e.to_string())?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err("holds no token: one line is wanted, as BotFather gave it".to_owned());
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_and_is_never_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let from = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Telegram::from_file(&path, "https://api.telegram.org").map(|_| ())
        };
        assert_eq!(from(" 12:secret\n"), Ok(()));
        for bad in ["", "\n", "12:secret\nand more"] {
            let why = from(bad);
            assert!(why.as_ref().is_err_and(|why| !why.contains("secret")), "{why:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(
            Telegram::from_file(&path, "https://api.telegram.org")
                .is_err_and(|why| why.contains("token_file"))
        );
    }
}
