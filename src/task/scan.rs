//! What lies in the tasks folder, and one file's bytes.
//!
//! Nothing but a regular file is ever opened: a FIFO would hold the daemon, a device could do
//! worse. Symbolic links are followed to files, never to folders.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::parse::FILE_MAX_BYTES;

/// Folders below the tasks folder, one inside the other.
const DEPTH_MAX: usize = 8;

/// Files looked at; more are left out.
const FILES_MAX: usize = 100_000;

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
}

/// Lists every `*.md` (in any case) below `root`, sorted, without those that start with `_` or `.`.
///
/// # Errors
/// When a folder cannot be listed; then nothing is known about any file.
pub fn list(root: &Path) -> io::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    let mut folders = vec![(PathBuf::new(), 0usize)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            // A sub-folder that went away between two looks has no files.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b".") || bytes.starts_with(b"_") || found.len() >= FILES_MAX {
                continue;
            }
            let path = folder.join(&name);
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // `.MD` is none of ours, but whoever wrote it believes so and is told.
            let is_loud = !is_folder && bytes.to_ascii_lowercase().ends_with(b".md");
            if bytes.ends_with(b".md") || is_loud {
                found.extend(look(root, path).filter(|_| !is_folder || depth < DEPTH_MAX));
            } else if is_folder && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
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
    /// Not read; its size.
    TooLarge(u64, Stamp),
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
    if meta.len() > FILE_MAX_BYTES {
        return Ok(Content::TooLarge(meta.len(), stamp));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
    // It may grow while it is read: one byte over the limit is enough to know.
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Ok(Content::TooLarge(bytes.len() as u64, stamp));
    }
    Ok(Content::Bytes(bytes, stamp))
}
