//! Settings from the environment: `LUCID_SCHEDULER__TICK=2s` is `scheduler.tick: 2s`.
//!
//! Names are case-insensitive, `__` goes one level down, a `-` in a key is written `_`.

use std::ffi::OsString;

use super::nearest;

const PREFIX: &str = "LUCID_";

/// `LUCID_*` variables that are no settings: where the config and the daemon are, and what a run is told.
pub(super) const LET_THROUGH: [&str; 14] = [
    "LUCID_CONFIG",
    "LUCID_SOCKET",
    "LUCID_TOKEN",
    "LUCID_TASK",
    "LUCID_RUN_ID",
    "LUCID_RUN_COOKIE",
    "LUCID_ATTEMPT",
    "LUCID_TRIGGER",
    "LUCID_SCHEDULED_AT",
    "LUCID_TIMEOUT_SECS",
    "LUCID_TICKET",
    "LUCID_SLOT",
    "LUCID_BRANCH",
    "LUCID_FENCE",
];

/// One variable that means to be a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// As it is spelled in the environment.
    pub name: String,
    /// `None` when it is not UTF-8.
    pub value: Option<String>,
}

/// The variables that mean to be settings, by name, so that messages have a fixed order.
pub(super) fn read(env: &[(OsString, OsString)]) -> Vec<Variable> {
    let mut variables: Vec<Variable> = env
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            // Spelled in other letters, none of these is looked at by anybody: no setting may be without effect.
            let ours = name.to_uppercase().starts_with(PREFIX) && !LET_THROUGH.contains(&name.as_str());
            ours.then(|| Variable { name, value: value.to_str().map(str::to_owned) })
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

/// The variable that sets `key`.
pub(super) fn name_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").replace('-', "_").to_uppercase())
}

/// The variable without a setting that is nearest to an upper-case one; what all begin with makes none of them near.
pub(super) fn nearest_let_through(variable: &str) -> Option<&'static str> {
    let bare = |name: &'static str| name.strip_prefix(PREFIX).unwrap_or(name);
    let near = nearest(variable.strip_prefix(PREFIX)?, LET_THROUGH.map(bare))?;
    LET_THROUGH.into_iter().find(|name| bare(name) == near)
}

/// The key that an upper-case variable would set, had it a `-` nowhere.
pub(super) fn key_of(variable: &str) -> String {
    variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase().replace("__", ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys() {
        assert_eq!(name_of("scheduler.max_parallel_runs"), "LUCID_SCHEDULER__MAX_PARALLEL_RUNS");
        assert_eq!(name_of("agents.my-agent.model"), "LUCID_AGENTS__MY_AGENT__MODEL");
    }

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        assert_eq!(nearest_let_through("LUCID_TOKN"), Some("LUCID_TOKEN"));
        assert_eq!(nearest_let_through("LUCID_FOO"), None);
    }

    #[test]
    fn only_ours_and_not_what_is_let_through() {
        let env: Vec<(OsString, OsString)> = [
            "PATH",
            "LUCID_ROOT",
            "lucid_log__level",
            "LUCID_TOKEN",
            "LUCID_RUN_ID",
            "lucid_run_id",
            "LUCIDITY",
        ]
        .into_iter()
        .map(|name| (name.into(), "x".into()))
        .collect();
        let names: Vec<String> = read(&env).into_iter().map(|variable| variable.name).collect();
        assert_eq!(names, ["LUCID_ROOT", "lucid_log__level", "lucid_run_id"]);
    }
}
