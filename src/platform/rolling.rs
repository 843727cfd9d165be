//! A log of lines that never grows beyond its limit: the file is begun anew and one old one is kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::files;

/// Permissions of the file and its folder.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Longest line that is kept whole, in bytes.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// A log that is open. Several processes may write to one: each line is one write.
#[derive(Debug)]
pub struct Rolling {
    path: PathBuf,
    file: File,
    max_bytes: u64,
}

impl Rolling {
    /// Opens the log at `path`, which it makes with its folder where it is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        Ok(Self { file: appending(path)?, path: path.to_owned(), max_bytes })
    }

    /// Writes `line` and its end.
    ///
    /// # Errors
    /// What the file system says; the line may be lost then, earlier ones are not.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let line = line.get(..LINE_MAX_BYTES).unwrap_or(line);
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend(line.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        whole.push(b'\n');
        let length = self.file.metadata()?.len();
        if length > 0 && length.saturating_add(whole.len() as u64) > self.max_bytes {
            std::fs::rename(&self.path, old(&self.path))?;
            self.file = appending(&self.path)?;
        }
        self.file.write_all(&whole)
    }
}

/// The last lines of the log at `path`, oldest first, the old file's included; at most `max_bytes` of each.
///
/// # Errors
/// What the file system says; no log is no lines.
pub fn tail(path: &Path, lines: usize, max_bytes: u64) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in [&old(path), path] {
        let bytes = match files::tail(path, max_bytes) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        // Where the beginning was cut off, the first line is no whole one; it then reads as none.
        found.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    found.drain(..found.len().saturating_sub(lines));
    Ok(found)
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn appending(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_beyond_its_limit_and_keeps_one_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/a.log");
        let mut log = Rolling::open(&path, 100).unwrap();
        for n in 0..50 {
            log.append(format!("line {n:02} of some length\n").as_bytes()).unwrap();
        }
        let sizes: Vec<u64> = [path.clone(), old(&path)].map(|p| p.metadata().unwrap().len()).into();
        assert!(sizes.iter().all(|size| *size <= 100 && *size > 0), "{sizes:?}");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        let last = tail(&path, 3, 1_000).unwrap();
        assert_eq!(last.len(), 3);
        assert_eq!(last[2], "line 49 of some length ");
        assert_eq!(tail(&dir.path().join("none.log"), 3, 1_000).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_line_is_one_line_however_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = Rolling::open(&path, 1_000).unwrap();
        log.append(b"a\nb\n\xff").unwrap();
        log.append(&vec![b'x'; 10 * LINE_MAX_BYTES]).unwrap();
        let lines = tail(&path, 10, 1_000_000).unwrap();
        assert_eq!((lines[0].as_str(), lines[1].len()), ("a b \u{fffd}", LINE_MAX_BYTES));
        assert_eq!(Rolling::open(&path, 1_000).unwrap().path, path);
    }
}
