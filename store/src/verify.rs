//! Checks a database from end to end and says what is wrong, and where.
//!
//! It goes on after a finding, and holds little: the names of the series, the numbers of the blocks, the hot readings of
//! one look. Blocks and bundles are read in short transactions of some 100 000 readings each, because while a transaction is
//! open the write-ahead log of a running hub cannot begin anew and grows. Only SQLite's own check needs one transaction
//! for the whole file; [`Depth::Quick`] leaves it out.

use std::collections::HashMap;
use std::ops::ControlFlow;

use protocol::command::CommandState;
use protocol::{Kind, Position, Step, Timestamp};
use rusqlite::Connection;

use crate::block::{bundle, shelf};
use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::Row;
use crate::{block, hot_row, row, writer};

/// Readings that are opened in one transaction, about: it ends with the day that reaches this many.
const READINGS_PER_LOOK: u64 = 100_000;
/// Most problems that SQLite's check reports.
const STRUCTURE_PROBLEMS: i64 = 100;
/// Findings of the same sort on hot rows and orphans that are told one by one; the rest is counted.
const ALIKE_TOLD: u64 = 20;

/// How deep a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Accounts, sequences, references, commands and hot rows. Blocks and bundles are counted but not opened.
    Quick,
    /// That, and SQLite's `quick_check`, which reads the whole file: for a copy that was just made.
    Copy,
    /// Everything: SQLite's `integrity_check`, and every block and bundle opened and compared.
    Whole,
}

/// What a check tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It has come so far.
    Progress {
        /// What is being checked.
        stage: Stage,
        /// Sealed readings that were opened by now.
        done: u64,
        /// Sealed readings that there were at the start.
        total: u64,
    },
    /// Something is wrong.
    Finding(Finding),
}

/// A part of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// SQLite's own check of its structures.
    Structure,
    /// Devices, series, streams, commands and what they refer to.
    Tables,
    /// Accounts, and the sequence of hot rows.
    Accounts,
    /// Bundles, and blocks and their readings.
    Blocks,
}

/// Something that is wrong, and where. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// The device.
    pub device: Option<String>,
    /// The metric.
    pub metric: Option<String>,
    /// The block.
    pub block: Option<i64>,
    /// First and last time of what is damaged.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What is wrong, in words.
    pub what: String,
}

/// What a check went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Devices.
    pub devices: u64,
    /// Series.
    pub series: u64,
    /// Hot readings.
    pub hot: u64,
    /// Blocks that were looked at; opened unless it was [`Depth::Quick`] or [`Depth::Copy`].
    pub blocks: u64,
    /// Bundles, as the blocks.
    pub bundles: u64,
    /// Readings in blocks and bundles, as these count them.
    pub sealed: u64,
    /// Readings in blocks and bundles that could be opened.
    pub opened: u64,
    /// Hot readings that were found damaged when the database was opened, and put aside. They are no findings: they are
    /// accounted for.
    pub damaged: u64,
    /// Position of the last reading.
    pub position: Position,
    /// Findings.
    pub findings: u64,
    /// Whether it came to its end; false if the visitor stopped it.
    pub complete: bool,
}

/// Why a part of the check ends early.
enum Halt {
    /// The visitor wants no more.
    Stopped,
    Failed(StoreError),
}

/// Series, times and words.
type Problem = (Option<i64>, Option<(Timestamp, Timestamp)>, String);

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Reader {
    /// Checks the database; `visit` hears of findings and progress, and may stop it.
    ///
    /// Beside a running hub it sees one state of the file in each of its parts, and a reading that is merged or sealed
    /// meanwhile may be opened twice. An error is a check that could not be made; damage is a finding.
    pub fn verify(
        &self,
        depth: Depth,
        visit: &mut dyn FnMut(Notice) -> ControlFlow<()>,
    ) -> Result<Verified, StoreError> {
        let mut check = Check { reader: self, visit, verified: Verified::default(), series: HashMap::new() };
        match check.run(depth) {
            Ok(()) => check.verified.complete = true,
            Err(Halt::Stopped) => {}
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(check.verified)
    }
}

/// A series as findings name it.
#[derive(Debug, Clone)]
struct Named {
    device: Option<String>,
    metric: String,
    kind: Option<Kind>,
}

struct Check<'a> {
    reader: &'a Reader,
    visit: &'a mut dyn FnMut(Notice) -> ControlFlow<()>,
    verified: Verified,
    series: HashMap<i64, Named>,
}

impl Check<'_> {
    fn run(&mut self, depth: Depth) -> Result<(), Halt> {
        if depth != Depth::Quick {
            self.progress(Stage::Structure, 0, 0)?;
            self.part("SQLite's check", |check| check.structure(depth == Depth::Whole))?;
        }
        self.progress(Stage::Tables, 0, 0)?;
        self.part("devices", Self::devices)?;
        self.part("series", Self::series)?;
        self.part("streams", Self::streams)?;
        self.part("references", Self::references)?;
        self.part("commands", Self::commands)?;
        self.progress(Stage::Accounts, 0, 0)?;
        self.part("accounts", Self::accounts)?;
        self.part("hot readings", Self::hot)?;
        self.part("blocks and their readings", Self::orphans)?;
        if depth == Depth::Whole {
            let total = self.reader.snapshot(read_account).map_or(0, |account| account.sealed.max(0) as u64);
            // What is in them may be in blocks a moment later, never the other way round.
            self.bundles(total)?;
            self.blocks(total)?;
        }
        Ok(())
    }

    /// Runs a part; what it cannot read is a finding, and the next part follows.
    fn part(&mut self, what: &str, work: impl FnOnce(&mut Self) -> Result<(), Halt>) -> Result<(), Halt> {
        match work(self) {
            Err(Halt::Failed(error)) => {
                let told = unreadable(error)?;
                self.find(Finding { what: format!("{what}: {told}"), ..Finding::default() })
            }
            done => done,
        }
    }

    fn progress(&mut self, stage: Stage, done: u64, total: u64) -> Result<(), Halt> {
        match (self.visit)(Notice::Progress { stage, done, total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stopped),
        }
    }

    fn find(&mut self, finding: Finding) -> Result<(), Halt> {
        self.verified.findings += 1;
        match (self.visit)(Notice::Finding(finding)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stopped),
        }
    }

    fn find_in(&mut self, device: Option<&str>, what: String) -> Result<(), Halt> {
        self.find(Finding { device: device.map(str::to_owned), what, ..Finding::default() })
    }

    /// Whether there is such a series; one that a hub made since the check began is looked up.
    fn knows(&mut self, series: i64) -> Result<bool, StoreError> {
        if !self.series.contains_key(&series) {
            let mut statement = self.reader.connection.prepare_cached(
                "SELECT device.id, metric, kind FROM series LEFT JOIN device USING (device_key) WHERE series_id = ?1",
            )?;
            let mut rows = statement.query([series])?;
            let Some(found) = rows.next()? else { return Ok(false) };
            let kind = row::kind(&found.get::<_, String>(2)?).ok();
            let named = Named { device: found.get(0)?, metric: found.get(1)?, kind };
            self.series.insert(series, named);
        }
        Ok(true)
    }

    /// A finding that names a series.
    fn of_series(&self, series: i64) -> Finding {
        match self.series.get(&series) {
            Some(named) => Finding {
                device: named.device.clone(),
                metric: Some(named.metric.clone()),
                ..Finding::default()
            },
            None => Finding::default(),
        }
    }

    /// Asks SQLite about its pages, indexes and constraints.
    fn structure(&mut self, whole: bool) -> Result<(), Halt> {
        let reader = self.reader;
        let name = if whole { "integrity_check" } else { "quick_check" };
        let mut statement = reader.connection.prepare(&format!("PRAGMA {name}({STRUCTURE_PROBLEMS})"))?;
        let mut rows = statement.query([])?;
        let mut problems = 0;
        while let Some(row) = rows.next()? {
            let problem: String = row.get(0)?;
            if problem == "ok" {
                continue;
            }
            problems += 1;
            self.find_in(None, format!("SQLite: {problem}"))?;
        }
        if problems >= STRUCTURE_PROBLEMS {
            self.find_in(None, format!("SQLite: it stopped after {problems} problems; there may be more"))?;
        }
        Ok(())
    }

    fn devices(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let mut statement =
            reader.connection.prepare("SELECT id, commands FROM device ORDER BY device_key")?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            self.verified.devices += 1;
            let id: String = found.get(0)?;
            if let Err(error) = row::name::<protocol::DeviceId>(&id) {
                self.find_in(Some(&id), unreadable(error)?)?;
            }
            let commands: String = found.get(1)?;
            if let Err(error) = row::json::<Vec<protocol::declare::CommandDeclaration>>(&commands) {
                self.find_in(Some(&id), format!("its declared commands: {}", unreadable(error)?))?;
            }
        }
        Ok(())
    }

    fn series(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let mut statement = reader.connection.prepare(
            "SELECT series_id, device.id, metric, kind, series.device_key FROM series
             LEFT JOIN device USING (device_key) ORDER BY series_id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            self.verified.series += 1;
            let id: i64 = found.get(0)?;
            let kind = row::kind(&found.get::<_, String>(3)?);
            let named =
                Named { device: found.get(1)?, metric: found.get(2)?, kind: kind.as_ref().ok().copied() };
            let name = row::name::<protocol::MetricName>(&named.metric);
            let orphan = named.device.is_none();
            self.series.insert(id, named);
            for error in [kind.err(), name.err()].into_iter().flatten() {
                let what = unreadable(error)?;
                self.find(Finding { what, ..self.of_series(id) })?;
            }
            if orphan {
                let key: i64 = found.get(4)?;
                let what = format!("series {id}: its device, with the key {key}, is not there");
                self.find(Finding { what, ..self.of_series(id) })?;
            }
        }
        Ok(())
    }

    /// Every stream adds up.
    fn streams(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let mut statement = reader.connection.prepare(
            "SELECT device.id, epoch, last_seq, stored, refused, skipped, duplicate, readings FROM stream
             LEFT JOIN device USING (device_key) ORDER BY stream_key",
        )?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            let device: Option<String> = found.get(0)?;
            let epoch: String = found.get(1)?;
            let [last, stored, refused, skipped, duplicate, readings]: [i64; 6] =
                [found.get(2)?, found.get(3)?, found.get(4)?, found.get(5)?, found.get(6)?, found.get(7)?];
            if [last, stored, refused, skipped, duplicate, readings].iter().any(|n| *n < 0) {
                self.find_in(device.as_deref(), format!("stream {epoch}: a count is below 0"))?;
            }
            if stored.checked_add(refused).and_then(|n| n.checked_add(skipped)) != Some(last) {
                let what = format!(
                    "stream {epoch}: last_seq is {last}, but stored {stored} + refused {refused} + skipped {skipped} are not"
                );
                self.find_in(device.as_deref(), what)?;
            }
        }
        Ok(())
    }

    /// Rows that refer to a row that is not there.
    fn references(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let mut statement = reader.connection.prepare("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            let (table, id, parent): (String, Option<i64>, String) =
                (found.get(0)?, found.get(1)?, found.get(2)?);
            // A series without its device was named before.
            if table != "series" {
                let row = id.map_or_else(|| "a row".to_owned(), |id| format!("row {id}"));
                self.find_in(None, format!("{row} of {table} refers to a {parent} that is not there"))?;
            }
        }
        Ok(())
    }

    fn commands(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let mut statement = reader.connection.prepare(
            "SELECT command_key, command.id, device.id, state, args, result FROM command
             LEFT JOIN device USING (device_key) ORDER BY command_key",
        )?;
        let mut transitions = reader
            .connection
            .prepare("SELECT place, state FROM command_transition WHERE command_key = ?1 ORDER BY place")?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            let (key, id, device): (i64, String, Option<String>) =
                (found.get(0)?, found.get(1)?, found.get(2)?);
            let state: String = found.get(3)?;
            let mut problems = Vec::new();
            for (column, text) in [("args", found.get(4)?), ("result", found.get::<_, Option<String>>(5)?)] {
                if let Some(text) = text
                    && row::json::<serde_json::Value>(&text).is_err()
                {
                    problems.push(format!("{column} is not JSON"));
                }
            }
            let mut before: Option<CommandState> = None;
            let mut states = transitions.query([key])?;
            let mut place = 0;
            while let Some(transition) = states.next()? {
                let (at, name): (i64, String) = (transition.get(0)?, transition.get(1)?);
                if at != place {
                    problems.push(format!("transition {at} stands where {place} must"));
                }
                place = at.saturating_add(1);
                let Some(next) = CommandState::parse(&name) else {
                    problems.push(format!("transition {at} is to an unknown state {name:?}"));
                    continue;
                };
                match before {
                    None if next != CommandState::Queued => {
                        problems.push(format!("its life begins with {next}, not with queued"));
                    }
                    Some(before) if !before.may_become(next) => {
                        problems.push(format!("transition {at} goes from {before} to {next}"));
                    }
                    _ => {}
                }
                before = Some(next);
            }
            match before {
                None => problems.push("it has no transitions".into()),
                Some(last) if last.as_str() != state => {
                    problems.push(format!("it is {state}, but its last transition is to {last}"));
                }
                Some(_) => {}
            }
            for problem in problems {
                self.find_in(device.as_deref(), format!("command {id}: {problem}"))?;
            }
        }
        Ok(())
    }

    /// What was committed is what is there.
    fn accounts(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let account = reader.snapshot(read_account)?;
        self.verified.position = Position(account.last);
        self.verified.hot = u64::try_from(account.hot).unwrap_or_default();
        self.verified.blocks = u64::try_from(account.blocks).unwrap_or_default();
        self.verified.bundles = u64::try_from(account.bundles).unwrap_or_default();
        self.verified.sealed = u64::try_from(account.sealed).unwrap_or_default();
        self.verified.damaged = u64::try_from(account.damaged).unwrap_or_default();
        let Account {
            last,
            through,
            hot,
            sealed,
            conflicts,
            removed,
            damaged,
            aside,
            committed,
            unfinished,
            target,
            ..
        } = account;
        if hot + aside != last - through {
            let what = format!(
                "{hot} hot readings after position {through}, where {} were committed",
                last - through - aside
            );
            self.find_in(None, what)?;
        }
        let found = hot + sealed + conflicts + removed + damaged;
        if found != last {
            let what = format!(
                "the account does not add up: {last} readings were committed, but hot {hot} + sealed {sealed} + \
                 conflicts {conflicts} + removed {removed} + damaged {damaged} = {found}"
            );
            self.find_in(None, what)?;
        }
        if committed != last {
            let what = format!("the streams count {committed} readings, but {last} were committed");
            self.find_in(None, what)?;
        }
        if unfinished > 0 && target.is_none() {
            let what = format!(
                "{unfinished} blocks and bundles lie after position {through}, and none are being written"
            );
            self.find_in(None, what)?;
        }
        Ok(())
    }

    /// The hot rows, one by one.
    fn hot(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let mut told = 0;
        let mut untold = 0_u64;
        let result = reader.snapshot_halting(|connection| {
            let through = block::sealed_through(connection)?;
            let mut done = through.0;
            hot_row::visit(connection, through, |row| {
                let (before, position) = (std::mem::replace(&mut done, row.position), row.position);
                let mut problems = Vec::new();
                match row.readings {
                    Ok(readings) => {
                        let begin = position - readings.len() as i64;
                        let is_gap = begin > before;
                        if is_gap && begin - before > hot_row::count_damaged(connection, before, begin)? {
                            let what = format!("readings {} to {begin} are not there", before + 1);
                            problems.push((None, None, what));
                        }
                        if begin < before && before != through.0 {
                            problems.push((
                                None,
                                None,
                                format!("readings {} to {before} are there twice", begin + 1),
                            ));
                        }
                        for (place, reading) in (begin + 1..).zip(&readings) {
                            problems.extend(self.problem_of(place, reading)?);
                        }
                    }
                    Err(error) => problems.push((None, None, unreadable(error)?)),
                }
                for (series, times, what) in problems {
                    if told >= ALIKE_TOLD {
                        untold += 1;
                        continue;
                    }
                    told += 1;
                    let finding = series.map_or_else(Finding::default, |series| self.of_series(series));
                    self.find(Finding { times, what, ..finding })?;
                }
                Ok(true)
            })
        });
        if untold > 0 {
            self.find_in(None, format!("and {untold} problems more with hot readings"))?;
        }
        result
    }

    /// What is wrong with a hot reading: series, time and words.
    fn problem_of(&mut self, position: i64, reading: &Row) -> Result<Option<Problem>, Halt> {
        let series = reading.series.0;
        if !self.knows(series)? {
            let what = format!("hot reading {position}: its series {series} is not there");
            return Ok(Some((None, None, what)));
        }
        let Some(kind) = self.series.get(&series).and_then(|named| named.kind) else { return Ok(None) };
        let Err(error) = row::check(reading.at, &reading.value, kind) else { return Ok(None) };
        let times = reading.at.is_valid_for_reading().then_some((reading.at, reading.at));
        Ok(Some((Some(series), times, format!("hot reading {position}: {}", unreadable(error)?))))
    }

    /// Blocks without readings, readings without a block, blocks without a series.
    fn orphans(&mut self) -> Result<(), Halt> {
        let reader = self.reader;
        let (without, lost, doubled) = reader.snapshot(|connection| {
            let mut blocks: Vec<i64> = Vec::new();
            let mut statement = connection.prepare("SELECT block_id FROM block")?;
            let mut rows = statement.query([])?;
            while let Some(found) = rows.next()? {
                blocks.push(found.get(0)?);
            }
            blocks.sort_unstable();
            let count = blocks.len();
            blocks.dedup();
            let doubled = count - blocks.len();
            let mut blocks = blocks.into_iter().peekable();
            let (mut without, mut lost) = (Vec::new(), Vec::new());
            let mut statement = connection.prepare("SELECT block_id FROM block_data ORDER BY block_id")?;
            let mut rows = statement.query([])?;
            while let Some(found) = rows.next()? {
                let id: i64 = found.get(0)?;
                while let Some(block) = blocks.next_if(|block| *block < id) {
                    without.push(block);
                }
                if blocks.next_if_eq(&id).is_none() {
                    lost.push(id);
                }
            }
            without.extend(blocks);
            Ok((without, lost, doubled))
        })?;
        for (place, block) in without.iter().enumerate() {
            if place as u64 >= ALIKE_TOLD {
                self.find_in(None, format!("and {} blocks more without readings", without.len() - place))?;
                break;
            }
            let finding = self.locate(*block)?;
            let what = "its readings are not there (no row in block_data)".into();
            self.find(Finding { what, ..finding })?;
        }
        for (place, block) in lost.iter().enumerate() {
            if place as u64 >= ALIKE_TOLD {
                self.find_in(None, format!("and {} more without a row in block", lost.len() - place))?;
                break;
            }
            let what = "readings without a row in block: no query finds them".into();
            self.find(Finding { block: Some(*block), what, ..Finding::default() })?;
        }
        if doubled > 0 {
            self.find_in(None, format!("{doubled} blocks share their readings with another block"))?;
        }
        Ok(())
    }

    /// A finding that names a block by its number alone.
    fn locate(&self, block: i64) -> Result<Finding, Halt> {
        let mut statement = self
            .reader
            .connection
            .prepare_cached("SELECT series_id, first_at, last_at FROM block WHERE block_id = ?1")?;
        let mut rows = statement.query([block])?;
        let Some(found) = rows.next()? else {
            return Ok(Finding { block: Some(block), ..Finding::default() });
        };
        let times = Some((Timestamp(found.get(1)?), Timestamp(found.get(2)?)));
        Ok(Finding { block: Some(block), times, ..self.of_series(found.get(0)?) })
    }

    /// Every bundle.
    fn bundles(&mut self, total: u64) -> Result<(), Halt> {
        let reader = self.reader;
        self.verified.bundles = 0;
        let (mut after, mut more) = (i64::MIN, true);
        while more {
            let opened = self.verified.opened;
            let looked = reader.snapshot_halting(|connection| {
                let through = block::sealed_through(connection)?.0;
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT {} FROM bundle WHERE bundle_id > ?1 ORDER BY bundle_id",
                    shelf::COLUMNS
                ))?;
                let mut rows = statement.query([after])?;
                while let Some(found) = rows.next()? {
                    if self.verified.opened - opened >= READINGS_PER_LOOK {
                        return Ok(true);
                    }
                    after = found.get(0)?;
                    if found.get::<_, i64>(3)? <= through {
                        self.bundle(found)?;
                    }
                }
                Ok(false)
            });
            more = match looked {
                Ok(more) => more,
                Err(Halt::Stopped) => return Err(Halt::Stopped),
                Err(Halt::Failed(error)) => {
                    let told = unreadable(error)?;
                    let what = format!("bundles after bundle {} cannot be read: {told}", after.max(0));
                    return self.find_in(None, what);
                }
            };
            self.progress(Stage::Blocks, self.verified.opened, total)?;
        }
        Ok(())
    }

    fn bundle(&mut self, found: &rusqlite::Row<'_>) -> Result<(), Halt> {
        self.verified.bundles += 1;
        let (id, shelf): (i64, i64) = (found.get(0)?, found.get(1)?);
        let pieces = match shelf::read_meta(found).and_then(|meta| shelf::open(&meta, found)) {
            Ok(pieces) => pieces,
            Err(error) => {
                let first = shelf.saturating_mul(bundle::SHELF);
                let last = first.saturating_add(bundle::SHELF - 1);
                let what =
                    format!("{}; it has readings of series from {first} to {last}", unreadable(error)?);
                let times = Some((Timestamp(found.get(5)?), Timestamp(found.get(6)?)));
                return self.find(Finding { times, what, ..Finding::default() });
            }
        };
        for (series, points) in pieces {
            self.verified.opened += points.len() as u64;
            if !self.knows(series.0)? {
                let what = format!("bundle {id} has readings of series {}, which is not there", series.0);
                self.find_in(None, what)?;
                continue;
            }
            let kind = self.series.get(&series.0).and_then(|named| named.kind);
            if kind.is_some_and(|kind| kind != points.kind()) {
                let what = format!("bundle {id} has readings of kind {}", points.kind());
                self.find(Finding { what, ..self.of_series(series.0) })?;
            }
            self.latest(series.0, points.times().last().copied())?;
        }
        Ok(())
    }

    /// Every block of every series.
    fn blocks(&mut self, total: u64) -> Result<(), Halt> {
        let reader = self.reader;
        self.verified.blocks = 0;
        let mut series = -1;
        loop {
            // From one series to the next by seeking: blocks of a series that is not there are found too.
            let next: Result<Option<i64>, StoreError> = reader.snapshot(|connection| {
                Ok(connection
                    .prepare_cached("SELECT min(series_id) FROM block WHERE series_id > ?1")?
                    .query_row([series], |row| row.get(0))?)
            });
            series = match next {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(error) => {
                    // Past what cannot be read, as far as the series are known by name.
                    let told = unreadable(error)?;
                    let Some(known) = self.series.keys().filter(|known| **known > series).min().copied()
                    else {
                        let what = format!("blocks of series after {series}: {told}");
                        return self.find_in(None, what);
                    };
                    known
                }
            };
            if !self.knows(series)? {
                self.find_in(None, format!("there are blocks of series {series}, which is not there"))?;
            }
            self.blocks_of(series, total)?;
        }
    }

    fn blocks_of(&mut self, series: i64, total: u64) -> Result<(), Halt> {
        let reader = self.reader;
        let kind = self.series.get(&series).and_then(|named| named.kind);
        let mut after = (i64::MIN, i64::MIN);
        let mut newest: Option<i64> = None;
        let mut more = true;
        while more {
            let opened = self.verified.opened;
            let looked = reader.snapshot_halting(|connection| {
                let through = block::sealed_through(connection)?.0;
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT {} FROM block WHERE series_id = ?1 AND (first_at, block_id) > (?2, ?3)
                     ORDER BY first_at, block_id",
                    block::COLUMNS
                ))?;
                let mut rows = statement.query((series, after.0, after.1))?;
                while let Some(found) = rows.next()? {
                    let (id, first_at): (i64, i64) = (found.get(0)?, found.get(1)?);
                    let day = |at| Step::D1.floor(Timestamp(at));
                    if self.verified.opened - opened >= READINGS_PER_LOOK && day(after.0) != day(first_at) {
                        return Ok(true);
                    }
                    after = (first_at, id);
                    if found.get::<_, i64>(4)? > through {
                        // Being written: no query sees it yet.
                        continue;
                    }
                    self.verified.blocks += 1;
                    let last_at: i64 = found.get(2).unwrap_or(first_at);
                    newest = newest.max(Some(last_at));
                    let checked = block::check::check(connection, found, kind)?;
                    self.verified.opened += checked.readings;
                    for what in checked.problems {
                        let times = Some((Timestamp(first_at), Timestamp(last_at)));
                        self.find(Finding { block: Some(id), times, what, ..self.of_series(series) })?;
                    }
                }
                Ok(false)
            });
            more = match looked {
                Ok(more) => more,
                Err(Halt::Stopped) => return Err(Halt::Stopped),
                Err(Halt::Failed(error)) => {
                    let told = unreadable(error)?;
                    let what = format!("its blocks from {} on cannot be read: {told}", after.0.max(0));
                    self.find(Finding { what, ..self.of_series(series) })?;
                    return Ok(());
                }
            };
            self.progress(Stage::Blocks, self.verified.opened, total)?;
        }
        self.latest(series, newest)
    }

    /// The latest reading that stands with the series is not behind what is sealed of it.
    fn latest(&mut self, series: i64, newest: Option<i64>) -> Result<(), Halt> {
        let said: Option<i64> = self
            .reader
            .connection
            .prepare_cached("SELECT max(latest_at) FROM series WHERE series_id = ?1")?
            .query_row([series], |row| row.get(0))?;
        if self.series.contains_key(&series) && said < newest {
            let at = newest.unwrap_or_default();
            let what = format!(
                "latest_at is {}, but a sealed reading is of {at}",
                said.map_or_else(|| "missing".to_owned(), |said| said.to_string())
            );
            let times = Some((Timestamp(at), Timestamp(at)));
            self.find(Finding { times, what, ..self.of_series(series) })?;
        }
        Ok(())
    }
}

impl Reader {
    /// [`Reader::snapshot`] for work that may be stopped.
    fn snapshot_halting<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Halt>) -> Result<T, Halt> {
        let mut halted = None;
        let result = self.snapshot(|connection| {
            work(connection).map_err(|halt| match halt {
                Halt::Failed(error) => error,
                Halt::Stopped => {
                    halted = Some(Halt::Stopped);
                    StoreError::Busy("stopped".into())
                }
            })
        });
        result.map_err(|error| halted.unwrap_or(Halt::Failed(error)))
    }
}

/// What a damaged part is called; an error that is not damage ends the check.
fn unreadable(error: StoreError) -> Result<String, Halt> {
    match error {
        StoreError::Corrupt(what)
        | StoreError::Fatal(what)
        | StoreError::NotOurs(what)
        | StoreError::Invalid(what) => Ok(what),
        StoreError::Sqlite(error) => Ok(error.to_string()),
        StoreError::NotFound(what) => Ok(format!("no such {what}")),
        other => Err(Halt::Failed(other)),
    }
}

/// What was committed and where it is, in one state of the file.
#[derive(Debug, Clone, Copy)]
struct Account {
    last: i64,
    through: i64,
    target: Option<i64>,
    hot: i64,
    sealed: i64,
    conflicts: i64,
    /// Readings that retention took away.
    removed: i64,
    /// Readings that were damaged and put aside.
    damaged: i64,
    /// Those of them that come after `through`.
    aside: i64,
    /// Readings in the stored batches of all streams.
    committed: i64,
    blocks: i64,
    bundles: i64,
    /// Blocks and bundles beyond `through`.
    unfinished: i64,
}

fn read_account(connection: &Connection) -> Result<Account, StoreError> {
    let through = block::sealed_through(connection)?.0;
    let number = |sql: &str| -> Result<i64, StoreError> {
        Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    };
    let count = |sql: &str| -> Result<(i64, i64), StoreError> {
        Ok(connection.prepare_cached(sql)?.query_row([through], |row| Ok((row.get(0)?, row.get(1)?)))?)
    };
    let (blocks, in_blocks) =
        count("SELECT count(*), coalesce(sum(count), 0) FROM block WHERE position <= ?1")?;
    let (bundles, in_bundles) =
        count("SELECT count(*), coalesce(sum(count), 0) FROM bundle WHERE position <= ?1")?;
    let (blocks_beyond, _) = count("SELECT count(*), 0 FROM block WHERE position > ?1")?;
    let (bundles_beyond, _) = count("SELECT count(*), 0 FROM bundle WHERE position > ?1")?;
    Ok(Account {
        last: writer::last_position(connection)?.0,
        through,
        target: connection.query_row("SELECT target FROM sealed", [], |row| row.get(0))?,
        hot: hot_row::count_after(connection, Position(through))?,
        sealed: in_blocks + in_bundles,
        conflicts: number("SELECT coalesce(sum(conflicts), 0) FROM series")?,
        removed: number("SELECT coalesce(sum(removed), 0) FROM series")?,
        damaged: number("SELECT coalesce(sum(count), 0) FROM damaged")?,
        aside: hot_row::count_damaged(connection, through, i64::MAX)?,
        committed: number("SELECT coalesce(sum(readings), 0) FROM stream")?,
        blocks,
        bundles,
        unfinished: blocks_beyond + bundles_beyond,
    })
}
