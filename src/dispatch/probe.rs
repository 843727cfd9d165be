//! Whether the program of each profile is there and answers, and how all profiles stand.

use std::time::Duration;

use super::pick::Profile;
use super::{Dispatch, DispatchError, lock};
use crate::model::worker::{Dialect, Standing};
use crate::platform::process::bounded::{self, Errand};

/// How long a program may take to tell its version.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long an answer counts, in milliseconds.
const FRESH_MS: i64 = 10 * 60_000;
/// Longest version text that is kept, in characters.
const VERSION_MAX_CHARS: usize = 80;

/// What a program answered to `--version`.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    at_ms: i64,
    /// Its version, or why it cannot be used.
    pub answer: Result<String, String>,
}

/// A profile as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    pub name: String,
    pub dialect: Dialect,
    pub command: Vec<String>,
    pub shown: Shown,
    pub busy: u32,
    pub max_parallel: u32,
    pub cooled_until_ms: Option<i64>,
    pub reason: Option<String>,
    pub version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Ready,
    Busy,
    Cooled,
    Disabled,
    Missing,
}

impl Dispatch {
    /// All profiles, in the order of the config; asks those programs that were not asked lately.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn agents(&self) -> Result<Vec<AgentView>, DispatchError> {
        self.probe().await;
        let mut profiles = self.profiles(self.clock.wall_ms()).await?;
        let probes = lock(&self.state.probes).clone();
        let views = self.agents.iter().filter_map(|agent| {
            let profile = profiles.remove(&agent.name)?;
            let (shown, cooled_until_ms, reason) = shown(&profile);
            Some(AgentView {
                name: agent.name.clone(),
                dialect: agent.dialect,
                command: agent.command.clone(),
                shown,
                busy: profile.busy,
                max_parallel: profile.max_parallel,
                cooled_until_ms,
                reason,
                version: probes.get(&agent.name).and_then(|probe| probe.answer.clone().ok()),
            })
        });
        Ok(views.collect())
    }

    /// Asks every program whose last answer is too old.
    pub async fn probe(&self) {
        let now_ms = self.clock.wall_ms();
        let stale: Vec<_> = {
            let probes = lock(&self.state.probes);
            let is_fresh = |name: &str| probes.get(name).is_some_and(|probe| now_ms - probe.at_ms < FRESH_MS);
            self.agents.iter().filter(|agent| !is_fresh(&agent.name)).cloned().collect()
        };
        for agent in stale {
            let mut argv = self.argv_alone(&agent);
            argv.push("--version".to_owned());
            let (root, env) = (self.runs.site.root.clone(), agent.env.clone());
            let asked = tokio::task::spawn_blocking(move || ask(&argv, &root, &env)).await;
            let answer = asked.unwrap_or_else(|e| Err(e.to_string()));
            lock(&self.state.probes).insert(agent.name, Probe { at_ms: now_ms, answer });
        }
    }

    fn argv_alone(&self, agent: &crate::config::Agent) -> Vec<String> {
        let plain = crate::config::Agent { dialect: Dialect::Plain, ..agent.clone() };
        self.argv(&plain, &super::dialect::Wishes::default())
    }
}

fn ask(
    argv: &[String],
    dir: &std::path::Path,
    env: &std::collections::BTreeMap<String, String>,
) -> Result<String, String> {
    let (program, args) = argv.split_first().ok_or("it has no command")?;
    let errand = Errand {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        dir: dir.to_owned(),
        stdin: Vec::new(),
    };
    // Whatever it says, it is there and it answers: not every program knows `--version`.
    let done = bounded::run(&errand, ANSWER_MAX).map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().trim().to_owned();
    Ok(text.chars().take(VERSION_MAX_CHARS).collect())
}

fn shown(profile: &Profile) -> (Shown, Option<i64>, Option<String>) {
    match &profile.standing {
        Standing::Ready if profile.busy >= profile.max_parallel => (Shown::Busy, None, None),
        Standing::Ready => (Shown::Ready, None, None),
        Standing::Cooled { until_ms, reason } => (Shown::Cooled, Some(*until_ms), Some(reason.clone())),
        Standing::Disabled { reason } => (Shown::Disabled, None, Some(reason.clone())),
        Standing::Missing { reason } => (Shown::Missing, None, Some(reason.clone())),
    }
}
