-- Version 1: makes the first schema out of an empty file. Never changed again; schema.sql explains the tables.
PRAGMA application_id = 1952803941;
CREATE TABLE device (
    device_key   INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    model        TEXT,
    firmware     TEXT,
    commands     TEXT NOT NULL DEFAULT '[]',
    created_at   INTEGER NOT NULL,
    last_seen    INTEGER
) STRICT;
CREATE TABLE series (
    series_id    INTEGER PRIMARY KEY,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    metric       TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('number', 'bool', 'text')),
    unit         TEXT,
    label        TEXT,
    min          REAL,
    max          REAL,
    place        INTEGER,
    created_at   INTEGER NOT NULL,
    latest_at    INTEGER,
    latest       ANY,
    conflicts    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (device_key, metric)
) STRICT;
CREATE TABLE stream (
    stream_key   INTEGER PRIMARY KEY,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    epoch        TEXT NOT NULL,
    last_seq     INTEGER NOT NULL,
    stored       INTEGER NOT NULL DEFAULT 0,
    refused      INTEGER NOT NULL DEFAULT 0,
    skipped      INTEGER NOT NULL DEFAULT 0,
    duplicate    INTEGER NOT NULL DEFAULT 0,
    readings     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,
    UNIQUE (device_key, epoch)
) STRICT;
CREATE TABLE reading (
    position     INTEGER PRIMARY KEY,
    series_id    INTEGER NOT NULL,
    observed_at  INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    value        ANY NOT NULL
) STRICT;
CREATE TABLE sealed (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    through      INTEGER NOT NULL,
    target       INTEGER
) STRICT;
INSERT INTO sealed (one, through) VALUES (1, 0);
CREATE TABLE block (
    series_id    INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    block_id     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    count        INTEGER NOT NULL CHECK (count > 0),
    min          REAL,
    max          REAL,
    sum          REAL,
    first        ANY NOT NULL,
    last         ANY NOT NULL,
    position     INTEGER NOT NULL,
    piece        INTEGER NOT NULL CHECK (piece IN (0, 1)),
    PRIMARY KEY (series_id, first_at, block_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_piece ON block (series_id, first_at, position) WHERE piece = 1;
CREATE TABLE block_data (
    block_id     INTEGER PRIMARY KEY,
    buckets      BLOB,
    times        BLOB NOT NULL,
    vals         BLOB NOT NULL
) STRICT;
CREATE TABLE command (
    command_key  INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    name         TEXT NOT NULL,
    args         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'unknown', 'received', 'running',
                                                'succeeded', 'failed', 'rejected', 'expired', 'cancelled')),
    issued_by    TEXT NOT NULL,
    issued_at    INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    progress     REAL,
    result       TEXT,
    error        TEXT
) STRICT;
CREATE INDEX command_issued ON command (issued_at, command_key);
CREATE INDEX command_of_device ON command (device_key, issued_at, command_key);
CREATE INDEX command_open ON command (command_key)
    WHERE state IN ('queued', 'sent', 'unknown', 'received', 'running');
CREATE TABLE command_transition (
    command_key  INTEGER NOT NULL REFERENCES command (command_key),
    place        INTEGER NOT NULL,
    state        TEXT NOT NULL,
    at           INTEGER NOT NULL,
    by           TEXT NOT NULL,
    PRIMARY KEY (command_key, place)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER command_transition_stays BEFORE UPDATE ON command_transition
BEGIN
    SELECT RAISE(ABORT, 'the life of a command is not rewritten');
END;
CREATE TABLE credential (
    credential_key INTEGER PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    role         TEXT NOT NULL CHECK (role IN ('device', 'fleet', 'viewer', 'operator')),
    device_key   INTEGER REFERENCES device (device_key),
    label        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    CHECK ((role = 'device') = (device_key IS NOT NULL))
) STRICT;
CREATE VIEW hot_readings AS
SELECT reading.position,
       device.id AS device,
       series.metric,
       strftime('%Y-%m-%d %H:%M:%f', reading.observed_at / 1e6, 'unixepoch') AS observed_at,
       strftime('%Y-%m-%d %H:%M:%f', reading.received_at / 1e6, 'unixepoch') AS received_at,
       reading.value,
       series.unit
FROM reading
JOIN series USING (series_id)
JOIN device USING (device_key)
WHERE reading.position > (SELECT through FROM sealed);
CREATE VIEW blocks AS
SELECT device.id AS device,
       series.metric,
       strftime('%Y-%m-%d %H:%M:%f', block.first_at / 1e6, 'unixepoch') AS first_at,
       strftime('%Y-%m-%d %H:%M:%f', block.last_at / 1e6, 'unixepoch') AS last_at,
       block.count, block.min, block.max, block.sum / block.count AS mean, block.first, block.last,
       series.unit,
       length(block_data.times) + length(block_data.vals) + coalesce(length(block_data.buckets), 0) AS bytes
FROM block
JOIN block_data USING (block_id)
JOIN series USING (series_id)
JOIN device USING (device_key)
WHERE block.position <= (SELECT through FROM sealed);
