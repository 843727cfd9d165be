-- Workers: agent programs at work on tickets and tasks, what they cost, and which profiles rest.
CREATE TABLE workers (
    run           INTEGER PRIMARY KEY,
    ticket        TEXT,
    agent         TEXT NOT NULL,
    dialect       TEXT NOT NULL CHECK (dialect IN ('claude', 'codex', 'plain')),
    attempt       INTEGER NOT NULL CHECK (attempt >= 1),
    pool          TEXT,
    lease         INTEGER,
    slot          TEXT,
    branch        TEXT,
    base_commit   TEXT,
    -- how much of its output has been taken in, in bytes
    read_bytes    INTEGER NOT NULL DEFAULT 0,
    -- JSON: what it has said so far, as far as its end depends on it
    heard         TEXT NOT NULL DEFAULT '{}',
    session       TEXT,
    started_ms    INTEGER NOT NULL,
    -- NULL until everything that follows from its end is written
    ended_ms      INTEGER,
    verdict       TEXT,
    -- its ticket waits until then
    not_before_ms INTEGER,
    CHECK ((pool IS NULL) = (lease IS NULL)),
    CHECK ((ended_ms IS NULL) = (verdict IS NULL))
) STRICT;
CREATE INDEX workers_open ON workers (run) WHERE ended_ms IS NULL;
CREATE INDEX workers_by_ticket ON workers (ticket, run) WHERE ticket IS NOT NULL;

-- Token counts a message: a message is told again with each of its parts, the largest counts.
CREATE TABLE worker_messages (
    run         INTEGER NOT NULL REFERENCES workers (run),
    message     TEXT NOT NULL,
    input       INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    cache_read  INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    PRIMARY KEY (run, message)
) STRICT, WITHOUT ROWID;

-- What a run has used. An unknown cost is NULL, never 0.
CREATE TABLE usage (
    run         INTEGER PRIMARY KEY,
    ticket      TEXT,
    task        TEXT NOT NULL,
    agent       TEXT NOT NULL,
    model       TEXT,
    input       INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    cache_read  INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cost_usd    TEXT,
    cost_source TEXT CHECK (cost_source IN ('provider')),
    at_ms       INTEGER NOT NULL,
    CHECK ((cost_usd IS NULL) = (cost_source IS NULL))
) STRICT;
CREATE INDEX usage_by_time ON usage (at_ms);

-- Requests that providers refused.
CREATE TABLE api_errors (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    agent   TEXT,
    ticket  TEXT,
    run     INTEGER,
    status  INTEGER,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX api_errors_by_time ON api_errors (at_ms);

-- Profiles that get no work for now; a row that has run out means nothing.
CREATE TABLE profiles (
    agent    TEXT PRIMARY KEY,
    state    TEXT NOT NULL CHECK (state IN ('cooled', 'disabled')),
    until_ms INTEGER,
    reason   TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    CHECK ((state = 'cooled') = (until_ms IS NOT NULL))
) STRICT;
