//! The hot rows as one reader remembers them, by series.
//!
//! The table has no index, so that appending is cheap; without this memory every query would scan it. A reader reads
//! each row once, when it is first asked after the row was committed, and forgets readings that are sealed. It holds about
//! 40 bytes for each hot reading, of a state of the file that is never later than the one the query sees.

use std::collections::HashMap;

use protocol::{Kind, Position, SeriesId, Timestamp, Value};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::points::Points;
use crate::types::Row;
use crate::{block, hot_row, writer};

/// Hot readings in memory.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    /// Rows up to here are sealed, and not here.
    through: Position,
    /// Rows after here have not been read.
    upto: Position,
    series: HashMap<SeriesId, Series>,
    /// The position of the last row that cannot be read, and what is wrong with it. Any series may have readings there.
    damage: Option<(Position, String)>,
}

#[derive(Debug)]
struct Series {
    /// Ascending; as many as points.
    positions: Vec<i64>,
    /// In the order of their commit.
    points: Points,
    /// What is wrong with a reading of this series. The others can be read nevertheless.
    damage: Option<String>,
}

impl Hot {
    /// Brings the memory to the state that the connection sees.
    pub(crate) fn refresh(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let through = block::sealed_through(connection)?;
        let last = writer::last_position(connection)?;
        if through < self.through || last < self.upto {
            // Not a later state of the same file: somebody has put another in its place.
            *self = Self::default();
        }
        if through > self.through {
            self.series.retain(|_, series| series.forget(through));
            self.damage.take_if(|(position, _)| *position <= through);
            self.through = through;
        }
        let from = self.upto.max(through);
        let result = self.read(connection, from);
        match result {
            Ok(()) => self.upto = last,
            Err(_) => *self = Self::default(),
        }
        result
    }

    fn read(&mut self, connection: &Connection, after: Position) -> Result<(), StoreError> {
        hot_row::visit(connection, after, |row| {
            let position = row.position;
            match row.after(after.0) {
                Ok(readings) => readings.for_each(|(position, reading)| self.add(position, reading)),
                Err(StoreError::Corrupt(what)) => self.damage = Some((Position(position), what)),
                Err(error) => return Err(error),
            }
            Ok(true)
        })
    }

    /// The readings of a series as they are remembered.
    fn find(&self, series: SeriesId) -> Result<Option<&Series>, StoreError> {
        if let Some((_, what)) = &self.damage {
            let what = format!("{what}; a hub that is started puts them aside");
            return Err(StoreError::Corrupt(what));
        }
        let series = self.series.get(&series);
        series.map_or(Ok(()), Series::check)?;
        Ok(series)
    }

    fn add(&mut self, position: i64, Row { series, at, value }: Row) {
        let series = self.series.entry(series).or_insert_with(|| Series::new(value.kind()));
        match series.points.push(at.0, value) {
            Ok(()) => series.positions.push(position),
            Err(error) => series.damage = Some(format!("reading {position}: {error}")),
        }
    }

    /// The readings of a series between two times, in order, each time once.
    pub(crate) fn points(
        &self,
        series: SeriesId,
        kind: Kind,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Points, StoreError> {
        let Some(series) = self.find(series)? else { return Ok(Points::new(kind)) };
        if series.points.kind() != kind {
            return Err(StoreError::corrupt("readings of another kind than their series"));
        }
        let mut points = series.points.between(from, to);
        points.tidy();
        Ok(points)
    }

    /// The earliest and the latest time.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.series.values().flat_map(|series| series.points.times()).copied();
        Some((Timestamp(times().min()?), Timestamp(times().max()?)))
    }

    /// How many rows a series has, and their earliest and latest time.
    pub(crate) fn of_series(&self, series: SeriesId) -> (u64, Option<(Timestamp, Timestamp)>) {
        let times = self.series.get(&series).map_or(&[][..], |series| series.points.times());
        let span = times.iter().min().zip(times.iter().max());
        (times.len() as u64, span.map(|(first, last)| (Timestamp(*first), Timestamp(*last))))
    }

    /// The latest reading of a series up to a time; of two at the same time the first stored.
    pub(crate) fn as_of(
        &self,
        series: SeriesId,
        at: Timestamp,
    ) -> Result<Option<(Timestamp, Value)>, StoreError> {
        Ok(self.find(series)?.and_then(|series| series.points.as_of(at)))
    }

    /// The latest reading of each series; of two at the same time the first stored.
    pub(crate) fn latest(&self) -> Result<Vec<Row>, StoreError> {
        let mut latest = Vec::with_capacity(self.series.len());
        for id in self.series.keys() {
            if let Some((at, value)) = self.find(*id)?.and_then(|series| series.points.latest()) {
                latest.push(Row { series: *id, at, value });
            }
        }
        Ok(latest)
    }
}

impl Series {
    fn new(kind: Kind) -> Self {
        Self { positions: Vec::new(), points: Points::new(kind), damage: None }
    }

    /// Forgets what is sealed; returns whether anything is left.
    fn forget(&mut self, through: Position) -> bool {
        let sealed = self.positions.partition_point(|position| *position <= through.0);
        self.positions.drain(..sealed);
        self.points.forget(sealed);
        !self.positions.is_empty() || self.damage.is_some()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.damage.as_ref().map_or(Ok(()), |damage| Err(StoreError::Corrupt(damage.clone())))
    }
}
