//! Whether the program of each profile is there and answers, and how all profiles stand.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::pick::Profile;
use super::{Dispatch, DispatchError, lock};
use crate::model::ids::RunId;
use crate::model::text::clean;
use crate::model::worker::{Dialect, Standing};
use crate::platform::process::bounded::{self, Done, Errand};

/// How long a program may take to tell its version.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long an answer counts, in milliseconds.
const FRESH_MS: i64 = 10 * 60_000;
/// How long a program may take to tell whether it is logged in.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// Longest complaint of it that is kept, in characters.
const SAID_MAX_CHARS: usize = 200;
/// Longest version text that is kept, in characters.
const VERSION_MAX_CHARS: usize = 80;

/// What a profile's own check says of its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    In,
    /// Says why.
    Out(String),
    /// The check has said nothing, which is no word about the login.
    Unknown(String),
}

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

    /// The profiles of the config that get no work until a person enables them: each with the reason and since when,
    /// milliseconds since the epoch. Asks no program.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn disabled(&self) -> Result<Vec<(String, String, i64)>, DispatchError> {
        let mut found = self.store.read(|conn| Ok::<_, DispatchError>(super::table::disabled(conn)?)).await?;
        found.retain(|(name, ..)| self.profile(name).is_some());
        Ok(found)
    }

    /// The language that the program of a task's run speaks; none where no agent was put on it.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn dialect_of(&self, run: RunId) -> Result<Option<Dialect>, DispatchError> {
        let worker =
            self.store.read(move |conn| Ok::<_, DispatchError>(super::table::of_run(conn, run)?)).await?;
        Ok(worker.map(|worker| worker.dialect))
    }

    /// Asks every program whose last answer is too old.
    pub async fn probe(&self) {
        let now_ms = self.clock.wall_ms();
        let stale: Vec<_> = {
            let probes = lock(&self.state.probes);
            let is_fresh = |name: &str| probes.get(name).is_some_and(|probe| now_ms - probe.at_ms < FRESH_MS);
            self.agents.iter().filter(|agent| !is_fresh(&agent.name)).cloned().collect()
        };
        // One that hangs must not hold up the others.
        let asked = stale.into_iter().map(|agent| {
            let mut argv = self.argv_alone(&agent);
            argv.push("--version".to_owned());
            let (root, env) = (self.runs.site.root.clone(), agent.env.clone());
            (agent.name, tokio::task::spawn_blocking(move || ask(&argv, &root, &env)))
        });
        for (name, asked) in asked.collect::<Vec<_>>() {
            let answer = asked.await.unwrap_or_else(|e| Err(e.to_string()));
            lock(&self.state.probes).insert(name, Probe { at_ms: now_ms, answer });
        }
    }

    /// Whether each profile that declares how to find out is logged in; all are asked at once.
    pub async fn ask_logins(&self) -> Vec<(String, Login)> {
        let mut asked = Vec::new();
        for agent in self.agents.iter().filter(|agent| !agent.auth_check.is_empty()) {
            let (argv, root) = (self.ours(agent.auth_check.clone()), self.runs.site.root.clone());
            let secrets = agent
                .secrets
                .iter()
                .filter_map(|name| Some((name.clone(), self.runs.site.secrets.get(name)?.clone())));
            let secrets: BTreeMap<String, String> = secrets.collect();
            let env = agent.env.clone();
            let answer = tokio::task::spawn_blocking(move || login(&argv, &root, &env, &secrets));
            asked.push((agent.name.clone(), answer));
        }
        let mut answers = Vec::new();
        for (name, answer) in asked {
            answers.push((name, answer.await.unwrap_or_else(|e| Login::Unknown(e.to_string()))));
        }
        answers
    }

    /// Has every program asked again when somebody next looks.
    pub fn forget_probes(&self) {
        lock(&self.state.probes).clear();
    }

    fn argv_alone(&self, agent: &crate::config::Agent) -> Vec<String> {
        let plain = crate::config::Agent { dialect: Dialect::Plain, ..agent.clone() };
        self.argv(&plain, &super::dialect::Wishes::default())
    }
}

fn ask(argv: &[String], dir: &Path, env: &BTreeMap<String, String>) -> Result<String, String> {
    // Whatever it says, it is there and it answers: not every program knows `--version`.
    let done = run(argv, dir, env, ANSWER_MAX)?;
    Ok(first_line(&done.stdout, VERSION_MAX_CHARS))
}

/// Asks a program whether it is logged in; what it says of itself, without the secrets it was given.
fn login(
    argv: &[String],
    dir: &Path,
    env: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> Login {
    let all: BTreeMap<String, String> = env.clone().into_iter().chain(secrets.clone()).collect();
    let done = match run(argv, dir, &all, LOGIN_MAX) {
        Ok(done) if done.code == Some(0) => return Login::In,
        Ok(done) => done,
        Err(why) => return Login::Unknown(why),
    };
    let how = done.code.map_or_else(|| "killed by a signal".to_owned(), |code| format!("exit {code}"));
    let said = if done.stderr.trim_ascii().is_empty() { &done.stdout } else { &done.stderr };
    let mut said = first_line(said, SAID_MAX_CHARS * 4);
    for value in secrets.values().filter(|value| !value.is_empty()) {
        said = said.replace(value.as_str(), "***");
    }
    let said: String = said.chars().take(SAID_MAX_CHARS).collect();
    Login::Out(if said.is_empty() { how } else { format!("{how}: {said}") })
}

fn run(argv: &[String], dir: &Path, env: &BTreeMap<String, String>, limit: Duration) -> Result<Done, String> {
    let (program, args) = argv.split_first().ok_or("it has no command")?;
    let errand = Errand {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        dir: dir.to_owned(),
        stdin: Vec::new(),
    };
    bounded::run(&errand, limit).map_err(|e| format!("{program}: {e}"))
}

fn first_line(bytes: &[u8], max_chars: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    clean(&line.chars().take(max_chars).collect::<String>()).into_owned()
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
