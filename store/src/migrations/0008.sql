-- Version 8: administrators, claims with which devices enrol themselves, and the audit trail of who may connect. Never changed
-- again; schema.sql explains the tables. Credentials are written anew, because a CHECK cannot be changed.
ALTER TABLE credential RENAME TO old_credential;
CREATE TABLE credential (
    credential_key INTEGER PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    role         TEXT NOT NULL CHECK (role IN ('device', 'fleet', 'viewer', 'operator', 'admin')),
    device_key   INTEGER REFERENCES device (device_key),
    label        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    CHECK ((role = 'device') = (device_key IS NOT NULL))
) STRICT;
INSERT INTO credential SELECT credential_key, hash, role, device_key, label, created_at, revoked_at FROM old_credential;
DROP TABLE old_credential;
CREATE TABLE claim (
    claim_key    INTEGER PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    device       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER,
    used_from    TEXT,
    credential_key INTEGER REFERENCES credential (credential_key)
) STRICT;
CREATE TABLE audit (
    audit_key    INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    action       TEXT NOT NULL,
    outcome      TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
    by           TEXT NOT NULL,
    address      TEXT,
    subject      TEXT NOT NULL,
    detail       TEXT,
    count        INTEGER NOT NULL CHECK (count > 0)
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is not rewritten'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is kept'); END;
