-- Version 4: bundles. Never changed again; schema.sql explains the table.
CREATE TABLE bundle (
    bundle_id    INTEGER PRIMARY KEY,
    shelf        INTEGER NOT NULL,
    series       INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    level        INTEGER NOT NULL CHECK (level IN (0, 1)),
    count        INTEGER NOT NULL CHECK (count > 0),
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    data         BLOB NOT NULL
) STRICT;
CREATE INDEX bundle_shelf ON bundle (shelf, position, level, series, count, first_at);
CREATE VIEW bundles AS
SELECT shelf * 16 AS first_series, shelf * 16 + 15 AS last_series, level,
       strftime('%Y-%m-%d %H:%M:%f', first_at / 1e6, 'unixepoch') AS first_at,
       strftime('%Y-%m-%d %H:%M:%f', last_at / 1e6, 'unixepoch') AS last_at,
       count, length(data) AS bytes
FROM bundle
WHERE position <= (SELECT through FROM sealed);
