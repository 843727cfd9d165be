//! The action `token-health`: looks at the logins that the configuration declares and has the daemon write
//! down how they stand. It never tries to renew one.

use std::time::Duration;

use serde_json::json;

use super::config;
use super::context::{Context, Document, accepted, api};
use super::failure::{Exit, Failure};
use super::look::clean;
use crate::api::wire;
use crate::health::{TokenReport, token};
use crate::platform::client::Request;

/// The variable with the limit of the run that this is, in seconds.
const RUN_LIMIT: &str = "LUCID_TIMEOUT_SECS";
/// What of it is kept for telling the daemon.
const TELL_MAX: Duration = Duration::from_secs(10);

/// The longest that one check may take in a run of so many seconds.
fn check_limit(run_secs: u64) -> Duration {
    let run = Duration::from_secs(run_secs);
    run.saturating_sub(TELL_MAX).max(run / 2)
}

/// # Errors
/// A configuration that is refused, or a daemon that does not take the report.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let mut config = config::load(context)?;
    let now_ms = context.clock.wall_ms();
    // The run ends with its own limit, and what the others have found would go with it.
    let limit = std::env::var(RUN_LIMIT).ok().and_then(|secs| secs.parse().ok()).map(check_limit);
    for check in &mut config.token_checks {
        check.timeout = check.timeout.min(limit.unwrap_or(check.timeout));
    }
    // One that hangs must not hold up the others.
    let found: Vec<TokenReport> = std::thread::scope(|scope| {
        let asked: Vec<_> = config
            .token_checks
            .iter()
            .map(|check| scope.spawn(|| token::look(check, &config.root, now_ms)))
            .collect();
        asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let body = json!({"tokens": found}).to_string().into_bytes();
    let request = Request::post(api().segment("health").segment("tokens")).json(body);
    let raw = accepted(context.client()?.send(&request)?)?.bytes()?;
    let value = serde_json::from_slice(&raw)
        .map_err(|error| anyhow::anyhow!("the daemon's answer does not read as expected: {error}"))?;
    context.show(&Document { raw, value }, |tokens, _| render(tokens))
}

fn render(document: &wire::Tokens) -> String {
    if document.tokens.is_empty() {
        return "No login is declared under token_checks in the config: nothing to look at.\n".to_owned();
    }
    let line = |token: &wire::Token| {
        let word = match token.state {
            wire::TokenState::Well => "well",
            wire::TokenState::Expiring => "EXPIRING",
            wire::TokenState::NeedsReauth => "NEEDS A LOGIN",
            wire::TokenState::Unknown => "unknown",
        };
        let ticket =
            token.ticket.as_deref().map(|ticket| format!(" · {}", clean(ticket))).unwrap_or_default();
        let portal = match (token.state, token.portal.as_deref()) {
            (wire::TokenState::NeedsReauth | wire::TokenState::Expiring, Some(portal)) => {
                format!(" · {}", clean(portal))
            }
            (_, _) => String::new(),
        };
        format!("{}: {word} · {}{ticket}{portal}\n", clean(&token.name), clean(&token.detail))
    };
    document.tokens.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::HOSTILE;
    use super::*;

    #[test]
    fn a_check_ends_before_its_run_does() {
        for (run, check) in [(720, 710), (15, 7), (2, 1)] {
            assert_eq!(check_limit(run).as_secs(), check, "{run}");
        }
    }

    #[test]
    fn each_login_is_one_line_with_its_way_out() {
        let token = |name: &str, state, ticket: Option<&str>| wire::Token {
            name: name.to_owned(),
            state,
            detail: HOSTILE.to_owned(),
            since: "2026-11-26T11:05:00Z".parse().unwrap(),
            at: "2026-11-26T11:05:00Z".parse().unwrap(),
            portal: Some("https://portal.example/".to_owned()),
            ticket: ticket.map(str::to_owned),
        };
        let tokens = vec![
            token("mail", wire::TokenState::NeedsReauth, Some("MC-4")),
            token("files", wire::TokenState::Well, None),
        ];
        let text = render(&wire::Tokens { schema_version: wire::SchemaVersion::default(), tokens });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("mail: NEEDS A LOGIN · ") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains(" · MC-4 · https://portal.example/\nfiles: well · "), "{text}");
        let none = wire::Tokens { schema_version: wire::SchemaVersion::default(), tokens: Vec::new() };
        assert!(render(&none).contains("nothing to look at"));
    }
}
