//! What lies in the tasks folder, and one file's bytes.
//!
//! Nothing but a regular file is ever opened: a FIFO would hold the daemon, a device could do
//! worse. Symbolic links are followed to files, never to folders.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::parse::FILE_MAX_BYTES;

/// Folders below the tasks folder, one inside the other.
pub const DEPTH_MAX: usize = 8;

/// Files looked at; more are left out.
pub const FILES_MAX: usize = 100_000;

/// Tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified_ns: i64,
    changed_ns: i64,
    bytes: u64,
    inode: u64,
    mode: u32,
}

const NS_PER_MS: i64 = 1_000_000;
const NS_PER_S: i64 = 1_000_000_000;

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(NS_PER_S).saturating_add(ns);
        Self {
            modified_ns: ns(meta.mtime(), meta.mtime_nsec()),
            changed_ns: ns(meta.ctime(), meta.ctime_nsec()),
            bytes: meta.len(),
            inode: meta.ino(),
            mode: meta.mode(),
        }
    }

    /// When the content was last changed, milliseconds since the epoch.
    pub fn modified_ms(&self) -> i64 {
        self.modified_ns / NS_PER_MS
    }
}

/// A name that could be a task.
#[derive(Debug)]
pub struct Candidate {
    /// Below the tasks folder.
    pub path: PathBuf,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    File(Stamp),
    /// Named like a task, but no file: says what it is.
    NoFile(&'static str),
    /// Could not even be looked at.
    Hidden(io::Error),
    /// A folder, of which nobody knows or sees what is in it.
    Folder(Folder),
}

/// Why a folder is not read, or not whole.
#[derive(Debug)]
pub enum Folder {
    /// Cannot be listed: what was known to be below it may be there all the same.
    Closed(io::Error),
    /// More than [`DEPTH_MAX`] inside one another.
    Deep,
    Linked,
    /// The tasks folder itself, with more than [`FILES_MAX`] files.
    Crowded,
}

/// What [`walk`] comes by.
pub enum Step<'a> {
    /// A folder, before it is listed.
    Enter(&'a Path),
    /// Anything else, and folders that are named like a task.
    Name(PathBuf, Option<FileType>),
    Skip(PathBuf, Folder),
}

/// Lists every `*.md` (in any case) below `root`, sorted, without those that start with `_` or `.`; and
/// the folders that are left out.
///
/// # Errors
/// When `root` itself cannot be listed; then nothing is known about any file.
pub fn list(root: &Path) -> io::Result<Vec<Candidate>> {
    list_up_to(root, FILES_MAX)
}

fn list_up_to(root: &Path, files_max: usize) -> io::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    let mut is_crowded = false;
    walk(root, &mut |step| match step {
        Step::Enter(_) => {}
        Step::Skip(path, why) => found.push(Candidate { path, what: What::Folder(why) }),
        // `.MD` is none of ours, but whoever wrote it believes so and is told.
        Step::Name(path, _) if ends_like_a_task(&path) => {
            is_crowded |= found.len() >= files_max;
            found.extend(Some(path).filter(|_| !is_crowded).and_then(|path| look(root, path)));
        }
        Step::Name(path, kind) => {
            let is_link = kind.is_some_and(|kind| kind.is_symlink());
            if is_link && fs::metadata(root.join(&path)).is_ok_and(|meta| meta.is_dir()) {
                found.push(Candidate { path, what: What::Folder(Folder::Linked) });
            }
        }
    })?;
    if is_crowded {
        found.push(Candidate { path: PathBuf::new(), what: What::Folder(Folder::Crowded) });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn ends_like_a_task(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("md"))
}

/// Goes from folder to folder, past every name that starts with `_` or `.`.
///
/// # Errors
/// When `root` itself cannot be listed; any other folder is skipped.
pub fn walk(root: &Path, step: &mut dyn FnMut(Step<'_>)) -> io::Result<()> {
    let mut folders = vec![(PathBuf::new(), 0usize)];
    while let Some((folder, depth)) = folders.pop() {
        step(Step::Enter(&folder));
        match enter(root, &folder, depth, &mut folders, step) {
            Ok(()) => {}
            Err(error) if depth == 0 => return Err(error),
            // A sub-folder that went away between two looks has no files.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => step(Step::Skip(folder, Folder::Closed(error))),
        }
    }
    Ok(())
}

fn enter(
    root: &Path,
    folder: &Path,
    depth: usize,
    folders: &mut Vec<(PathBuf, usize)>,
    step: &mut dyn FnMut(Step<'_>),
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") || bytes.starts_with(b"_") {
            continue;
        }
        let path = folder.join(&name);
        let kind = entry.file_type().ok();
        if !kind.is_some_and(|kind| kind.is_dir()) || bytes.ends_with(b".md") {
            step(Step::Name(path, kind));
        } else if depth < DEPTH_MAX {
            folders.push((path, depth + 1));
        } else {
            step(Step::Skip(path, Folder::Deep));
        }
    }
    Ok(())
}

/// What tells one state of a folder or file from another; `None` when it cannot be looked at.
pub fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|meta| Stamp::of(&meta))
}

/// Looks at one name; `None` when it is gone.
pub fn look(root: &Path, path: PathBuf) -> Option<Candidate> {
    let what = match fs::metadata(root.join(&path)) {
        Ok(meta) if meta.is_file() => What::File(Stamp::of(&meta)),
        Ok(meta) => What::NoFile(kind_name(&meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link to nowhere is still there, unlike a file that was just removed.
            fs::symlink_metadata(root.join(&path)).ok()?;
            What::NoFile("a link to nothing")
        }
        Err(error) => What::Hidden(error),
    };
    Some(Candidate { path, what })
}

fn kind_name(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A file's bytes with the stamp they belong to.
pub enum Content {
    Bytes(Vec<u8>, Stamp),
    /// Its size, and what it begins with.
    TooLarge(u64, Vec<u8>, Stamp),
    /// It turned into something else since it was listed.
    NoFile(&'static str),
}

/// Reads a file that was a regular one a moment ago, without ever waiting for it.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> io::Result<Content> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Content::NoFile(kind_name(&meta)));
    }
    let stamp = Stamp::of(&meta);
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(FILE_MAX_BYTES)).unwrap_or(0) + 1);
    // It may grow while it is read: one byte over the limit is enough to know.
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    let there = meta.len().max(bytes.len() as u64);
    if there > FILE_MAX_BYTES {
        return Ok(Content::TooLarge(there, bytes, stamp));
    }
    Ok(Content::Bytes(bytes, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let deep = ["d"; DEPTH_MAX + 1].join("/");
        fs::create_dir_all(dir.path().join(&deep)).unwrap();
        fs::write(dir.path().join("a.md"), "").unwrap();
        fs::write(dir.path().join("b.md"), "").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("_linked")).unwrap();
        let named = |files_max| -> Vec<String> {
            let found = list_up_to(dir.path(), files_max).unwrap();
            let word = |found: &Candidate| match &found.what {
                What::Folder(why) => format!("{} {why:?}", found.path.display()),
                What::File(_) | What::NoFile(_) | What::Hidden(_) => found.path.display().to_string(),
            };
            found.iter().map(word).collect()
        };
        assert_eq!(named(100), ["a.md", "b.md", &format!("{deep} Deep"), "linked Linked"]);
        assert_eq!(named(0).first().map(String::as_str), Some(" Crowded"));
    }
}
