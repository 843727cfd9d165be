//! What the files of a tree hold, as git has it.

use std::path::{Path, PathBuf};

use super::files::fields_of;
use super::{Checkout, GITLINK};
use crate::platform::git::{Budget, GitError};

/// Contents that are held in memory together, in bytes; one that is larger by itself is held alone.
const TOGETHER_BYTES: u64 = 32 * 1024 * 1024;
/// What is larger is not given: git's answer would not be taken.
const ONE_MAX_BYTES: u64 = 200 * 1024 * 1024;

struct Blob {
    path: PathBuf,
    id: String,
    bytes: u64,
}

impl Checkout {
    /// Gives `look` each file of `tree` that `before` does not hold alike, with its content, until it says
    /// something; links with their targets. Nothing of files above 200 MiB.
    ///
    /// # Errors
    /// What git says.
    pub fn look_at_news<T>(
        &self,
        before: &str,
        tree: &str,
        budget: Budget,
        look: impl Fn(&Path, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, GitError> {
        let known = self.entries(before, budget)?;
        let listed = self.shared().read(["ls-tree", "-r", "-z", "-l", "--full-tree", tree], budget)?;
        let mut together: Vec<Blob> = Vec::new();
        let mut held_bytes = 0;
        for (head, path) in fields_of(&listed) {
            let [mode, _, id, size] = head.split_whitespace().collect::<Vec<_>>()[..] else { continue };
            let bytes = size.parse().unwrap_or(0);
            let is_known = known.get(&path).is_some_and(|(_, known)| known == id);
            if mode == GITLINK || is_known || bytes > ONE_MAX_BYTES {
                continue;
            }
            if held_bytes + bytes > TOGETHER_BYTES
                && let Some(said) = self.look_at(&std::mem::take(&mut together), budget, &look)?
            {
                return Ok(Some(said));
            }
            if together.is_empty() {
                held_bytes = 0;
            }
            held_bytes += bytes;
            together.push(Blob { path, id: id.to_owned(), bytes });
        }
        self.look_at(&together, budget, &look)
    }

    fn look_at<T>(
        &self,
        blobs: &[Blob],
        budget: Budget,
        look: impl Fn(&Path, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, GitError> {
        if blobs.is_empty() {
            return Ok(None);
        }
        let ids: String = blobs.iter().map(|blob| format!("{}\n", blob.id)).collect();
        let said = self.shared().feed(["cat-file", "--batch"], ids.as_bytes(), budget)?;
        let mut rest = said.as_slice();
        for Blob { path, bytes, .. } in blobs {
            // `<id> blob <bytes>`, the content, the end of its line.
            let head = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
            let end = usize::try_from(*bytes).unwrap_or(usize::MAX).saturating_add(head).min(rest.len());
            if let Some(said) = look(path, &rest[head..end]) {
                return Ok(Some(said));
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        Ok(None)
    }
}
