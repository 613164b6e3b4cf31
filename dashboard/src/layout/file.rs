//! A layout as a file: written with its version, read with care.
//!
//! A file may come from anywhere, so nothing of it is believed: the tree is built anew from what can be reached, and
//! what is damaged, too large or from a later version is refused with the reason.

use std::collections::HashSet;

use egui_tiles::{Container, Grid, GridLayout, Linear, Tabs, Tile, TileId, Tiles, Tree};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{CHARTS_MAX, Layout, Pane, SeriesName, pane_of, tree_id};
use crate::action::ChartId;
use crate::model::layouts::clean_name;

/// Version of the saved format.
const VERSION: u32 = 1;
/// What an exported file says that it is.
const FORMAT: &str = "telemetry-layout";
/// Largest file that is read, in bytes. Chosen: a hundred times that of a full layout.
pub const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Most series of one chart in a file.
const SERIES_MAX: usize = 1_000;
/// Deepest nesting of docked charts in a file. Chosen: nobody splits a screen that often.
const DEPTH_MAX: usize = 32;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    next_chart: u64,
    tree: Tree<Pane>,
}

/// Why a text is not taken as a layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not JSON at all, or cut off.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// JSON of something else.
    #[error("it is not a layout of this dashboard: {0}")]
    NotALayout(String),
    /// Written by a later version.
    #[error(
        "it was written by a later version of the dashboard (format {found}; this one reads up to {VERSION}): update this one"
    )]
    Newer {
        /// The version of the file.
        found: u64,
    },
    /// It says what cannot be.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// A layout that was read from a file, with the name that stands in it.
#[derive(Debug)]
pub struct Imported {
    /// The name, if the file has one.
    pub name: Option<String>,
    /// The layout as it is kept.
    pub layout: Json,
}

impl Layout {
    /// Reads what [`Layout::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, LayoutError> {
        let value = serde_json::from_str(text).map_err(|e| LayoutError::NotJson(e.to_string()))?;
        Self::from_value(value)
    }

    /// The same for what is JSON already.
    pub fn from_value(value: Json) -> Result<Self, LayoutError> {
        check_version(&value)?;
        let saved: Saved =
            serde_json::from_value(value).map_err(|e| LayoutError::NotALayout(e.to_string()))?;
        let charts = saved.tree.tiles.tiles().filter_map(pane_of).count();
        if charts > CHARTS_MAX {
            return Err(LayoutError::Damaged(format!("it has {charts} charts: at most {CHARTS_MAX}")));
        }
        let mut rebuild = Rebuild {
            old: &saved.tree.tiles,
            new: Tiles::default(),
            seen: HashSet::new(),
            charts: HashSet::new(),
            next_chart: saved.next_chart.clamp(1, u64::MAX / 2),
        };
        let root = saved.tree.root.map(|root| rebuild.tile(root, 0)).transpose()?;
        let (tiles, next_chart) = (rebuild.new, rebuild.next_chart);
        let mut tree = Tree::empty(tree_id());
        tree.root = root;
        tree.tiles = tiles;
        Ok(Self::with_tree(tree, next_chart))
    }

    /// The layout as it is saved.
    pub fn to_value(&self) -> Option<Json> {
        let saved = Saved { version: VERSION, next_chart: self.next_chart, tree: self.tree.clone() };
        serde_json::to_value(&saved).ok()
    }

    /// The same as text.
    pub fn to_json(&self) -> Option<String> {
        serde_json::to_string_pretty(&self.to_value()?).ok()
    }
}

/// A saved layout as the text of a file that others can import.
pub fn export(name: &str, layout: &Json) -> Option<String> {
    let file = serde_json::json!({"format": FORMAT, "version": VERSION, "name": name, "layout": layout});
    serde_json::to_string_pretty(&file).ok()
}

/// Reads the text of such a file, or of a bare layout, and checks that it can be shown.
pub fn import(text: &str) -> Result<Imported, LayoutError> {
    let mut value: Json = serde_json::from_str(text).map_err(|e| LayoutError::NotJson(e.to_string()))?;
    let name = value.get("name").and_then(Json::as_str).map(clean_name).filter(|name| !name.is_empty());
    let layout = match value.get("format").and_then(Json::as_str) {
        Some(FORMAT) => {
            check_version(&value)?;
            let inside = value.get_mut("layout").map(Json::take);
            inside.ok_or_else(|| LayoutError::NotALayout("it has no \"layout\"".into()))?
        }
        Some(other) => {
            let other = crate::format::ellipsis(other, 40);
            return Err(LayoutError::NotALayout(format!("its format is {other:?}")));
        }
        None => value,
    };
    Layout::from_value(layout.clone())?;
    Ok(Imported { name, layout })
}

fn check_version(value: &Json) -> Result<(), LayoutError> {
    match value.get("version").and_then(Json::as_u64) {
        Some(found) if found > u64::from(VERSION) => Err(LayoutError::Newer { found }),
        Some(1..) => Ok(()),
        Some(0) | None => Err(LayoutError::NotALayout("it says no version".into())),
    }
}

/// Builds a tree anew from what can be reached from its root, each tile once.
struct Rebuild<'a> {
    old: &'a Tiles<Pane>,
    new: Tiles<Pane>,
    seen: HashSet<TileId>,
    charts: HashSet<ChartId>,
    next_chart: u64,
}

impl Rebuild<'_> {
    fn tile(&mut self, id: TileId, depth: usize) -> Result<TileId, LayoutError> {
        let damaged = |what: &str| LayoutError::Damaged(what.to_owned());
        if depth > DEPTH_MAX {
            return Err(damaged("its charts are nested too deep"));
        }
        if !self.seen.insert(id) {
            return Err(damaged("a tile is in two places"));
        }
        let old = self.old;
        match old.get(id).ok_or_else(|| damaged("a tile is missing"))? {
            Tile::Pane(pane) => self.pane(pane.clone()),
            Tile::Container(container) => {
                let mut places = Vec::new();
                for child in container.children() {
                    places.push((*child, self.tile(*child, depth + 1)?));
                }
                let children: Vec<TileId> = places.iter().map(|(_, new)| *new).collect();
                let container = match container {
                    Container::Tabs(tabs) => {
                        let mut new = Tabs::new(children);
                        let active = places.iter().find(|(old, _)| Some(*old) == tabs.active);
                        new.active = active.or(places.first()).map(|(_, new)| *new);
                        Container::Tabs(new)
                    }
                    Container::Linear(linear) => {
                        let mut new = Linear::new(linear.dir, children);
                        for (old, child) in &places {
                            new.shares.set_share(*child, share(linear.shares[*old])?);
                        }
                        Container::Linear(new)
                    }
                    Container::Grid(grid) => {
                        let mut new = Grid::new(children);
                        new.layout = match grid.layout {
                            GridLayout::Auto => GridLayout::Auto,
                            GridLayout::Columns(count) => GridLayout::Columns(count.clamp(1, CHARTS_MAX)),
                        };
                        let shares = |list: &[f32]| -> Result<Vec<f32>, LayoutError> {
                            list.iter().take(CHARTS_MAX).map(|s| share(*s)).collect()
                        };
                        new.col_shares = shares(&grid.col_shares)?;
                        new.row_shares = shares(&grid.row_shares)?;
                        Container::Grid(new)
                    }
                };
                Ok(self.new.insert_container(container))
            }
        }
    }

    fn pane(&mut self, mut pane: Pane) -> Result<TileId, LayoutError> {
        if pane.names.len() > SERIES_MAX {
            let count = pane.names.len();
            return Err(LayoutError::Damaged(format!("a chart has {count} series: at most {SERIES_MAX}")));
        }
        let mut names: HashSet<SeriesName> = HashSet::new();
        pane.names.retain(|name| names.insert(name.clone()));
        // Two charts of one number would be one for everything that is remembered of them.
        if pane.chart.0 >= u64::MAX / 2 || !self.charts.insert(pane.chart) {
            pane.chart = ChartId(self.next_chart);
            self.charts.insert(pane.chart);
        }
        self.next_chart = self.next_chart.max(pane.chart.0 + 1);
        Ok(self.new.insert_pane(pane))
    }
}

fn share(share: f32) -> Result<f32, LayoutError> {
    if share.is_finite() && (0.0..=1e6).contains(&share) {
        Ok(share)
    } else {
        Err(LayoutError::Damaged("the size of a chart is no size".into()))
    }
}
