//! Forward-only migrations on `user_version`, each in one transaction.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::connection::APPLICATION_ID;
use crate::platform::failpoint;

/// Every schema, oldest first; number `n` leads from version `n` to `n + 1`. Never edit one that has shipped.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_pool.sql"),
    include_str!("migrations/0003_tickets.sql"),
    include_str!("migrations/0004_agents.sql"),
    include_str!("migrations/0005_alerts.sql"),
    include_str!("migrations/0006_last_good.sql"),
    include_str!("migrations/0008_bot.sql"),
    include_str!("migrations/0009_mutes.sql"),
    include_str!("migrations/0010_outbox_run.sql"),
    include_str!("migrations/0011_quick_indexes.sql"),
];
/// The version that this program writes.
pub(super) const NEWEST: i32 = newest_of(MIGRATIONS);

/// The version that the last of `migrations` leads to.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
pub(super) const fn newest_of(migrations: &[&str]) -> i32 {
    migrations.len() as i32
}

/// 0 for a database without tables.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies what of `migrations` the database has not seen.
pub(super) fn apply(conn: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let done = usize::try_from(version(conn)?).unwrap_or(usize::MAX);
    for (index, sql) in migrations.iter().enumerate().skip(done) {
        let tx = Transaction::new(conn, TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        failpoint::hit("store.migrate.before")?;
        tx.commit()?;
        failpoint::pass("store.migrate.after");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken =
            ["CREATE TABLE a (x INTEGER) STRICT;", "CREATE TABLE b (y INTEGER) STRICT; SELECT nonsense;"];
        assert!(apply(&mut conn, &broken).is_err());
        assert_eq!(version(&conn).unwrap(), 1);
        assert!(conn.is_autocommit());
        let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
        apply(&mut conn, &[broken[0], "CREATE TABLE b (y INTEGER) STRICT;"]).unwrap();
        assert_eq!(version(&conn).unwrap(), 2);
    }

    #[test]
    fn a_mute_from_before_holds_for_as_grave_as_its_trouble_was() {
        let mut conn = Connection::open_in_memory().unwrap();
        let at = MIGRATIONS.iter().position(|sql| sql.contains("ALTER TABLE mutes")).unwrap();
        apply(&mut conn, &MIGRATIONS[..at]).unwrap();
        conn.execute_batch(
            "INSERT INTO alerts (fingerprint, kind, subject, state, severity, count, first_ms, last_ms, notice) \
             VALUES ('a', 'condition', 'x', 'firing', 'warning', 1, 1, 1, '{}'); \
             INSERT INTO mutes VALUES ('a', 9, 'x'), ('b', 9, 'x');",
        )
        .unwrap();
        apply(&mut conn, MIGRATIONS).unwrap();
        let read = |fingerprint: &str| -> String {
            let sql = "SELECT severity FROM mutes WHERE fingerprint = ?1";
            conn.query_row(sql, [fingerprint], |row| row.get(0)).unwrap()
        };
        assert_eq!((read("a").as_str(), read("b").as_str()), ("warning", "critical"));
    }

    #[test]
    fn the_shipped_schema_loads_and_loads_once() {
        let mut conn = Connection::open_in_memory().unwrap();
        apply(&mut conn, MIGRATIONS).unwrap();
        apply(&mut conn, MIGRATIONS).unwrap();
        assert_eq!(version(&conn).unwrap(), NEWEST);
    }
}
