//! Says when the tasks folder is to be looked at again.
//!
//! The kernel's notices, gathered over a short time, with a periodic look as a backstop. Where
//! there are no notices (no watches left, the folder is gone) the looks come often. It reads no
//! task file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Changes are gathered for so long: a save by an editor is several.
pub const DEBOUNCE: Duration = Duration::from_millis(200);

/// A storm of changes cannot put a look off for longer than this.
const GATHER_MAX: Duration = Duration::from_secs(1);

/// Time between two looks while the kernel gives no notices.
pub const BLIND_RESCAN: Duration = Duration::from_secs(1);

/// Why the folder is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    Changed,
    /// The time between two looks is over.
    Rescan,
}

/// Watches one folder with everything below it.
pub struct Watch {
    root: PathBuf,
    rescan: Duration,
    news: Arc<Notify>,
    watching: Option<Watching>,
    last_look: Instant,
    /// When the first notice came that no look has answered yet, and the last.
    pending: Option<(Instant, Instant)>,
}

/// Kept alive by being held: dropping it ends the notices.
struct Watching {
    _watcher: RecommendedWatcher,
    identity: (u64, u64),
}

impl Watch {
    /// Begins to watch `root`, which need not exist yet; a look is due at least every `rescan`.
    ///
    /// Needs a tokio runtime with time.
    #[must_use]
    pub fn start(root: PathBuf, rescan: Duration) -> Self {
        let mut watch = Self {
            root,
            rescan,
            news: Arc::new(Notify::new()),
            watching: None,
            last_look: Instant::now(),
            pending: None,
        };
        watch.attach();
        watch
    }

    /// Whether the kernel gives notices; if not, looks come every [`BLIND_RESCAN`].
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watching.is_some()
    }

    /// Waits until the folder is to be looked at. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Wake {
        loop {
            let rescan = if self.watching.is_some() { self.rescan } else { self.rescan.min(BLIND_RESCAN) };
            let rescan_at = self.last_look + rescan;
            let (at, wake) = match self.pending {
                Some((first, last)) => {
                    ((last + DEBOUNCE).min(first + GATHER_MAX).min(rescan_at), Wake::Changed)
                }
                None => (rescan_at, Wake::Rescan),
            };
            tokio::select! {
                () = self.news.notified() => {
                    let now = Instant::now();
                    self.pending = Some((self.pending.map_or(now, |(first, _)| first), now));
                }
                () = sleep_until(at) => {
                    self.pending = None;
                    self.last_look = Instant::now();
                    self.attach();
                    return wake;
                }
            }
        }
    }

    /// Watches the folder that has the name now: it may have been deleted and made again.
    fn attach(&mut self) {
        let identity = identity(&self.root);
        if self.watching.as_ref().map(|watching| watching.identity) == identity && identity.is_some() {
            return;
        }
        self.watching = identity.and_then(|identity| {
            let watcher = self.watcher().inspect_err(|error| {
                tracing::warn!(folder = %self.root.display(), %error, "no notices of changed task files");
            });
            Some(Watching { _watcher: watcher.ok()?, identity })
        });
    }

    fn watcher(&self) -> notify::Result<RecommendedWatcher> {
        let news = Arc::clone(&self.news);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error is a notice too: whatever was lost, a look finds it.
            if event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_))) {
                news.notify_one();
            }
        })?;
        watcher.watch(&self.root, RecursiveMode::Recursive)?;
        Ok(watcher)
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    Some((meta.dev(), meta.ino()))
}
