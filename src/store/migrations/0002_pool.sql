-- Slots of worktree pools. Git is the truth about their files; a row is the lease and the intent.
CREATE TABLE slots (
    id          TEXT PRIMARY KEY,
    pool        TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 0),
    state       TEXT NOT NULL CHECK (state IN
                ('free', 'preparing', 'leased', 'releasing', 'rebuilding', 'quarantined')),
    -- its own fence: a step that names an older one changes nothing
    lease       INTEGER,
    ticket      TEXT,
    run         INTEGER,
    former      TEXT,
    branch      TEXT,
    base_commit TEXT,
    since_ms    INTEGER NOT NULL,
    note        TEXT,
    CHECK ((lease IS NULL) = (state IN ('free', 'quarantined'))),
    CHECK (ticket IS NULL OR run IS NULL),
    CHECK (lease IS NOT NULL OR (ticket IS NULL AND run IS NULL)),
    CHECK (state <> 'leased' OR ticket IS NOT NULL OR run IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX slots_by_place ON slots (pool, number);
CREATE UNIQUE INDEX slots_by_lease ON slots (lease) WHERE lease IS NOT NULL;
-- One slot a holder.
CREATE UNIQUE INDEX slots_one_a_ticket ON slots (ticket)
    WHERE ticket IS NOT NULL AND state IN ('preparing', 'leased', 'rebuilding');
CREATE UNIQUE INDEX slots_one_a_run ON slots (run)
    WHERE run IS NOT NULL AND state IN ('preparing', 'leased', 'rebuilding');
