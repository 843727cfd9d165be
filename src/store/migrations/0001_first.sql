-- Times are milliseconds since the epoch (UTC); durations are milliseconds.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- What the tick needs to know of a task without reading its file.
CREATE TABLE tasks (
    id             TEXT PRIMARY KEY,
    enabled        INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    -- 0 once the file is gone; the row stays for its history and its pause
    present        INTEGER NOT NULL CHECK (present IN (0, 1)),
    hash           TEXT NOT NULL,
    schedule       TEXT NOT NULL,
    -- every due instant up to and including this one has its row in `runs`
    covered_ms     INTEGER NOT NULL,
    paused_at_ms   INTEGER,
    paused_until_ms INTEGER,
    pause_reason   TEXT,
    pause_actor    TEXT
) STRICT;

CREATE INDEX tasks_paused ON tasks (id) WHERE paused_at_ms IS NOT NULL;

-- When a schedule text of a task was first seen; other edits never re-arm a one-shot.
CREATE TABLE anchors (
    task      TEXT NOT NULL,
    schedule  TEXT NOT NULL,
    anchor_ms INTEGER NOT NULL,
    PRIMARY KEY (task, schedule)
) STRICT;

CREATE TABLE runs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    task            TEXT NOT NULL,
    ticket          TEXT,
    attempt         INTEGER NOT NULL CHECK (attempt >= 1),
    trigger         TEXT NOT NULL CHECK (trigger IN
                    ('schedule', 'catch_up', 'manual', 'startup', 'retry', 'event')),
    state           TEXT NOT NULL CHECK (state IN
                    ('claimed', 'running', 'stopping', 'ok', 'failed', 'timeout', 'killed', 'lost',
                     'not_started', 'blocked', 'skipped', 'missed', 'kill_failed')),
    waiting         TEXT CHECK (waiting IN ('overlap', 'lock', 'parallel')),
    flight_key      TEXT NOT NULL,
    reason          TEXT,
    exit_code       INTEGER,
    signal          INTEGER,
    actor           TEXT NOT NULL,
    scheduled_ms    INTEGER,
    missed_to_ms    INTEGER,
    missed_count    INTEGER,
    claimed_ms      INTEGER NOT NULL,
    started_ms      INTEGER,
    ended_ms        INTEGER,
    duration_ms     INTEGER,
    fence           INTEGER NOT NULL,
    keeper_pid      INTEGER,
    keeper_start    INTEGER,
    boot_id         TEXT,
    stop_reason     TEXT,
    definition_hash TEXT NOT NULL,
    argv            TEXT NOT NULL DEFAULT '[]',
    retry_ms        INTEGER,
    log_bytes       INTEGER,
    token_hash      BLOB,
    -- names of the locks it needs, JSON
    locks           TEXT NOT NULL DEFAULT '[]',
    -- 1 when it takes one of the places of `max_parallel_runs`
    counted         INTEGER NOT NULL DEFAULT 1 CHECK (counted IN (0, 1)),
    -- the Idempotency-Key it was asked with, its owner before it
    request_key     TEXT,
    extra_env       TEXT NOT NULL DEFAULT '[]',
    forced          INTEGER NOT NULL DEFAULT 0 CHECK (forced IN (0, 1)),
    CHECK (waiting IS NULL OR state = 'claimed')
) STRICT;

-- Single flight: one live run a key; one that waits behind it holds none, and only one may.
CREATE UNIQUE INDEX runs_one_live ON runs (flight_key)
    WHERE state IN ('claimed', 'running', 'stopping', 'kill_failed')
      AND (waiting IS NULL OR waiting <> 'overlap');
CREATE UNIQUE INDEX runs_one_queued ON runs (flight_key) WHERE waiting = 'overlap';
-- The ledger: one row a due instant, whatever came of it.
CREATE UNIQUE INDEX runs_one_an_instant ON runs (task, scheduled_ms)
    WHERE trigger IN ('schedule', 'catch_up');
CREATE INDEX runs_by_task ON runs (task, id);
CREATE INDEX runs_failed ON runs (task, id)
    WHERE state IN ('failed', 'timeout', 'lost', 'blocked', 'kill_failed');
CREATE INDEX runs_live ON runs (state) WHERE state IN ('claimed', 'running', 'stopping', 'kill_failed');
-- Counted at every claim; the rows themselves need not be read for it.
CREATE INDEX runs_places ON runs (id)
    WHERE state IN ('claimed', 'running', 'stopping', 'kill_failed') AND waiting IS NULL AND counted = 1;
CREATE INDEX runs_waiting ON runs (id) WHERE waiting IS NOT NULL;
CREATE INDEX runs_not_started ON runs (id) WHERE state = 'not_started';
CREATE INDEX runs_retry ON runs (retry_ms) WHERE retry_ms IS NOT NULL;
CREATE INDEX runs_token ON runs (token_hash) WHERE token_hash IS NOT NULL;
CREATE UNIQUE INDEX runs_request ON runs (request_key) WHERE request_key IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE locks (
    name TEXT PRIMARY KEY,
    run  INTEGER NOT NULL REFERENCES runs (id)
) STRICT;
CREATE INDEX locks_by_run ON locks (run);

CREATE TABLE events (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    task   TEXT,
    run    INTEGER,
    ticket TEXT,
    actor  TEXT,
    data   TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_run ON events (run, seq) WHERE run IS NOT NULL;
CREATE INDEX events_by_task ON events (task, seq) WHERE task IS NOT NULL;
CREATE INDEX events_by_time ON events (at_ms);

-- How far each reader of the journal has come; retention never passes one.
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    key        TEXT PRIMARY KEY,
    body_hash  BLOB NOT NULL,
    status     INTEGER NOT NULL,
    response   TEXT NOT NULL,
    at_ms      INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_by_time ON idempotency (at_ms);
