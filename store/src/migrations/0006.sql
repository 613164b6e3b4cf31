-- Version 6: groups of commands, tags of devices, and late word about what is unresolved. Never changed again; schema.sql explains the tables.
ALTER TABLE device ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
CREATE TABLE command_group (
    group_key    INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    request      TEXT NOT NULL,
    members      INTEGER NOT NULL,
    issued_by    TEXT NOT NULL,
    issued_at    INTEGER NOT NULL,
    address      TEXT,
    retry_of     INTEGER REFERENCES command_group (group_key),
    stopped_at   INTEGER,
    stopped_by   TEXT,
    stopped_address TEXT,
    ended_at     INTEGER
) STRICT;
CREATE INDEX command_group_issued ON command_group (issued_at, group_key);
CREATE INDEX command_group_open ON command_group (group_key) WHERE ended_at IS NULL;
CREATE INDEX command_group_retried ON command_group (retry_of) WHERE retry_of IS NOT NULL;
CREATE TRIGGER command_group_stays BEFORE DELETE ON command_group BEGIN SELECT RAISE(ABORT, 'groups are kept'); END;
CREATE TRIGGER command_group_is_what_was_issued BEFORE UPDATE OF id, request, members, issued_by, issued_at, address, retry_of ON command_group BEGIN SELECT RAISE(ABORT, 'what was issued is not rewritten'); END;
CREATE TRIGGER command_group_has_ended BEFORE UPDATE ON command_group WHEN OLD.ended_at IS NOT NULL BEGIN SELECT RAISE(ABORT, 'a group that has ended is not rewritten'); END;
CREATE TABLE group_member (
    group_key    INTEGER NOT NULL REFERENCES command_group (group_key),
    place        INTEGER NOT NULL,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    refused      TEXT,
    PRIMARY KEY (group_key, place),
    UNIQUE (group_key, device_key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER group_member_stays BEFORE DELETE ON group_member BEGIN SELECT RAISE(ABORT, 'members of groups are kept'); END;
CREATE TRIGGER group_member_is_what_was_issued BEFORE UPDATE ON group_member WHEN OLD.refused IS NOT NULL OR NEW.device_key IS NOT OLD.device_key BEGIN SELECT RAISE(ABORT, 'members of groups are not rewritten'); END;
ALTER TABLE command ADD COLUMN group_key INTEGER REFERENCES command_group (group_key);
CREATE INDEX command_of_group ON command (group_key, state) WHERE group_key IS NOT NULL;
DROP TRIGGER command_is_what_was_issued;
CREATE TRIGGER command_is_what_was_issued BEFORE UPDATE OF id, device_key, name, args, issued_by, issued_at, expires_at, delivery, forced, group_key ON command BEGIN SELECT RAISE(ABORT, 'what was issued is not rewritten'); END;
DROP TRIGGER command_has_ended;
CREATE TRIGGER command_has_ended BEFORE UPDATE ON command WHEN OLD.state IN ('succeeded', 'failed', 'rejected', 'expired', 'cancelled') OR (OLD.state = 'unresolved' AND NEW.state NOT IN ('succeeded', 'failed', 'rejected', 'cancelled')) BEGIN SELECT RAISE(ABORT, 'a command that has ended is not rewritten'); END;
