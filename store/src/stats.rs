//! What the file is made of, and what each device has in it.

use protocol::{DeviceId, SeriesId, Timestamp};
use rusqlite::Connection;

use crate::block::shelf;
use crate::error::StoreError;
use crate::hot::Hot;
use crate::reader::Reader;
use crate::types::{DeviceAccount, DeviceStats, Sizes};
use crate::{block, device, row};

impl Reader {
    /// Sizes of the file and of what is in it. Costs a look at each block, though none is opened.
    pub fn sizes(&self) -> Result<Sizes, StoreError> {
        self.snapshot(|connection| {
            let count = |sql: &str| -> Result<u64, StoreError> {
                row::count(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
            };
            let pragma = |name: &str| -> Result<u64, StoreError> {
                row::count(connection.pragma_query_value(None, name, |row| row.get(0))?)
            };
            let page = pragma("page_size")?;
            let log = connection.path().map(|path| format!("{path}-wal"));
            Ok(Sizes {
                blocks: count("SELECT count(*) FROM block WHERE position <= (SELECT through FROM sealed)")?,
                bundles: count("SELECT count(*) FROM bundle WHERE position <= (SELECT through FROM sealed)")?,
                block_bytes: count(
                    "SELECT (SELECT coalesce(sum(length(times) + length(vals) + coalesce(length(buckets), 0)), 0)
                             FROM block_data) + (SELECT coalesce(sum(length(data)), 0) FROM bundle)",
                )?,
                file_bytes: pragma("page_count")? * page,
                free_bytes: pragma("freelist_count")? * page,
                log_bytes: log.and_then(|log| std::fs::metadata(log).ok()).map_or(0, |log| log.len()),
            })
        })
    }

    /// What every device has in the file, by id.
    pub fn device_stats(&self) -> Result<Vec<DeviceStats>, StoreError> {
        self.snapshot_with_hot(|connection, hot| {
            let mut statement = connection.prepare_cached("SELECT device_key, id FROM device ORDER BY id")?;
            let mut rows = statement.query([])?;
            let mut bundles = shelf::Walk::new(connection, block::sealed_through(connection)?);
            let mut all = Vec::new();
            while let Some(found) = rows.next()? {
                let id = row::name(&found.get::<_, String>(1)?)?;
                all.push(read_stats(connection, hot, &mut bundles, found.get(0)?, id)?);
            }
            Ok(all)
        })
    }

    /// The account of a device in one state of the file: what it sent, and where that is. `None`: unknown.
    pub fn account(&self, id: &DeviceId) -> Result<Option<DeviceAccount>, StoreError> {
        self.snapshot_with_hot(|connection, hot| {
            let Some(key) = device::find_device(connection, id)? else { return Ok(None) };
            let mut bundles = shelf::Walk::new(connection, block::sealed_through(connection)?);
            let stats = read_stats(connection, hot, &mut bundles, key.0, id.clone())?;
            Ok(Some(DeviceAccount { streams: device::read_ledger(connection, id)?, stats }))
        })
    }
}

fn read_stats(
    connection: &Connection,
    hot: &Hot,
    bundles: &mut shelf::Walk<'_>,
    key: i64,
    id: DeviceId,
) -> Result<DeviceStats, StoreError> {
    let through = block::sealed_through(connection)?;
    let readings: i64 = connection
        .prepare_cached("SELECT coalesce(sum(readings), 0) FROM stream WHERE device_key = ?1")?
        .query_row([key], |row| row.get(0))?;
    let mut stats = DeviceStats {
        device: id,
        series: 0,
        readings: row::count(readings)?,
        hot: 0,
        sealed: 0,
        conflicts: 0,
        removed: 0,
        damaged: 0,
        blocks: 0,
        block_bytes: 0,
        oldest: None,
        newest: None,
    };
    let mut blocks = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(count), 0), min(first_at), max(last_at),
                coalesce(sum(length(times) + length(vals) + coalesce(length(buckets), 0)), 0)
         FROM block LEFT JOIN block_data USING (block_id) WHERE series_id = ?1 AND position <= ?2",
    )?;
    let mut series = connection
        .prepare_cached("SELECT series_id, conflicts, removed FROM series WHERE device_key = ?1")?;
    let mut damaged = connection.prepare_cached(
        "SELECT count(*) FROM damaged, json_each(iif(json_valid(readings), readings, '[]')) AS item
         WHERE item.value ->> 0 = ?1",
    )?;
    let mut rows = series.query([key])?;
    while let Some(found) = rows.next()? {
        let id: i64 = found.get(0)?;
        stats.series += 1;
        stats.conflicts += row::count(found.get(1)?)?;
        stats.removed += row::count(found.get(2)?)?;
        stats.damaged += row::count(damaged.query_row([id], |row| row.get(0))?)?;
        let (count, sealed, first, last, bytes) = blocks.query_row((id, through.0), |row| {
            let times: (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, row.get(1)?, times.0, times.1, row.get(4)?))
        })?;
        stats.blocks += row::count(count)?;
        stats.sealed += row::count(sealed)?;
        stats.block_bytes += row::count(bytes)?;
        let (rows, span) = hot.of_series(SeriesId(id));
        stats.hot += rows;
        let (bundled, bundled_span) = bundles.count(SeriesId(id))?;
        stats.sealed += bundled;
        let sealed = first.zip(last).map(|(first, last)| (Timestamp(first), Timestamp(last)));
        for (first, last) in [sealed, bundled_span, span].into_iter().flatten() {
            stats.oldest = Some(stats.oldest.map_or(first, |oldest| oldest.min(first)));
            stats.newest = stats.newest.max(Some(last));
        }
    }
    Ok(stats)
}
