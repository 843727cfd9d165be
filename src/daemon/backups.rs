//! The newest backup. Its folder may lie on a disk that hangs, and whoever asks how the daemon is must not hang
//! with it.

use std::path::Path;

use tokio::sync::Mutex;

use crate::ops::brief::Backup;
use crate::platform::glimpse;
use crate::store::backup;

use super::App;

/// The newest as it was last seen.
#[derive(Debug, Default)]
pub struct BackupLook(Mutex<Option<Backup>>);

impl App {
    /// The newest backup; where its folder hangs the one that was seen last.
    pub(super) async fn newest_backup(&self) -> Option<Backup> {
        let dir = self.config.backup.dir.clone();
        let now_ms = self.clock.wall_ms();
        self.backups.look(&self.config.backup.dir, move || newest(&dir, now_ms)).await
    }
}

impl BackupLook {
    /// One at a time: whoever comes meanwhile waits no longer than the one that looks, and sees what that one saw
    /// where looking again would hang.
    async fn look(
        &self,
        dir: &Path,
        how: impl FnOnce() -> Option<Backup> + Send + 'static,
    ) -> Option<Backup> {
        let mut last = self.0.lock().await;
        if let Some(seen) = glimpse::see(dir, how).await {
            *last = seen;
        }
        last.clone()
    }
}

fn newest(dir: &Path, now_ms: i64) -> Option<Backup> {
    let newest = backup::newest(dir, now_ms).ok()??;
    let bytes = std::fs::metadata(dir.join(newest.file_name())).map_or(0, |found| found.len());
    Some(Backup { at_ms: newest.at_ms, bytes })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    const NOW_MS: i64 = 1_795_744_900_000;

    #[tokio::test]
    async fn a_folder_that_hangs_is_waited_for_a_moment_and_what_was_seen_last_is_told() {
        let look = BackupLook::default();
        let dir = Path::new("/backups/that/hang");
        let seen = Some(Backup { at_ms: 7, bytes: 8 });
        let saw = seen.clone();
        assert_eq!(look.look(dir, move || saw).await, seen);
        let (hold, held) = mpsc::channel::<()>();
        let begun = Instant::now();
        let hanging = look.look(dir, move || {
            let _ = held.recv();
            None
        });
        let beside = look.look(dir, || unreachable!("nobody looks where somebody hangs"));
        assert_eq!(tokio::join!(hanging, beside), (seen.clone(), seen));
        assert!(begun.elapsed() < glimpse::LOOK_MAX + Duration::from_secs(8), "{:?}", begun.elapsed());
        drop(hold);
    }

    #[test]
    fn the_newest_by_its_name_with_its_size() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(&dir.path().join("none"), NOW_MS), None);
        for (name, text) in [("lucid-20261126T020000Z.db", "old"), ("lucid-20261127T020000Z.db", "newer")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found = newest(dir.path(), NOW_MS).unwrap();
        assert_eq!((found.at_ms, found.bytes), (1_795_744_800_000, 5));
    }
}
