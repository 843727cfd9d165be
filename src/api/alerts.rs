//! `alerts`: what is wrong, what was said about it, and that a person knows.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::convert::instant;
use super::cursor::{self, List};
use super::error::ApiError;
use super::extract::{AlertPath, Json, Query};
use super::limits::{PAGE_DEFAULT, PAGE_MAX};
use super::state::Api;
use super::wire::{self, AlertDocument, AlertFilter, AlertPage, AlertTest, MuteAlert, SchemaVersion};
use crate::alert::{AlertError, AlertView, Query as Wanted};
use crate::daemon::{Refused, RefusedKind};
use crate::model::alert::{AlertId, AlertState};
use crate::model::task::Severity;

/// How long an alert is muted when nobody says.
const MUTE_DEFAULT: Duration = Duration::from_secs(3600);
/// Longest mute, about a year.
const MUTE_MAX: Duration = Duration::from_secs(366 * 86_400);

/// All alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertFilter),
    responses((status = 200, body = AlertPage)))]
pub async fn list(
    State(api): State<Api>,
    Query(filter): Query<AlertFilter>,
) -> Result<Answer<AlertPage>, ApiError> {
    let limit = cursor::page_size(filter.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let before =
        filter.cursor.as_deref().map(|word| cursor::decode_number(List::Alerts, word)).transpose()?;
    let states = filter.state.as_deref().map(states).transpose()?.unwrap_or_default();
    let wanted = Wanted { states, before: before.map(AlertId), limit: limit + 1 };
    let mut found = api.app.alerts.list(wanted).await.map_err(refused)?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = match found.last() {
        Some(last) if has_more => Some(cursor::encode(List::Alerts, &last.alert.id.0.to_string())),
        Some(_) | None => None,
    };
    let mutes = api.app.alerts.mutes().await.map_err(Refused::from)?;
    let pending = api.app.alerts.waiting().await.map_err(Refused::from)?.pending;
    Ok(Answer(AlertPage {
        schema_version: SchemaVersion::default(),
        alerts: found.iter().map(alert).collect(),
        next_cursor,
        mutes: mutes
            .into_iter()
            .map(|(fingerprint, until_ms, actor)| wire::Mute { fingerprint, until: instant(until_ms), actor })
            .collect(),
        pending,
    }))
}

fn states(text: &str) -> Result<Vec<AlertState>, ApiError> {
    let read = |name: &str| {
        AlertState::parse(name.trim()).ok_or_else(|| {
            let names: Vec<&str> = AlertState::ALL.into_iter().map(AlertState::name).collect();
            ApiError::invalid("invalid_query", format!("`{}` is no state of an alert", name.trim()))
                .help(format!("states are {}", names.join(", ")))
        })
    };
    text.split(',').map(read).collect()
}

/// Says that a person knows: nothing more is sent about it until it is over or gets worse.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/ack", tag = "alerts", params(("id" = i64, Path)),
    responses((status = 200, body = AlertDocument)))]
pub async fn ack(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    AlertPath(id): AlertPath,
) -> Result<Answer<AlertDocument>, ApiError> {
    Ok(document(&api.app.alerts.ack(id, caller.actor().as_str()).await.map_err(refused)?))
}

/// Nothing is sent about the same trouble for a while, should it end and begin again meanwhile or not.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/mute", tag = "alerts", params(("id" = i64, Path)),
    request_body = MuteAlert, responses((status = 200, body = AlertDocument)))]
pub async fn mute(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    AlertPath(id): AlertPath,
    Json(wish): Json<MuteAlert>,
) -> Result<Answer<AlertDocument>, ApiError> {
    let length = wish.for_ms.map_or(MUTE_DEFAULT, Duration::from_millis);
    if length.is_zero() || length > MUTE_MAX {
        return Err(ApiError::invalid("for_ms", "a mute lasts between 1 ms and a year"));
    }
    Ok(document(&api.app.alerts.mute(id, length, caller.actor().as_str()).await.map_err(refused)?))
}

/// Ends a mute.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/unmute", tag = "alerts", params(("id" = i64, Path)),
    responses((status = 200, body = AlertDocument)))]
pub async fn unmute(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    AlertPath(id): AlertPath,
) -> Result<Answer<AlertDocument>, ApiError> {
    Ok(document(&api.app.alerts.unmute(id, caller.actor().as_str()).await.map_err(refused)?))
}

/// Sends a message and waits, 25 s at most, to see whether it arrives.
#[utoipa::path(post, path = "/api/v1/alerts/test", tag = "alerts",
    responses((status = 200, body = AlertTest)))]
pub async fn test(State(api): State<Api>) -> Result<Answer<AlertTest>, ApiError> {
    if let Some(why) = &api.app.mute {
        return Err(no_way(why).into());
    }
    let tested = api.app.alerts.test(&api.app.host).await.map_err(refused)?;
    Ok(Answer(AlertTest {
        schema_version: SchemaVersion::default(),
        state: tested.state.name().to_owned(),
        message_id: tested.message,
        error: tested.error,
    }))
}

fn document(view: &AlertView) -> Answer<AlertDocument> {
    Answer(AlertDocument { schema_version: SchemaVersion::default(), alert: alert(view) })
}

fn alert(view: &AlertView) -> wire::Alert {
    let alert = &view.alert;
    wire::Alert {
        id: alert.id.0,
        fingerprint: alert.fingerprint.clone(),
        kind: alert.notice.kind.name().to_owned(),
        subject: alert.notice.subject.clone(),
        state: view.state,
        severity: match alert.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
        .to_owned(),
        count: alert.count,
        first_at: instant(alert.first_ms),
        last_at: instant(alert.last_ms),
        resolved_at: alert.resolved_ms.map(instant),
        muted_until: alert.muted_until_ms.filter(|_| view.state == AlertState::Muted).map(instant),
        actor: alert.actor.clone(),
        folded_into: alert.storm.map(|storm| storm.0),
        text: view.text.clone(),
        deliveries: view
            .deliveries
            .iter()
            .map(|delivery| wire::Delivery {
                channel: "telegram".to_owned(),
                purpose: delivery.purpose.name().to_owned(),
                state: delivery.state.name().to_owned(),
                message_id: delivery.message,
                error: delivery.error.clone(),
                attempts: delivery.attempts,
                created_at: instant(delivery.created_ms),
                ended_at: delivery.ended_ms.map(instant),
            })
            .collect(),
    }
}

fn no_way(why: &str) -> Refused {
    Refused::new(RefusedKind::Conflict, "no_channel", why, "see telegram in: lucid config --effective")
}

fn refused(error: AlertError) -> ApiError {
    let told = error.to_string();
    match error {
        AlertError::Store(error) => Refused::from(error),
        AlertError::NoAlert(_) => {
            Refused::new(RefusedKind::NotFound, "no_such_alert", told, "list them: lucid alerts")
        }
        AlertError::Illegal(_) => {
            Refused::new(RefusedKind::Conflict, "illegal_step", told, "see them: lucid alerts")
        }
        AlertError::NoWay(_) => no_way(&told),
    }
    .into()
}
