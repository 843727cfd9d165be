//! Whether something holds a secret whose value is known. Values are compared and never told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Shorter values stand in ordinary texts by chance.
pub const MIN_BYTES: usize = 8;
/// Read at once, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// The secrets whose values are looked for.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Vec<(String, Vec<u8>)>,
    longest: usize,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("count", &self.values.len()).finish_non_exhaustive()
    }
}

impl Secrets {
    #[must_use]
    pub fn new(named: &BTreeMap<String, String>) -> Self {
        let long = named.iter().filter(|(_, value)| value.len() >= MIN_BYTES);
        let values: Vec<(String, Vec<u8>)> =
            long.map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        let longest = values.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
        Self { values, longest }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The name of a secret whose value stands in `bytes`.
    #[must_use]
    pub fn within(&self, bytes: &[u8]) -> Option<&str> {
        let holds = |value: &[u8]| bytes.windows(value.len()).any(|window| window == value);
        self.values.iter().find(|(_, value)| holds(value)).map(|(name, _)| name.as_str())
    }

    /// The name of a secret whose value stands in the file, or in the target of a link.
    ///
    /// # Errors
    /// What the file system says; a file that is gone holds nothing.
    pub fn within_file(&self, path: &Path) -> io::Result<Option<&str>> {
        if self.values.is_empty() {
            return Ok(None);
        }
        let found = match path.symlink_metadata() {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if found.is_symlink() {
            use std::os::unix::ffi::OsStrExt as _;
            return Ok(self.within(std::fs::read_link(path)?.as_os_str().as_bytes()));
        }
        if !found.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let mut held: Vec<u8> = Vec::new();
        loop {
            let before = held.len();
            let read = file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut held)?;
            if let Some(name) = self.within(&held) {
                return Ok(Some(name));
            }
            if read == 0 {
                return Ok(None);
            }
            // One that lies across two pieces begins in the last bytes of the first.
            let keep = (before + read).min(self.longest.saturating_sub(1));
            held.drain(..before + read - keep);
        }
    }

    /// The first line that patches add and that holds a secret: the file by its name, and the secret's name.
    #[must_use]
    pub fn added(&self, patches: &[u8]) -> Option<(String, &str)> {
        if self.values.is_empty() {
            return None;
        }
        let mut file = String::new();
        for text in patches.split(|b| *b == b'\n') {
            if let Some(name) = text.strip_prefix(b"+++ ") {
                file = String::from_utf8_lossy(name.strip_prefix(b"b/").unwrap_or(name)).into_owned();
            }
            // Combined patches have a sign for each parent.
            let is_added = text.first() == Some(&b'+') || text.starts_with(b" +");
            if is_added && let Some(secret) = self.within(text) {
                return Some((file, secret));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let named = [("TOKEN", "s3cr3t-value-1"), ("SHORT", "abc")];
        Secrets::new(&named.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn a_value_is_found_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for at in [0, 5, CHUNK_BYTES - 14, CHUNK_BYTES - 7, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES - 3]
        {
            let mut bytes = vec![b'x'; at];
            bytes.extend_from_slice(b"s3cr3t-value-1");
            bytes.extend_from_slice(&[b'\n'; 9]);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(secrets().within_file(&path).unwrap(), Some("TOKEN"), "at {at}");
        }
        std::fs::write(&path, "abc s3cr3t-value-").unwrap();
        assert_eq!(secrets().within_file(&path).unwrap(), None);
        assert_eq!(secrets().within_file(&dir.path().join("gone")).unwrap(), None);
        std::os::unix::fs::symlink("s3cr3t-value-1", dir.path().join("link")).unwrap();
        assert_eq!(secrets().within_file(&dir.path().join("link")).unwrap(), Some("TOKEN"));
    }

    #[test]
    fn only_what_a_patch_adds_counts() {
        let patch = |sign: &str| format!("--- a/x\n+++ b/notes.md\n@@ -1 +1 @@\n{sign}my s3cr3t-value-1\n");
        assert_eq!(secrets().added(patch("+").as_bytes()), Some(("notes.md".to_owned(), "TOKEN")));
        assert_eq!(secrets().added(patch(" +").as_bytes()), Some(("notes.md".to_owned(), "TOKEN")));
        assert_eq!(secrets().added(patch("-").as_bytes()), None);
        assert_eq!(secrets().added(patch(" ").as_bytes()), None);
    }

    #[test]
    fn the_values_are_not_told() {
        assert!(!format!("{:?}", secrets()).contains("s3cr3t"));
    }
}
