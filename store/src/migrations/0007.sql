-- Version 7: the connections of devices are kept. Never changed again; schema.sql explains the table.
CREATE TABLE connection (
    connection_key INTEGER PRIMARY KEY,
    device_key   INTEGER NOT NULL REFERENCES device (device_key),
    session      TEXT NOT NULL,
    address      TEXT NOT NULL,
    opened_at    INTEGER NOT NULL,
    closed_at    INTEGER,
    ended_by     TEXT CHECK (ended_by IN ('device', 'hub', 'lost')),
    code         INTEGER,
    reason       TEXT
) STRICT;
CREATE INDEX connection_of_device ON connection (device_key, connection_key);
CREATE INDEX connection_open ON connection (device_key, session) WHERE ended_by IS NULL;
