//! Whole-file effects: atomic replace, advisory locks, the end of a file.
//!
//! Nothing here knows what the files mean.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::failpoint;

/// Most that a reader takes of a lock's text, in bytes.
const HOLDER_MAX_BYTES: u64 = 256;

/// Replaces `path` as a whole: a reader sees the old bytes or the new ones, and so does a machine that
/// lost its power. `mode` applies to the new file.
///
/// # Errors
/// What the file system says; the old file is still there then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, |tmp| write_new(tmp, bytes, mode)?.sync_all())?;
    sync_parent(path)
}

/// As [`replace`] for readers, but a loss of power may take the file or leave it empty.
///
/// # Errors
/// As [`replace`].
pub fn replace_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, |tmp| write_new(tmp, bytes, mode).map(drop))
}

fn replace_with(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let tmp = sibling(path)?;
    let written = write(&tmp)
        .and_then(|()| Ok(failpoint::hit("files.replace")?))
        .and_then(|()| std::fs::rename(&tmp, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&tmp);
    }
    written
}

/// Removes the file at `path`; one that is not there is fine.
///
/// # Errors
/// What the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes the names in `path`'s directory durable.
///
/// # Errors
/// What the file system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    failpoint::hit("files.sync")?;
    File::open(parent(path))?.sync_all()
}

/// The last `max_bytes` of a file.
///
/// # Errors
/// What the file system says.
pub fn tail(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(max_bytes)))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An advisory lock (flock) that is held as long as the value lives, and never longer than its process.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock and writes `holder` into the file for others to read; `None` when it is held.
    ///
    /// # Errors
    /// The file cannot be made, locked or written.
    pub fn try_take(path: &Path, holder: &str) -> io::Result<Option<Self>> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        file.set_len(0)?;
        file.write_all(holder.as_bytes())?;
        Ok(Some(Self { file }))
    }

    /// Adds to what the holder has written.
    ///
    /// # Errors
    /// What the file system says.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Takes away what the holder has written: whoever comes next sees that it ended well.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Whether somebody holds the lock at `path`. Looking at a free lock takes it for an instant.
    ///
    /// # Errors
    /// The file cannot be opened or locked; a missing one is not held.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// What the last holder wrote.
    ///
    /// # Errors
    /// What the file system says.
    pub fn holder(path: &Path) -> io::Result<String> {
        let mut text = Vec::new();
        File::open(path)?.take(HOLDER_MAX_BYTES).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Gives the lock back now, for a caller that wants to see it fail.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn release(self) -> io::Result<()> {
        Ok(flock(&self.file, FlockOperation::Unlock)?)
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// A name beside `path` that no other replace uses: by process and by count within it.
fn sibling(path: &Path) -> io::Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display()))
    })?;
    let mut tmp = std::ffi::OsString::from(".");
    tmp.push(name);
    tmp.push(format!(".{}.{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let tmp = parent(path).join(tmp);
    // Left behind by a process that had our number and died.
    let _ = std::fs::remove_file(&tmp);
    Ok(tmp)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn replace_leaves_one_file_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replace_that_fails_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x", 0o600).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_has_one_holder_who_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!Lock::is_held(&path).unwrap());
        let lock = Lock::try_take(&path, "pid 1").unwrap().expect("free");
        assert!(Lock::try_take(&path, "pid 2").unwrap().is_none());
        assert!(Lock::is_held(&path).unwrap());
        assert_eq!(Lock::holder(&path).unwrap(), "pid 1");
        lock.release().unwrap();
        assert!(!Lock::is_held(&path).unwrap());
    }

    #[test]
    fn tail_takes_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(tail(&path, 3).unwrap(), b"789");
        assert_eq!(tail(&path, 99).unwrap(), b"0123456789");
    }
}
