//! Devices, their series and their streams: what `hello` declares, and what is known of a device.
//!
//! A device that comes back and says what it said before costs no write: a storm of reconnects is a storm of reads.

use std::collections::HashMap;

use protocol::declare::{CommandDeclaration, MetricDeclaration};
use protocol::device::Hello;
use protocol::limits::METRICS_EVER_MAX;
use protocol::viewer::{DeviceInfo, MetricInfo};
use protocol::{DeviceId, Epoch, Kind, Seq, SeriesId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::row;
use crate::types::{DeviceKey, DeviceRecord, Registered, StreamKey, StreamLedger};
use crate::writer::{Commit, Writer};

impl Writer {
    /// Takes in what a device says of itself: makes or updates the device, its series and its stream.
    ///
    /// A metric that is declared with another kind than before is [`StoreError::KindChanged`], and nothing is changed.
    /// A metric that is left out keeps its series and its readings.
    pub fn register(&mut self, hello: &Hello, now: Timestamp) -> Result<Registered, StoreError> {
        self.link.check()?;
        let registered = match find_registered(&self.link.connection, hello)? {
            Some(registered) => registered,
            None => self.link.transact(Commit::Synced, |connection| store_hello(connection, hello, now))?,
        };
        for (metric, series) in hello.metrics.iter().zip(&registered.series) {
            self.memory.learn_kind(*series, metric.kind)?;
        }
        self.memory.learn_stream(registered.stream, registered.settled.0);
        Ok(registered)
    }

    /// Makes what readings from elsewhere need: the devices, series for these metrics, and for each device a stream in
    /// the epoch; all of it or nothing.
    ///
    /// Unlike [`Writer::register`] it takes nothing away from what a device declared and adds nothing to it: new series
    /// are undeclared until the device itself names them, and of series that are there only a missing unit is filled in.
    /// A metric that is stored with another kind is [`StoreError::KindChanged`], one that is stored in another unit
    /// [`StoreError::Invalid`].
    pub fn prepare_import(
        &mut self,
        epoch: &Epoch,
        devices: &[(DeviceId, Vec<MetricDeclaration>)],
        now: Timestamp,
    ) -> Result<Vec<Registered>, StoreError> {
        let prepared = self.link.transact(Commit::Synced, |connection| {
            let mut prepared = Vec::with_capacity(devices.len());
            for (device, metrics) in devices {
                let device = make_device(connection, device, now)?;
                let series = add_metrics(connection, device, metrics, now)?;
                let (stream, settled) = make_stream(connection, device, epoch, now)?;
                prepared.push(Registered { device, stream, settled, series });
            }
            Ok(prepared)
        })?;
        for ((_, metrics), Registered { stream, settled, series, .. }) in devices.iter().zip(&prepared) {
            for (metric, series) in metrics.iter().zip(series) {
                self.memory.learn_kind(*series, metric.kind)?;
            }
            self.memory.learn_stream(*stream, settled.0);
        }
        Ok(prepared)
    }

    /// Makes a device that has not connected yet, or finds it.
    pub fn create_device(&mut self, id: &DeviceId, now: Timestamp) -> Result<DeviceKey, StoreError> {
        self.link.check()?;
        if let Some(key) = find_device(&self.link.connection, id)? {
            return Ok(key);
        }
        self.link.transact(Commit::Synced, |connection| make_device(connection, id, now))
    }
}

impl Reader {
    /// Every device, by id.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, StoreError> {
        self.snapshot(|connection| read_devices(connection, None))
    }

    /// One device.
    pub fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        self.snapshot(|connection| Ok(read_devices(connection, Some(id))?.pop()))
    }

    /// The account of each stream of a device, oldest first; empty for an unknown device.
    pub fn ledger(&self, device: &DeviceId) -> Result<Vec<StreamLedger>, StoreError> {
        read_ledger(&self.connection, device)
    }
}

/// The account of each stream of a device, oldest first.
pub(crate) fn read_ledger(
    connection: &Connection,
    device: &DeviceId,
) -> Result<Vec<StreamLedger>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT epoch, last_seq, stored, refused, skipped, duplicate, readings, stream.created_at, changed_at
         FROM stream JOIN device USING (device_key) WHERE device.id = ?1 ORDER BY stream_key",
    )?;
    let mut rows = statement.query([device.as_str()])?;
    let mut ledger = Vec::new();
    while let Some(row) = rows.next()? {
        ledger.push(StreamLedger {
            epoch: row::name::<Epoch>(&row.get::<_, String>(0)?)?,
            last_seq: Seq(row::count(row.get(1)?)?),
            stored: row::count(row.get(2)?)?,
            refused: row::count(row.get(3)?)?,
            skipped: row::count(row.get(4)?)?,
            duplicate: row::count(row.get(5)?)?,
            readings: row::count(row.get(6)?)?,
            created_at: Timestamp(row.get(7)?),
            changed_at: Timestamp(row.get(8)?),
        });
    }
    Ok(ledger)
}

/// Finds the number of a device.
pub(crate) fn find_device(connection: &Connection, id: &DeviceId) -> Result<Option<DeviceKey>, StoreError> {
    let key = connection
        .prepare_cached("SELECT device_key FROM device WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(key.map(DeviceKey))
}

/// Makes a device, or finds it.
pub(crate) fn make_device(
    connection: &Connection,
    id: &DeviceId,
    now: Timestamp,
) -> Result<DeviceKey, StoreError> {
    if let Some(key) = find_device(connection, id)? {
        return Ok(key);
    }
    connection
        .prepare_cached("INSERT INTO device (id, created_at) VALUES (?1, ?2)")?
        .execute((id.as_str(), now.0))?;
    Ok(DeviceKey(connection.last_insert_rowid()))
}

/// A stored series of a device.
struct StoredSeries {
    id: SeriesId,
    place: Option<i64>,
    declaration: MetricDeclaration,
}

fn read_series(row: &rusqlite::Row<'_>, at: usize) -> Result<StoredSeries, StoreError> {
    Ok(StoredSeries {
        id: SeriesId(row.get(at)?),
        place: row.get(at + 1)?,
        declaration: MetricDeclaration {
            name: row::name(&row.get::<_, String>(at + 2)?)?,
            kind: row::kind(&row.get::<_, String>(at + 3)?)?,
            unit: row.get(at + 4)?,
            label: row.get(at + 5)?,
            min: row.get(at + 6)?,
            max: row.get(at + 7)?,
        },
    })
}

fn series_of(connection: &Connection, device: DeviceKey) -> Result<Vec<StoredSeries>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT series_id, place, metric, kind, unit, label, min, max FROM series WHERE device_key = ?1",
    )?;
    let mut rows = statement.query([device.0])?;
    let mut series = Vec::new();
    while let Some(row) = rows.next()? {
        series.push(read_series(row, 0)?);
    }
    Ok(series)
}

fn find_stream(
    connection: &Connection,
    device: DeviceKey,
    epoch: &Epoch,
) -> Result<Option<(StreamKey, Seq)>, StoreError> {
    let found: Option<(i64, i64)> = connection
        .prepare_cached("SELECT stream_key, last_seq FROM stream WHERE device_key = ?1 AND epoch = ?2")?
        .query_row((device.0, epoch.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(key, last)| Ok((StreamKey(key), Seq(row::count(last)?)))).transpose()
}

/// Makes a stream, or finds it.
fn make_stream(
    connection: &Connection,
    device: DeviceKey,
    epoch: &Epoch,
    now: Timestamp,
) -> Result<(StreamKey, Seq), StoreError> {
    if let Some(found) = find_stream(connection, device, epoch)? {
        return Ok(found);
    }
    connection
        .prepare_cached(
            "INSERT INTO stream (device_key, epoch, last_seq, created_at, changed_at)
             VALUES (?1, ?2, 0, ?3, ?3)",
        )?
        .execute((device.0, epoch.as_str(), now.0))?;
    Ok((StreamKey(connection.last_insert_rowid()), Seq(0)))
}

/// Whether everything that `hello` says stands in the database already, and where.
fn find_registered(connection: &Connection, hello: &Hello) -> Result<Option<Registered>, StoreError> {
    type Known = (i64, Option<String>, Option<String>, String, String);
    let known: Option<Known> = connection
        .prepare_cached("SELECT device_key, model, firmware, commands, tags FROM device WHERE id = ?1")?
        .query_row([hello.device.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((key, model, firmware, commands, tags)) = known else { return Ok(None) };
    let same = model == hello.model
        && firmware == hello.firmware
        && commands == row::to_json(&hello.commands)?
        && tags == row::to_json(&hello.tags)?;
    if !same {
        return Ok(None);
    }
    let device = DeviceKey(key);
    let stored = series_of(connection, device)?;
    if stored.iter().filter(|series| series.place.is_some()).count() != hello.metrics.len() {
        return Ok(None);
    }
    let by_name: HashMap<&str, &StoredSeries> =
        stored.iter().map(|series| (series.declaration.name.as_str(), series)).collect();
    let mut series = Vec::with_capacity(hello.metrics.len());
    for (place, metric) in (0..).zip(&hello.metrics) {
        match by_name.get(metric.name.as_str()) {
            Some(stored) if stored.place == Some(place) && stored.declaration == *metric => {
                series.push(stored.id);
            }
            _ => return Ok(None),
        }
    }
    let Some((stream, settled)) = find_stream(connection, device, &hello.epoch)? else { return Ok(None) };
    Ok(Some(Registered { device, stream, settled, series }))
}

fn store_hello(connection: &Connection, hello: &Hello, now: Timestamp) -> Result<Registered, StoreError> {
    let device = make_device(connection, &hello.device, now)?;
    connection
        .prepare_cached(
            "UPDATE device SET model = ?2, firmware = ?3, commands = ?4, tags = ?5 WHERE device_key = ?1",
        )?
        .execute((
            device.0,
            &hello.model,
            &hello.firmware,
            row::to_json(&hello.commands)?,
            row::to_json(&hello.tags)?,
        ))?;
    let series = store_metrics(connection, device, &hello.metrics, now)?;
    let (stream, settled) = make_stream(connection, device, &hello.epoch, now)?;
    Ok(Registered { device, stream, settled, series })
}

/// Refuses what would make more metrics than a device may ever have.
fn check_room<T>(stored: &HashMap<String, T>, metrics: &[MetricDeclaration]) -> Result<(), StoreError> {
    let new = metrics.iter().filter(|metric| !stored.contains_key(metric.name.as_str())).count();
    let all = stored.len() + new;
    if new > 0 && all > METRICS_EVER_MAX {
        return Err(StoreError::Invalid(format!(
            "{all} metrics, with those of the past: a device may have {METRICS_EVER_MAX} in all its life, so use names again"
        )));
    }
    Ok(())
}

fn store_metrics(
    connection: &Connection,
    device: DeviceKey,
    metrics: &[MetricDeclaration],
    now: Timestamp,
) -> Result<Vec<SeriesId>, StoreError> {
    let stored: HashMap<String, (SeriesId, Kind)> = series_of(connection, device)?
        .into_iter()
        .map(|series| (series.declaration.name.as_str().to_owned(), (series.id, series.declaration.kind)))
        .collect();
    check_room(&stored, metrics)?;
    connection.prepare_cached("UPDATE series SET place = NULL WHERE device_key = ?1")?.execute([device.0])?;
    let mut update = connection.prepare_cached(
        "UPDATE series SET place = ?2, unit = ?3, label = ?4, min = ?5, max = ?6 WHERE series_id = ?1",
    )?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO series (device_key, metric, kind, place, unit, label, min, max, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut series = Vec::with_capacity(metrics.len());
    for (place, metric) in (0_i64..).zip(metrics) {
        let name = metric.name.as_str();
        match stored.get(name) {
            Some((_, kind)) if *kind != metric.kind => {
                return Err(StoreError::KindChanged {
                    metric: name.to_owned(),
                    stored: *kind,
                    declared: metric.kind,
                });
            }
            Some((id, _)) => {
                update.execute((id.0, place, &metric.unit, &metric.label, metric.min, metric.max))?;
                series.push(*id);
            }
            None => {
                let (unit, label) = (&metric.unit, &metric.label);
                let kind = metric.kind.as_str();
                insert.execute((device.0, name, kind, place, unit, label, metric.min, metric.max, now.0))?;
                series.push(SeriesId(connection.last_insert_rowid()));
            }
        }
    }
    Ok(series)
}

/// Makes the series that are missing, undeclared, and leaves the others as they are but for a missing unit.
fn add_metrics(
    connection: &Connection,
    device: DeviceKey,
    metrics: &[MetricDeclaration],
    now: Timestamp,
) -> Result<Vec<SeriesId>, StoreError> {
    let stored: HashMap<String, StoredSeries> = series_of(connection, device)?
        .into_iter()
        .map(|series| (series.declaration.name.as_str().to_owned(), series))
        .collect();
    check_room(&stored, metrics)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO series (device_key, metric, kind, unit, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut set_unit = connection.prepare_cached("UPDATE series SET unit = ?2 WHERE series_id = ?1")?;
    let mut series = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let name = metric.name.as_str();
        let Some(StoredSeries { id, place, declaration }) = stored.get(name) else {
            insert.execute((device.0, name, metric.kind.as_str(), &metric.unit, now.0))?;
            series.push(SeriesId(connection.last_insert_rowid()));
            continue;
        };
        if declaration.kind != metric.kind {
            return Err(StoreError::KindChanged {
                metric: name.to_owned(),
                stored: declaration.kind,
                declared: metric.kind,
            });
        }
        match (&declaration.unit, &metric.unit) {
            (Some(stored), Some(given)) if stored != given => {
                return Err(StoreError::Invalid(format!(
                    "metric {name} is stored in {stored}, not in {given}"
                )));
            }
            // What a device declared without a unit has none.
            (None, Some(unit)) if place.is_none() => drop(set_unit.execute((id.0, unit))?),
            _ => {}
        }
        series.push(*id);
    }
    Ok(series)
}

fn read_devices(connection: &Connection, only: Option<&DeviceId>) -> Result<Vec<DeviceRecord>, StoreError> {
    let mut devices = Vec::new();
    let mut places = HashMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT device_key, id, model, firmware, commands, last_seen, tags FROM device
         WHERE ?1 IS NULL OR id = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([only.map(DeviceId::as_str)])?;
    while let Some(row) = rows.next()? {
        let key = DeviceKey(row.get(0)?);
        places.insert(key, devices.len());
        devices.push(DeviceRecord {
            key,
            info: DeviceInfo {
                id: row::name(&row.get::<_, String>(1)?)?,
                model: row.get(2)?,
                firmware: row.get(3)?,
                tags: row::json(&row.get::<_, String>(6)?)?,
                connected: false,
                since: None,
                last_seen: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                metrics: Vec::new(),
                commands: row::json::<Vec<CommandDeclaration>>(&row.get::<_, String>(4)?)?,
                late_or_lost: Vec::new(),
            },
        });
    }
    drop(rows);
    let one = match (only, devices.first()) {
        (Some(_), Some(device)) => Some(device.key.0),
        (Some(_), None) => return Ok(devices),
        (None, _) => None,
    };
    let mut statement = connection.prepare_cached(
        "SELECT device_key, series_id, place, metric, kind, unit, label, min, max FROM series
         WHERE ?1 IS NULL OR device_key = ?1 ORDER BY device_key, place IS NULL, place, series_id",
    )?;
    let mut rows = statement.query([one])?;
    while let Some(row) = rows.next()? {
        let series = read_series(row, 1)?;
        let Some(place) = places.get(&DeviceKey(row.get(0)?)) else {
            return Err(StoreError::corrupt(format!("series {} of a device that is not there", series.id.0)));
        };
        devices[*place].info.metrics.push(MetricInfo { series: series.id, declaration: series.declaration });
    }
    Ok(devices)
}
