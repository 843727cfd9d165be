//! A reserve on the disk: a file that is deleted when the disk is full, so that the alert about it and
//! the deletes that mend it can commit. In WAL mode even a DELETE needs room.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::connection::beside;
use crate::platform::{failpoint, filesystem};

/// Size of the reserve in bytes.
pub const BALLAST_BYTES: u64 = 8 << 20;
const BALLAST_FILE: &str = "ballast";
/// The reserve is laid again only when this much would be left beside it, in bytes; else a disk that
/// hovers at full would give it up and take it back without end.
const ROOM_BESIDE_BYTES: u64 = 2 * BALLAST_BYTES;
const CHUNK_BYTES: usize = 1 << 16;

/// Where the reserve stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballast {
    Present,
    Restored,
    NoRoom { free_bytes: u64 },
}

/// Gives the reserve up; false when there is none.
pub(super) fn spend(dir: &Path) -> bool {
    fs::remove_file(dir.join(BALLAST_FILE)).is_ok()
}

/// Lays the reserve if it is missing and there is room.
pub(super) fn lay(dir: &Path) -> io::Result<Ballast> {
    let path = dir.join(BALLAST_FILE);
    if fs::metadata(&path).is_ok_and(|found| found.len() == BALLAST_BYTES) {
        return Ok(Ballast::Present);
    }
    let free_bytes = filesystem::free_bytes(dir)?;
    if free_bytes < BALLAST_BYTES + ROOM_BESIDE_BYTES {
        return Ok(Ballast::NoRoom { free_bytes });
    }
    let unfinished = beside(&path, ".new");
    let laid = fill(&unfinished).and_then(|()| fs::rename(&unfinished, &path));
    if laid.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    laid.map(|()| Ballast::Restored)
}

/// Really writes the blocks, with bytes that no file system folds into a hole.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    let mut left = BALLAST_BYTES;
    while left > 0 {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&chunk)?;
        left = left.saturating_sub(CHUNK_BYTES as u64);
    }
    failpoint::hit("store.ballast")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_reserve_takes_real_blocks_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lay(dir.path()).unwrap(), Ballast::Restored);
        let found = fs::metadata(dir.path().join(BALLAST_FILE)).unwrap();
        assert_eq!(found.len(), BALLAST_BYTES);
        assert!(found.blocks() * 512 >= BALLAST_BYTES);
        assert_eq!(lay(dir.path()).unwrap(), Ballast::Present);
        assert!(spend(dir.path()));
        assert!(!spend(dir.path()));
        assert_eq!(lay(dir.path()).unwrap(), Ballast::Restored);
    }
}
