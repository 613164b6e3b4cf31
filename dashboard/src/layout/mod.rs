//! Which charts there are, what each shows, and how they are docked; saved in a versioned file, with undo and redo.
//!
//! A chart remembers its series by the names of device and metric, not by the hub's numbers: a layout outlives a
//! database, and a series that does not exist yet appears when its device does.

mod file;
mod history;

use std::collections::BTreeMap;

use egui_tiles::{Container, Grid, SimplificationOptions, Tile, TileId, Tiles, Tree};
use protocol::{Kind, SeriesId};
use serde::{Deserialize, Serialize};

use crate::action::{Action, ChartId, Place};
use crate::model::devices::metric_label;
use crate::model::{Axis, Devices, Thresholds};
use crate::views::chart::ChartSpec;

pub use file::{FILE_MAX_BYTES, Imported, LayoutError, export, import};
use history::{History, Moment};

/// Charts of a first layout.
const FIRST_CHARTS: usize = 4;
/// Series in each chart of a first layout.
const FIRST_SERIES: usize = 4;
/// Most charts. Chosen: more cannot be seen, and a damaged file must not ask for a million.
const CHARTS_MAX: usize = 256;

/// A series by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeriesName {
    /// The device.
    pub device: String,
    /// The metric.
    pub metric: String,
}

/// The limits of a series by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedLimits {
    /// The series.
    #[serde(flatten)]
    pub name: SeriesName,
    /// Its limits.
    #[serde(flatten)]
    pub limits: Thresholds,
}

/// One chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pane {
    /// Names it.
    pub chart: ChartId,
    /// The title that a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it shows.
    pub names: Vec<SeriesName>,
    /// Axes that are not as usual, by unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub axes: BTreeMap<String, Axis>,
    /// Limits that a person set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<NamedLimits>,
    /// The same as the hub knows it; what does not exist yet is left out.
    #[serde(skip, default = "no_spec")]
    pub spec: ChartSpec,
}

impl Pane {
    /// A chart with nothing set.
    const fn new(chart: ChartId, title: Option<String>, names: Vec<SeriesName>) -> Self {
        Self { chart, title, names, axes: BTreeMap::new(), limits: Vec::new(), spec: no_spec() }
    }
}

const fn no_spec() -> ChartSpec {
    ChartSpec { title: None, series: Vec::new(), axes: BTreeMap::new(), thresholds: BTreeMap::new() }
}

/// All charts and their places.
#[derive(Debug)]
pub struct Layout {
    /// The docked charts.
    pub tree: Tree<Pane>,
    next_chart: u64,
    /// Made from what the fleet declares, and not touched by a person yet.
    automatic: bool,
    /// The revision of the devices that the charts were last matched with.
    matched: Option<u64>,
    changed: bool,
    /// A person has done something that is no step of the history yet.
    edited: bool,
    history: History,
}

impl Default for Layout {
    fn default() -> Self {
        Self { automatic: true, ..Self::with_tree(Tree::empty(tree_id()), 1) }
    }
}

/// How the tree is tidied up after each change.
pub const SIMPLIFICATION: SimplificationOptions = SimplificationOptions {
    prune_empty_tabs: true,
    prune_empty_containers: true,
    prune_single_child_tabs: true,
    prune_single_child_containers: true,
    all_panes_must_have_tabs: false,
    join_nested_linear_containers: true,
    ..SimplificationOptions::OFF
};

fn tree_id() -> egui::Id {
    egui::Id::unique("charts")
}

impl Layout {
    fn with_tree(tree: Tree<Pane>, next_chart: u64) -> Self {
        let history = History::new(Moment::new(&tree, false));
        Self { tree, next_chart, automatic: false, matched: None, changed: false, edited: false, history }
    }

    /// Whether there is something to save that a person made; forgets it.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The devices are those of another hub, or of another connection: the charts are matched anew.
    pub const fn forget_matches(&mut self) {
        self.matched = None;
    }

    /// What was taken could not be saved: it is there to be saved again.
    pub const fn keep_changed(&mut self) {
        self.changed = true;
    }

    /// Notes that a person moved or resized something.
    pub const fn touched(&mut self) {
        self.automatic = false;
        self.changed = true;
        self.edited = true;
    }

    /// Makes a step of the history of what a person has done, if that is over: a drag is one step.
    pub fn settle(&mut self) {
        if std::mem::take(&mut self.edited) {
            self.history.note(Moment::new(&self.tree, self.automatic));
        }
    }

    /// Shows the charts of another layout instead. A step that can be undone.
    pub fn replace(&mut self, other: Self, devices: &Devices) {
        self.settle();
        self.next_chart = self.next_chart.max(other.next_chart);
        self.tree = other.tree;
        self.touched();
        self.settle();
        self.matched = None;
        self.follow(devices);
    }

    /// Whether there is a step to undo.
    pub fn can_undo(&self) -> bool {
        self.history.can_undo()
    }

    /// Whether there is a step to do again.
    pub const fn can_redo(&self) -> bool {
        self.history.can_redo()
    }

    fn go_to(&mut self, moment: Option<Moment>) {
        if let Some(moment) = moment {
            self.tree = moment.tree;
            self.automatic = moment.automatic;
            self.changed = true;
        }
    }

    /// Lets the charts of a grid move up to where one was taken away.
    pub fn close_holes(&mut self) {
        for tile in self.tree.tiles.tiles_mut() {
            if let Tile::Container(Container::Grid(grid)) = tile {
                let mut full = Grid::new(grid.children().copied().collect());
                full.layout = grid.layout;
                full.col_shares.clone_from(&grid.col_shares);
                full.row_shares.clone_from(&grid.row_shares);
                *grid = full;
            }
        }
    }

    /// Whether there are no charts.
    pub fn is_empty(&self) -> bool {
        self.charts().next().is_none()
    }

    /// All charts.
    pub fn charts(&self) -> impl Iterator<Item = &Pane> {
        self.tree.tiles.tiles().filter_map(pane_of)
    }

    /// One chart.
    pub fn chart(&self, chart: ChartId) -> Option<&Pane> {
        self.charts().find(|p| p.chart == chart)
    }

    /// Whether a chart is in front of its tabs.
    pub fn is_in_front(&self, chart: ChartId) -> bool {
        let mut front = self.tree.active_tiles().into_iter().filter_map(|id| self.tree.tiles.get_pane(&id));
        front.any(|pane| pane.chart == chart)
    }

    /// The series of all charts that are on the screen, each once, in a stable order.
    pub fn shown(&self) -> Vec<SeriesId> {
        let mut series: Vec<SeriesId> = self
            .tree
            .active_tiles()
            .into_iter()
            .filter_map(|id| self.tree.tiles.get_pane(&id))
            .flat_map(|pane| pane.spec.series.iter().copied())
            .collect();
        series.sort_unstable();
        series.dedup();
        series
    }

    /// The limits of all charts, also of those behind other tabs.
    pub fn thresholds(&self) -> impl Iterator<Item = (SeriesId, Thresholds)> {
        self.charts().flat_map(|pane| pane.spec.thresholds.iter().map(|(series, limits)| (*series, *limits)))
    }

    /// Matches the charts with the devices if those have changed, and builds a first layout when there is none.
    pub fn follow(&mut self, devices: &Devices) {
        if self.matched == Some(devices.revision()) {
            return;
        }
        self.matched = Some(devices.revision());
        if self.automatic && devices.is_complete() {
            let charts = first_charts(devices);
            let same =
                self.charts().count() == charts.len() && self.charts().all(|p| charts.contains(&p.names));
            if !same {
                self.build(charts);
                self.history.replace(Moment::new(&self.tree, self.automatic));
            }
        }
        let mut titles: BTreeMap<String, usize> = BTreeMap::new();
        for pane in self.charts().filter(|p| p.title.is_none()) {
            *titles.entry(title(pane, devices)).or_default() += 1;
        }
        for tile in self.tree.tiles.tiles_mut() {
            if let Tile::Pane(pane) = tile {
                pane.spec = resolve(pane, devices);
                // Two charts of one name are told apart by what their devices are called.
                let made = title(pane, devices);
                if pane.title.is_none() && titles.get(&made).is_some_and(|n| *n > 1) {
                    pane.spec.title = common_name(pane).map(|name| format!("{made} · {name}"));
                }
            }
        }
    }

    fn build(&mut self, charts: Vec<Vec<SeriesName>>) {
        let mut tiles = Tiles::default();
        let ids: Vec<TileId> = charts
            .into_iter()
            .map(|names| {
                let chart = self.new_chart_id();
                tiles.insert_pane(Pane::new(chart, None, names))
            })
            .collect();
        let root = (!ids.is_empty()).then(|| tiles.insert_grid_tile(ids));
        self.tree.tiles = tiles;
        self.tree.root = root;
    }

    const fn new_chart_id(&mut self) -> ChartId {
        let id = ChartId(self.next_chart);
        self.next_chart = self.next_chart.saturating_add(1);
        id
    }

    /// Does what a user asked for, if it is about charts.
    pub fn apply(&mut self, action: &Action, devices: &Devices) {
        match action {
            Action::AddChart { title, series } => {
                let pane = Pane::new(ChartId(0), title.clone(), names_of(series, devices));
                self.add(pane, None);
            }
            Action::AddToChart { chart, series } => {
                let names = names_of(&[*series], devices);
                self.edit(*chart, |pane| {
                    pane.names
                        .extend(names.into_iter().filter(|n| !pane.names.contains(n)).collect::<Vec<_>>());
                });
            }
            Action::RemoveFromChart { chart, series } => {
                let names = names_of(&[*series], devices);
                self.edit(*chart, |pane| pane.names.retain(|n| !names.contains(n)));
                if self.chart(*chart).is_some_and(|pane| pane.names.is_empty()) {
                    self.close(*chart);
                }
            }
            Action::SplitChart { chart, place } => {
                if let Some(pane) = self.chart(*chart).cloned() {
                    self.add(pane, Some((*chart, *place)));
                }
            }
            Action::SeparateSeries(chart) => {
                let Some(pane) = self.chart(*chart).cloned() else { return };
                if let Some((first, others)) = pane.names.split_first() {
                    self.edit(*chart, |pane| pane.names = vec![first.clone()]);
                    for name in others.iter().rev() {
                        let (axes, limits) = (pane.axes.clone(), pane.limits.clone());
                        let one = Pane { axes, limits, ..Pane::new(*chart, None, vec![name.clone()]) };
                        self.add(one, Some((*chart, Place::Below)));
                    }
                }
            }
            Action::CloseChart(chart) => self.close(*chart),
            Action::RenameChart { chart, title } => {
                let title = Some(title.trim().to_owned()).filter(|t| !t.is_empty());
                self.edit(*chart, |pane| pane.title = title);
            }
            Action::ShowChart(chart) => {
                let wanted = *chart;
                if self.tree.make_active(|_, tile| pane_of(tile).is_some_and(|p| p.chart == wanted)) {
                    self.changed = true;
                }
            }
            Action::SetChart { chart, settings } => {
                let limits = settings.thresholds.iter().flat_map(|(series, limits)| {
                    names_of(&[*series], devices)
                        .into_iter()
                        .map(|name| NamedLimits { name, limits: *limits })
                });
                let limits: Vec<_> = limits.collect();
                self.edit(*chart, |pane| {
                    // What is set for series that the hub does not know yet stays.
                    let find = |name: &SeriesName| devices.find_series(&name.device, &name.metric);
                    pane.limits.retain(|kept| find(&kept.name).is_none());
                    pane.limits.extend(limits);
                    pane.axes.clone_from(&settings.axes);
                });
            }
            Action::ResetLayout => {
                let charts = first_charts(devices);
                self.build(charts);
                self.touched();
                self.automatic = true;
            }
            Action::UndoLayout => {
                self.settle();
                let before = self.history.undo();
                self.go_to(before);
            }
            Action::RedoLayout => {
                self.settle();
                let after = self.history.redo();
                self.go_to(after);
            }
            _ => return,
        }
        self.tree.simplify(&SIMPLIFICATION);
        self.settle();
        self.matched = None;
        self.follow(devices);
    }

    fn edit(&mut self, chart: ChartId, edit: impl FnOnce(&mut Pane)) {
        for tile in self.tree.tiles.tiles_mut() {
            if let Tile::Pane(pane) = tile
                && pane.chart == chart
            {
                edit(pane);
                break;
            }
        }
        self.touched();
    }

    fn tile_of(&self, chart: ChartId) -> Option<TileId> {
        self.tree
            .tiles
            .iter()
            .find(|(_, tile)| pane_of(tile).is_some_and(|p| p.chart == chart))
            .map(|(id, _)| *id)
    }

    fn close(&mut self, chart: ChartId) {
        if let Some(tile) = self.tile_of(chart) {
            self.tree.remove_recursively(tile);
            if self.tree.root == Some(tile) {
                self.tree.root = None;
            }
            self.close_holes();
            self.touched();
        }
    }

    fn add(&mut self, pane: Pane, beside: Option<(ChartId, Place)>) {
        if pane.names.is_empty() || self.charts().count() >= CHARTS_MAX {
            return;
        }
        self.touched();
        let pane = Pane { chart: self.new_chart_id(), spec: no_spec(), ..pane };
        let new = self.tree.tiles.insert_pane(pane);
        if let Some((chart, place)) = beside
            && let Some(old) = self.tile_of(chart)
        {
            let parent = self.tree.tiles.parent_of(old);
            let pair = vec![old, new];
            let container = match place {
                Place::Right => Container::new_horizontal(pair),
                Place::Below => Container::new_vertical(pair),
                Place::Tab => Container::new_tabs(pair),
            };
            let container = self.tree.tiles.insert_container(container);
            let replaced = match parent.and_then(|p| self.tree.tiles.get_mut(p)) {
                Some(Tile::Container(parent)) => parent.replace_child(old, container).is_some(),
                _ => false,
            };
            if !replaced {
                self.tree.root = Some(container);
            }
            return;
        }
        match self.tree.root.and_then(|root| self.tree.tiles.get_mut(root).map(|tile| (root, tile))) {
            None => self.tree.root = Some(new),
            Some((_, Tile::Container(container))) => container.add_child(new),
            Some((root, Tile::Pane(_))) => {
                self.tree.root = Some(self.tree.tiles.insert_grid_tile(vec![root, new]));
            }
        }
    }
}

const fn pane_of(tile: &Tile<Pane>) -> Option<&Pane> {
    match tile {
        Tile::Pane(pane) => Some(pane),
        Tile::Container(_) => None,
    }
}

fn resolve(pane: &Pane, devices: &Devices) -> ChartSpec {
    let find = |name: &SeriesName| devices.find_series(&name.device, &name.metric);
    let series: Vec<SeriesId> = pane.names.iter().filter_map(find).collect();
    let limits = pane.limits.iter().filter_map(|named| Some((find(&named.name)?, named.limits)));
    let thresholds = limits.filter(|(id, _)| series.contains(id)).collect();
    ChartSpec { title: pane.title.clone(), series, axes: pane.axes.clone(), thresholds }
}

fn names_of(series: &[SeriesId], devices: &Devices) -> Vec<SeriesName> {
    series
        .iter()
        .filter_map(|s| devices.series(*s))
        .map(|info| SeriesName {
            device: info.device.info.id.as_str().to_owned(),
            metric: info.declaration.name.as_str().to_owned(),
        })
        .collect()
}

/// What the names of a chart's devices begin with, without the number at the end.
fn common_name(pane: &Pane) -> Option<String> {
    let mut names = pane.names.iter().map(|n| n.device.as_str());
    let first = names.next()?;
    let common = names.fold(first, |common, name| {
        let length = common.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        common.get(..length).unwrap_or_default()
    });
    let common = common.trim_end_matches(|c: char| c.is_ascii_digit() || "-_.:/".contains(c));
    (common.len() > 2 && pane.names.len() > 1).then(|| common.to_owned())
}

/// One chart for each of the numbers that most devices of a model share, with the first few of those devices.
///
/// Models take turns, so that a mixed fleet is seen in its breadth and curves of one chart can be compared.
fn first_charts(devices: &Devices) -> Vec<Vec<SeriesName>> {
    struct Group {
        order: usize,
        devices: usize,
        names: Vec<SeriesName>,
    }
    type Groups<'a> = BTreeMap<(&'a str, Option<&'a str>), Group>;
    let mut models: BTreeMap<Option<&str>, Groups<'_>> = BTreeMap::new();
    let mut order = 0;
    for device in devices.iter() {
        let groups = models.entry(device.info.model.as_deref()).or_default();
        for metric in device.info.metrics.iter().filter(|m| m.declaration.kind == Kind::Number) {
            let declaration = &metric.declaration;
            let key = (declaration.name.as_str(), declaration.unit.as_deref());
            order += 1;
            let group = groups.entry(key).or_insert_with(|| Group { order, devices: 0, names: Vec::new() });
            group.devices += 1;
            if group.names.len() < FIRST_SERIES {
                group.names.push(SeriesName {
                    device: device.info.id.as_str().to_owned(),
                    metric: declaration.name.as_str().to_owned(),
                });
            }
        }
    }
    let mut queues: Vec<Vec<Group>> = models
        .into_values()
        .map(|groups| {
            let mut groups: Vec<Group> = groups.into_values().collect();
            groups.sort_by_key(|g| (std::cmp::Reverse(g.devices), g.order));
            groups
        })
        .filter(|groups| !groups.is_empty())
        .collect();
    queues.sort_by_key(|groups| (std::cmp::Reverse(groups[0].devices), groups[0].order));
    let turns = queues.iter().map(Vec::len).max().unwrap_or(0);
    let mut chosen: Vec<(usize, Group)> = Vec::new();
    for turn in 0..turns {
        for (model, queue) in queues.iter_mut().enumerate() {
            if turn == 0 || !queue.is_empty() {
                chosen.push((model, queue.remove(0)));
            }
        }
    }
    chosen.truncate(FIRST_CHARTS);
    // What belongs together stands together.
    chosen.sort_by_key(|(model, group)| (*model, group.order));
    chosen.into_iter().map(|(_, group)| group.names).collect()
}

/// The title of a chart: the given one, or what its series have in common.
pub fn title(pane: &Pane, devices: &Devices) -> String {
    if let Some(title) = &pane.title {
        return title.clone();
    }
    let mut metrics: Vec<String> = Vec::new();
    for name in &pane.names {
        let label = devices
            .find_series(&name.device, &name.metric)
            .and_then(|s| devices.series(s))
            .map_or_else(|| crate::format::humanize(&name.metric), |info| metric_label(info.declaration));
        if !metrics.contains(&label) {
            metrics.push(label);
        }
    }
    match (metrics.as_slice(), pane.names.as_slice()) {
        ([], _) => "Empty chart".to_owned(),
        ([metric], [only]) => format!("{metric} · {}", only.device),
        ([metric], _) => metric.clone(),
        ([first, second], _) => format!("{first}, {second}"),
        ([first, rest @ ..], _) => format!("{first} and {} more", rest.len()),
    }
}
