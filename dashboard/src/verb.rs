//! Everything the window can be told by name or by key, in one list.
//!
//! From it are made the shortcuts, the sheet of shortcuts and the command palette, so that none of them can know a key
//! that the others do not. What a pointer does to a place (zooming at a time, dragging a chart) is not here: it needs
//! the place.

use egui::{InputState, Key};

use crate::action::Action;
use crate::layout::Layout;
use crate::model::listing::{GroupBy, ListOrder, SortBy};
use crate::model::wire::WireEdit;
use crate::model::{FormStage, Model};
use crate::settings::{Number, ThemeChoice, Times};

/// The widths of the view that have a key: name and microseconds.
pub const SPANS: [(&str, i64); 5] = [
    ("1 min", 60_000_000),
    ("5 min", 300_000_000),
    ("15 min", 900_000_000),
    ("1 h", 3_600_000_000),
    ("24 h", 86_400_000_000),
];

/// The scales that keys go through, in percent.
pub const SCALES: [u32; 8] = [80, 90, 100, 110, 125, 150, 175, 200];

/// Keys that are pressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord {
    key: Key,
    ctrl: bool,
    shift: bool,
    alt: bool,
}

impl Chord {
    /// A key alone.
    pub const fn key(key: Key) -> Self {
        Self { key, ctrl: false, shift: false, alt: false }
    }

    /// With Ctrl, or Cmd on a Mac.
    pub const fn ctrl(key: Key) -> Self {
        Self { ctrl: true, ..Self::key(key) }
    }

    /// With Alt.
    pub const fn alt(key: Key) -> Self {
        Self { alt: true, ..Self::key(key) }
    }

    /// With Shift as well.
    pub const fn shift(self) -> Self {
        Self { shift: true, ..self }
    }

    /// Whether it was pressed in this frame.
    pub fn is_pressed(self, input: &InputState) -> bool {
        let held = input.modifiers;
        // A sign such as `?` is reached with Shift on one keyboard and without on another.
        held.command == self.ctrl
            && held.alt == self.alt
            && (held.shift == self.shift || is_sign(self.key))
            && input.key_pressed(self.key)
    }

    /// Takes the key away from the widgets of this frame.
    pub fn consume(self, input: &mut InputState) {
        input.events.retain(|event| !matches!(event, egui::Event::Key { key, .. } if *key == self.key));
    }

    /// As it stands on the keys: `Ctrl+Shift+Z`.
    pub fn text(self) -> String {
        let key = match self.key {
            Key::ArrowLeft => "Left",
            Key::ArrowRight => "Right",
            Key::ArrowUp => "Up",
            Key::ArrowDown => "Down",
            Key::Escape => "Esc",
            Key::OpenBracket => "[",
            Key::CloseBracket => "]",
            Key::Slash => "/",
            Key::Comma => ",",
            Key::Plus => "+",
            Key::Equals => "=",
            Key::Minus => "-",
            Key::Questionmark => "?",
            Key::PageUp => "Page up",
            Key::PageDown => "Page down",
            other => other.name(),
        };
        let mut text = String::new();
        for (held, name) in [(self.ctrl, "Ctrl+"), (self.alt, "Alt+"), (self.shift, "Shift+")] {
            if held {
                text.push_str(name);
            }
        }
        text + key
    }
}

const fn is_sign(key: Key) -> bool {
    matches!(
        key,
        Key::Questionmark
            | Key::Slash
            | Key::OpenBracket
            | Key::CloseBracket
            | Key::Plus
            | Key::Minus
            | Key::Equals
            | Key::Comma
            | Key::Period
    )
}

/// What a verb is about; also the order on the sheet of shortcuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The stretch of time that is shown.
    Time,
    /// Charts and how they are docked.
    Charts,
    /// Devices and what they are told.
    Devices,
    /// The window itself.
    Window,
}

impl Group {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Time, Self::Charts, Self::Devices, Self::Window];

    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Time => "Time",
            Self::Charts => "Charts",
            Self::Devices => "Devices and commands",
            Self::Window => "Window",
        }
    }
}

/// What is known of a verb.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// What it is about.
    pub group: Group,
    /// What it is called.
    pub name: &'static str,
    keys: [Option<Chord>; 2],
}

impl About {
    /// Its keys; none: it is reached by name alone.
    pub fn keys(&self) -> impl Iterator<Item = Chord> + use<> {
        self.keys.into_iter().flatten()
    }
}

/// Something the window can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Pause, or go on.
    PauseOrGoOn,
    /// Back to live.
    Follow,
    /// Show the width of this place in [`SPANS`].
    Span(u8),
    /// Type from when to when.
    TypeRange,
    /// The view before this one.
    Back,
    /// The view after this one.
    Forward,
    /// Move the view by a tenth; `true`: forward.
    Pan(bool),
    /// Show less of time, at the cursor if there is one; `false`: more.
    Zoom(bool),
    /// Set a measuring cursor to the time under the pointer; `true`: the second one.
    Mark(bool),
    /// Remove the measuring cursors.
    EndMeasuring,
    /// Take back the last change of the layout.
    UndoLayout,
    /// Make the change again that was taken back.
    RedoLayout,
    /// Save the layout by name, open, export or import one.
    Layouts,
    /// Build the layout anew from what the fleet declares.
    ResetLayout,
    /// Show or hide the device list.
    List,
    /// Type into the filter of the device list.
    FilterDevices,
    /// Show all devices again.
    ShowAllDevices,
    /// Choose no devices.
    ChooseNone,
    /// Group the device list.
    GroupList(GroupBy),
    /// Sort the device list.
    SortList(SortBy),
    /// Show or hide the table of all commands.
    AllCommands,
    /// Show or hide the panel of groups.
    Groups,
    /// Watch the wire of the open device, or not.
    Wire,
    /// Open the form for a command that the selected device did not declare.
    UndeclaredCommand,
    /// Find anything by name.
    Palette,
    /// Choose, add or change a hub.
    Hubs,
    /// Show or hide how long readings take.
    Latency,
    /// Show or hide the log of notices.
    Log,
    /// Open the settings.
    Settings,
    /// Show everything larger (1), smaller (-1), or as large as usual (0).
    Scale(i8),
    /// Show times in this zone.
    Times(Times),
    /// Show or hide the sheet of shortcuts.
    Help,
    /// Close what is open, innermost first.
    Close,
    /// Use this palette of colours.
    Theme(ThemeChoice),
    /// Do not wait for the next try to connect.
    ReconnectNow,
}

impl Verb {
    /// All of them, in the order of the sheet.
    pub const ALL: &'static [Self] = &[
        Self::PauseOrGoOn,
        Self::Follow,
        Self::Span(0),
        Self::Span(1),
        Self::Span(2),
        Self::Span(3),
        Self::Span(4),
        Self::TypeRange,
        Self::Back,
        Self::Forward,
        Self::Pan(false),
        Self::Pan(true),
        Self::Zoom(true),
        Self::Zoom(false),
        Self::Mark(false),
        Self::Mark(true),
        Self::EndMeasuring,
        Self::UndoLayout,
        Self::RedoLayout,
        Self::Layouts,
        Self::ResetLayout,
        Self::List,
        Self::FilterDevices,
        Self::ShowAllDevices,
        Self::ChooseNone,
        Self::GroupList(GroupBy::Nothing),
        Self::GroupList(GroupBy::Model),
        Self::GroupList(GroupBy::Tag),
        Self::GroupList(GroupBy::State),
        Self::SortList(SortBy::Name),
        Self::SortList(SortBy::State),
        Self::SortList(SortBy::Staleness),
        Self::SortList(SortBy::LastSeen),
        Self::AllCommands,
        Self::Groups,
        Self::Wire,
        Self::UndeclaredCommand,
        Self::Palette,
        Self::Hubs,
        Self::Latency,
        Self::Log,
        Self::Settings,
        Self::Scale(1),
        Self::Scale(-1),
        Self::Scale(0),
        Self::Times(Times::Local),
        Self::Times(Times::Utc),
        Self::Help,
        Self::Close,
        Self::Theme(ThemeChoice::Dark),
        Self::Theme(ThemeChoice::Light),
        Self::Theme(ThemeChoice::System),
        Self::ReconnectNow,
    ];

    /// What it is called, and its keys.
    pub const fn about(self) -> About {
        use Group::{Charts, Devices, Time, Window};
        const NONE: [Option<Chord>; 2] = [None, None];
        const fn about(group: Group, name: &'static str, keys: [Option<Chord>; 2]) -> About {
            About { group, name, keys }
        }
        const fn one(key: Key) -> [Option<Chord>; 2] {
            [Some(Chord::key(key)), None]
        }
        const fn two(first: Chord, second: Chord) -> [Option<Chord>; 2] {
            [Some(first), Some(second)]
        }
        match self {
            Self::PauseOrGoOn => about(Time, "Pause, or go on", one(Key::Space)),
            Self::Follow => about(Time, "Back to live", two(Chord::key(Key::L), Chord::key(Key::End))),
            Self::Span(0) => about(Time, "Show 1 min", one(Key::Num1)),
            Self::Span(1) => about(Time, "Show 5 min", one(Key::Num2)),
            Self::Span(2) => about(Time, "Show 15 min", one(Key::Num3)),
            Self::Span(3) => about(Time, "Show 1 h", one(Key::Num4)),
            Self::Span(_) => about(Time, "Show 24 h", one(Key::Num5)),
            Self::TypeRange => about(Time, "Type from when to when", one(Key::R)),
            Self::Back => about(
                Time,
                "The view before this one",
                two(Chord::alt(Key::ArrowLeft), Chord::key(Key::OpenBracket)),
            ),
            Self::Forward => about(
                Time,
                "The view after this one",
                two(Chord::alt(Key::ArrowRight), Chord::key(Key::CloseBracket)),
            ),
            Self::Pan(false) => about(Time, "Move back in time", one(Key::ArrowLeft)),
            Self::Pan(true) => about(Time, "Move forward in time", one(Key::ArrowRight)),
            Self::Zoom(true) => {
                about(Time, "Zoom in, at the cursor", two(Chord::key(Key::Plus), Chord::key(Key::Equals)))
            }
            Self::Zoom(false) => about(Time, "Zoom out", one(Key::Minus)),
            Self::Mark(false) => about(Time, "Measure from the pointer", one(Key::A)),
            Self::Mark(true) => about(Time, "Measure up to the pointer", one(Key::B)),
            Self::EndMeasuring => about(Time, "End measuring", NONE),
            Self::UndoLayout => {
                about(Charts, "Undo a change of the layout", [Some(Chord::ctrl(Key::Z)), None])
            }
            Self::RedoLayout => about(
                Charts,
                "Redo a change of the layout",
                two(Chord::ctrl(Key::Z).shift(), Chord::ctrl(Key::Y)),
            ),
            Self::Layouts => {
                about(Charts, "Layouts: save, open, export, import", [Some(Chord::ctrl(Key::S)), None])
            }
            Self::ResetLayout => about(Charts, "Make a layout from what the fleet declares", NONE),
            Self::List => about(Devices, "The device list, or not", one(Key::D)),
            Self::FilterDevices => about(Devices, "Filter the devices", one(Key::Slash)),
            Self::ShowAllDevices => about(Devices, "Show all devices", NONE),
            Self::ChooseNone => about(Devices, "Choose no devices", NONE),
            Self::GroupList(GroupBy::Nothing) => about(Devices, "Devices in one list", NONE),
            Self::GroupList(GroupBy::Model) => about(Devices, "Devices grouped by model", NONE),
            Self::GroupList(GroupBy::Tag) => about(Devices, "Devices grouped by tag", NONE),
            Self::GroupList(GroupBy::State) => about(Devices, "Devices grouped by state", NONE),
            Self::SortList(SortBy::Name) => about(Devices, "Devices sorted by name", NONE),
            Self::SortList(SortBy::State) => about(Devices, "Abnormal devices first", NONE),
            Self::SortList(SortBy::Staleness) => about(Devices, "Longest silent devices first", NONE),
            Self::SortList(SortBy::LastSeen) => about(Devices, "Last heard devices first", NONE),
            Self::AllCommands => about(Devices, "All commands, or not", one(Key::C)),
            Self::Groups => about(Devices, "Groups: commands to many devices", one(Key::G)),
            Self::Wire => about(Devices, "The wire of the open device, or not", one(Key::W)),
            Self::UndeclaredCommand => about(Devices, "Send a command that is not declared", NONE),
            Self::Palette => {
                about(Window, "Find anything by name", two(Chord::ctrl(Key::K), Chord::ctrl(Key::P)))
            }
            Self::Hubs => about(Window, "Hubs: connect to another one", [Some(Chord::ctrl(Key::H)), None]),
            Self::Latency => about(Window, "From sensor to screen: how long readings take", one(Key::S)),
            Self::Log => about(Window, "Notices: what has happened", one(Key::N)),
            Self::Settings => about(Window, "Settings", [Some(Chord::ctrl(Key::Comma)), None]),
            Self::Scale(1..) => {
                about(Window, "Show everything larger", two(Chord::ctrl(Key::Plus), Chord::ctrl(Key::Equals)))
            }
            Self::Scale(0) => about(Window, "Show everything as usual", [Some(Chord::ctrl(Key::Num0)), None]),
            Self::Scale(_) => about(Window, "Show everything smaller", [Some(Chord::ctrl(Key::Minus)), None]),
            Self::Times(Times::Local) => about(Window, "Times of this place", NONE),
            Self::Times(Times::Utc) => about(Window, "Times in UTC", NONE),
            Self::Help => about(Window, "The sheet of shortcuts", one(Key::Questionmark)),
            Self::Close => about(Window, "Close what is open", one(Key::Escape)),
            Self::Theme(ThemeChoice::Dark) => about(Window, "Dark colours", NONE),
            Self::Theme(ThemeChoice::Light) => about(Window, "Light colours", NONE),
            Self::Theme(ThemeChoice::System) => about(Window, "Colours as the desktop has them", NONE),
            Self::ReconnectNow => about(Window, "Connect to the hub now", NONE),
        }
    }

    /// What to do now, or why it cannot be done now.
    pub fn action(self, model: &Model, layout: &Layout) -> Result<Action, &'static str> {
        let when = |can: bool, action: Action, why: &'static str| if can { Ok(action) } else { Err(why) };
        match self {
            Self::PauseOrGoOn if model.viewport.is_following() => Ok(Action::Pause),
            Self::PauseOrGoOn | Self::Follow => Ok(Action::Follow),
            Self::Span(place) => match SPANS.get(usize::from(place)) {
                Some((_, micros)) => Ok(Action::SetWidth { micros: *micros }),
                None => Err("There is no such width"),
            },
            Self::TypeRange => Ok(Action::ToggleRange),
            Self::Back => {
                when(model.viewport.can_go_back(), Action::Back, "There is no view before this one")
            }
            Self::Forward => {
                when(model.viewport.can_go_forward(), Action::Forward, "There is no view after this one")
            }
            Self::Pan(is_later) => {
                let tenth = model.viewport.width() / 10;
                let can = !is_later || !model.viewport.is_following();
                let micros = if is_later { tenth } else { -tenth };
                when(can, Action::Pan { micros }, "This is the newest there is")
            }
            Self::Zoom(is_in) => {
                let (from, to) = model.range();
                let at = model.cursor.filter(|at| *at >= from && *at <= to);
                let middle = from.plus_micros(to.micros_since(from) / 2);
                let at = at.unwrap_or(if model.viewport.is_following() { to } else { middle });
                Ok(Action::Zoom { at, factor: if is_in { 0.8 } else { 1.25 } })
            }
            Self::Mark(second) => {
                when(model.cursor.is_some(), Action::Mark { second }, "Point into a chart first")
            }
            Self::EndMeasuring => when(!model.pins.is_empty(), Action::ClearPins, "Nothing is measured"),
            Self::UndoLayout => when(layout.can_undo(), Action::UndoLayout, "The layout has not changed"),
            Self::RedoLayout => when(layout.can_redo(), Action::RedoLayout, "Nothing was undone"),
            Self::Layouts => Ok(Action::ToggleLayouts),
            Self::ResetLayout => Ok(Action::ResetLayout),
            Self::List => Ok(Action::ToggleList),
            // Where it is in front, its search is meant.
            Self::FilterDevices if model.shows_wire() => Ok(Action::FocusWire),
            Self::FilterDevices => Ok(Action::FocusFilter),
            Self::ShowAllDevices => when(
                !model.devices.filter().is_empty(),
                Action::SetFilter(String::new()),
                "All devices are shown",
            ),
            Self::ChooseNone => when(!model.chosen.is_empty(), Action::ClearChosen, "No device is chosen"),
            Self::GroupList(group) => {
                let order = model.devices.order();
                let is_new = order.group != group;
                when(is_new, Action::SetListOrder(ListOrder { group, ..order }), "They are already")
            }
            Self::SortList(sort) => {
                let order = model.devices.order();
                let is_new = order.sort != sort;
                when(is_new, Action::SetListOrder(ListOrder { sort, ..order }), "They are already")
            }
            Self::AllCommands => Ok(Action::ToggleTable),
            Self::Groups => Ok(Action::ToggleGroups),
            Self::Wire => match (&model.wire, &model.selection) {
                (Some(wire), selected)
                    if model.shows_wire() && selected.as_ref().is_none_or(|d| *d == wire.device) =>
                {
                    Ok(Action::CloseWire)
                }
                (_, Some(device)) => Ok(Action::OpenWire(device.clone())),
                (Some(wire), None) => Ok(Action::OpenWire(wire.device.clone())),
                (None, None) => Err("Open a device first"),
            },
            Self::UndeclaredCommand => {
                when(model.selected_device().is_some(), Action::OpenUndeclared, "Open a device first")
            }
            Self::Palette => Ok(Action::TogglePalette),
            Self::Hubs => Ok(Action::ToggleHubs),
            Self::Latency => Ok(Action::ToggleLatency),
            Self::Log => Ok(Action::ToggleLog),
            Self::Settings => Ok(Action::ToggleSettings),
            Self::Scale(by) => {
                let now = model.settings.scale;
                let value = match by {
                    1.. => SCALES.into_iter().find(|s| *s > now),
                    0 => Some(100).filter(|s| *s != now),
                    _ => SCALES.into_iter().rev().find(|s| *s < now),
                };
                match value {
                    Some(value) => Ok(Action::SetNumber { number: Number::Scale, value }),
                    None => Err("It is that large already"),
                }
            }
            Self::Times(times) => {
                when(model.settings.times != times, Action::SetTimes(times), "They are shown so already")
            }
            Self::Help => Ok(Action::ToggleHelp),
            Self::Close => close(model).ok_or("Nothing is open"),
            Self::Theme(theme) => Ok(Action::SetTheme(theme)),
            Self::ReconnectNow => {
                when(!model.connection.is_connected(), Action::ReconnectNow, "The hub is connected")
            }
        }
    }

    /// Whether its keys work while a text is being typed.
    pub const fn works_while_typing(self) -> bool {
        matches!(self, Self::Palette)
    }

    /// Whether its keys belong to the widget that has the keyboard, if one has.
    pub const fn yields_to_focus(self) -> bool {
        matches!(self, Self::PauseOrGoOn | Self::Pan(_))
    }

    /// Whether it closes the dialog that is open.
    const fn closes_dialog(self, model: &Model) -> bool {
        match self {
            Self::Layouts => model.layouts_form.is_some(),
            Self::Settings => model.settings_form.is_some(),
            Self::Hubs => model.hubs_form.is_some(),
            Self::Palette => model.palette.is_some(),
            Self::Help => model.help,
            _ => false,
        }
    }

    /// The verbs whose keys were pressed in this frame, with what they do. Those that cannot be done now are left out.
    pub fn pressed(ctx: &egui::Context, model: &Model, layout: &Layout) -> Vec<Action> {
        let (typing, focused) = (ctx.text_edit_focused(), ctx.memory(egui::Memory::focused).is_some());
        // A dialog takes all keys.
        let dialog = model.is_asking_something();
        let mut actions = Vec::new();
        for verb in Self::ALL {
            let is_out_of_reach = (typing && !verb.works_while_typing())
                || (dialog && !verb.closes_dialog(model))
                || (focused && verb.yields_to_focus());
            if is_out_of_reach {
                continue;
            }
            let pressed = |input: &egui::InputState| verb.about().keys().find(|c| c.is_pressed(input));
            if let Some(chord) = ctx.input(pressed) {
                if verb.works_while_typing() {
                    ctx.input_mut(|input| chord.consume(input));
                }
                actions.extend(verb.action(model, layout));
            }
        }
        actions
    }
}

/// What Escape closes: the innermost thing that is open.
fn close(model: &Model) -> Option<Action> {
    if model.form.as_ref().is_some_and(|f| f.stage == FormStage::Confirming) {
        None // the question takes it
    } else if model.log_open {
        Some(Action::ToggleLog)
    } else if model.latency_open {
        Some(Action::ToggleLatency)
    } else if !model.pins.is_empty() {
        Some(Action::ClearPins)
    } else if model.detail.is_some() {
        Some(Action::ShowCommand(None))
    } else if model.shows_wire() && model.wire.as_ref().is_some_and(|wire| wire.selection.is_some()) {
        Some(Action::EditWire(WireEdit::Select(None)))
    } else if !model.chosen.is_empty() {
        Some(Action::ClearChosen)
    } else if model.form.is_some() {
        Some(Action::OpenForm(None))
    } else if model.selection.is_some() {
        Some(Action::Select(None))
    } else {
        None
    }
}

/// What a pointer does, for the sheet of shortcuts: how, and what for.
pub const GESTURES: &[(&str, &str)] = &[
    ("Wheel", "Zoom in time at the pointer"),
    ("Drag, Shift+wheel", "Move in time"),
    ("Drag, right button", "Show a stretch"),
    ("Double click", "On a chart: back to live. On a device: add a chart"),
    ("Click on a chart", "Pin a cursor; with a second one, what is between is measured"),
    ("Shift+drag", "Measure what is between"),
    ("Tab, then Left, Right", "In a chart: its cursor, from reading to reading; Ctrl leaps"),
    ("Shift+Left, Up, Down", "There: move in time, zoom at the cursor"),
    ("Enter", "There: pin the cursor; A and B measure"),
    (". and , then Enter", "There: from command to command, and the life of one"),
    ("T", "There: as a table, and back"),
    ("Drag a title", "Move a chart: beside, below, or into tabs"),
    ("Drag a device", "Onto a chart: show it there"),
    ("Ctrl+click, Shift+click", "Choose devices, to tell them something together"),
    ("Up, Down", "In the table: the command before, the command after; in the wire: frames"),
    ("/ and Enter", "In the wire: search; to the frame that answers, and back"),
    ("Ctrl+Enter", "Send the open command"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_verbs_share_a_name_or_keys() {
        for (i, a) in Verb::ALL.iter().enumerate() {
            for b in &Verb::ALL[i + 1..] {
                let (of_a, of_b) = (a.about(), b.about());
                assert_ne!(of_a.name, of_b.name, "{a:?} {b:?}");
                assert!(of_a.keys().all(|k| of_b.keys().all(|other| k != other)), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn the_sheet_is_in_the_order_of_the_groups() {
        assert!(Verb::ALL.is_sorted_by_key(|verb| verb.about().group));
    }

    #[test]
    fn a_name_of_a_width_is_its_width() {
        for (place, (name, _)) in SPANS.iter().enumerate() {
            assert_eq!(Verb::Span(place as u8).about().name, format!("Show {name}"));
        }
    }

    #[test]
    fn chords_are_written_as_on_the_keys() {
        assert_eq!(Chord::ctrl(Key::Z).shift().text(), "Ctrl+Shift+Z");
        assert_eq!(Chord::alt(Key::ArrowLeft).text(), "Alt+Left");
        assert_eq!(Chord::key(Key::Questionmark).text(), "?");
    }
}
