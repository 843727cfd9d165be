//! Says when the tasks folder is to be looked at again.
//!
//! The kernel's notices, gathered over a short time, with a periodic look as a backstop. Where
//! there are no notices (no watches left, the folder is gone) the looks come often. Where the kernel
//! tells of every change and the folders' own times say that no name came or went, a glance at some
//! of the files is enough. It reads no task file.
//!
//! Each folder has a watch of its own, as have the folders of files that links lead to: one that may
//! not be watched takes no notices from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::scan::{self, Stamp, Step};
use crate::platform::filesystem::{self, Kind};

/// Changes are gathered for so long: a save by an editor is several.
pub const DEBOUNCE: Duration = Duration::from_millis(200);

/// A storm of changes cannot put a look off for longer than this.
const GATHER_MAX: Duration = Duration::from_secs(1);

/// Time between two looks while the kernel gives no notices.
pub const BLIND_RESCAN: Duration = Duration::from_secs(1);

/// Links that lead to one another are followed so far.
const LINKS_MAX: usize = 8;

/// How the folder is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// At every file: something changed, or nobody would have told.
    Look,
    /// At the next of the known files: no name came or went, and nothing was told.
    Glance,
}

/// Watches one folder with everything below it.
pub struct Watch {
    root: PathBuf,
    rescan: Duration,
    news: Arc<Notify>,
    watching: Option<Watching>,
    /// What kept the kernel from giving notices, as it was last told.
    told: Option<String>,
    last_look: Instant,
    /// When the first notice came that no look has answered yet, and the last.
    pending: Option<(Instant, Instant)>,
}

/// Kept alive by being held: dropping it ends the notices.
struct Watching {
    watcher: RecommendedWatcher,
    identity: (u64, u64),
    /// With what each was before it was listed; `None` where others may change what is in it untold.
    folders: BTreeMap<PathBuf, Option<Stamp>>,
    /// The links among the task files, with where each leads: no notice comes of a folder on the way that is another now.
    links: Vec<(PathBuf, Way)>,
    /// Files elsewhere that links lead to; other files beside them are nobody's business.
    targets: Arc<Mutex<BTreeSet<PathBuf>>>,
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
            told: None,
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
            let at = match self.pending {
                Some((first, last)) => (last + DEBOUNCE).min(first + GATHER_MAX).min(rescan_at),
                None => rescan_at,
            };
            tokio::select! {
                () = self.news.notified() => {
                    let now = Instant::now();
                    self.pending = Some((self.pending.map_or(now, |(first, _)| first), now));
                }
                () = sleep_until(at) => {
                    let is_told = self.pending.take().is_some();
                    self.last_look = Instant::now();
                    if !is_told && self.is_calm() {
                        return Wake::Glance;
                    }
                    self.attach();
                    return Wake::Look;
                }
            }
        }
    }

    /// The folders that are watched are all there are, and hold the names they held.
    fn is_calm(&self) -> bool {
        self.watching.as_ref().is_some_and(|watching| {
            Some(watching.identity) == identity(&self.root)
                && watching
                    .folders
                    .iter()
                    .all(|(folder, stamp)| stamp.is_some() && *stamp == told_stamp(folder))
                && watching.links.iter().all(|(link, known)| way(link.clone()) == *known)
        })
    }

    /// Watches what has the names now: it may have been deleted and made again. For whoever looks unasked.
    pub fn attach(&mut self) {
        let identity = identity(&self.root);
        let kept = self.watching.take().filter(|watching| Some(watching.identity) == identity);
        let Some(identity) = identity else { return };
        let watched = match kept {
            Some(watching) => Ok(watching),
            None => self.watching(identity),
        }
        .and_then(|mut watching| watching.cover(&self.root).map(|()| watching));
        let told = watched.as_ref().err().map(ToString::to_string);
        if let Some(error) = told.as_ref().filter(|_| told != self.told) {
            tracing::warn!(folder = %self.root.display(), %error, "no notices of changed task files");
        }
        self.told = told;
        self.watching = watched.ok();
    }

    fn watching(&self, identity: (u64, u64)) -> notify::Result<Watching> {
        let (news, root) = (Arc::clone(&self.news), self.root.clone());
        let targets: Arc<Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let known = Arc::clone(&targets);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_ours = |path: &PathBuf| {
                path.starts_with(&root) || known.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
            };
            // An error is a notice too: whatever was lost, a look finds it.
            let is_news = event.map_or(true, |event| {
                !matches!(event.kind, EventKind::Access(_))
                    && (event.paths.is_empty() || event.paths.iter().any(is_ours))
            });
            if is_news {
                news.notify_one();
            }
        })?;
        Ok(Watching { watcher, identity, folders: BTreeMap::new(), links: Vec::new(), targets })
    }
}

impl Watching {
    /// Watches the folders that there are now, each before it is listed, and none that is gone.
    fn cover(&mut self, root: &Path) -> notify::Result<()> {
        let before = std::mem::take(&mut self.folders);
        // A folder that was moved has the same watch under both names, so the old one ends first.
        for gone in before.keys().filter(|folder| !folder.is_dir()) {
            let _ = self.watcher.unwatch(gone);
        }
        let (mut links, mut failed) = (Vec::new(), None);
        let walked = scan::walk(root, &mut |step| match step {
            Step::Enter(folder) => failed = failed.take().or(self.watch(at(root, folder)).err()),
            Step::Name(path, kind) if kind.is_some_and(|kind| kind.is_symlink()) => links.push(path),
            Step::Name(..) | Step::Skip(..) => {}
        });
        walked.map_err(notify::Error::io)?;
        self.links =
            links.into_iter().map(|link| root.join(link)).map(|link| (link.clone(), way(link))).collect();
        let targets: BTreeSet<PathBuf> =
            self.links.iter().flat_map(|(_, way)| way.along.iter().cloned()).collect();
        // Watched before it counts, so that no change falls in between.
        for folder in targets.iter().filter_map(|target| target.parent()) {
            failed = failed.or(self.watch(folder.to_owned()).err());
        }
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        for gone in before.keys().filter(|folder| !self.folders.contains_key(*folder)) {
            let _ = self.watcher.unwatch(gone);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Again and again: it does nothing where the folder is watched already, and it may be another one now.
    fn watch(&mut self, folder: PathBuf) -> notify::Result<()> {
        let stamp = told_stamp(&folder);
        match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            // No watches are left: looks have to come often.
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => return Err(error),
            // It is closed or gone, and the list of tasks says so; only a look finds out when that changes.
            Err(_) => {
                self.folders.insert(folder, None);
                return Ok(());
            }
        }
        self.folders.insert(folder, stamp);
        Ok(())
    }
}

fn at(root: &Path, folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { root.to_owned() } else { root.join(folder) }
}

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    /// The paths on it, without those in the folder of the link before.
    along: Vec<PathBuf>,
    /// What is at its end is a folder; `None` when there is nothing.
    is_folder: Option<bool>,
}

fn way(link: PathBuf) -> Way {
    let is_folder = fs::metadata(&link).ok().map(|meta| meta.is_dir());
    let mut along = Vec::new();
    let mut here = link;
    for _ in 0..LINKS_MAX {
        let (Ok(to), Some(folder)) = (fs::read_link(&here), here.parent()) else { break };
        let to = folder.join(to);
        let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else { break };
        let Ok(folder) = fs::canonicalize(folder) else { break };
        here = folder.join(name);
        along.push(here.clone());
    }
    Way { along, is_folder }
}

/// What tells whether names in `folder` came or went; `None` where a change may come that the kernel does not see.
fn told_stamp(folder: &Path) -> Option<Stamp> {
    let is_local = filesystem::kind(folder).is_ok_and(|kind| kind == Kind::Local);
    is_local.then(|| scan::stamp(folder)).flatten()
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    Some((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const GOOD: &str = "---\ncommand: ./x\n---\n";

    async fn wakes(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(2), watch.next()).await.is_ok()
    }

    #[tokio::test]
    async fn changes_are_noticed_also_in_a_folder_made_anew() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("tasks");
        fs::create_dir(&root).unwrap();
        let mut watch = Watch::start(root.clone(), Duration::from_secs(60));
        assert!(watch.is_watching());
        let write = |name: &str| {
            let path: &Path = &root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, GOOD).unwrap();
        };
        write("a.md");
        assert!(wakes(&mut watch).await);
        write("sub/b.md");
        assert!(wakes(&mut watch).await);
        assert!(!wakes(&mut watch).await, "nothing happened since");
        write("sub/b.md");
        assert!(wakes(&mut watch).await, "a folder that came later is watched too");
        while wakes(&mut watch).await {}

        fs::remove_dir_all(&root).unwrap();
        assert!(wakes(&mut watch).await);
        assert!(!watch.is_watching());
        assert!(wakes(&mut watch).await, "without notices it is looked at often");
        write("c.md");
        assert!(wakes(&mut watch).await);
        assert!(watch.is_watching());
        while wakes(&mut watch).await {}
        write("c.md");
        assert!(wakes(&mut watch).await);
    }

    #[tokio::test]
    async fn a_glance_is_enough_while_no_name_came_or_went() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("tasks");
        fs::create_dir_all(root.join("sub")).unwrap();
        let mut watch = Watch::start(root.clone(), Duration::from_millis(50));
        assert_eq!(watch.next().await, Wake::Glance);
        // As if the kernel had not told of it.
        fs::write(root.join("sub/a.md"), GOOD).unwrap();
        watch.news = Arc::default();
        assert_eq!(watch.next().await, Wake::Look);
        assert_eq!(watch.next().await, Wake::Glance);
        let watching = watch.watching.as_mut().unwrap();
        watching.folders.values_mut().for_each(|stamp| *stamp = None);
        assert_eq!(watch.next().await, Wake::Look, "where the kernel does not tell everything");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(watch.next().await, Wake::Look);
    }

    #[tokio::test]
    async fn the_files_that_links_lead_to_are_watched_and_those_beside_them_are_not() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["tasks", "tasks/_lib", "far", "farther"] {
            fs::create_dir(path(folder)).unwrap();
        }
        for file in ["farther/x.md", "tasks/_lib/y.md"] {
            fs::write(path(file), GOOD).unwrap();
        }
        symlink("../farther/x.md", path("far/x.md")).unwrap();
        symlink("../far/x.md", path("tasks/x.md")).unwrap();
        symlink("_lib/y.md", path("tasks/y.md")).unwrap();
        let mut watch = Watch::start(path("tasks"), Duration::from_secs(60));
        for file in ["farther/x.md", "tasks/_lib/y.md"] {
            fs::write(path(file), GOOD).unwrap();
            assert!(wakes(&mut watch).await, "{file}");
            while wakes(&mut watch).await {}
        }
        fs::write(path("farther/new"), GOOD).unwrap();
        fs::rename(path("farther/new"), path("farther/x.md")).unwrap();
        assert!(wakes(&mut watch).await, "another file under the name");
        while wakes(&mut watch).await {}
        fs::write(path("farther/other.md"), GOOD).unwrap();
        assert!(!wakes(&mut watch).await, "a file that no link leads to");
    }

    #[tokio::test]
    async fn a_link_that_leads_another_way_is_looked_at_and_followed() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["tasks", "one", "two"] {
            fs::create_dir(path(folder)).unwrap();
        }
        for file in ["one/x.md", "two/x.md"] {
            fs::write(path(file), GOOD).unwrap();
        }
        symlink("one", path("current")).unwrap();
        symlink("../current/x.md", path("tasks/x.md")).unwrap();
        let mut watch = Watch::start(path("tasks"), Duration::from_millis(300));
        assert_eq!(watch.next().await, Wake::Glance);
        fs::remove_file(path("current")).unwrap();
        assert_eq!(watch.next().await, Wake::Look, "it leads nowhere");
        symlink("two", path("current")).unwrap();
        assert_eq!(watch.next().await, Wake::Look);
        assert_eq!(watch.next().await, Wake::Glance);
        fs::write(path("two/x.md"), GOOD).unwrap();
        assert_eq!(watch.next().await, Wake::Look, "the kernel tells of the other folder");
    }

    #[tokio::test]
    async fn a_folder_under_another_name_is_still_watched() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("tasks");
        fs::create_dir_all(root.join("a/deep")).unwrap();
        let mut watch = Watch::start(root.clone(), Duration::from_secs(60));
        fs::rename(root.join("a"), root.join("b")).unwrap();
        assert!(wakes(&mut watch).await);
        while wakes(&mut watch).await {}
        fs::write(root.join("b/deep/x.md"), GOOD).unwrap();
        assert!(wakes(&mut watch).await);
        while wakes(&mut watch).await {}
        fs::remove_dir_all(root.join("b")).unwrap();
        fs::create_dir(root.join("b")).unwrap();
        assert!(wakes(&mut watch).await);
        while wakes(&mut watch).await {}
        fs::write(root.join("b/x.md"), GOOD).unwrap();
        assert!(wakes(&mut watch).await);
    }
}
