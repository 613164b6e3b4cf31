-- The database of a telemetry hub: one SQLite file, telemetry.db, in WAL mode.
--
-- This file is the format. The hub creates a new database by running it, and a test proves that every older
-- database, once migrated, has exactly these tables. It is written to be read: any SQLite tool may open the file
-- beside a running hub, read-only, and sees everything that was acknowledged:
--
--     sqlite3 -readonly telemetry.db
--
-- Conventions
--   * Times are integers: microseconds since 1970-01-01T00:00:00Z, UTC. As text:
--         strftime('%Y-%m-%d %H:%M:%f', observed_at / 1e6, 'unixepoch')
--   * Values are REAL for numbers, INTEGER 0 or 1 for booleans, TEXT for states. Numbers are finite.
--   * A series is one metric of one device. A position is a place in the order in which readings were committed.
--   * Tables are STRICT: SQLite itself refuses a text in a column of numbers.
--
-- Settings that belong to the file. The connection's own (synchronous=FULL, foreign_keys=ON, ...) are in the store.

PRAGMA application_id = 1952803941;      -- 0x74656C65, "tele": a file with another number is left alone
PRAGMA user_version = 8;                 -- version of this schema; a hub refuses a file that is newer than itself


------------------------------------------------------------------------------------------------------------------
-- Devices and what they measure
------------------------------------------------------------------------------------------------------------------

-- A thing with an id that connects, as it last described itself in `hello`.
CREATE TABLE device (
    device_key   INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,   -- the name it connects with
    model        TEXT,
    firmware     TEXT,
    commands     TEXT NOT NULL DEFAULT '[]', -- what it can be told: JSON, as in `hello`
    created_at   INTEGER NOT NULL,       -- when the hub first heard of it
    last_seen    INTEGER,                -- when the hub last heard it; written now and then, not with every message
    tags         TEXT NOT NULL DEFAULT '[]' -- with what it can be chosen among others: JSON, as in `hello`
) STRICT;

-- One metric of one device. Never deleted and never given another kind: readings refer to it.
CREATE TABLE series (
    series_id    INTEGER PRIMARY KEY,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    metric       TEXT NOT NULL,          -- temperature
    kind         TEXT NOT NULL CHECK (kind IN ('number', 'bool', 'text')),
    unit         TEXT,                   -- a code of SenML's registry (RFC 8428): Cel, %RH, Pa
    label        TEXT,                   -- what a person calls it
    min          REAL,                   -- the plausible range: for display, readings outside it are kept
    max          REAL,
    place        INTEGER,                -- place in the device's declaration; NULL once it is declared no more
    created_at   INTEGER NOT NULL,
    latest_at    INTEGER,                -- time of its latest sealed reading; a hot one may be later
    latest       ANY,                    -- and its value
    conflicts    INTEGER NOT NULL DEFAULT 0, -- readings left out on sealing: their microsecond was taken (see `block`)
    removed      INTEGER NOT NULL DEFAULT 0, -- readings that retention took away
    thinned      INTEGER NOT NULL DEFAULT 0, -- readings of which retention has left only statistics (see block.step)
    UNIQUE (device_key, metric)
) STRICT;

-- The batches of one device in one epoch, counted. `last_seq` moves in the transaction that stores the batch, which is
-- what makes resending harmless: a batch is stored only if `last_seq` is the one before it.
CREATE TABLE stream (
    stream_key   INTEGER PRIMARY KEY,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    epoch        TEXT NOT NULL,          -- drawn by the device when it has lost its place
    last_seq     INTEGER NOT NULL,       -- every batch up to here is settled: stored, refused for good, or skipped
    stored       INTEGER NOT NULL DEFAULT 0, -- batches with readings
    refused      INTEGER NOT NULL DEFAULT 0, -- batches that could never be accepted
    skipped      INTEGER NOT NULL DEFAULT 0, -- batches that the device lost
    duplicate    INTEGER NOT NULL DEFAULT 0, -- batches that came again and were dropped
    readings     INTEGER NOT NULL DEFAULT 0, -- readings in the stored batches
    created_at   INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,       -- when last_seq last moved
    UNIQUE (device_key, epoch)
) STRICT;


------------------------------------------------------------------------------------------------------------------
-- Readings
--
-- A reading is first a part of a row of `hot`, later a part of a `bundle` or of a `block` (sealed), never two of them:
--     hot    = readings in hot            with position >  sealed.through: the view `reading` shows them one by one
--     sealed = rows of bundle and block   with position <= sealed.through
-- Rows on the other side of that line are work in progress or leavings of it; the views below leave them out.
------------------------------------------------------------------------------------------------------------------

-- Hot readings, in the order in which they were committed: those of one commit in one row, or in several when they are
-- many. No index and no foreign key: this is the table that every acknowledgement waits for. Positions count up by one
-- from reading to reading and are never used again, not even after the readings are sealed. Series and microsecond may
-- repeat; the lowest position is the one that counts. The view `reading` shows the readings one by one.
CREATE TABLE hot (
    position     INTEGER PRIMARY KEY,    -- of its last reading; the first has position - count + 1
    count        INTEGER NOT NULL CHECK (count > 0),
    received_at  INTEGER NOT NULL,       -- the hub's clock
    readings     TEXT NOT NULL,          -- JSON: [[series_id, observed_at - received_at, value], ...]
    checksum     INTEGER NOT NULL        -- CRC-32 of the other columns; see store/src/hot_row.rs
) STRICT;

-- Readings of neighbouring series (a shelf: 16 numbers in a row) that are too few for blocks of their own. Where there
-- are many series, sealing writes these; merging makes few large ones out of many small ones, and blocks in the end. What
-- a series has in bundles was committed after all that it has in blocks, and what is in a bundle after what is in those of
-- lower positions. The bytes are described in store/src/block/bundle.rs.
CREATE TABLE bundle (
    bundle_id    INTEGER PRIMARY KEY,
    shelf        INTEGER NOT NULL,       -- series_id / 16
    series       INTEGER NOT NULL,       -- which of the series are in it: the sum of 1 << (series_id % 16)
    position     INTEGER NOT NULL,       -- every reading in it was committed at or before this position
    level        INTEGER NOT NULL CHECK (level IN (0, 1)), -- 0: as sealed, 1: merged
    count        INTEGER NOT NULL CHECK (count > 0),
    first_at     INTEGER NOT NULL,       -- time of the earliest reading
    last_at      INTEGER NOT NULL,       -- time of the latest reading
    data         BLOB NOT NULL
) STRICT;
CREATE INDEX bundle_shelf ON bundle (shelf, position, level, series, count, first_at);

-- How far readings have been sealed. One row.
CREATE TABLE sealed (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    through      INTEGER NOT NULL,       -- the highest position that is in a bundle or a block
    target       INTEGER                 -- while blocks and bundles of more of them are being written: where `through` will go
) STRICT;
INSERT INTO sealed (one, through) VALUES (1, 0);

-- Sealed readings of one series: what is known of a block without opening it. The readings are in block_data.
-- A block holds readings of one series within one day of UTC, ascending, each microsecond once. Blocks of a series may
-- overlap in time (late readings); where two hold the same microsecond, the one with the lower position counts.
CREATE TABLE block (
    series_id    INTEGER NOT NULL,       -- series.series_id
    first_at     INTEGER NOT NULL,       -- time of the earliest reading
    block_id     INTEGER NOT NULL,       -- block_data.block_id
    last_at      INTEGER NOT NULL,       -- time of the latest reading
    count        INTEGER NOT NULL CHECK (count > 0),
    min          REAL,                   -- of the values; booleans count as 0 and 1, texts have no numbers
    max          REAL,
    sum          REAL,
    first        ANY NOT NULL,           -- value of the earliest reading
    last         ANY NOT NULL,           -- value of the latest reading
    position     INTEGER NOT NULL,       -- every reading in it was committed at or before this position
    piece        INTEGER NOT NULL CHECK (piece IN (0, 1)), -- 1: small, to be merged with its neighbours
    step         INTEGER,                -- NULL: its readings are there; else only statistics are, by so many seconds
    PRIMARY KEY (series_id, first_at, block_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_piece ON block (series_id, first_at, position) WHERE piece = 1;

-- The readings of a block, compressed. The bytes are described in store/src/block/codec.rs.
CREATE TABLE block_data (
    block_id     INTEGER PRIMARY KEY,
    buckets      BLOB,                   -- statistics of finer stretches of time, so that wide queries need not decode
    times        BLOB NOT NULL,          -- empty once retention has left only statistics
    vals         BLOB NOT NULL
) STRICT;

-- Rows of `hot` that were found damaged when the database was opened: put aside as they were, so that the rest goes on.
CREATE TABLE damaged (
    position     INTEGER PRIMARY KEY,    -- of the last reading
    count        INTEGER NOT NULL,       -- how many positions up to it are lost
    received_at  ANY,                    -- the columns of the row; all NULL where it is missing
    readings     ANY,
    checksum     ANY,
    problem      TEXT NOT NULL
) STRICT;

-- Every position up to the last one is accounted for:
--     last position = hot readings + sum(bundle.count) + sum(block.count)
--                     + sum(series.conflicts) + sum(series.removed) + sum(damaged.count)


------------------------------------------------------------------------------------------------------------------
-- Retention
--
-- Age is told by how long the hub has run, not by a clock on the wall: a clock that jumps must not wipe anything.
------------------------------------------------------------------------------------------------------------------

-- How long hubs have run on this file, in microseconds; written now and then. One row.
CREATE TABLE running (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    ran          INTEGER NOT NULL
) STRICT;
INSERT INTO running (one, ran) VALUES (1, 0);

-- Every position up to this one was committed when the hub had run no longer than this.
CREATE TABLE mark (
    position     INTEGER PRIMARY KEY,
    ran          INTEGER NOT NULL
) STRICT;


------------------------------------------------------------------------------------------------------------------
-- Commands
------------------------------------------------------------------------------------------------------------------

-- An instruction to one device, as it is now. command_key counts in the order of issue.
-- With its transitions it is the audit trail: who told which device what, when, from where, and what became of it. What was
-- issued, what has ended and what has happened is never rewritten and never deleted. What is `unresolved` may become known,
-- when its device says late how it ended.
CREATE TABLE command (
    command_key  INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,   -- the idempotency key: a device that gets it twice runs it once
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    name         TEXT NOT NULL,          -- one of the device's declared commands, unless forced
    args         TEXT NOT NULL,          -- JSON object, defaults filled in
    state        TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'unknown', 'received', 'running', 'succeeded',
                                                'failed', 'rejected', 'expired', 'cancelled', 'unresolved')),
    issued_by    TEXT NOT NULL,
    issued_at    INTEGER NOT NULL,       -- when it entered `queued`
    expires_at   INTEGER NOT NULL,       -- when its time for delivery runs out
    delivery     TEXT NOT NULL CHECK (delivery IN ('at_once', 'after_received', 'after_finished')),
    forced       INTEGER NOT NULL CHECK (forced IN (0, 1)), -- 1: sent although the device had not declared it
    attempt      INTEGER NOT NULL DEFAULT 0, -- how often it was handed to the device
    progress     REAL,                   -- 0 to 1
    result       TEXT,                   -- JSON
    error        TEXT,                   -- why it did not succeed, or why it is not known
    code         TEXT,                   -- the same for a program
    cancel_at    INTEGER,                -- when the device was to be asked to stop it, by whom, and from where
    cancel_by    TEXT,
    cancel_address TEXT,
    group_key    INTEGER REFERENCES command_group (group_key) -- the group that it is a part of
) STRICT;
CREATE INDEX command_issued ON command (issued_at, command_key);
CREATE INDEX command_of_device ON command (device_key, issued_at, command_key);
CREATE INDEX command_open ON command (command_key)
    WHERE state IN ('queued', 'sent', 'unknown', 'received', 'running');
CREATE INDEX command_of_group ON command (group_key, state) WHERE group_key IS NOT NULL;
CREATE TRIGGER command_stays BEFORE DELETE ON command
BEGIN
    SELECT RAISE(ABORT, 'commands are kept');
END;
CREATE TRIGGER command_is_what_was_issued
BEFORE UPDATE OF id, device_key, name, args, issued_by, issued_at, expires_at, delivery, forced, group_key ON command
BEGIN
    SELECT RAISE(ABORT, 'what was issued is not rewritten');
END;
CREATE TRIGGER command_has_ended BEFORE UPDATE ON command
WHEN OLD.state IN ('succeeded', 'failed', 'rejected', 'expired', 'cancelled')
  OR (OLD.state = 'unresolved' AND NEW.state NOT IN ('succeeded', 'failed', 'rejected', 'cancelled'))
BEGIN
    SELECT RAISE(ABORT, 'a command that has ended is not rewritten');
END;

-- Each state that a command entered, with its time and who caused it. Rows are added, never changed and never deleted.
CREATE TABLE command_transition (
    command_key  INTEGER NOT NULL REFERENCES command (command_key),
    place        INTEGER NOT NULL,       -- 0, 1, 2, ... the first is `queued`
    state        TEXT NOT NULL,
    at           INTEGER NOT NULL,
    by           TEXT NOT NULL,          -- operator, hub or device
    address      TEXT,                   -- from where an operator or a device was connected
    PRIMARY KEY (command_key, place)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER command_transition_stays BEFORE UPDATE ON command_transition
BEGIN
    SELECT RAISE(ABORT, 'the life of a command is not rewritten');
END;
CREATE TRIGGER command_transition_is_kept BEFORE DELETE ON command_transition
BEGIN
    SELECT RAISE(ABORT, 'the life of a command is kept');
END;

-- One request to many devices, each of which gets a command of its own when its turn comes. Kept like commands.
CREATE TABLE command_group (
    group_key    INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    request      TEXT NOT NULL,          -- JSON, as in `send_group`: to whom, what, how many at a time, when to stop
    members      INTEGER NOT NULL,       -- how many rows of group_member it has
    issued_by    TEXT NOT NULL,
    issued_at    INTEGER NOT NULL,
    address      TEXT,                   -- from where it was issued
    retry_of     INTEGER REFERENCES command_group (group_key), -- the group whose failed members these are
    stopped_at   INTEGER,                -- when it was decided that no more members are begun, by whom, and from where
    stopped_by   TEXT,
    stopped_address TEXT,
    ended_at     INTEGER                 -- when the last of its commands had ended
) STRICT;
CREATE INDEX command_group_issued ON command_group (issued_at, group_key);
CREATE INDEX command_group_open ON command_group (group_key) WHERE ended_at IS NULL;
CREATE INDEX command_group_retried ON command_group (retry_of) WHERE retry_of IS NOT NULL;
CREATE TRIGGER command_group_stays BEFORE DELETE ON command_group
BEGIN
    SELECT RAISE(ABORT, 'groups are kept');
END;
CREATE TRIGGER command_group_is_what_was_issued
BEFORE UPDATE OF id, request, members, issued_by, issued_at, address, retry_of ON command_group
BEGIN
    SELECT RAISE(ABORT, 'what was issued is not rewritten');
END;
CREATE TRIGGER command_group_has_ended BEFORE UPDATE ON command_group WHEN OLD.ended_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a group that has ended is not rewritten');
END;

-- The devices of a group, in the order of their turns. What a member does is told by the row of `command` with this group
-- and device; one that has none and was not refused waits for its turn, or was passed over because the group was stopped.
CREATE TABLE group_member (
    group_key    INTEGER NOT NULL REFERENCES command_group (group_key),
    place        INTEGER NOT NULL,       -- 0, 1, 2, ...
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    refused      TEXT,                   -- why it gets no command
    PRIMARY KEY (group_key, place),
    UNIQUE (group_key, device_key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER group_member_stays BEFORE DELETE ON group_member
BEGIN
    SELECT RAISE(ABORT, 'members of groups are kept');
END;
CREATE TRIGGER group_member_is_what_was_issued
BEFORE UPDATE ON group_member WHEN OLD.refused IS NOT NULL OR NEW.device_key IS NOT OLD.device_key
BEGIN
    SELECT RAISE(ABORT, 'members of groups are not rewritten');
END;


------------------------------------------------------------------------------------------------------------------
-- Connections
------------------------------------------------------------------------------------------------------------------

-- When a device was connected, from the hub's welcome to the end. The last 100 of each device are kept. Written a
-- moment later than it happens and not synced for its own sake: nothing is promised of it.
CREATE TABLE connection (
    connection_key INTEGER PRIMARY KEY,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    session      TEXT NOT NULL,          -- names it in the log, among those since the hub's start
    address      TEXT NOT NULL,          -- where it came from
    opened_at    INTEGER NOT NULL,
    closed_at    INTEGER,                -- NULL: it is open, or the hub was killed and does not know
    ended_by     TEXT CHECK (ended_by IN ('device', 'hub', 'lost')), -- which side began; NULL: it is open
    code         INTEGER,                -- of the close frame, if there was one (RFC 6455, 7.4)
    reason       TEXT                    -- why, in words
) STRICT;
CREATE INDEX connection_of_device ON connection (device_key, connection_key);
CREATE INDEX connection_open ON connection (device_key, session) WHERE ended_by IS NULL;


------------------------------------------------------------------------------------------------------------------
-- Credentials
------------------------------------------------------------------------------------------------------------------

-- Who may connect. A token is 256 bits of chance, so a plain SHA-256 of it is enough; the token itself is not stored.
-- Of a device's certificate it is the SHA-256 of `certificate`, the device's id and the public key, with a zero byte between.
CREATE TABLE credential (
    credential_key INTEGER PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    role         TEXT NOT NULL CHECK (role IN ('device', 'fleet', 'viewer', 'operator', 'admin')),
    device_key   INTEGER REFERENCES device (device_key),
    label        TEXT NOT NULL,          -- what a person calls it
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,                -- from then on it opens nothing
    CHECK ((role = 'device') = (device_key IS NOT NULL))
) STRICT;

-- Codes with which a device gets a token of its own, once. A code is 100 bits of chance; it is not stored either.
CREATE TABLE claim (
    claim_key    INTEGER PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    device       TEXT NOT NULL,          -- id of the device whose token it is good for
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER NOT NULL,       -- from then on it is good for nothing
    used_at      INTEGER,
    used_from    TEXT,                   -- from where
    credential_key INTEGER REFERENCES credential (credential_key) -- the token that it was used for
) STRICT;

-- Who was let in, who was not, and who changed who may connect. Rows are added, never changed and never deleted.
CREATE TABLE audit (
    audit_key    INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    action       TEXT NOT NULL,          -- token.add, token.revoke, claim.add, claim.use, sign_in, request, ...
    outcome      TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
    by           TEXT NOT NULL,          -- label of a credential, `hub`, `command line`, or `unknown`
    address      TEXT,                   -- from where
    subject      TEXT NOT NULL,          -- what it was about
    detail       TEXT,                   -- why it was refused
    count        INTEGER NOT NULL CHECK (count > 0) -- how often, where several are told together
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is not rewritten');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is kept');
END;


------------------------------------------------------------------------------------------------------------------
-- For people who read the file with SQL
------------------------------------------------------------------------------------------------------------------

-- Hot readings one by one; of the first commit some may be sealed already.
CREATE VIEW reading AS
SELECT hot.position - hot.count + 1 + item.key AS position,
       item.value ->> 0 AS series_id,
       hot.received_at + (item.value ->> 1) AS observed_at, -- the device's claim
       hot.received_at,
       item.value ->> 2 AS value         -- REAL, INTEGER 0/1 or TEXT
FROM hot, json_each(hot.readings) AS item;

-- Hot readings with names and readable times.
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

-- Blocks with names, readable times and their size in bytes.
CREATE VIEW blocks AS
SELECT device.id AS device,
       series.metric,
       strftime('%Y-%m-%d %H:%M:%f', block.first_at / 1e6, 'unixepoch') AS first_at,
       strftime('%Y-%m-%d %H:%M:%f', block.last_at / 1e6, 'unixepoch') AS last_at,
       block.count, block.min, block.max, block.sum / block.count AS mean, block.first, block.last,
       series.unit, block.step,
       length(block_data.times) + length(block_data.vals) + coalesce(length(block_data.buckets), 0) AS bytes
FROM block
JOIN block_data USING (block_id)
JOIN series USING (series_id)
JOIN device USING (device_key)
WHERE block.position <= (SELECT through FROM sealed);

-- Bundles with readable times, the series that may be in them, and their size in bytes.
CREATE VIEW bundles AS
SELECT shelf * 16 AS first_series, shelf * 16 + 15 AS last_series, level,
       strftime('%Y-%m-%d %H:%M:%f', first_at / 1e6, 'unixepoch') AS first_at,
       strftime('%Y-%m-%d %H:%M:%f', last_at / 1e6, 'unixepoch') AS last_at,
       count, length(data) AS bytes
FROM bundle
WHERE position <= (SELECT through FROM sealed);
