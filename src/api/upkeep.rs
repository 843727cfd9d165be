//! The built-in actions: `upkeep/{name}`, `brief`, `syncs`.

use axum::extract::{Path, State};
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::error::ApiError;
use super::extract::{Json, Query};
use super::state::Api;
use super::wire::{
    BriefDocument, BriefFilter, SchemaVersion, SyncOutcome, SyncsDocument, UpkeepDocument, WriteSyncs,
};
use crate::daemon::upkeep::SyncResult;
use crate::model::text::clean;
use crate::ops::brief::Kind;

/// Syncs that one report tells of, and the longest text of each.
const SYNCS_MAX: usize = 256;
const DETAIL_MAX_CHARS: usize = 2_000;

/// Carries out a built-in action now: `janitor`, `queue-reaper`, `pickup-watchdog`, `pool-health`.
#[utoipa::path(post, path = "/api/v1/upkeep/{name}", tag = "upkeep", params(("name" = String, Path)),
    responses((status = 200, body = UpkeepDocument)))]
pub async fn upkeep(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Answer<UpkeepDocument>, ApiError> {
    let report = api.app.upkeep(&name).await?;
    let words: Vec<String> = report.counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
    Ok(Answer(UpkeepDocument {
        schema_version: SchemaVersion::default(),
        action: name,
        counts: report.counts.iter().map(|(what, n)| ((*what).to_owned(), *n as u64)).collect(),
        summary: words.join(", "),
        lines: report.lines,
    }))
}

/// What a person should know, as text.
#[utoipa::path(get, path = "/api/v1/brief", tag = "upkeep", params(BriefFilter),
    responses((status = 200, body = BriefDocument)))]
pub async fn brief(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Query(filter): Query<BriefFilter>,
) -> Result<Answer<BriefDocument>, ApiError> {
    let name = filter.kind.as_deref().unwrap_or(Kind::Morning.name());
    let kind = Kind::parse(name).ok_or_else(|| {
        ApiError::invalid("invalid_query", format!("`{name}` is neither morning nor weekly"))
    })?;
    let asker = match caller {
        Caller::Run(run) => Some((run.task, run.run)),
        Caller::Peer(_) => None,
    };
    let (facts, text) = api.app.brief(kind, asker).await?;
    Ok(Answer(BriefDocument {
        schema_version: SchemaVersion::default(),
        kind: kind.name().to_owned(),
        quiet: facts.is_quiet(),
        needs_you: u32::try_from(facts.needs_you.len()).unwrap_or(u32::MAX),
        failing: u32::try_from(facts.failing.len()).unwrap_or(u32::MAX),
        text,
    }))
}

/// Tells what syncs came to: one that fails stands as a condition until it works again.
#[utoipa::path(post, path = "/api/v1/syncs", tag = "upkeep", request_body = WriteSyncs,
    responses((status = 200, body = SyncsDocument)))]
pub async fn syncs(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Json(told): Json<WriteSyncs>,
) -> Result<Answer<SyncsDocument>, ApiError> {
    if told.syncs.len() > SYNCS_MAX {
        return Err(ApiError::invalid("too_many", format!("at most {SYNCS_MAX} syncs at once")));
    }
    let known = &api.app.config.syncs;
    let stranger = told.syncs.iter().find(|outcome| known.iter().all(|sync| sync.name != outcome.name));
    if let Some(stranger) = stranger {
        let what = format!("the daemon's config has no sync `{}`", clean(&stranger.name));
        return Err(
            ApiError::invalid("no_such_sync", what).help("restart the daemon after a change of its config")
        );
    }
    let syncs: Vec<SyncOutcome> = told
        .syncs
        .into_iter()
        .map(|outcome| SyncOutcome {
            detail: outcome.detail.chars().take(DETAIL_MAX_CHARS).collect(),
            ..outcome
        })
        .collect();
    let results = syncs.iter().map(|outcome| SyncResult {
        name: outcome.name.clone(),
        outcome: if outcome.ok { Ok(outcome.detail.clone()) } else { Err(outcome.detail.clone()) },
    });
    api.app.synced(results.collect(), &caller.actor()).await?;
    Ok(Answer(SyncsDocument { schema_version: SchemaVersion::default(), syncs }))
}
