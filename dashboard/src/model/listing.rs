//! The order of the device list: filtered, grouped, sorted, and made into rows once and not with every frame.

use std::collections::{BTreeMap, HashSet};

use protocol::{DeviceId, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use super::devices::{Device, Status};

/// An order by time moves with every reading: it is made again at most this often, in microseconds.
const MOVES_MICROS: i64 = 2_000_000;

/// What devices are put together by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Not at all.
    #[default]
    Nothing,
    /// What they are.
    Model,
    /// Their tags; a device with several stands under each.
    Tag,
    /// How they are doing.
    State,
}

impl GroupBy {
    /// All, in the order of the menu.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Model, Self::Tag, Self::State];

    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Nothing => "Not grouped",
            Self::Model => "By model",
            Self::Tag => "By tag",
            Self::State => "By state",
        }
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    /// By name.
    #[default]
    Name,
    /// What is not as it should be.
    State,
    /// What has been silent for longest.
    Staleness,
    /// What was heard last.
    LastSeen,
}

impl SortBy {
    /// All, in the order of the menu.
    pub const ALL: [Self; 4] = [Self::Name, Self::State, Self::Staleness, Self::LastSeen];

    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::State => "Abnormal first",
            Self::Staleness => "Longest silent first",
            Self::LastSeen => "Last heard first",
        }
    }

    const fn moves(self) -> bool {
        matches!(self, Self::Staleness | Self::LastSeen)
    }
}

/// How the list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListOrder {
    /// What devices are put together by.
    pub group: GroupBy,
    /// What comes first, in each group.
    pub sort: SortBy,
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListRow {
    /// The name of a group.
    Group {
        /// The name.
        name: String,
        /// How they are doing, if that is what they have in common.
        status: Option<Status>,
        /// How many are in it.
        count: usize,
        /// Whether they are hidden.
        is_folded: bool,
    },
    /// A device.
    Device(DeviceId),
    /// A metric of a device whose metrics are shown.
    Metric(DeviceId, usize),
}

/// The list as it stands.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) order: ListOrder,
    pub(super) filter: String,
    pub(super) rows: Vec<ListRow>,
    /// The devices that fit the filter, each once, in the order of the list.
    pub(super) listed: Vec<DeviceId>,
    folded: HashSet<String>,
    made_at: Timestamp,
    /// Something was heard since then.
    pub(super) has_moved: bool,
    /// Devices looked at, ever.
    pub(super) work: u64,
}

/// The place of a state when what is not as it should be comes first.
const fn severity(status: Status) -> u8 {
    match status {
        Status::OutOfRange => 0,
        Status::Offline => 1,
        Status::Stale => 2,
        Status::Live => 3,
    }
}

impl Listing {
    pub(super) fn toggle_fold(&mut self, name: String) {
        if !self.folded.remove(&name) {
            self.folded.insert(name);
        }
    }

    /// When the order is made again because of what was heard.
    pub(super) fn moves_at(&self) -> Option<Timestamp> {
        (self.has_moved && self.order.sort.moves()).then(|| self.made_at.plus_micros(MOVES_MICROS))
    }

    /// Makes the rows of these devices, which come in the order of their names with their states.
    pub(super) fn make(&mut self, devices: &[(&Device, Status)], now: Timestamp) {
        self.made_at = now;
        self.has_moved = false;
        self.work += devices.len() as u64;
        let filter = Filter::parse(&self.filter);
        let mut fitting: Vec<(&Device, Status)> =
            devices.iter().filter(|(device, status)| filter.fits(device, *status)).copied().collect();
        match self.order.sort {
            SortBy::Name => {}
            SortBy::State => fitting.sort_by_key(|(_, status)| severity(*status)),
            SortBy::Staleness => fitting.sort_by_key(|(device, _)| device.last_heard()),
            SortBy::LastSeen => fitting.sort_by_key(|(device, _)| std::cmp::Reverse(device.last_heard())),
        }
        self.rows.clear();
        self.listed.clear();
        if self.order.group == GroupBy::Nothing {
            for (device, _) in fitting {
                self.listed.push(device.info.id.clone());
                push(&mut self.rows, device);
            }
            return;
        }
        // What has no group stands last; states stand in the order of their severity.
        type Key = (u8, String);
        let mut groups: BTreeMap<Key, Vec<(&Device, Status)>> = BTreeMap::new();
        let none = |what: &str| (u8::MAX, format!("No {what}"));
        for (device, status) in fitting {
            let info = &device.info;
            let keys: Vec<Key> = match self.order.group {
                GroupBy::Nothing => Vec::new(),
                GroupBy::Model => vec![info.model.clone().map_or_else(|| none("model"), |model| (0, model))],
                GroupBy::Tag if info.tags.is_empty() => vec![none("tags")],
                GroupBy::Tag => info.tags.iter().map(|tag| (0, Tag::as_str(tag).to_owned())).collect(),
                GroupBy::State => vec![(severity(status), status.label().to_owned())],
            };
            for key in keys {
                groups.entry(key).or_default().push((device, status));
            }
        }
        let mut seen: HashSet<&DeviceId> = HashSet::new();
        for ((_, name), members) in groups {
            let is_folded = self.folded.contains(&name);
            let status = (self.order.group == GroupBy::State).then(|| members[0].1);
            self.rows.push(ListRow::Group { name, status, count: members.len(), is_folded });
            for (device, _) in members {
                if seen.insert(&device.info.id) {
                    self.listed.push(device.info.id.clone());
                }
                if !is_folded {
                    push(&mut self.rows, device);
                }
            }
        }
    }
}

fn push(rows: &mut Vec<ListRow>, device: &Device) {
    rows.push(ListRow::Device(device.info.id.clone()));
    if device.expanded {
        let count = device.info.metrics.len();
        rows.extend((0..count).map(|index| ListRow::Metric(device.info.id.clone(), index)));
    }
}

/// What is typed above the list: words that all must fit, `status:offline` among them.
struct Filter {
    words: Vec<String>,
    status: Vec<String>,
}

impl Filter {
    fn parse(text: &str) -> Self {
        let mut filter = Self { words: Vec::new(), status: Vec::new() };
        for word in text.to_lowercase().split_whitespace() {
            match word.strip_prefix("status:") {
                Some(status) => filter.status.push(status.to_owned()),
                None => filter.words.push(word.to_owned()),
            }
        }
        filter
    }

    fn fits(&self, device: &Device, status: Status) -> bool {
        self.status.iter().all(|s| status.label().replace(' ', "_").starts_with(s.as_str()))
            && self.words.iter().all(|word| {
                let has = |text: &str| text.to_lowercase().contains(word.as_str());
                has(device.info.id.as_str())
                    || device.info.model.as_deref().is_some_and(has)
                    || device.info.tags.iter().any(|tag| has(tag.as_str()))
                    || device.info.metrics.iter().any(|m| has(m.declaration.name.as_str()))
            })
    }
}
