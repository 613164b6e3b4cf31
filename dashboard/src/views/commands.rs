//! The table of all commands of the hub, newest first: filtered, loaded further back at its end, a click away from the
//! life of each.
//!
//! Only the rows on the screen are drawn. What stands under the pointer stays there while new commands arrive above.

use egui::{Align, Layout, Rect, RichText, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};
use protocol::CommandId;
use protocol::command::CommandState;
use protocol::viewer::CommandInfo;

use crate::action::Action;
use crate::format;
use crate::model::commands::{issued_at, took};
use crate::model::table::{Format, Older, TableFilter};
use crate::model::{Model, outcome};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::device;
use crate::views::widgets::{self, Icon};

/// Height of a row.
const ROW: f32 = 24.0;
/// Rows before the end at which older commands are asked for.
const NEAR_END: usize = 30;

/// Where the table is scrolled to, by what stands at its top.
#[derive(Debug, Default)]
pub struct TableView {
    /// The first row that is seen, its place in the list, and how much of it is scrolled away.
    top: Option<(CommandId, usize, f32)>,
    /// Go to the newest with the next frame.
    to_newest: bool,
}

/// Draws the table.
pub fn commands(ui: &mut Ui, model: &Model, view: &mut TableView, actions: &mut Vec<Action>) {
    // The panel keeps its height, however little is in it.
    ui.set_min_height(ui.available_height());
    heading(ui, model, view, actions);
    ui.add_space(6.0);
    filters(ui, model, actions);
    ui.add_space(4.0);
    let columns = Columns::of(ui.available_width());
    columns.heading(ui);
    body(ui, model, view, &columns, actions);
    arrows(ui, model, actions);
}

fn heading(ui: &mut Ui, model: &Model, view: &mut TableView, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        tabs(ui, model, actions);
        let rows = model.table.rows().len();
        let more = if *model.table.older() == Older::Done || model.table.filter().in_view { "" } else { "+" };
        let noun = if rows == 1 && more.is_empty() { "command" } else { "commands" };
        let count = format!("{}{more} {noun}", format::count(rows as u64));
        ui.add_space(6.0);
        ui.label(RichText::new(count).font(fonts::mono(11.5)).color(t.text_weak))
            .on_hover_text("Commands that fit the filter. A plus: there may be older ones");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, Icon::Cross, "Close the table of commands").clicked() {
                actions.push(Action::ToggleTable);
            }
            ui.add_enabled_ui(rows > 0, |ui| {
                for (name, format) in [("Copy JSON lines", Format::JsonLines), ("Copy CSV", Format::Csv)] {
                    if widgets::chip(ui, name, false).on_hover_text("All rows that are loaded").clicked() {
                        actions.push(Action::ExportTable(format));
                    }
                }
            });
            let scrolled = view.top.as_ref().is_some_and(|(_, index, _)| *index > 0);
            if scrolled && widgets::chip(ui, "Newest", true).on_hover_text("Scroll to the newest").clicked() {
                view.to_newest = true;
            }
        });
    });
}

/// What the panel at the bottom shows: all commands, groups, or the wire of a device.
pub fn tabs(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let tab = |ui: &mut Ui, name: &str, hint: &str, on: bool| {
        widgets::chip(ui, name, on).on_hover_text(hint).clicked() && !on
    };
    ui.spacing_mut().item_spacing.x = 4.0;
    if tab(ui, "All commands", "Every command of the hub", model.table.open) {
        actions.push(Action::ToggleTable);
    }
    if tab(ui, "Groups", "Commands to many devices (G)", model.groups.open) {
        actions.push(Action::ToggleGroups);
    }
    if let Some(wire) = &model.wire {
        let name = format!("Wire of {}", format::ellipsis(wire.device.as_str(), 24));
        if tab(ui, &name, "What its connections carry (W)", model.shows_wire()) {
            actions.push(Action::OpenWire(wire.device.clone()));
        }
    }
    ui.spacing_mut().item_spacing.x = 8.0;
}

fn filters(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let mut filter = model.table.filter().clone();
    let before = filter.clone();
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 4.0);
        let wide = ui.available_width() > 760.0;
        let field = |ui: &mut Ui, text: &mut String, name: &str, width: f32| {
            let edit = egui::TextEdit::singleline(text)
                .hint_text(RichText::new(name).color(t.text_weak))
                .desired_width(width)
                .char_limit(200)
                .margin(egui::Margin::symmetric(7, 3));
            let response = ui.add(edit).accessible_name(name);
            if !response.has_focus() {
                let stroke = egui::Stroke::new(1.0, if text.is_empty() { t.line } else { t.accent });
                let radius = f32::from(tokens::RADIUS_CONTROL);
                ui.painter().rect_stroke(response.rect, radius, stroke, egui::StrokeKind::Inside);
            }
        };
        field(ui, &mut filter.text, "Search commands…", if wide { 190.0 } else { 130.0 });
        field(ui, &mut filter.device, "Device", 110.0);
        field(ui, &mut filter.name, "Command", 100.0);
        field(ui, &mut filter.by, "Issued by", 90.0);
        states(ui, &mut filter);
        if widgets::toggle(ui, "Only the time shown", filter.in_view)
            .on_hover_text("Only commands that were under way in the stretch of time that the charts show")
            .clicked()
        {
            filter.in_view = !filter.in_view;
        }
        if !filter.is_empty() && widgets::link(ui, "Clear the filters").clicked() {
            filter = TableFilter::default();
        }
    });
    if filter != before {
        actions.push(Action::FilterTable(Box::new(filter)));
    }
}

fn states(ui: &mut Ui, filter: &mut TableFilter) {
    let t = Tokens::of(ui);
    let text = match filter.states.as_slice() {
        [] => "State: any".to_owned(),
        [one] => format!("State: {}", outcome::label(*one)),
        many => format!("State: {} of them", many.len()),
    };
    let response = widgets::toggle(ui, &text, !filter.states.is_empty());
    egui::Popup::menu(&response).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        ui.set_min_width(170.0);
        for (name, states) in [
            ("Open", &OPEN[..]),
            ("Gone wrong", &[CommandState::Failed, CommandState::Rejected, CommandState::Expired]),
            ("Not known", &[CommandState::Unknown, CommandState::Unresolved]),
        ] {
            let chosen = filter.states == states;
            if ui.add(egui::Button::new(name).selected(chosen).frame_when_inactive(false)).clicked() {
                filter.states = if chosen { Vec::new() } else { states.to_vec() };
            }
        }
        ui.separator();
        for state in CommandState::ALL {
            ui.horizontal(|ui| {
                let (rect, _) = ui.allocate_exact_size(vec2(14.0, 18.0), Sense::hover());
                widgets::command_shape(ui, rect.center(), state, t);
                let mut on = filter.states.contains(&state);
                if ui.checkbox(&mut on, outcome::label(state)).changed() {
                    if on {
                        filter.states.push(state);
                    } else {
                        filter.states.retain(|s| *s != state);
                    }
                }
            });
        }
    });
}

/// The states of a command that has not ended.
const OPEN: [CommandState; 5] = [
    CommandState::Queued,
    CommandState::Sent,
    CommandState::Unknown,
    CommandState::Received,
    CommandState::Running,
];

/// One column: its name, and where it begins and ends.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    left: f32,
    width: f32,
}

struct Columns(Vec<Column>);

impl Columns {
    /// As many columns as there is room for; what is left over goes to the arguments and the error.
    fn of(width: f32) -> Self {
        let mut fixed =
            vec![("Time", 96.0), ("Device", 124.0), ("Command", 120.0), ("State", 134.0), ("Took", 72.0)];
        let mut flexible = Vec::new();
        if width > 660.0 {
            flexible.push("Arguments");
        }
        if width > 820.0 {
            fixed.push(("By", 104.0));
        }
        if width > 760.0 {
            flexible.push("Error");
        }
        let taken: f32 = fixed.iter().map(|(_, w)| w).sum();
        let spare = (width - taken - 16.0).max(0.0) / flexible.len().max(1) as f32;
        let order = ["Time", "Device", "Command", "Arguments", "State", "Took", "By", "Error"];
        let mut left = 8.0;
        let mut columns = Vec::new();
        for name in order {
            let own = fixed.iter().find(|(n, _)| *n == name).map(|(_, w)| *w);
            let Some(width) = own.or_else(|| flexible.contains(&name).then_some(spare)) else { continue };
            columns.push(Column { name, left, width });
            left += width;
        }
        Self(columns)
    }

    fn heading(&self, ui: &mut Ui) {
        let t = Tokens::of(ui);
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
        for column in &self.0 {
            let at = pos2(rect.left() + column.left, rect.center().y);
            widgets::text_in(ui, at, column.width - 8.0, column.name, fonts::medium(11.0), t.text_weak);
        }
        ui.painter().hline(rect.x_range(), rect.bottom(), egui::Stroke::new(1.0, t.line));
    }
}

fn body(ui: &mut Ui, model: &Model, view: &mut TableView, columns: &Columns, actions: &mut Vec<Action>) {
    let rows = model.table.rows();
    let foot = foot_text(model);
    let has_foot = foot.is_some();
    if rows.is_empty() {
        nothing(ui, model, foot, actions);
        set_end_near(model, true, actions);
        return;
    }
    let mut area = ScrollArea::vertical().auto_shrink(false).id_salt("commands");
    if std::mem::take(&mut view.to_newest) {
        area = area.vertical_scroll_offset(0.0);
        view.top = None;
    } else if let Some((id, index, away)) = &view.top {
        // What came above pushes nothing down, unless the newest is looked at.
        let at_newest = *index == 0 && *away < 1.0;
        if !at_newest
            && rows.get(*index) != Some(id)
            && let Some(now) = rows.iter().position(|row| row == id)
        {
            area = area.vertical_scroll_offset(now as f32 * ROW + away);
        }
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let total = rows.len() + usize::from(has_foot);
    let output = area.show_rows(ui, ROW, total, |ui, visible| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for index in visible.clone() {
            match rows.get(index).map(|id| model.commands.get(id)) {
                Some(Some(command)) => row(ui, model, command, columns, actions),
                Some(None) => ui.add_space(ROW),
                None => {
                    if let Some(foot) = &foot {
                        foot.draw(ui, actions);
                    }
                }
            }
        }
        visible
    });
    let offset = output.state.clamped_offset().y.max(0.0);
    let index = ((offset / ROW) as usize).min(rows.len() - 1);
    view.top = rows.get(index).map(|id| (id.clone(), index, offset - index as f32 * ROW));
    set_end_near(model, output.inner.end + NEAR_END >= rows.len(), actions);
}

fn set_end_near(model: &Model, near: bool, actions: &mut Vec<Action>) {
    if model.table.is_end_near() != near {
        actions.push(Action::TableEnd(near));
    }
}

/// What stands below the last row.
struct Foot {
    text: String,
    button: Option<&'static str>,
}

impl Foot {
    fn draw(&self, ui: &mut Ui, actions: &mut Vec<Action>) {
        let t = Tokens::of(ui);
        ui.allocate_ui_with_layout(
            vec2(ui.available_width(), ROW),
            Layout::left_to_right(Align::Center),
            |ui| {
                ui.add_space(8.0);
                ui.label(RichText::new(&self.text).font(fonts::regular(12.0)).color(t.text_weak));
                if let Some(button) = self.button
                    && widgets::link(ui, button).clicked()
                {
                    actions.push(Action::SearchOn);
                }
            },
        );
    }
}

fn foot_text(model: &Model) -> Option<Foot> {
    let foot = |text: &str, button| Some(Foot { text: text.to_owned(), button });
    if !model.connection.is_connected() && model.table.filter().in_view {
        return foot("Not connected: commands of this time are loaded when the hub is back.", None);
    }
    if model.table.filter().in_view {
        return if model.is_loading_commands() { foot("Loading…", None) } else { None };
    }
    if !model.connection.is_connected() {
        return foot("Not connected: older commands are loaded when the hub is back.", None);
    }
    match model.table.older() {
        Older::More | Older::Loading => foot("Loading older commands…", None),
        Older::Fruitless => {
            let to = model.table.loaded_to().map(|at| format::clock_or_date(at, model.now(), &model.zone));
            let text = format!("Searched back to {}.", to.unwrap_or_default());
            foot(&text, Some("Search further back"))
        }
        Older::Failed(why) => foot(&format!("Older commands could not be loaded: {why}"), Some("Try again")),
        Older::Full => foot("More are not kept here. Narrow the filter to see older ones.", None),
        Older::Done => None,
    }
}

fn nothing(ui: &mut Ui, model: &Model, foot: Option<Foot>, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.add_space(18.0);
    ui.vertical_centered(|ui| {
        ui.spacing_mut().item_spacing.y = 6.0;
        if let Some(foot) = foot {
            ui.label(RichText::new(&foot.text).color(t.text_secondary));
            if let Some(button) = foot.button
                && widgets::plain_button(ui, button).clicked()
            {
                actions.push(Action::SearchOn);
            }
        } else if model.table.filter().is_empty() {
            ui.label(RichText::new("No commands yet").color(t.text_secondary));
            ui.label(RichText::new("Choose a device and send it one.").color(t.text_weak));
        } else {
            ui.label(RichText::new("No command fits the filters").color(t.text_secondary));
            if widgets::plain_button(ui, "Show all commands").clicked() {
                actions.push(Action::FilterTable(Box::default()));
            }
        }
    });
}

fn row(ui: &mut Ui, model: &Model, command: &CommandInfo, columns: &Columns, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
    let label = model.command_label(&command.device, command.name.as_str());
    let selected = model.detail.as_ref() == Some(&command.id);
    let at = format::clock_or_date(issued_at(command), model.now(), &model.zone);
    response.widget_info(|| {
        let text = format!("{at} {} {label} {}", command.device, outcome::label(command.state));
        WidgetInfo::selected(Role::Button, true, selected, text)
    });
    if selected {
        ui.painter().rect_filled(rect, 0.0, t.selected());
        let bar = Rect::from_min_size(rect.min, vec2(2.0, rect.height()));
        ui.painter().rect_filled(bar, 0.0, t.accent);
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 0.0, t.hovered());
    }
    widgets::focus_ring(ui, &response, rect);
    for column in &columns.0 {
        let place = pos2(rect.left() + column.left, rect.center().y);
        let width = column.width - 8.0;
        let say = |text: &str, font, color| widgets::text_in(ui, place, width, text, font, color);
        let regular = fonts::regular(12.5);
        match column.name {
            "Time" => say(&at, fonts::mono(11.5), t.text_secondary),
            "Device" => say(command.device.as_str(), regular, t.text),
            "Command" => say(&label, regular, t.text),
            "Arguments" => say(&device::arguments(command, model), fonts::regular(12.0), t.text_secondary),
            "State" => {
                widgets::command_shape(ui, place + vec2(6.0, 0.0), command.state, t);
                let text = match command.progress.filter(|p| p.is_finite() && !command.state.is_final()) {
                    Some(p) => {
                        format!("{} {:.0} %", outcome::label(command.state), p.clamp(0.0, 1.0) * 100.0)
                    }
                    None => outcome::label(command.state).to_owned(),
                };
                let at = place + vec2(17.0, 0.0);
                let color = widgets::command_color(t, command.state);
                widgets::text_in(ui, at, width - 17.0, &text, regular, color)
            }
            "Took" => {
                let text = took(command).map_or_else(|| "–".to_owned(), format::duration);
                say(&text, fonts::mono(11.5), t.text_secondary)
            }
            "By" => say(&command.issued_by, fonts::regular(12.0), t.text_secondary),
            _ => {
                let text = command.error.as_deref().unwrap_or_default();
                let text = if text.is_empty() {
                    command.code.as_ref().map(ToString::to_string).unwrap_or_default()
                } else {
                    format::ellipsis(text, 200)
                };
                say(&text, fonts::regular(12.0), t.text_secondary)
            }
        };
    }
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        actions.push(Action::ShowCommand((!selected).then(|| command.id.clone())));
    }
}

/// Arrow keys go through the rows while one of them is open.
fn arrows(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(detail) = &model.detail else { return };
    if ui.ctx().text_edit_focused() {
        return;
    }
    let (up, down) = ui.input(|i| (i.key_pressed(egui::Key::ArrowUp), i.key_pressed(egui::Key::ArrowDown)));
    if up == down {
        return;
    }
    let rows = model.table.rows();
    let Some(at) = rows.iter().position(|id| id == detail) else { return };
    let next = if down { at.saturating_add(1) } else { at.wrapping_sub(1) };
    if let Some(id) = rows.get(next) {
        actions.push(Action::ShowCommand(Some(id.clone())));
    }
}
