//! What the command palette finds: verbs, commands of the selected device, charts, devices, metrics.
//!
//! The candidates are listed once for a fleet and searched once for what was typed, not once a frame: with ten
//! thousand devices there are fifty thousand of them.

use protocol::{DeviceId, SeriesId};

use crate::action::{Action, ChartId};
use crate::format;
use crate::fuzzy::Query;
use crate::layout::{self, Layout};
use crate::model::Model;
use crate::model::devices::metric_label;
use crate::model::exports::ExportKind;
use crate::model::hubs;
use crate::verb::{Chord, Verb};

/// Most rows that are found. Chosen: who does not see it among these types one more letter.
pub const FOUND_MAX: usize = 60;

/// What a row stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Something the window can be told.
    Verb(Verb),
    /// A command that the selected device declares, by name.
    Command(String),
    /// A hub that is remembered.
    Hub(u32),
    /// A layout that was saved, by name.
    Layout(String),
    /// A chart of the layout.
    Chart(ChartId),
    /// A chart of the layout, put on the clipboard.
    Copy(ChartId, ExportKind),
    /// A device.
    Device(DeviceId),
    /// A metric of a device.
    Metric(SeriesId),
}

impl Target {
    /// What kind of thing it is, in a word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Verb(_) => "",
            Self::Command(_) => "command",
            Self::Hub(_) => "hub",
            Self::Layout(_) => "layout",
            Self::Chart(_) | Self::Copy(..) => "chart",
            Self::Device(_) => "device",
            Self::Metric(_) => "metric",
        }
    }

    /// Of two that fit alike, the lower one comes first.
    const fn rank(&self) -> i32 {
        match self {
            Self::Command(_) => 0,
            Self::Verb(_) => 1,
            Self::Hub(_) | Self::Layout(_) => 2,
            Self::Chart(_) => 3,
            Self::Device(_) => 4,
            Self::Metric(_) => 5,
            Self::Copy(..) => 6,
        }
    }
}

/// A row as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is called.
    pub text: String,
    /// More about it.
    pub detail: String,
    /// What Enter does; or why it cannot be done now.
    pub action: Result<Action, &'static str>,
}

struct Candidate {
    target: Target,
    /// What it is searched by, in lower case.
    text: String,
}

/// What the candidates were listed from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    revision: u64,
    selection: Option<DeviceId>,
    charts: Vec<ChartId>,
    layouts: Vec<String>,
    hubs: Vec<u32>,
}

/// What was found for what is typed, kept until one of them changes.
#[derive(Default)]
pub struct Found {
    listed: Option<Listed>,
    candidates: Vec<Candidate>,
    typed: Option<String>,
    best: Vec<usize>,
    /// How often candidates were listed and searched.
    work: (u64, u64),
}

impl Found {
    /// What fits what is typed, best first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.best.iter().map(|&i| &self.candidates[i].target)
    }

    /// How often all candidates were listed, since it was opened.
    pub const fn times_listed(&self) -> u64 {
        self.work.0
    }

    /// How often they were searched, since it was opened.
    pub const fn times_searched(&self) -> u64 {
        self.work.1
    }

    /// Forgets everything: the palette is closed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Searches again if something has changed.
    pub fn refresh(&mut self, typed: &str, model: &Model, layout: &Layout) {
        let listed = Listed {
            revision: model.devices.revision(),
            selection: model.selection.clone(),
            charts: layout.charts().map(|pane| pane.chart).collect(),
            layouts: model.library.names().map(str::to_owned).collect(),
            hubs: model.hubs.iter().map(|hub| hub.id).collect(),
        };
        if self.listed.as_ref() != Some(&listed) {
            self.candidates = candidates(model, layout);
            self.listed = Some(listed);
            self.work.0 += 1;
            self.typed = None;
        }
        if self.typed.as_deref() != Some(typed) {
            self.typed = Some(typed.to_owned());
            self.work.1 += 1;
            self.search(&Query::new(typed), model, layout);
        }
    }

    fn search(&mut self, query: &Query, model: &Model, layout: &Layout) {
        let mut scored: Vec<(i32, usize)> = Vec::new();
        for (i, candidate) in self.candidates.iter().enumerate() {
            // Before anything is typed, only what is few and can be done.
            let is_offered = match &candidate.target {
                Target::Verb(verb) => *verb != Verb::Palette && verb.action(model, layout).is_ok(),
                Target::Command(_) => true,
                Target::Hub(_)
                | Target::Layout(_)
                | Target::Chart(_)
                | Target::Copy(..)
                | Target::Device(_)
                | Target::Metric(_) => false,
            };
            if query.is_empty() {
                if is_offered {
                    scored.push((-candidate.target.rank(), i));
                }
            } else if let Some(score) = query.score(&candidate.text) {
                scored.push((score - candidate.target.rank() * 8, i));
            }
        }
        scored.sort_by_key(|(score, i)| (std::cmp::Reverse(*score), *i));
        self.best = scored.into_iter().take(FOUND_MAX).map(|(_, i)| i).collect();
    }
}

fn candidates(model: &Model, layout: &Layout) -> Vec<Candidate> {
    let mut all = Vec::new();
    let mut add = |target: Target, text: &str| all.push(Candidate { target, text: text.to_lowercase() });
    for verb in Verb::ALL {
        add(Target::Verb(*verb), verb.about().name);
    }
    if let Some(device) = model.selected_device() {
        for command in &device.info.commands {
            let name = command.name.as_str();
            let label = model.command_label(&device.info.id, name);
            add(Target::Command(name.to_owned()), &format!("{label} {name} {}", device.info.id));
        }
    }
    for hub in model.hubs.iter() {
        add(Target::Hub(hub.id), &format!("{} hub {}", hub.name, hubs::host(&hub.address)));
    }
    for name in model.library.names() {
        add(Target::Layout(name.to_owned()), &format!("{name} layout"));
    }
    for pane in layout.charts() {
        let text = chart_text(pane, model);
        add(Target::Chart(pane.chart), &text);
        for kind in [ExportKind::Picture, ExportKind::Csv] {
            add(Target::Copy(pane.chart, kind), &copy_text(&text, kind));
        }
    }
    for device in model.devices.iter() {
        let id = &device.info.id;
        let tags: Vec<&str> = device.info.tags.iter().map(protocol::Tag::as_str).collect();
        let what = device.info.model.as_deref().unwrap_or_default();
        add(Target::Device(id.clone()), &format!("{id} {what} {}", tags.join(" ")));
        for metric in &device.info.metrics {
            let label = metric_label(&metric.declaration);
            add(Target::Metric(metric.series), &format!("{label} {} {id}", metric.declaration.name));
        }
    }
    all
}

fn copy_text(chart: &str, kind: ExportKind) -> String {
    match kind {
        ExportKind::Picture => format!("Copy {chart} as picture"),
        other => format!("Copy {chart} as {}", other.ending().to_uppercase()),
    }
}

fn chart_text(pane: &layout::Pane, model: &Model) -> String {
    pane.spec.title.clone().unwrap_or_else(|| layout::title(pane, &model.devices))
}

/// A row as it is shown; `None` if what it stands for has gone.
pub fn row(target: &Target, model: &Model, layout: &Layout) -> Option<Row> {
    Some(match target {
        Target::Verb(verb) => Row {
            text: verb.about().name.to_owned(),
            detail: verb.about().keys().next().map(Chord::text).unwrap_or_default(),
            action: verb.action(model, layout),
        },
        Target::Command(name) => {
            let device = model.selected_device()?;
            Row {
                text: model.command_label(&device.info.id, name),
                detail: device.info.id.to_string(),
                action: Ok(Action::OpenForm(Some(name.clone()))),
            }
        }
        Target::Hub(id) => {
            let hub = model.hubs.get(*id)?;
            let is_shown = model.hubs.current == Some(*id);
            Row {
                text: hub.name.clone(),
                detail: hubs::host(&hub.address),
                action: if is_shown { Err("It is shown already") } else { Ok(Action::UseHub(*id)) },
            }
        }
        Target::Layout(name) => Row {
            text: name.clone(),
            detail: "Show its charts".to_owned(),
            action: model.library.has(name).then(|| Action::OpenLayout(name.clone())).ok_or("It is gone"),
        },
        Target::Chart(chart) => {
            let pane = layout.chart(*chart)?;
            let count = pane.names.len();
            let noun = if count == 1 { "series" } else { "series together" };
            Row {
                text: chart_text(pane, model),
                detail: format!("{count} {noun}"),
                action: Ok(Action::ShowChart(*chart)),
            }
        }
        Target::Copy(chart, kind) => {
            let pane = layout.chart(*chart)?;
            let place = if layout.is_in_front(*chart) { "" } else { "behind another tab" };
            Row {
                text: copy_text(&chart_text(pane, model), *kind),
                detail: place.to_owned(),
                action: Ok(Action::CopyChart { chart: *chart, kind: *kind }),
            }
        }
        Target::Device(id) => {
            let device = model.devices.get(id)?;
            let status = device.status(model.now()).label();
            let what = device.info.model.as_deref().map(|m| format::ellipsis(m, 24));
            Row {
                text: id.to_string(),
                detail: what.into_iter().chain([status.to_owned()]).collect::<Vec<_>>().join("  ·  "),
                action: Ok(Action::Select(Some(id.clone()))),
            }
        }
        Target::Metric(series) => {
            let info = model.series_info(*series)?;
            let latest = model.latest(*series);
            Row {
                text: format!("{} · {}", info.label(), info.device.info.id),
                detail: latest.map(|(_, v)| format::value_with_unit(&v, info.unit())).unwrap_or_default(),
                action: Ok(Action::AddChart { title: None, series: vec![*series] }),
            }
        }
    })
}
