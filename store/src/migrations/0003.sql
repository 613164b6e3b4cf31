-- Version 3: the readings of one commit are one row, with a checksum. Never changed again; schema.sql explains the tables.
-- What was a row for each reading is moved over by the program (hot_row.rs), which then drops `old_reading`.
DROP VIEW hot_readings;
ALTER TABLE reading RENAME TO old_reading;
DROP TABLE damaged;
CREATE TABLE hot (
    position     INTEGER PRIMARY KEY,
    count        INTEGER NOT NULL CHECK (count > 0),
    received_at  INTEGER NOT NULL,
    readings     TEXT NOT NULL,
    checksum     INTEGER NOT NULL
) STRICT;
CREATE TABLE damaged (
    position     INTEGER PRIMARY KEY,
    count        INTEGER NOT NULL,
    received_at  ANY,
    readings     ANY,
    checksum     ANY,
    problem      TEXT NOT NULL
) STRICT;
CREATE VIEW reading AS
SELECT hot.position - hot.count + 1 + item.key AS position,
       item.value ->> 0 AS series_id,
       hot.received_at + (item.value ->> 1) AS observed_at,
       hot.received_at,
       item.value ->> 2 AS value
FROM hot, json_each(hot.readings) AS item;
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
