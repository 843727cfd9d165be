//! The leases' SQL. Every change names the state and the lease that it leaves, and must change one row.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::model::ids::RunId;
use crate::model::slot::{Holder, LeaseId, Slot, SlotState};
use crate::store::count_up;

const COLUMNS: &str = "pool, number, state, lease, ticket, run, former, branch, base_commit, since_ms, note";

/// Gives a pool its rows; those there are stay as they are.
pub fn ensure(conn: &Connection, pool: &str, count: u32, now_ms: i64) -> rusqlite::Result<()> {
    for number in 0..count {
        let slot = Slot::new(pool, number, SlotState::Free);
        conn.prepare_cached(
            "INSERT OR IGNORE INTO slots (id, pool, number, state, since_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![slot.id, pool, number, slot.state().name(), now_ms])?;
    }
    Ok(())
}

/// The next lease: from the same count as every other fence, which a restored database does not repeat.
pub fn next_lease(conn: &Connection) -> rusqlite::Result<LeaseId> {
    count_up(conn, "fence").map(LeaseId)
}

/// All slots, by pool and number.
pub fn all(conn: &Connection) -> rusqlite::Result<Vec<Slot>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM slots ORDER BY pool, number"))?
        .query_map([], read)?
        .collect()
}

pub fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Slot>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM slots WHERE id = ?1"))?
        .query_row([id], read)
        .optional()
}

pub fn by_lease(conn: &Connection, lease: LeaseId) -> rusqlite::Result<Option<Slot>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM slots WHERE lease = ?1"))?
        .query_row([lease.0], read)
        .optional()
}

/// The slot that `holder` has or is being given.
pub fn by_holder(conn: &Connection, holder: &Holder) -> rusqlite::Result<Option<Slot>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM slots WHERE (ticket = ?1 OR run = ?2) \
         AND state IN ('preparing', 'leased', 'rebuilding')"
    ))?
    .query_row(params![holder.ticket(), holder.run().map(|run| run.0)], read)
    .optional()
}

/// Writes `slot` where its row is still in `from` under `lease`; `false` when it has moved on.
pub fn update(
    conn: &Connection,
    slot: &Slot,
    from: SlotState,
    lease: Option<LeaseId>,
) -> rusqlite::Result<bool> {
    let holder = slot.holder.as_ref();
    let changed = conn
        .prepare_cached(
            "UPDATE slots SET state = ?2, lease = ?3, ticket = ?4, run = ?5, former = ?6, branch = ?7, \
             base_commit = ?8, since_ms = ?9, note = ?10 WHERE id = ?1 AND state = ?11 AND lease IS ?12",
        )?
        .execute(params![
            slot.id,
            slot.state().name(),
            slot.lease.map(|lease| lease.0),
            holder.and_then(Holder::ticket),
            holder.and_then(Holder::run).map(|run| run.0),
            slot.former,
            slot.branch,
            slot.base_commit,
            slot.since_ms,
            slot.note,
            from.name(),
            lease.map(|lease| lease.0),
        ])?;
    Ok(changed == 1)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Slot> {
    let name: String = row.get("state")?;
    let state = SlotState::parse(&name).ok_or_else(|| {
        let why = format!("`{name}` is no state of a slot").into();
        rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, why)
    })?;
    let pool: String = row.get("pool")?;
    let mut slot = Slot::new(&pool, row.get("number")?, state);
    slot.lease = row.get::<_, Option<i64>>("lease")?.map(LeaseId);
    let ticket: Option<String> = row.get("ticket")?;
    let run: Option<i64> = row.get("run")?;
    slot.holder = ticket.map(Holder::Ticket).or(run.map(|run| Holder::Run(RunId(run))));
    slot.former = row.get("former")?;
    slot.branch = row.get("branch")?;
    slot.base_commit = row.get("base_commit")?;
    slot.since_ms = row.get("since_ms")?;
    slot.note = row.get("note")?;
    Ok(slot)
}

/// Leaves a leased slot as a daemon that was killed would: in `state`.
#[cfg(test)]
pub fn interrupt(
    conn: &Connection,
    lease: LeaseId,
    state: SlotState,
    former: Option<&str>,
) -> rusqlite::Result<usize> {
    conn.execute(
        "UPDATE slots SET state = ?2, former = ?3 WHERE lease = ?1",
        params![lease.0, state.name(), former],
    )
}
