-- Tickets, their conversation, and what people send to workers.

CREATE TABLE tickets (
    -- the number of the identifier; never used twice, whatever the prefix
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    prefix       TEXT NOT NULL,
    title        TEXT NOT NULL,
    body         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN
                 ('todo', 'in_progress', 'needs_input', 'waiting', 'review', 'done', 'closed')),
    -- 0 low … 3 critical
    priority     INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    assignee     TEXT,
    agent        TEXT,
    pool         TEXT,
    max_attempts INTEGER CHECK (max_attempts >= 1),
    commit_id    TEXT,
    reason_code  TEXT,
    reason_text  TEXT,
    reason_since_ms INTEGER,
    until_ms     INTEGER,
    -- JSON
    ask          TEXT,
    report       TEXT,
    created_ms   INTEGER NOT NULL,
    updated_ms   INTEGER NOT NULL,
    version      INTEGER NOT NULL DEFAULT 1,
    -- events up to and including this number are no longer kept
    trimmed_seq  INTEGER NOT NULL DEFAULT 0,
    CHECK ((ask IS NOT NULL) <= (state = 'needs_input')),
    CHECK ((reason_code IS NULL) = (reason_since_ms IS NULL))
) STRICT;
CREATE INDEX tickets_by_state ON tickets (state, priority DESC, id);

-- One row each time a worker is put on a ticket.
CREATE TABLE attempts (
    ticket      INTEGER NOT NULL REFERENCES tickets (id),
    attempt     INTEGER NOT NULL CHECK (attempt >= 1),
    run         INTEGER NOT NULL,
    fence       INTEGER NOT NULL,
    branch      TEXT,
    slot        TEXT,
    lease       INTEGER,
    agent       TEXT NOT NULL,
    started_ms  INTEGER NOT NULL,
    -- when its worker was last heard
    heard_ms    INTEGER NOT NULL,
    check_in_ms INTEGER,
    -- NULL while it lives
    ended_ms    INTEGER,
    outcome     TEXT,
    PRIMARY KEY (ticket, attempt),
    CHECK ((ended_ms IS NULL) = (outcome IS NULL))
) STRICT;
CREATE UNIQUE INDEX attempts_one_live ON attempts (ticket) WHERE ended_ms IS NULL;
CREATE UNIQUE INDEX attempts_by_run ON attempts (run);

CREATE TABLE comments (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket INTEGER NOT NULL REFERENCES tickets (id),
    at_ms  INTEGER NOT NULL,
    -- who said it: a person, a worker, or lucid itself
    kind   TEXT NOT NULL CHECK (kind IN ('comment', 'message', 'ask', 'report', 'notice')),
    author TEXT NOT NULL,
    run    INTEGER,
    body   TEXT NOT NULL
) STRICT;
CREATE INDEX comments_by_ticket ON comments (ticket, id);

-- What workers print and what happens to a ticket, in order. The numbers are drawn from the sequence of
-- `events`, so that one number orders both.
CREATE TABLE ticket_events (
    seq    INTEGER PRIMARY KEY,
    ticket INTEGER NOT NULL REFERENCES tickets (id),
    at_ms  INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('worker', 'lucid')),
    type   TEXT NOT NULL,
    run    INTEGER,
    -- JSON, as it came
    data   TEXT NOT NULL
) STRICT;
CREATE INDEX ticket_events_by_ticket ON ticket_events (ticket, seq);

CREATE TABLE ticket_context (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket INTEGER NOT NULL REFERENCES tickets (id),
    path   TEXT NOT NULL,
    title  TEXT,
    source TEXT NOT NULL CHECK (source IN ('manual', 'auto')),
    at_ms  INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    UNIQUE (ticket, path)
) STRICT;

CREATE TABLE messages (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket       INTEGER NOT NULL REFERENCES tickets (id),
    state        TEXT NOT NULL CHECK (state IN
                 ('received', 'queued', 'claimed', 'delivered', 'acked', 'expired', 'failed', 'dead')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    text         TEXT NOT NULL,
    author       TEXT NOT NULL,
    via          TEXT NOT NULL,
    fence        INTEGER,
    created_ms   INTEGER NOT NULL,
    since_ms     INTEGER NOT NULL,
    delivered_ms INTEGER,
    acked_ms     INTEGER,
    error        TEXT,
    CHECK (state NOT IN ('claimed', 'delivered', 'acked') OR fence IS NOT NULL)
) STRICT;
CREATE INDEX messages_by_ticket ON messages (ticket, id);
CREATE INDEX messages_by_state ON messages (state, id);
