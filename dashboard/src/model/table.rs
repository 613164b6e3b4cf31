//! The table of all commands of the hub: which of them fit the filter, how far back all of those are known, and the next
//! page to ask for.
//!
//! The table shows no more than is known without a hole: a command far in the past that was loaded for a chart is not
//! shown until everything between it and now is. Filters that the hub knows are handed to it, so that a page brings only
//! what fits; the rest is filtered here.

use protocol::command::CommandState;
use protocol::viewer::{CommandInfo, CommandsRequest};
use protocol::{CommandId, DeviceId, Timestamp};

use super::commands::{COMMANDS_MAX, CommandLog, ended_at, issued_at};
use super::devices::Devices;

/// Commands in one page. Chosen: some screens, and quickly there.
const PAGE: u32 = 200;
/// Pages asked for in a row without one command that fits, before a person is asked whether to search on.
const FRUITLESS_MAX: u32 = 10;
/// Least time between two makings of the list, in microseconds: what changes faster cannot be read.
const PACE_MICROS: i64 = 100_000;

/// What the table is filtered by. Everything has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFilter {
    /// Words that have to be somewhere in the command.
    pub text: String,
    /// A part of the device's id, or all of it.
    pub device: String,
    /// A part of the command's name or label.
    pub name: String,
    /// A part of the name of who issued it.
    pub by: String,
    /// Its state is one of these; empty: any.
    pub states: Vec<CommandState>,
    /// It was under way in the stretch of time that the charts show.
    pub in_view: bool,
}

impl TableFilter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The part of a filter that the hub applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct HubFilter {
    device: Option<DeviceId>,
    states: Vec<CommandState>,
}

/// How far the table has been loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Older {
    /// There may be more; it is asked for when the end is near.
    More,
    /// It is on its way.
    Loading,
    /// Some pages brought nothing that fits: a person may want to search on.
    Fruitless,
    /// Everything that fits is here.
    Done,
    /// More were loaded than are kept.
    Full,
    /// The hub could not answer.
    Failed(String),
}

/// What a list was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    log: u64,
    filter: TableFilter,
    floor: Option<Timestamp>,
    view: (i64, i64),
}

/// The table.
#[derive(Debug)]
pub struct Table {
    /// Whether it is shown.
    pub open: bool,
    filter: TableFilter,
    /// What fits, newest first.
    rows: Vec<CommandId>,
    /// What the rows were made from.
    made_of: Option<Made>,
    made_at: Timestamp,
    /// Of which filter of the hub everything down to `loaded_to` is known.
    hub_filter: HubFilter,
    loaded_to: Option<Timestamp>,
    older: Older,
    fruitless: u32,
    rows_at_page: usize,
    is_end_near: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            open: false,
            filter: TableFilter::default(),
            rows: Vec::new(),
            made_of: None,
            made_at: Timestamp(0),
            hub_filter: HubFilter::default(),
            loaded_to: None,
            older: Older::More,
            fruitless: 0,
            rows_at_page: 0,
            is_end_near: false,
        }
    }
}

impl Table {
    /// What is shown, newest first.
    pub fn rows(&self) -> &[CommandId] {
        &self.rows
    }

    /// What it is filtered by.
    pub const fn filter(&self) -> &TableFilter {
        &self.filter
    }

    /// How far it has been loaded.
    pub const fn older(&self) -> &Older {
        &self.older
    }

    /// Everything that fits is shown that was issued since then; `None`: nothing is known yet, or everything.
    pub const fn loaded_to(&self) -> Option<Timestamp> {
        self.loaded_to
    }

    pub(super) fn set_filter(&mut self, filter: TableFilter, devices: &Devices) {
        let hub_filter = HubFilter {
            device: DeviceId::new(filter.device.trim()).ok().filter(|id| devices.get(id).is_some()),
            states: filter.states.clone(),
        };
        let is_same = hub_filter == self.hub_filter && self.filter.in_view == filter.in_view;
        if !is_same {
            self.hub_filter = hub_filter;
            self.loaded_to = None;
        }
        if !is_same || !matches!(self.older, Older::Done | Older::Loading | Older::Full) {
            self.older = Older::More;
        }
        self.filter = filter;
        self.fruitless = 0;
    }

    /// The end of what is shown has been reached, or is left again.
    pub(super) const fn set_end_near(&mut self, near: bool) {
        self.is_end_near = near;
    }

    /// Whether the end of what is shown is near.
    pub const fn is_end_near(&self) -> bool {
        self.is_end_near
    }

    /// Search on, or try again.
    pub(super) fn go_on(&mut self) {
        if self.older != Older::Loading {
            self.older = Older::More;
        }
        self.fruitless = 0;
    }

    /// Makes the list anew if something has changed. `known_to`: since when all commands of all devices are known.
    pub(super) fn refresh(
        &mut self,
        log: &CommandLog,
        label: impl Fn(&CommandInfo) -> String,
        known_to: Option<Timestamp>,
        view: (Timestamp, Timestamp),
        now: Timestamp,
    ) {
        // The oldest that is known is shown, though others of its microsecond may be missing.
        let known_to = known_to.map(|to| to.plus_micros(-1));
        let floor = match (known_to, self.loaded_to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let floor = floor.map(|f| log.forgotten_to().map_or(f, |forgotten| f.max(forgotten.plus_micros(1))));
        self.loaded_to = floor;
        // A view that follows moves with every frame; the list does so a few times a second.
        let step = |t: Timestamp| t.0.div_euclid(250_000);
        let view_key = if self.filter.in_view { (step(view.0), step(view.1)) } else { (0, 0) };
        let made = Made { log: log.revision(), filter: self.filter.clone(), floor, view: view_key };
        if let Some(before) = &self.made_of {
            let is_same_but_log = Made { log: before.log, ..made.clone() } == *before;
            let is_early = now.micros_since(self.made_at).abs() < PACE_MICROS;
            if is_same_but_log && (before.log == made.log || is_early) {
                return;
            }
        }
        self.made_of = Some(made);
        self.made_at = now;
        self.rows.clear();
        let fits = Matcher::new(&self.filter);
        if self.filter.in_view {
            let (from, to) = view;
            let in_view = |c: &&CommandInfo| {
                issued_at(c) <= to && ended_at(c).is_none_or(|end| end >= from) && fits.fits(c, &label)
            };
            self.rows.extend(log.newest_first().filter(in_view).map(|c| c.id.clone()));
        } else if let Some(floor) = floor {
            let known = log.newest_first().take_while(|c| issued_at(c) >= floor);
            self.rows.extend(known.filter(|c| fits.fits(c, &label)).map(|c| c.id.clone()));
        }
    }

    /// When the list has to be made anew although nothing arrives.
    pub(super) fn next_change(&self, log: &CommandLog) -> Option<Timestamp> {
        let is_old = self.made_of.as_ref().is_some_and(|made| made.log != log.revision());
        (self.open && is_old).then(|| self.made_at.plus_micros(PACE_MICROS))
    }

    /// The next page, if the end of what is known is near and there may be more.
    pub(super) fn wanted(&mut self, log: &CommandLog) -> Option<CommandsRequest> {
        if !self.open || self.filter.in_view || self.older != Older::More || !self.is_end_near {
            return None;
        }
        if self.loaded_to == Some(Timestamp(i64::MIN)) {
            self.older = Older::Done;
            return None;
        }
        if log.len() + PAGE as usize > COMMANDS_MAX {
            self.older = Older::Full;
            return None;
        }
        self.older = Older::Loading;
        self.rows_at_page = self.rows.len();
        Some(CommandsRequest {
            device: self.hub_filter.device.clone(),
            states: self.hub_filter.states.clone(),
            before: self.loaded_to.map(|to| to.plus_micros(1)),
            limit: Some(PAGE),
            ..CommandsRequest::default()
        })
    }

    /// A page has come that was asked for with this request; `found`: how many of it fit the whole filter.
    pub(super) fn answered(&mut self, asked: &CommandsRequest, commands: &[CommandInfo], found: usize) {
        let of = HubFilter { device: asked.device.clone(), states: asked.states.clone() };
        if of != self.hub_filter {
            // The filter has changed meanwhile.
            return;
        }
        if self.older != Older::Loading {
            return;
        }
        let end = asked.before.map_or(i64::MAX, |before| before.0);
        // The oldest of the page before comes again, because others may share its microsecond.
        match commands.iter().map(issued_at).min() {
            Some(oldest) if oldest.0.saturating_add(1) < end => {
                self.loaded_to = Some(self.loaded_to.map_or(oldest, |to| to.min(oldest)));
                self.fruitless = if found > 0 { 0 } else { self.fruitless + 1 };
                self.older = if self.fruitless >= FRUITLESS_MAX { Older::Fruitless } else { Older::More };
            }
            _ => {
                self.loaded_to = Some(Timestamp(i64::MIN));
                self.older = Older::Done;
            }
        }
    }

    /// Whether a command fits the filter.
    pub(super) fn fits(&self, command: &CommandInfo, label: impl Fn(&CommandInfo) -> String) -> bool {
        Matcher::new(&self.filter).fits(command, label)
    }

    pub(super) fn failed(&mut self, why: String) {
        if self.older == Older::Loading {
            self.older = Older::Failed(why);
        }
    }

    /// The connection is there again, or another database is.
    pub(super) fn start_again(&mut self) {
        self.loaded_to = None;
        self.made_of = None;
        self.older = Older::More;
        self.fruitless = 0;
    }
}

/// A filter in the form in which it is applied.
struct Matcher<'a> {
    words: Vec<String>,
    device: String,
    name: String,
    by: String,
    states: &'a [CommandState],
}

impl<'a> Matcher<'a> {
    fn new(filter: &'a TableFilter) -> Self {
        let small = |text: &str| text.trim().to_lowercase();
        Self {
            words: small(&filter.text).split_whitespace().map(str::to_owned).collect(),
            device: small(&filter.device),
            name: small(&filter.name),
            by: small(&filter.by),
            states: &filter.states,
        }
    }

    fn fits(&self, command: &CommandInfo, label: impl Fn(&CommandInfo) -> String) -> bool {
        let has = |text: &str, part: &str| part.is_empty() || text.to_lowercase().contains(part);
        if !self.states.is_empty() && !self.states.contains(&command.state) {
            return false;
        }
        if !has(command.device.as_str(), &self.device) || !has(&command.issued_by, &self.by) {
            return false;
        }
        if !self.name.is_empty()
            && !has(command.name.as_str(), &self.name)
            && !has(&label(command), &self.name)
        {
            return false;
        }
        if self.words.is_empty() {
            return true;
        }
        let mut all = format!(
            "{} {} {} {} {} {}",
            command.id,
            command.device,
            command.name,
            label(command),
            command.issued_by,
            super::outcome::label(command.state)
        );
        for (name, value) in &command.args {
            all.push_str(&format!(" {name}={value}"));
        }
        for text in [command.error.as_deref(), command.code.as_ref().map(protocol::MetricName::as_str)] {
            all.push(' ');
            all.push_str(text.unwrap_or_default());
        }
        if let Some(result) = &command.result {
            all.push_str(&format!(" {result}"));
        }
        let all = all.to_lowercase();
        self.words.iter().all(|word| all.contains(word.as_str()))
    }
}

/// How commands are written for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One row a command, with the columns of the hub's own export.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// The columns of the CSV, as the hub's `/v1/commands?format=csv` has them.
const COLUMNS: &str = "id,device,name,args,issued_at,issued_by,address,expires_at,delivery,forced,attempts,state,ended_at,\
                       code,error,result,cancel_asked_at,cancel_asked_by";

/// Writes commands for another program.
pub fn export<'a>(commands: impl Iterator<Item = &'a CommandInfo>, format: Format) -> String {
    let mut out = String::new();
    if format == Format::Csv {
        out.push_str(COLUMNS);
        out.push('\n');
    }
    for command in commands {
        match format {
            Format::JsonLines => out.push_str(&serde_json::to_string(command).unwrap_or_default()),
            Format::Csv => out.push_str(&row(command)),
        }
        out.push('\n');
    }
    out
}

fn row(command: &CommandInfo) -> String {
    let time = |at: Option<Timestamp>| {
        at.and_then(|at| jiff::Timestamp::from_microsecond(at.0).ok())
            .map(|at| format!("{at:.6}"))
            .unwrap_or_default()
    };
    let issued = command.transitions.first();
    let cancel = command.cancel.as_deref();
    let cells = [
        command.id.to_string(),
        command.device.to_string(),
        command.name.to_string(),
        serde_json::to_string(&command.args).unwrap_or_default(),
        time(issued.map(|t| t.at)),
        command.issued_by.clone(),
        issued.and_then(|t| t.address.clone()).unwrap_or_default(),
        time(Some(command.expires_at)),
        command.delivery.as_str().to_owned(),
        command.forced.to_string(),
        command.attempt.to_string(),
        command.state.as_str().to_owned(),
        time(ended_at(command)),
        command.code.as_ref().map(ToString::to_string).unwrap_or_default(),
        command.error.clone().unwrap_or_default(),
        command.result.as_ref().map(ToString::to_string).unwrap_or_default(),
        time(cancel.map(|c| c.at)),
        cancel.map(|c| c.by.clone()).unwrap_or_default(),
    ]
    .map(cell);
    cells.join(",")
}

/// A text as a cell of a CSV (RFC 4180).
fn cell(text: String) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
