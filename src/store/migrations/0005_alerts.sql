-- Alerts, and what of them is to be sent to people.
CREATE TABLE alerts (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint    TEXT NOT NULL,
    kind           TEXT NOT NULL,
    subject        TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('firing', 'acked', 'muted', 'resolved')),
    severity       TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    count          INTEGER NOT NULL CHECK (count >= 1),
    first_ms       INTEGER NOT NULL,
    last_ms        INTEGER NOT NULL,
    -- when a message of its own was last made
    told_ms        INTEGER,
    -- that message was about its flapping
    flapping       INTEGER NOT NULL DEFAULT 0 CHECK (flapping IN (0, 1)),
    -- the alert that it was folded into
    storm          INTEGER REFERENCES alerts (id),
    muted_until_ms INTEGER,
    actor          TEXT,
    resolved_ms    INTEGER,
    goods          INTEGER NOT NULL DEFAULT 0,
    -- what many that come at once may have in common
    cause          TEXT,
    -- from one message to the next while it lasts, for what does not happen again by itself
    lasts_ms       INTEGER,
    -- over by itself when it has not happened again for so long
    fades_ms       INTEGER,
    -- JSON: the newest notice, and how it ended
    notice         TEXT NOT NULL,
    ending         TEXT NOT NULL DEFAULT '[]',
    CHECK ((resolved_ms IS NULL) = (state <> 'resolved')),
    CHECK (state <> 'muted' OR muted_until_ms IS NOT NULL)
) STRICT;
-- One alert a trouble, for as long as it goes on.
CREATE UNIQUE INDEX alerts_one_open ON alerts (fingerprint) WHERE state <> 'resolved';
CREATE INDEX alerts_open_by_subject ON alerts (subject) WHERE state <> 'resolved';
CREATE INDEX alerts_by_subject ON alerts (subject, first_ms);
CREATE INDEX alerts_told ON alerts (severity, told_ms) WHERE told_ms IS NOT NULL;
CREATE INDEX alerts_by_storm ON alerts (storm) WHERE storm IS NOT NULL;
CREATE INDEX alerts_open_in_storm ON alerts (storm) WHERE storm IS NOT NULL AND state <> 'resolved';
CREATE INDEX alerts_open ON alerts (id) WHERE state <> 'resolved';
CREATE INDEX alerts_over ON alerts (resolved_ms) WHERE resolved_ms IS NOT NULL;

-- Fingerprints about which nothing is said until then.
CREATE TABLE mutes (
    fingerprint TEXT PRIMARY KEY,
    until_ms    INTEGER NOT NULL,
    actor       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    alert         INTEGER REFERENCES alerts (id),
    -- what is written about it: `text` or what its alert says when it is sent
    purpose       TEXT NOT NULL CHECK (purpose IN
                  ('first', 'again', 'worse', 'flapping', 'recovery', 'edit', 'brief', 'test')),
    state         TEXT NOT NULL CHECK (state IN
                  ('pending', 'sending', 'delivered', 'dead', 'unsent', 'dropped')),
    -- higher goes first
    rank          INTEGER NOT NULL,
    severity      TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    topic         TEXT NOT NULL CHECK (topic IN ('alerts', 'tickets', 'briefs')),
    -- JSON
    text          TEXT,
    -- the row whose message this one answers or changes
    original      INTEGER REFERENCES outbox (id),
    created_ms    INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    -- an earlier attempt may have come through
    doubtful      INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1)),
    -- its markup was refused
    plain         INTEGER NOT NULL DEFAULT 0 CHECK (plain IN (0, 1)),
    -- its topic or the message it answers is gone
    bare          INTEGER NOT NULL DEFAULT 0 CHECK (bare IN (0, 1)),
    ended_ms      INTEGER,
    chat          INTEGER,
    message       INTEGER,
    error         TEXT,
    CHECK ((message IS NOT NULL) = (state = 'delivered')),
    CHECK ((ended_ms IS NULL) = (state IN ('pending', 'sending'))),
    CHECK ((alert IS NULL) = (purpose IN ('brief', 'test'))),
    CHECK (alert IS NOT NULL OR text IS NOT NULL),
    CHECK (purpose <> 'edit' OR original IS NOT NULL)
) STRICT;
CREATE INDEX outbox_pending ON outbox (rank DESC, id) WHERE state = 'pending';
CREATE INDEX outbox_sending ON outbox (id) WHERE state = 'sending';
-- However often it changes meanwhile: what is sent is how it stands then.
CREATE UNIQUE INDEX outbox_one_edit ON outbox (original) WHERE purpose = 'edit' AND state = 'pending';
CREATE INDEX outbox_by_alert ON outbox (alert, id) WHERE alert IS NOT NULL;
CREATE INDEX outbox_by_original ON outbox (original) WHERE original IS NOT NULL;
CREATE INDEX outbox_by_message ON outbox (chat, message) WHERE message IS NOT NULL;
CREATE INDEX outbox_ended ON outbox (ended_ms) WHERE ended_ms IS NOT NULL;

-- How things stand with the way to people.
CREATE TABLE channel (
    name       TEXT PRIMARY KEY CHECK (name = 'telegram'),
    -- why nothing gets through until a person has mended it
    broken     TEXT,
    since_ms   INTEGER,
    -- the chat of the settings, and what has become of it
    configured INTEGER,
    chat       INTEGER,
    CHECK ((broken IS NULL) = (since_ms IS NULL))
) STRICT;
