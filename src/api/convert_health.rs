//! Health as wire documents, and back. Pure.

use super::convert::instant;
use super::wire;
use crate::daemon::HealthView;
use crate::daemon::logins::LoginView;
use crate::health::{TokenReport, TokenState};
use crate::model::health::{Check, HealthState};

#[must_use]
pub fn state(state: HealthState) -> wire::HealthState {
    match state {
        HealthState::Healthy => wire::HealthState::Healthy,
        HealthState::Degraded => wire::HealthState::Degraded,
        HealthState::Critical => wire::HealthState::Critical,
    }
}

#[must_use]
pub fn health(view: HealthView) -> wire::Health {
    wire::Health {
        schema_version: wire::SchemaVersion::default(),
        state: state(view.state),
        since: view.since_ms.map(instant),
        beat_at: view.at_ms.map(instant),
        checks: view.checks.into_iter().map(check).collect(),
    }
}

#[must_use]
pub fn check(check: Check) -> wire::Check {
    wire::Check {
        id: check.id,
        state: state(check.state),
        value: check.value,
        warn_at: check.warn_at,
        critical_at: check.critical_at,
        detail: check.detail,
        hint: check.hint,
    }
}

/// As somebody has reported it.
#[must_use]
pub fn seen(check: wire::Check) -> Check {
    Check {
        id: check.id,
        state: match check.state {
            wire::HealthState::Healthy => HealthState::Healthy,
            wire::HealthState::Degraded => HealthState::Degraded,
            wire::HealthState::Critical => HealthState::Critical,
        },
        value: check.value,
        warn_at: check.warn_at,
        critical_at: check.critical_at,
        detail: check.detail,
        hint: check.hint,
    }
}

#[must_use]
pub fn token_state(state: TokenState) -> wire::TokenState {
    match state {
        TokenState::Well => wire::TokenState::Well,
        TokenState::Expiring => wire::TokenState::Expiring,
        TokenState::NeedsReauth => wire::TokenState::NeedsReauth,
        TokenState::Unknown => wire::TokenState::Unknown,
    }
}

#[must_use]
pub fn token(view: LoginView) -> wire::Token {
    wire::Token {
        name: view.name,
        state: token_state(view.state),
        detail: view.detail,
        since: instant(view.since_ms),
        at: instant(view.at_ms),
        portal: view.portal,
        ticket: view.ticket,
    }
}

/// As somebody has found it.
#[must_use]
pub fn found(found: wire::TokenFound) -> TokenReport {
    let state = match found.state {
        wire::TokenState::Well => TokenState::Well,
        wire::TokenState::Expiring => TokenState::Expiring,
        wire::TokenState::NeedsReauth => TokenState::NeedsReauth,
        wire::TokenState::Unknown => TokenState::Unknown,
    };
    TokenReport { name: found.name, state, detail: found.detail, looked_at: found.looked_at }
}
