-- What people did in the chat, written down before Telegram hears that it was taken.
CREATE TABLE bot_updates (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    -- whose updates they are, and Telegram's number of this one
    bot    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    -- JSON
    deed   TEXT NOT NULL,
    -- done: what it asked for has happened; shown: whoever asked has been told
    state  TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'done', 'shown')),
    -- JSON: what is to be told
    answer TEXT,
    UNIQUE (bot, number),
    CHECK ((answer IS NULL) = (state = 'new'))
) STRICT;
CREATE INDEX bot_updates_new ON bot_updates (id) WHERE state = 'new';
CREATE INDEX bot_updates_done ON bot_updates (id) WHERE state = 'done';
CREATE INDEX bot_updates_shown ON bot_updates (at_ms) WHERE state = 'shown';

-- From which update on each bot asks.
CREATE TABLE bot_offsets (
    bot   INTEGER PRIMARY KEY,
    next  INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- Messages of the chat that are about a ticket: a reply to one is for its worker.
CREATE TABLE bot_messages (
    chat    INTEGER NOT NULL,
    message INTEGER NOT NULL,
    ticket  TEXT NOT NULL,
    -- the message to the worker that was made of it, and the reaction that tells how far that has come
    queued  INTEGER,
    shown   TEXT,
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (chat, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX bot_messages_by_queued ON bot_messages (queued) WHERE queued IS NOT NULL;
CREATE INDEX bot_messages_open ON bot_messages (at_ms) WHERE queued IS NOT NULL AND settled = 0;

-- Questions that somebody wants to be asked again.
CREATE TABLE bot_snoozes (
    alert   INTEGER PRIMARY KEY,
    ticket  TEXT NOT NULL,
    chat    INTEGER NOT NULL,
    message INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT;

-- Who has been told how to write to the bot.
CREATE TABLE bot_hints (
    chat   INTEGER NOT NULL,
    person INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    PRIMARY KEY (chat, person)
) STRICT, WITHOUT ROWID;
