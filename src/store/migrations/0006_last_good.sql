-- The text of each task file as it last was good, so that a restart finds what a broken file stood for.
CREATE TABLE last_good (
    task            TEXT PRIMARY KEY,
    -- SHA-256 of the text, hex
    hash            TEXT NOT NULL,
    -- since when the file is worse than this text; NULL while it is not
    broken_since_ms INTEGER,
    text            BLOB NOT NULL
) STRICT;
CREATE INDEX last_good_broken ON last_good (task, broken_since_ms) WHERE broken_since_ms IS NOT NULL;
