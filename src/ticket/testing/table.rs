//! What tests see and do behind the module's back.

use rusqlite::Connection;

/// Everything that a write to a ticket could have changed.
pub fn fingerprint(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row(
        "SELECT format('%d events, %d comments, %d files, %d facts, %d versions, messages %s', \
         (SELECT count(*) FROM ticket_events), (SELECT count(*) FROM comments), \
         (SELECT count(*) FROM ticket_context), (SELECT count(*) FROM events), \
         (SELECT sum(version) FROM tickets), (SELECT group_concat(state) FROM messages))",
        [],
        |row| row.get(0),
    )
}

/// As if there had never been one.
pub fn forget_tickets(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("DELETE FROM ticket_events; DELETE FROM tickets;")
}
