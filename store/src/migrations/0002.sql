-- Version 2: retention, and damaged rows put aside. Never changed again; schema.sql explains the tables.
ALTER TABLE series ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN thinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE block ADD COLUMN step INTEGER;
CREATE TABLE damaged (
    position     INTEGER PRIMARY KEY,
    count        INTEGER NOT NULL,
    series_id    ANY,
    observed_at  ANY,
    received_at  ANY,
    value        ANY,
    problem      TEXT NOT NULL
) STRICT;
CREATE TABLE running (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    ran          INTEGER NOT NULL
) STRICT;
INSERT INTO running (one, ran) VALUES (1, 0);
CREATE TABLE mark (
    position     INTEGER PRIMARY KEY,
    ran          INTEGER NOT NULL
) STRICT;
DROP VIEW blocks;
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
