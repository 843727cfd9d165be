//! Where it is remembered what was told past the daemon: in the state directory, and where that takes nothing, as on
//! a disk that is full or read-only, in a folder of our own below one that is made for such files.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::direct::{Sent, Trouble};
use crate::platform::files::{self, Lock};
use crate::platform::glimpse::{self, LOOK_MAX, Look};

/// What was said last; there while the trouble lasts.
const MEMORY_FILE: &str = "heartbeat-alert.json";
const MEMORY_MODE: u32 = 0o600;
/// Held while something is said: a heartbeat and a daemon that starts would both say that it is back.
const LOCK_FILE: &str = "heartbeat-alert.lock";
/// Folders that stand in belong to one user and are nobody else's to look into.
const SPARE_MODE: u32 = 0o700;
const OTHERS: u32 = 0o077;
/// Digits of a state directory's hash that name its folder.
const HASH_DIGITS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub trouble: Trouble,
    /// When it was found first, milliseconds since the epoch.
    pub since_ms: i64,
    /// When it was last said.
    pub said_ms: i64,
    /// As what it was last said.
    #[serde(default)]
    pub sent: Option<Sent>,
    /// An outage that was told and whose end was not, as a stop that somebody wanted came in between.
    #[serde(default)]
    pub outage: Option<Outage>,
    /// It is past, and an older file that says otherwise could not be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outage {
    /// How long it was, milliseconds.
    pub lasted_ms: i64,
    pub sent: Option<Sent>,
}

/// The places of the memory of one state directory.
#[derive(Debug, Clone)]
pub struct Homes {
    /// None where it hangs.
    state_dir: Option<PathBuf>,
    /// In the order in which they are tried.
    spare: Vec<PathBuf>,
}

/// Whether it is ours to tell.
pub(super) enum Turn {
    /// Without a lock where no place takes one: twice is better than not at all.
    Ours {
        _lock: Option<Lock>,
    },
    Others,
}

impl Homes {
    /// `scratch` are folders that may take a folder where the state directory refuses, or hangs. Blocks for
    /// [`LOOK_MAX`] where it does.
    #[must_use]
    pub fn new(state_dir: &Path, scratch: &[PathBuf]) -> Self {
        let mut hash = format!("{:x}", Sha256::digest(state_dir.as_os_str().as_bytes()));
        hash.truncate(HASH_DIGITS);
        let name = format!("lucid-{}-{hash}", own_uid());
        let memory = state_dir.join(MEMORY_FILE);
        let look = Look::new(state_dir, move || drop(std::fs::read(memory)));
        let answers = glimpse::within(LOOK_MAX, vec![look]) == [Some(())];
        Self {
            state_dir: answers.then(|| state_dir.to_owned()),
            spare: scratch.iter().map(|folder| folder.join(&name)).collect(),
        }
    }

    /// The newest of what is remembered. A file that does not read as one of ours counts as none: what it was about
    /// is said again.
    pub(super) fn recall(&self) -> Option<Memory> {
        let read = |folder: &Path| -> Option<Memory> {
            serde_json::from_slice(&std::fs::read(folder.join(MEMORY_FILE)).ok()?).ok()
        };
        let spare = self.spare.iter().filter(|folder| is_own(folder).is_ok());
        let found = self.state_dir.iter().chain(spare).filter_map(|folder| read(folder));
        found.max_by_key(|memory| memory.said_ms).filter(|memory| !memory.is_over)
    }

    pub(super) fn turn(&self) -> Turn {
        let spare = self.spare.iter().filter(|folder| made(folder).is_ok());
        for folder in self.state_dir.iter().chain(spare) {
            match Lock::try_take(&folder.join(LOCK_FILE), "") {
                Ok(Some(lock)) => return Turn::Ours { _lock: Some(lock) },
                Ok(None) => return Turn::Others,
                Err(_) => {}
            }
        }
        Turn::Ours { _lock: None }
    }

    /// # Errors
    /// What each of the places says.
    pub(super) fn remember(&self, memory: &Memory) -> Result<(), String> {
        let bytes = serde_json::to_vec(memory).map_err(|e| e.to_string())?;
        let write = |folder: &Path| files::replace_unsynced(&folder.join(MEMORY_FILE), &bytes, MEMORY_MODE);
        let failed = |folder: &Path, e: io::Error| format!("{}: {e}", folder.join(MEMORY_FILE).display());
        let mut refused = match self.state_dir.as_deref().map(|folder| (folder, write(folder))) {
            Some((_, Ok(()))) => {
                // An older one would only be read where clocks have gone back.
                let _ = self.forget_spare();
                return Ok(());
            }
            Some((folder, Err(e))) => failed(folder, e),
            None => "the state directory hangs".to_owned(),
        };
        for folder in &self.spare {
            match made(folder).and_then(|()| write(folder)) {
                Ok(()) => return Ok(()),
                Err(e) => refused = format!("{refused}; {}", failed(folder, e)),
            }
        }
        Err(refused)
    }

    /// That `memory` is past. What cannot be removed is overruled by a newer word.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(super) fn forget(&self, memory: &Memory, now_ms: i64) -> Result<(), String> {
        if let Some(folder) = &self.state_dir
            && files::remove(&folder.join(MEMORY_FILE)).and_then(|()| self.forget_spare()).is_ok()
        {
            return Ok(());
        }
        self.remember(&Memory { is_over: true, said_ms: now_ms.max(memory.said_ms), ..memory.clone() })
    }

    fn forget_spare(&self) -> io::Result<()> {
        let mut own = self.spare.iter().filter(|folder| is_own(folder).is_ok());
        own.try_for_each(|folder| files::remove(&folder.join(MEMORY_FILE)))
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn made(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(SPARE_MODE).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        Ok(()) | Err(_) => is_own(folder),
    }
}

/// Others may make names below `/tmp` as well: a link, or a folder that somebody else may write to, is none of ours.
fn is_own(folder: &Path) -> io::Result<()> {
    let found = folder.symlink_metadata()?;
    let is_ours = found.is_dir() && found.uid() == own_uid() && found.mode() & OTHERS == 0;
    is_ours.then_some(()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::PermissionDenied, "it is not a folder of ours alone; remove it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn memory(said_ms: i64) -> Memory {
        Memory { trouble: Trouble::Dead, since_ms: 1, said_ms, sent: None, outage: None, is_over: false }
    }

    /// A state directory that takes nothing, whoever asks: a folder stands in the place of each file.
    fn refusing(dir: &Path) {
        for file in [MEMORY_FILE, LOCK_FILE] {
            std::fs::create_dir_all(dir.join(file).join("in the way")).unwrap();
        }
    }

    #[test]
    fn where_the_state_directory_takes_nothing_another_place_does() {
        let dir = tempfile::tempdir().unwrap();
        let (state, scratch) = (dir.path().join("state"), dir.path().join("scratch"));
        refusing(&state);
        std::fs::create_dir(&scratch).unwrap();
        let homes = Homes::new(&state, &[dir.path().join("none"), scratch.clone()]);
        homes.remember(&memory(5)).unwrap();
        assert_eq!(homes.recall(), Some(memory(5)));
        let kept = &homes.spare[1];
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(kept), mode(&kept.join(MEMORY_FILE))), (SPARE_MODE, MEMORY_MODE));
        assert!(matches!(homes.turn(), Turn::Ours { _lock: Some(_) }));
        homes.forget(&memory(5), 9).unwrap();
        assert_eq!(homes.recall(), None);
        // Another state directory has another place.
        assert_ne!(Homes::new(dir.path(), &[scratch]).spare[0], *kept);
        // Once it takes something again it is the only place.
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        homes.remember(&memory(10)).unwrap();
        assert!(state.join(MEMORY_FILE).is_file() && !kept.join(MEMORY_FILE).exists());
    }

    #[test]
    fn a_state_directory_that_hangs_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (state, scratch) = (dir.path().join("state"), dir.path().join("scratch"));
        std::fs::create_dir(&state).unwrap();
        std::fs::create_dir(&scratch).unwrap();
        // Nobody ever writes to it: whoever reads waits, as on a disk that is gone.
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, state.join(MEMORY_FILE), fifo, mode, 0).unwrap();
        let homes = Homes::new(&state, &[scratch]);
        homes.remember(&memory(5)).unwrap();
        assert_eq!(homes.recall(), Some(memory(5)));
        assert!(matches!(homes.turn(), Turn::Ours { _lock: Some(_) }));
        assert!(Homes::new(&state, &[]).remember(&memory(6)).unwrap_err().contains("hangs"));
        homes.forget(&memory(5), 9).unwrap();
        assert_eq!(homes.recall(), None);
    }

    #[test]
    fn what_somebody_else_has_put_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (state, scratch, trap) =
            (dir.path().join("state"), dir.path().join("scratch"), dir.path().join("trap"));
        refusing(&state);
        for folder in [&scratch, &trap] {
            std::fs::create_dir(folder).unwrap();
        }
        let homes = Homes::new(&state, &[scratch]);
        symlink(&trap, &homes.spare[0]).unwrap();
        let refused = homes.remember(&memory(5)).unwrap_err();
        assert!(refused.contains(MEMORY_FILE) && refused.contains("not a folder of ours"), "{refused}");
        assert_eq!(std::fs::read_dir(&trap).unwrap().count(), 0);
        assert!(matches!(homes.turn(), Turn::Ours { _lock: None }));
        std::fs::remove_file(&homes.spare[0]).unwrap();
        std::fs::create_dir(&homes.spare[0]).unwrap();
        std::fs::set_permissions(&homes.spare[0], std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(homes.remember(&memory(5)).is_err());
        assert_eq!(homes.recall(), None);
    }
}
