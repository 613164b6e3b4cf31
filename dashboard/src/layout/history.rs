//! Undo and redo of what a person does to the layout.
//!
//! A step is a whole layout: there are few charts, and nothing can be put back wrongly. What happens by itself, such as
//! the first layout growing with the fleet, is no step, and neither is looking at another tab.

use std::collections::VecDeque;

use egui_tiles::{Container, Tile, Tree};

use super::{Pane, no_spec, pane_of};

/// Most steps that are kept; the oldest goes first.
const STEPS_MAX: usize = 100;

/// A layout at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    pub(super) tree: Tree<Pane>,
    pub(super) automatic: bool,
}

impl Moment {
    pub(super) fn new(tree: &Tree<Pane>, automatic: bool) -> Self {
        let mut tree = tree.clone();
        // What the hub knows of a series is no part of what a person did.
        for tile in tree.tiles.tiles_mut() {
            if let Tile::Pane(pane) = tile {
                pane.spec = no_spec();
            }
        }
        Self { tree, automatic }
    }

    /// The same with every group of tabs at its first one, to compare without them.
    fn without_tabs(&self) -> Self {
        let mut same = self.clone();
        for tile in same.tree.tiles.tiles_mut() {
            if let Tile::Container(Container::Tabs(tabs)) = tile {
                tabs.active = tabs.children.first().copied();
            }
        }
        same
    }

    /// The chart whose title is all that is different.
    fn retitled(&self, other: &Self) -> Option<u64> {
        let mut changed = None;
        for pane in other.tree.tiles.tiles().filter_map(pane_of) {
            let before = self.tree.tiles.tiles().filter_map(pane_of).find(|p| p.chart == pane.chart)?;
            if before.title != pane.title && changed.replace(pane.chart.0).is_some() {
                return None;
            }
        }
        let mut same = self.clone();
        for tile in same.tree.tiles.tiles_mut() {
            if let Tile::Pane(pane) = tile
                && Some(pane.chart.0) == changed
            {
                pane.title = other
                    .tree
                    .tiles
                    .tiles()
                    .filter_map(pane_of)
                    .find(|p| p.chart == pane.chart)?
                    .title
                    .clone();
            }
        }
        (same.tree == other.tree).then_some(changed).flatten()
    }
}

/// The layouts before this one and after it.
#[derive(Debug)]
pub(super) struct History {
    past: VecDeque<Moment>,
    present: Moment,
    future: Vec<Moment>,
    /// The chart that the last step gave another title: typing a title is one step.
    titling: Option<u64>,
}

impl History {
    pub(super) const fn new(present: Moment) -> Self {
        Self { past: VecDeque::new(), present, future: Vec::new(), titling: None }
    }

    /// Takes what is there now as the present without making a step.
    pub(super) fn replace(&mut self, now: Moment) {
        self.present = now;
    }

    /// Makes a step if a person has changed something.
    pub(super) fn note(&mut self, now: Moment) {
        if now == self.present {
            return;
        }
        if now.without_tabs() == self.present.without_tabs() {
            self.present = now;
            return;
        }
        let titling = self.present.retitled(&now);
        let before = std::mem::replace(&mut self.present, now);
        if titling.is_none() || titling != self.titling {
            if self.past.len() == STEPS_MAX {
                self.past.pop_front();
            }
            self.past.push_back(before);
        }
        self.titling = titling;
        self.future.clear();
    }

    pub(super) fn undo(&mut self) -> Option<Moment> {
        let before = self.past.pop_back()?;
        self.titling = None;
        self.future.push(std::mem::replace(&mut self.present, before.clone()));
        Some(before)
    }

    pub(super) fn redo(&mut self) -> Option<Moment> {
        let after = self.future.pop()?;
        self.titling = None;
        self.past.push_back(std::mem::replace(&mut self.present, after.clone()));
        Some(after)
    }

    pub(super) fn can_undo(&self) -> bool {
        !self.past.is_empty()
    }

    pub(super) const fn can_redo(&self) -> bool {
        !self.future.is_empty()
    }
}
