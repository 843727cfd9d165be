//! Files that a sync had half taken over when it was killed, put back as they were.
//!
//! What a person has written there meanwhile is left alone, and what only looks half written is saved first: a
//! file that somebody has cut off is not to be told from one that git was writing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Checkout, Entry, GITLINK, NOTHING};
use crate::platform::git::clean::bytes;
use crate::platform::git::{Budget, GitError, line};

/// The modes of entries: a link, a file, and one that may be run.
const LINK: &str = "120000";
const FILE: &str = "100644";
const PROGRAM: &str = "100755";
/// What stands for a mode where a folder lies.
const FOLDER: &str = "40000";
/// Where whole files are laid to compare with, in the git directory.
const WHOLE: &str = "lucid-sync-whole";
/// Where refs of what was saved begin; a commit's id follows.
const RESCUES: &str = "refs/lucid/rescue/sync/";
/// Read at a time where files are compared, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// When the sync that was killed wrote files, by their own times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Nothing was taken over later.
    pub taking_until: SystemTime,
    /// Nothing was put back earlier; none where that had not been begun.
    pub putting_since: Option<SystemTime>,
}

/// A path that was to change: what it was, and what it was to be.
struct Turn<'a> {
    path: &'a Path,
    was: Option<&'a Entry>,
    is: Option<&'a Entry>,
}

/// What is to be done about them.
#[derive(Default)]
struct Plan<'a> {
    /// Have to be there again.
    wanted: Vec<&'a Path>,
    /// Have to go.
    unwanted: Vec<&'a Path>,
    /// Look half written.
    torn: Vec<&'a Path>,
}

impl<'a> Plan<'a> {
    fn back(&mut self, turn: &Turn<'a>) {
        match turn.was {
            Some(_) => self.wanted.push(turn.path),
            None => self.unwanted.push(turn.path),
        }
    }
}

impl Checkout {
    /// Puts files that were taken over from the tree `to`, wholly or in part, back as `from` has them; gives the
    /// ref of what was saved, if anything had to be. `parent` is the commit that it was begun at.
    ///
    /// # Errors
    /// What git or the file system says.
    pub fn put_back(
        &self,
        from: &str,
        to: &str,
        cut: &Cut,
        parent: Option<&str>,
        budget: Budget,
    ) -> Result<Option<String>, GitError> {
        let (before, after) = (self.entries(from, budget)?, self.entries(to, budget)?);
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        let turns = paths.into_iter().map(|path| Turn { path, was: before.get(path), is: after.get(path) });
        let turns: Vec<Turn<'_>> = turns.filter(Turn::is_ours_to_settle).collect();
        let lying = self.lying(&turns, budget)?;
        let (mut plan, mut unsure) = (Plan::default(), Vec::new());
        for turn in &turns {
            match lying.get(turn.path) {
                lies if lies == turn.was => {}
                lies if lies == turn.is || lies.is_none() => plan.back(turn),
                Some(_) => unsure.push(turn),
                None => {}
            }
        }
        for turn in self.half_written(&unsure, [from, to], cut, budget)? {
            plan.torn.push(turn.path);
            plan.back(turn);
        }
        let saved = self.save_torn(&plan.torn, from, parent, budget)?;
        for path in &plan.unwanted {
            self.remove(path)?;
        }
        // A folder that has gone with what was in it has left the place of a file.
        let freed =
            turns.iter().filter(|turn| turn.was.is_some() && lying.get(turn.path).is_some_and(is_folder));
        plan.wanted.extend(freed.map(|turn| turn.path).filter(|path| self.is_gone(path)));
        if !plan.wanted.is_empty() {
            self.own().write(["read-tree", "--reset", from], budget)?;
            let list = listed(&plan.wanted, b'\0');
            self.own().feed(["checkout-index", "--force", "-z", "--stdin"], &list, budget)?;
        }
        Ok(saved)
    }

    fn is_gone(&self, path: &Path) -> bool {
        self.tree.path.join(path).symlink_metadata().is_err()
    }

    /// What lies at each path, as git would add it; nothing for a path where nothing lies.
    fn lying<'a>(&self, turns: &[Turn<'a>], budget: Budget) -> Result<BTreeMap<&'a Path, Entry>, GitError> {
        let links =
            turns.iter().flat_map(|turn| [turn.was, turn.is]).flatten().filter(|entry| entry.0 == LINK);
        let links = self.links(&links.map(|entry| entry.1.as_str()).collect(), budget)?;
        let (mut found, mut files) = (BTreeMap::new(), Vec::new());
        for turn in turns {
            let full = self.tree.path.join(turn.path);
            let Ok(metadata) = full.symlink_metadata() else { continue };
            let strange = |mode: &str| (mode.to_owned(), NOTHING.to_owned());
            if metadata.is_symlink() {
                let target =
                    fs::read_link(&full).map_err(GitError::io(format!("reading {}", full.display())))?;
                let id = links.get(target.as_os_str().as_bytes()).cloned();
                found.insert(turn.path, id.map_or_else(|| strange(LINK), |id| (LINK.to_owned(), id)));
            } else if metadata.is_file() {
                let is_program = metadata.permissions().mode() & 0o100 != 0;
                files.push((turn.path, if is_program { PROGRAM } else { FILE }));
            } else {
                found.insert(turn.path, strange(if metadata.is_dir() { FOLDER } else { "" }));
            }
        }
        if files.is_empty() {
            return Ok(found);
        }
        let named: Vec<&Path> = files.iter().map(|(path, _)| *path).collect();
        // With whatever filters are set for each.
        let ids = self.tree.call().feed(["hash-object", "--stdin-paths"], &quoted(&named), budget)?;
        for ((path, mode), id) in files.into_iter().zip(ids.split(|b| *b == b'\n')) {
            found.insert(path, (mode.to_owned(), line(id)));
        }
        Ok(found)
    }

    /// Where the links of these ids lead, with the id of each.
    fn links(&self, ids: &BTreeSet<&str>, budget: Budget) -> Result<BTreeMap<Vec<u8>, String>, GitError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let list: String = ids.iter().flat_map(|id| [*id, "\n"]).collect();
        let out = self.shared().feed(["cat-file", "--batch"], list.as_bytes(), budget)?;
        let (mut links, mut rest) = (BTreeMap::new(), out.as_slice());
        // `ID blob SIZE` and so many bytes, each with an end of line.
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = rest.get(end + 1..).unwrap_or_default();
            let [id, "blob", size] = head.split(' ').collect::<Vec<_>>()[..] else { continue };
            let Some(target) = size.parse().ok().and_then(|size: usize| rest.get(..size)) else { break };
            links.insert(target.to_vec(), id.to_owned());
            rest = rest.get(target.len() + 1..).unwrap_or_default();
        }
        Ok(links)
    }

    /// Those whose files are the beginning of what git was writing, in the time in which it did.
    fn half_written<'t, 'a>(
        &self,
        unsure: &[&'t Turn<'a>],
        [from, to]: [&str; 2],
        cut: &Cut,
        budget: Budget,
    ) -> Result<Vec<&'t Turn<'a>>, GitError> {
        let time = |turn: &Turn<'_>| {
            let found = self.tree.path.join(turn.path).symlink_metadata().ok().filter(fs::Metadata::is_file);
            found.and_then(|found| found.modified().ok())
        };
        let could = |when: &dyn Fn(SystemTime) -> bool, entry: fn(&Turn<'a>) -> Option<&'a Entry>| {
            let is_file = |turn: &&&Turn<'a>| entry(turn).is_some_and(|entry| entry.0 != LINK);
            let all = unsure.iter().filter(is_file).filter(|turn| time(turn).is_some_and(when));
            all.copied().collect::<Vec<&'t Turn<'a>>>()
        };
        let taken = could(&|at| at <= cut.taking_until, |turn| turn.is);
        let put = could(&|at| cut.putting_since.is_some_and(|since| at >= since), |turn| turn.was);
        let mut torn = self.beginning(taken, to, budget)?;
        for turn in self.beginning(put, from, budget)? {
            if !torn.iter().any(|known| known.path == turn.path) {
                torn.push(turn);
            }
        }
        Ok(torn)
    }

    /// Those whose files are the beginning of what `tree` has there.
    fn beginning<'t, 'a>(
        &self,
        mut turns: Vec<&'t Turn<'a>>,
        tree: &str,
        budget: Budget,
    ) -> Result<Vec<&'t Turn<'a>>, GitError> {
        if turns.is_empty() {
            return Ok(turns);
        }
        let whole = self.tree.admin.join(WHOLE);
        let _ = fs::remove_dir_all(&whole);
        let mut prefix = std::ffi::OsString::from("--prefix=");
        prefix.push(whole.join(""));
        let list = listed(&turns.iter().map(|turn| turn.path).collect::<Vec<_>>(), b'\0');
        self.own().write(["read-tree", "--reset", tree], budget)?;
        let args = ["checkout-index".as_ref(), "-z".as_ref(), "--stdin".as_ref(), prefix.as_os_str()];
        let laid = self.own().feed(args, &list, budget);
        turns.retain(|turn| begins(&self.tree.path.join(turn.path), &whole.join(turn.path)).unwrap_or(false));
        let _ = fs::remove_dir_all(&whole);
        laid.map(|_| turns)
    }

    /// Keeps files that are about to be overwritten in a commit of their own.
    fn save_torn(
        &self,
        torn: &[&Path],
        from: &str,
        parent: Option<&str>,
        budget: Budget,
    ) -> Result<Option<String>, GitError> {
        if torn.is_empty() {
            return Ok(None);
        }
        self.own().write(["read-tree", "--reset", from], budget)?;
        let tree = self.write_tree(torn, budget)?;
        let parents: Vec<&str> = parent.into_iter().collect();
        let message = "Files that looked half written after a sync was killed, as they were found";
        let commit = self.write_commit(&tree, &parents, message, budget)?;
        let name = format!("{RESCUES}{commit}");
        self.shared().write(["update-ref", &name, &commit], budget)?;
        Ok(Some(name))
    }

    /// Removes a file, and folders that hold nothing more.
    fn remove(&self, path: &Path) -> Result<(), GitError> {
        let full = self.tree.path.join(path);
        match fs::remove_file(&full) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(GitError::io(format!("removing {}", full.display()))(e)),
        }
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            if fs::remove_dir(self.tree.path.join(above)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl Turn<'_> {
    fn is_ours_to_settle(&self) -> bool {
        self.was != self.is && ![self.was, self.is].into_iter().flatten().any(|entry| entry.0 == GITLINK)
    }
}

fn is_folder(entry: &Entry) -> bool {
    entry.0 == FOLDER
}

fn listed(paths: &[&Path], end: u8) -> Vec<u8> {
    paths.iter().flat_map(|path| bytes(path).iter().copied().chain([end])).collect()
}

/// A path a line; one that git would take for something else in its quotes.
fn quoted(paths: &[&Path]) -> Vec<u8> {
    let mut list = Vec::new();
    for path in paths {
        let name = bytes(path);
        if name.starts_with(b"\"") || name.contains(&b'\n') || name.ends_with(b"\r") {
            list.push(b'"');
            for byte in name {
                match byte {
                    b'\n' => list.extend_from_slice(b"\\n"),
                    b'\r' => list.extend_from_slice(b"\\r"),
                    b'"' | b'\\' => list.extend_from_slice(&[b'\\', *byte]),
                    byte => list.push(*byte),
                }
            }
            list.push(b'"');
        } else {
            list.extend_from_slice(name);
        }
        list.push(b'\n');
    }
    list
}

/// Whether `whole` begins with all of `part`.
fn begins(part: &Path, whole: &Path) -> io::Result<bool> {
    let (part, mut whole) = (fs::File::open(part)?, fs::File::open(whole)?);
    if part.metadata()?.len() > whole.metadata()?.len() {
        return Ok(false);
    }
    let mut part = io::BufReader::with_capacity(CHUNK_BYTES, part);
    let mut other = vec![0; CHUNK_BYTES];
    loop {
        let chunk = io::BufRead::fill_buf(&mut part)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        let other = &mut other[..chunk.len()];
        whole.read_exact(other)?;
        if *other != *chunk {
            return Ok(false);
        }
        let read = chunk.len();
        io::BufRead::consume(&mut part, read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_so_that_git_takes_it_for_nothing_else() {
        let names = ["plain name", "\"quoted\\", "two\nlines", "mid\"dle\\"].map(Path::new);
        let list = String::from_utf8(quoted(&names)).unwrap();
        assert_eq!(list, "plain name\n\"\\\"quoted\\\\\"\n\"two\\nlines\"\nmid\"dle\\\n");
    }

    #[test]
    fn a_file_is_the_beginning_of_another_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            fs::write(dir.path().join(name), content).unwrap();
            dir.path().join(name)
        };
        let long: Vec<u8> = (0..CHUNK_BYTES * 3).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let whole = file("whole", &long);
        assert!(begins(&whole, &whole).unwrap());
        assert!(begins(&file("cut", &long[..CHUNK_BYTES * 2 + 7]), &whole).unwrap());
        assert!(begins(&file("empty", b""), &whole).unwrap());
        assert!(!begins(&whole, &file("cut", &long[..9])).unwrap());
        let mut other = long[..CHUNK_BYTES * 2].to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert!(!begins(&file("other", &other), &whole).unwrap());
    }
}
