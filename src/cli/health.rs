//! `lucid health`: looks at everything now; through the daemon where it answers, else at what can be seen
//! without it. Ends with 0, 1 or 2, as plugins of monitoring systems do, and for them with 3 where it cannot tell.

use super::config;
use super::context::{Context, Document, api};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean, count};
use crate::api::wire::{self, HealthState};
use crate::config::Config;
use crate::health::verdict;
use crate::model::health::Check;
use crate::platform::client::{ClientError, Request};

/// What a plugin of a monitoring system ends with when it cannot tell.
const UNKNOWN: u8 = 3;
/// Columns for a check's name, at most.
const ID_MAX: usize = 24;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// One line for a monitoring system
    #[arg(long)]
    nagios: bool,
}

/// # Errors
/// A daemon that may not be asked; a configuration that is refused, where there is no daemon.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match look(context, args) {
        // A monitor reads one line and takes 1 for a warning.
        Err(failure) if args.nagios && !failure.is_broken_pipe() => {
            context.print(&unknown(&failure.to_string()))?;
            Ok(Exit::Code(UNKNOWN))
        }
        looked => looked,
    }
}

fn look(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let path = api().segment("health").query("run", "1");
    let health = match context.fetch::<wire::Health>(&Request::get(path)) {
        Err(Failure::Client(error)) if error.is_passing() => {
            document(&offline(context, &config::load_or_defaults(context)?, &error)?)?
        }
        asked => asked?,
    };
    if args.nagios {
        context.print(&nagios(&health.value))?;
    } else {
        context.show(&health, render)?;
    }
    Ok(exit(health.value.state))
}

/// The exit code that a state has.
#[must_use]
pub fn exit(state: HealthState) -> Exit {
    Exit::Code(match state {
        HealthState::Healthy => 0,
        HealthState::Degraded => 1,
        HealthState::Critical => 2,
    })
}

/// What can be seen without the daemon, and that it is not there.
fn offline(context: &Context, config: &Config, error: &ClientError) -> Result<Vec<Check>, Failure> {
    let mut checks = vec![verdict::api(Err(error.to_string()), config.placement.restart())];
    checks.extend(outside(context, config)?);
    Ok(checks)
}

/// What can be seen without the daemon.
///
/// # Errors
/// Where this program is is not known.
pub fn outside(context: &Context, config: &Config) -> Result<Vec<Check>, Failure> {
    let exe =
        std::env::current_exe().map_err(|e| anyhow::anyhow!("cannot tell where this program is: {e}"))?;
    Ok(crate::health::look::outside(config, &exe, context.clock))
}

/// The document that the daemon would have made of `checks` alone.
///
/// # Errors
/// Never with checks that there are.
pub fn document(checks: &[Check]) -> Result<Document<wire::Health>, Failure> {
    let state = crate::model::health::worst(checks);
    let value = serde_json::json!({
        "schema_version": wire::SCHEMA_VERSION, "state": state, "since": null, "beat_at": null, "checks": checks,
    });
    let raw = value.to_string().into_bytes();
    let value = serde_json::from_value(value)
        .map_err(|error| anyhow::anyhow!("the health does not read as its own document: {error}"))?;
    Ok(Document { raw, value })
}

/// Mark of a state; colour is not the only sign of it.
fn mark(state: HealthState) -> (Tone, &'static str) {
    match state {
        HealthState::Healthy => (Tone::Good, "ok"),
        HealthState::Degraded => (Tone::Warn, "warn"),
        HealthState::Critical => (Tone::Bad, "CRIT"),
    }
}

/// The gravest first, each with the command that mends it.
#[must_use]
pub fn render(health: &wire::Health, look: &Look) -> String {
    let (tone, word) = match health.state {
        HealthState::Healthy => (Tone::Good, "healthy"),
        HealthState::Degraded => (Tone::Warn, "DEGRADED"),
        HealthState::Critical => (Tone::Bad, "CRITICAL"),
    };
    let since = match health.since.filter(|_| health.state != HealthState::Healthy) {
        Some(at) => format!(" since {} ({})", look.instant(at), look.since(at)),
        None => String::new(),
    };
    let mut checks: Vec<&wire::Check> = health.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.state));
    let widest = checks.iter().map(|check| clean(&check.id).chars().count()).max().unwrap_or(0).min(ID_MAX);
    let all = count(health.checks.len(), "check");
    let mut out = format!("{}{since} · {all}\n\n", look.paint(tone, word));
    for check in checks {
        let (tone, mark) = mark(check.state);
        out.push_str(&format!(
            "  {}  {:<widest$}  {}\n",
            look.paint(tone, &format!("{mark:<4}")),
            clean(&check.id),
            clean(&check.detail),
        ));
        if let Some(hint) = &check.hint {
            out.push_str(&format!("        {}\n", look.paint(Tone::Live, &clean(hint))));
        }
    }
    out
}

/// One line: the state, what is wrong, and after `|` how much was looked at.
fn nagios(health: &wire::Health) -> String {
    let word = match health.state {
        HealthState::Healthy => "OK",
        HealthState::Degraded => "WARNING",
        HealthState::Critical => "CRITICAL",
    };
    let mut bad: Vec<&wire::Check> =
        health.checks.iter().filter(|check| check.state != HealthState::Healthy).collect();
    bad.sort_by_key(|check| std::cmp::Reverse(check.state));
    let told: Vec<String> = bad.iter().map(|check| clean(&check.detail).replace('|', "/")).collect();
    let told = if told.is_empty() { count(health.checks.len(), "check") + " well" } else { told.join("; ") };
    format!("LUCID {word} - {told} | checks={} not_well={}\n", health.checks.len(), bad.len())
}

/// The same where the health is not known.
fn unknown(why: &str) -> String {
    let why = clean(why.lines().next().unwrap_or_default()).replace('|', "/");
    format!("LUCID UNKNOWN - {why} | checks=0 not_well=0\n")
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    fn health() -> wire::Health {
        let check = |id: &str, state, detail: &str, hint: Option<&str>| wire::Check {
            id: id.to_owned(),
            state,
            value: None,
            warn_at: None,
            critical_at: None,
            detail: detail.to_owned(),
            hint: hint.map(str::to_owned),
        };
        wire::Health {
            schema_version: wire::SchemaVersion::default(),
            state: HealthState::Critical,
            since: Some("2026-11-26T11:05:00Z".parse().unwrap()),
            beat_at: None,
            checks: vec![
                check("api", HealthState::Healthy, "the daemon answers", None),
                check("agent:claude", HealthState::Degraded, HOSTILE, Some("lucid agents")),
                check("disk:/", HealthState::Critical, "7% free on / | x", Some("df -h /")),
            ],
        }
    }

    #[test]
    fn the_gravest_first_with_what_mends_it() {
        insta::assert_snapshot!(render(&health(), &look(Paint::Plain)));
    }

    #[test]
    fn one_line_for_a_monitor_whatever_a_check_says() {
        let line = nagios(&health());
        assert!(line.starts_with("LUCID CRITICAL - 7% free on / / x; "), "{line}");
        assert!(line.ends_with(" | checks=3 not_well=2\n") && line.lines().count() == 1, "{line}");
        assert_eq!(line.matches('|').count(), 1, "{line}");
        assert_eq!(unknown("a | b\nc"), "LUCID UNKNOWN - a / b | checks=0 not_well=0\n");
        let well = wire::Health { state: HealthState::Healthy, checks: Vec::new(), ..health() };
        assert_eq!(nagios(&well), "LUCID OK - 0 checks well | checks=0 not_well=0\n");
    }

    #[test]
    fn what_is_seen_without_the_daemon_reads_as_its_document() {
        let checks = [verdict::api(Err("nothing listens".to_owned()), "systemctl restart lucid")];
        let document = document(&checks).unwrap();
        assert_eq!((document.value.state, exit(document.value.state).code()), (HealthState::Critical, 2));
        assert_eq!(document.value.checks[0].hint.as_deref(), Some("systemctl restart lucid"));
    }
}
