//! Worktree pools: `pool`, `pool/{name}/heal`.

use axum::Json as Answer;
use axum::extract::{Path, State};
use jiff::Timestamp;

use super::error::ApiError;
use super::extract::Json;
use super::state::Api;
use super::wire::{HealDocument, HealPool, HealedSlot, Pool, PoolDocument, SchemaVersion, Slot};
use crate::model::slot::Holder;
use crate::model::time::millis;
use crate::pool::{Healed, PoolError, PoolView, SlotView};

/// All pools, by their leases and by git.
#[utoipa::path(get, path = "/api/v1/pool", tag = "pool", responses((status = 200, body = PoolDocument)))]
pub async fn pool(State(api): State<Api>) -> Result<Answer<PoolDocument>, ApiError> {
    let views = api.app.pools.view().await.map_err(|e| refusal(&e))?;
    let pools = views.into_iter().map(document).collect();
    Ok(Answer(PoolDocument { schema_version: SchemaVersion::default(), pools }))
}

/// Brings slots that nobody has to the base; what was unsaved in them goes into a ref first.
#[utoipa::path(post, path = "/api/v1/pool/{name}/heal", tag = "pool", params(("name" = String, Path)),
    request_body = HealPool, responses((status = 200, body = HealDocument)))]
pub async fn heal(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(wish): Json<HealPool>,
) -> Result<Answer<HealDocument>, ApiError> {
    let healed = api.app.pools.heal(&name, wish.slot.as_deref()).await.map_err(|e| refusal(&e))?;
    let healed = healed.into_iter().map(healed_slot).collect();
    Ok(Answer(HealDocument { schema_version: SchemaVersion::default(), healed }))
}

fn refusal(error: &PoolError) -> ApiError {
    let text = error.to_string();
    match error {
        PoolError::NoSuchPool(_) => {
            ApiError::new(axum::http::StatusCode::NOT_FOUND, "no_such_pool", text).help("lucid pool")
        }
        PoolError::NoSuchSlot(_) => {
            ApiError::new(axum::http::StatusCode::NOT_FOUND, "no_such_slot", text).help("lucid pool")
        }
        PoolError::Busy { .. } | PoolError::LeaseOver(_) | PoolError::Illegal(_) => {
            ApiError::conflict("slot_busy", text).help("see who has it: lucid pool")
        }
        PoolError::Git(_) => ApiError::unavailable("git", text).help("see the repository: lucid pool"),
        PoolError::Store(_) => ApiError::unavailable("unavailable", text).help("see: lucid problems"),
    }
}

fn document(view: PoolView) -> Pool {
    Pool {
        name: view.name,
        repo: view.repo.display().to_string(),
        base: view.base,
        base_commit: view.base_commit,
        fetched: view.fetched_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        claim_wait_ms: millis(view.claim_wait),
        trouble: view.trouble,
        slots: view.slots.into_iter().map(slot).collect(),
    }
}

fn slot(view: SlotView) -> Slot {
    let holder = view.slot.holder.as_ref();
    Slot {
        state: view.slot.state(),
        since: Timestamp::from_millisecond(view.slot.since_ms).unwrap_or_default(),
        ticket: holder.and_then(Holder::ticket).map(str::to_owned),
        run: holder.and_then(Holder::run).map(|run| run.0),
        lease: view.slot.lease.map(|lease| lease.0),
        id: view.slot.id,
        path: view.path.display().to_string(),
        head: view.head,
        branch: view.branch,
        dirty: view.dirty,
        drift: view.drift,
        note: view.slot.note,
    }
}

fn healed_slot(healed: Healed) -> HealedSlot {
    HealedSlot {
        slot: healed.slot,
        state: healed.state,
        found: healed.found,
        rescued: healed.rescued,
        notes: healed.notes,
    }
}
