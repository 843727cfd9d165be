//! Conditions whose subject is nobody's any more: whoever looked after it would have said that it is over, and does
//! not look any more.

use tracing::warn;

use crate::ops::PICKUP_WATCHDOG;
use crate::ops::watchdog::{AUTH_CHECK, CONDITION};
use crate::store::StoreError;

use super::App;
use super::upkeep::SYNC;

/// What is still looked after.
struct Kept<'a> {
    syncs: Vec<&'a str>,
    /// Agents with an `auth_check`.
    asked: Vec<&'a str>,
    /// Somebody looks whether dispatch goes on.
    is_watched: bool,
}

impl Kept<'_> {
    /// Why the condition `key` is dropped, where it is.
    fn drops(&self, key: &str) -> Option<String> {
        if key == CONDITION {
            return (!self.is_watched).then(|| format!("no task does {PICKUP_WATCHDOG} any more"));
        }
        let (name, known) = match (key.strip_prefix(SYNC), key.strip_prefix(AUTH_CHECK)) {
            (Some(name), _) => (name, &self.syncs),
            (None, Some(name)) => (name, &self.asked),
            (None, None) => return None,
        };
        (!known.contains(&name)).then(|| format!("{name} is no longer looked after"))
    }
}

impl App {
    /// Ends conditions that nobody would end, by the settings and the task files as they are now.
    pub(super) async fn drop_conditions(&self) {
        if let Err(e) = self.try_drop_conditions().await {
            warn!(error = %e, "could not end conditions that nobody looks after");
        }
    }

    async fn try_drop_conditions(&self) -> Result<(), StoreError> {
        let standing = self.journal.standing("").await?;
        let asked = self.config.agents.iter().filter(|agent| !agent.auth_check.is_empty());
        let kept = Kept {
            syncs: self.config.syncs.iter().map(|sync| sync.name.as_str()).collect(),
            asked: asked.map(|agent| agent.name.as_str()).collect(),
            is_watched: self.snapshot().doing(PICKUP_WATCHDOG).any(|(_, entry)| entry.enabled),
        };
        let dropped: Vec<(String, String)> =
            standing.into_iter().filter_map(|was| Some((kept.drops(&was.key)?, was.key))).collect();
        if dropped.is_empty() {
            return Ok(());
        }
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                for (why, key) in &dropped {
                    journal.clear(tx, now_ms, key, why, "daemon")?;
                }
                Ok::<_, StoreError>(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_looks_after_is_dropped() {
        let kept = |is_watched| Kept { syncs: vec!["notes"], asked: vec!["claude"], is_watched };
        for key in ["sync:notes", "auth_check:claude", "dispatch", "health", "token:mail", "ticket:MC-1"] {
            assert_eq!(kept(true).drops(key), None, "{key}");
        }
        let why = |key| kept(false).drops(key).unwrap_or_default();
        assert_eq!(why("sync:old"), "old is no longer looked after");
        assert_eq!(why("auth_check:codex"), "codex is no longer looked after");
        assert_eq!(why("dispatch"), "no task does pickup-watchdog any more");
    }
}
