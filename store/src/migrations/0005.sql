-- Version 5: commands that end as `unresolved`, codes, ways of delivery, and where requests came from. Never changed again;
-- schema.sql explains the tables. The tables are written anew, because a CHECK cannot be changed.
ALTER TABLE command_transition RENAME TO old_transition;
ALTER TABLE command RENAME TO old_command;
CREATE TABLE command (
    command_key  INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    name         TEXT NOT NULL,
    args         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'unknown', 'received', 'running', 'succeeded',
                                                'failed', 'rejected', 'expired', 'cancelled', 'unresolved')),
    issued_by    TEXT NOT NULL,
    issued_at    INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    delivery     TEXT NOT NULL CHECK (delivery IN ('at_once', 'after_received', 'after_finished')),
    forced       INTEGER NOT NULL CHECK (forced IN (0, 1)),
    attempt      INTEGER NOT NULL DEFAULT 0,
    progress     REAL,
    result       TEXT,
    error        TEXT,
    code         TEXT,
    cancel_at    INTEGER,
    cancel_by    TEXT,
    cancel_address TEXT
) STRICT;
INSERT INTO command SELECT command_key, id, device_key, name, args, state, issued_by, issued_at, expires_at, 'at_once', 0,
                           attempt, progress, result, error, NULL, NULL, NULL, NULL FROM old_command;
CREATE TABLE command_transition (
    command_key  INTEGER NOT NULL REFERENCES command (command_key),
    place        INTEGER NOT NULL,
    state        TEXT NOT NULL,
    at           INTEGER NOT NULL,
    by           TEXT NOT NULL,
    address      TEXT,
    PRIMARY KEY (command_key, place)
) STRICT, WITHOUT ROWID;
INSERT INTO command_transition SELECT command_key, place, state, at, by, NULL FROM old_transition;
DROP TABLE old_transition;
DROP TABLE old_command;
CREATE INDEX command_issued ON command (issued_at, command_key);
CREATE INDEX command_of_device ON command (device_key, issued_at, command_key);
CREATE INDEX command_open ON command (command_key) WHERE state IN ('queued', 'sent', 'unknown', 'received', 'running');
CREATE TRIGGER command_stays BEFORE DELETE ON command BEGIN SELECT RAISE(ABORT, 'commands are kept'); END;
CREATE TRIGGER command_is_what_was_issued BEFORE UPDATE OF id, device_key, name, args, issued_by, issued_at, expires_at, delivery, forced ON command BEGIN SELECT RAISE(ABORT, 'what was issued is not rewritten'); END;
CREATE TRIGGER command_has_ended BEFORE UPDATE ON command WHEN OLD.state IN ('succeeded', 'failed', 'rejected', 'expired', 'cancelled', 'unresolved') BEGIN SELECT RAISE(ABORT, 'a command that has ended is not rewritten'); END;
CREATE TRIGGER command_transition_stays BEFORE UPDATE ON command_transition BEGIN SELECT RAISE(ABORT, 'the life of a command is not rewritten'); END;
CREATE TRIGGER command_transition_is_kept BEFORE DELETE ON command_transition BEGIN SELECT RAISE(ABORT, 'the life of a command is kept'); END;
