//! A look at paths that may lie on a file system that hangs: each in a thread of its own, all within one limit.
//!
//! A thread in the kernel's hands cannot be ended. One that hangs is left alone, and its path is not looked at
//! again until it has come back: whoever looks every few seconds piles up no threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long a file system may take that is well.
pub const LOOK_MAX: Duration = Duration::from_secs(2);
/// Of a thread that only asks the file system, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Paths at which somebody hangs, and whether that is over.
static HANGING: Mutex<BTreeMap<PathBuf, Arc<AtomicBool>>> = Mutex::new(BTreeMap::new());

/// A look at one path.
pub struct Look<T> {
    pub path: PathBuf,
    pub how: Box<dyn FnOnce() -> T + Send>,
}

impl<T> Look<T> {
    pub fn new(path: &Path, how: impl FnOnce() -> T + Send + 'static) -> Self {
        Self { path: path.to_owned(), how: Box::new(how) }
    }
}

/// What each look saw, in their order; none for one that was not done within `limit`. Blocks no longer than that.
#[must_use]
pub fn within<T: Send + 'static>(limit: Duration, looks: Vec<Look<T>>) -> Vec<Option<T>> {
    let until = Instant::now() + limit;
    let (tell, told) = mpsc::channel();
    let mut seen: Vec<Option<T>> = looks.iter().map(|_| None).collect();
    let mut away = BTreeMap::new();
    for (at, Look { path, how }) in looks.into_iter().enumerate() {
        let tell = tell.clone();
        // Nobody waits any more for one that is late.
        let begun = begin(&path, how, move |saw| drop(tell.send((at, saw))));
        away.extend(begun.map(|is_over| (at, (path, is_over))));
    }
    drop(tell);
    while let Ok((at, saw)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        away.remove(&at);
        if let Some(place) = seen.get_mut(at) {
            *place = Some(saw);
        }
    }
    leave(away.into_values());
    seen
}

/// As [`within`], of one path and for [`LOOK_MAX`], where futures are run.
pub async fn see<T: Send + 'static>(path: &Path, how: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let is_over = begin(path, how, move |saw| drop(tell.send(saw)))?;
    // Also when whoever asked is gone before the answer.
    let _late = Late(Some((path.to_owned(), is_over)));
    tokio::time::timeout(LOOK_MAX, told).await.ok()?.ok()
}

/// A look that is waited for no longer when this goes.
struct Late(Option<(PathBuf, Arc<AtomicBool>)>);

impl Drop for Late {
    fn drop(&mut self) {
        leave(self.0.take());
    }
}

/// Begins a look in a thread of its own, and gives what says that it is over; none where somebody hangs already.
fn begin<T>(
    path: &Path,
    how: impl FnOnce() -> T + Send + 'static,
    tell: impl FnOnce(T) + Send + 'static,
) -> Option<Arc<AtomicBool>> {
    if hangs(path) {
        return None;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Over(Arc::clone(&is_over));
    let look = move || {
        let saw = how();
        drop(over);
        tell(saw);
    };
    let thread = thread::Builder::new().name("lucid-glimpse".to_owned()).stack_size(STACK_BYTES);
    thread.spawn(look).ok().map(|_| is_over)
}

/// Leaves those alone that were not done in time, as long as they are not.
fn leave(late: impl IntoIterator<Item = (PathBuf, Arc<AtomicBool>)>) {
    let mut hanging = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    hanging.retain(|_, is_over| !is_over.load(Ordering::Acquire));
    hanging.extend(late.into_iter().filter(|(_, is_over)| !is_over.load(Ordering::Acquire)));
}

fn hangs(path: &Path) -> bool {
    let hanging = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    hanging.get(path).is_some_and(|is_over| !is_over.load(Ordering::Acquire))
}

/// Says so when a look has come back, by a panic too.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    /// A look that hangs until the sender is gone.
    fn stuck(path: &str) -> (mpsc::Sender<()>, Look<u8>) {
        let (hold, held) = mpsc::channel::<()>();
        let look = Look::new(Path::new(path), move || {
            let _ = held.recv();
            1
        });
        (hold, look)
    }

    #[test]
    fn one_that_hangs_keeps_no_other_from_its_answer() {
        let (hold, look) = stuck("/glimpse/one");
        let begun = Instant::now();
        let seen = within(SOON, vec![look, Look::new(Path::new("/glimpse/two"), || 2)]);
        assert_eq!(seen, [None, Some(2)]);
        assert!(begun.elapsed() < SOON * 10, "{:?}", begun.elapsed());
        drop(hold);
    }

    #[test]
    fn a_path_at_which_somebody_hangs_is_not_looked_at_until_that_is_over() {
        let path = Path::new("/glimpse/again");
        let (hold, look) = stuck("/glimpse/again");
        assert_eq!(within(SOON, vec![look]), [None]);
        assert_eq!(within(SOON, vec![Look::new(path, || unreachable!("nobody looks"))]), [None::<u8>]);
        drop(hold);
        let until = Instant::now() + Duration::from_secs(20);
        while within(SOON, vec![Look::new(path, || 3)]) != [Some(3)] {
            assert!(Instant::now() < until, "it comes back");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
