//! Agent profiles, and where tickets go that name none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::Reader;
use crate::model::worker::Dialect;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SECTION: &str = "agents";

/// An agent program and how it is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub name: String,
    /// Program and arguments; the dialect's own flags follow. `lucid` as the program is this one.
    pub command: Vec<String>,
    pub dialect: Dialect,
    pub model: Option<String>,
    /// Workers at once.
    pub max_parallel: u32,
    /// Hard limit of one worker.
    pub max_runtime: Duration,
    /// From its last word to its end.
    pub end_grace: Duration,
    /// Least wait before an overloaded provider is tried again.
    pub overload_backoff: Duration,
    /// Profiles that take over while this one rests.
    pub fallback: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Names of secrets that become variables of its environment.
    pub secrets: Vec<String>,
    /// Program and arguments that end with 0 while it is logged in; empty where nobody is to ask.
    pub auth_check: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Of tickets that name none.
    pub pool: Option<String>,
    /// Of tickets that name none.
    pub agent: Option<String>,
    pub max_attempts: u32,
    /// After this long a worker is expected to have said something.
    pub check_in: Duration,
    /// Tickets that nothing could take for this long are told of.
    pub held_after: Duration,
}

/// Every profile, in the order of the file.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<Agent> {
    let agents: Vec<Agent> = reader.members(SECTION).iter().map(|name| agent(reader, name)).collect();
    for agent in &agents {
        let unknown = agent.fallback.iter().find(|name| agents.iter().all(|other| other.name != **name));
        if let Some(name) = unknown {
            let key = format!("{SECTION}.{}.fallback", agent.name);
            reader.contradiction([&key, &key], &format!("{key}: there is no agent profile `{name}`"));
        }
    }
    agents
}

fn agent(reader: &mut Reader<'_>, name: &str) -> Agent {
    let key = |field: &str| format!("{SECTION}.{name}.{field}");
    let others = [("codex", Dialect::Codex), ("plain", Dialect::Plain)];
    let agent = Agent {
        command: reader.argv(&key("command")),
        dialect: reader.choice(&key("dialect"), ("claude", Dialect::Claude), &others),
        model: reader.optional(&key("model")),
        max_parallel: reader.count(&key("max_parallel"), 1..=1000),
        max_runtime: reader.duration(&key("max_runtime"), SECOND..=7 * DAY),
        end_grace: reader.duration(&key("end_grace"), SECOND..=HOUR),
        overload_backoff: reader.duration(&key("overload_backoff"), SECOND..=10 * MINUTE),
        fallback: reader.list(&key("fallback"), |_| Ok(())),
        env: pairs(reader.list(&key("env"), check_pair)),
        secrets: reader.list(&key("secrets"), |_| Ok(())),
        auth_check: reader.argv(&key("auth_check")),
        name: name.to_owned(),
    };
    if agent.command.first().is_none_or(String::is_empty) {
        let key = key("command");
        reader.contradiction([&key, &key], &format!("{key} is empty; a program belongs here, [claude] say"));
    }
    agent
}

/// The value is in no word about it: it may be a secret.
fn check_pair(pair: &str) -> Result<(), String> {
    let Some((name, _)) = pair.split_once('=') else {
        return Err("an entry is no NAME: value, a variable and what it holds".to_owned());
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` is no name of a variable: letters, digits and `_`, no digit first"));
    }
    Ok(())
}

fn pairs(items: Vec<String>) -> BTreeMap<String, String> {
    let pair = |item: String| item.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    items.into_iter().filter_map(pair).collect()
}

/// Where tickets go that name nothing.
pub(super) fn dispatch(reader: &mut Reader<'_>, agents: &[Agent], pools: &[super::Pool]) -> Dispatch {
    let dispatch = Dispatch {
        pool: reader.optional("dispatch.pool"),
        agent: reader.optional("dispatch.agent"),
        max_attempts: reader.count("dispatch.max_attempts", 1..=1000),
        check_in: reader.duration("dispatch.check_in", MINUTE..=7 * DAY),
        held_after: reader.duration("dispatch.held_after", SECOND..=7 * DAY),
    };
    if let Some(name) = dispatch.agent.as_ref().filter(|name| agents.iter().all(|agent| agent.name != **name))
    {
        let message = format!("dispatch.agent: there is no agent profile `{name}`");
        reader.contradiction(["dispatch.agent", "dispatch.agent"], &message);
    }
    if let Some(name) = dispatch.pool.as_ref().filter(|name| pools.iter().all(|pool| pool.name != **name)) {
        let message = format!("dispatch.pool: there is no pool `{name}`");
        reader.contradiction(["dispatch.pool", "dispatch.pool"], &message);
    }
    dispatch
}
