//! Named places where a crash or an error would hurt, so that a test can have it happen exactly there.
//!
//! Debug builds alone have them: a release build is compiled without. They are armed by files in a folder
//! `failpoints` beside the program, since every process of a daemon (keepers, with an environment that is
//! cleared, among them) knows where its program lies; where there is no such folder, nothing is looked for.
//! `armed/NAME` holds what is to happen (`abort`, `error`, `stall`, or `refuse` for errors that go on for a while)
//! and at which visit; what has happened is moved to `fired/`, so that a
//! daemon that died of it does not die again; `visited/` names the places that anybody has passed.

/// An error that a test has ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failpoint {0}")]
pub struct Fault(&'static str);

impl From<Fault> for std::io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

/// Passes the place `name`, which may die, stall or fail here.
///
/// # Errors
/// Only when a test has ordered it.
#[cfg(debug_assertions)]
pub fn hit(name: &'static str) -> Result<(), Fault> {
    match armed::take(name) {
        None => Ok(()),
        Some(armed::Action::Abort) => super::process::die(),
        Some(armed::Action::Error) => Err(Fault(name)),
        Some(armed::Action::Stall) => {
            armed::stall();
            Ok(())
        }
    }
}

/// Passes the place `name`.
///
/// # Errors
/// Never in this build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn hit(_name: &'static str) -> Result<(), Fault> {
    Ok(())
}

/// As [`hit`], where what has just been done can no longer fail.
#[inline]
pub fn pass(name: &'static str) {
    // An error here would tell of a failure that did not happen.
    let _ = hit(name);
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use tokio::runtime::{Handle, RuntimeFlavor};

    /// Longer than anything here may be kept waiting without a word.
    const STALL: Duration = Duration::from_secs(2);
    /// How long a place that refuses goes on with it.
    const REFUSAL: Duration = Duration::from_secs(3);

    /// What happens at a place.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// The process dies as by kill -9.
        Abort,
        Error,
        Stall,
    }

    fn folder() -> Option<&'static Path> {
        static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let look = || {
            let beside = std::env::current_exe().ok()?.parent()?.join("failpoints");
            beside.is_dir().then_some(beside)
        };
        FOLDER.get_or_init(look).as_deref()
    }

    /// What is ordered for this visit of `name`.
    pub fn take(name: &'static str) -> Option<Action> {
        static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let folder = folder()?;
        if SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
            let _ = fs::write(folder.join("visited").join(name), b"");
        }
        if refuses(&folder.join("fired").join(name)) { Some(Action::Error) } else { claim(folder, name) }
    }

    /// Whether the place began to refuse a short while ago.
    fn refuses(fired: &Path) -> bool {
        let young = |file: fs::Metadata| file.modified().ok()?.elapsed().ok().map(|age| age < REFUSAL);
        fs::metadata(fired).ok().and_then(young) == Some(true)
            && fs::read_to_string(fired).is_ok_and(|text| text.starts_with("refuse"))
    }

    /// One visitor at a time has the order in hand: whoever could rename it.
    pub fn claim(folder: &Path, name: &str) -> Option<Action> {
        let armed = folder.join("armed").join(name);
        if !armed.exists() {
            return None;
        }
        let mine = folder.join("armed").join(format!("{name}.taken"));
        fs::rename(&armed, &mine).ok()?;
        let text = fs::read_to_string(&mine).ok()?;
        let (action, visit) = text.trim().split_once(' ')?;
        let visit: u32 = visit.parse().ok()?;
        if visit > 1 {
            fs::write(&mine, format!("{action} {}", visit - 1)).ok()?;
            fs::rename(&mine, &armed).ok()?;
            return None;
        }
        fs::rename(&mine, folder.join("fired").join(name)).ok()?;
        match action {
            "abort" => Some(Action::Abort),
            "error" | "refuse" => Some(Action::Error),
            "stall" => Some(Action::Stall),
            _ => None,
        }
    }

    /// Keeps its caller and nobody else: other tasks of a runtime go on elsewhere.
    pub fn stall() {
        let is_shared =
            Handle::try_current().is_ok_and(|at| at.runtime_flavor() == RuntimeFlavor::MultiThread);
        let wait = || std::thread::sleep(STALL);
        if is_shared { tokio::task::block_in_place(wait) } else { wait() }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Action, claim};
    use super::*;

    #[test]
    fn an_order_is_carried_out_at_its_visit_and_once() {
        let dir = tempfile::tempdir().unwrap();
        for below in ["armed", "fired"] {
            std::fs::create_dir(dir.path().join(below)).unwrap();
        }
        std::fs::write(dir.path().join("armed/a.b"), "error 3").unwrap();
        assert_eq!(claim(dir.path(), "a"), None);
        let visits: Vec<_> = (0..5).map(|_| claim(dir.path(), "a.b")).collect();
        assert_eq!(visits, [None, None, Some(Action::Error), None, None]);
        assert!(dir.path().join("fired/a.b").exists() && !dir.path().join("armed/a.b").exists());
    }

    #[test]
    fn nothing_happens_where_nothing_is_laid_out() {
        assert_eq!(hit("test.nowhere"), Ok(()));
    }
}
