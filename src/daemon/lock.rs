//! The state directory belongs to one daemon for its life.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use super::boot::BootError;
use crate::platform::files::Lock;

/// What a daemon holds in its state directory for its life.
pub const STATE_LOCK: &str = "lock";
/// A child that a killed daemon had just made holds its lock until it has become a program of its own.
const LOCK_LET_GO_WITHIN: Duration = Duration::from_secs(5);
/// How long a process that was just killed may still be seen.
const DYING_WITHIN: Duration = Duration::from_millis(300);
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// Takes the state directory for this process, and makes it where there is none.
///
/// # Errors
/// [`BootError::Held`] with the holder, or what the file system says.
pub(super) async fn take(dir: &Path) -> Result<Lock, BootError> {
    let state = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| BootError::StateDir { doing, path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(state("cannot make the state directory", dir))?;
    let path = dir.join(STATE_LOCK);
    let own = format!("pid {}", std::process::id());
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = Lock::try_take(&path, &own).map_err(state("cannot lock", &path))? {
            return Ok(lock);
        }
        let holder = Lock::holder(&path).unwrap_or_else(|_| "pid unknown".to_owned());
        if waited >= LOCK_LET_GO_WITHIN || (waited >= DYING_WITHIN && may_live(&holder)) {
            return Err(BootError::Held { dir: dir.to_owned(), holder: holder.trim().to_owned() });
        }
        tokio::time::sleep(LOCK_LOOK).await;
        waited += LOCK_LOOK;
    }
}

/// Whether there is such a process, as far as that can be told.
fn may_live(holder: &str) -> bool {
    let pid = holder.trim().strip_prefix("pid ").and_then(|pid| pid.parse::<u32>().ok());
    pid.is_none_or(|pid| Path::new("/proc").join(pid.to_string()).exists())
}
