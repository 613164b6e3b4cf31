//! The top bar: the connection, the fleet in one line, and the stretch of time that all charts show.

use egui::{Align, Color32, Layout, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::action::Action;
use crate::format;
use crate::model::{Link, Model};
use crate::settings::ThemeChoice;
use crate::theme::{Tokens, fonts, tokens};
use crate::verb::{Chord, SPANS, Verb};
use crate::views::widgets::{self, Icon};

/// Room that the group at the right end takes.
const RIGHT_GROUP: f32 = 620.0;

/// Room for the mark of the live view, also while it says how far behind it is.
const LIVE: f32 = 96.0;

/// Draws the top bar.
pub fn top_bar(ui: &mut Ui, model: &Model, layout: &crate::layout::Layout, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal_centered(|ui| {
        ui.spacing_mut().item_spacing.x = 8.0;
        if model.is_narrow {
            let shown = model.shows_list() && model.selection.is_none() && model.detail.is_none();
            if widgets::toggle(ui, "Devices", shown).on_hover_text("The device list, or not (D)").clicked() {
                actions.push(Action::ToggleList);
            }
        } else {
            ui.label(egui::RichText::new("Telemetry").font(fonts::semibold(15.0)).color(t.text));
        }
        connection_pill(ui, model, actions);
        ui.add_space(2.0);
        fleet(ui, model, actions);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            if !model.is_narrow {
                theme_switch(ui, model, actions);
            }
            menu(ui, model, layout, actions);
            bell(ui, model, actions);
            // What does not fit is reached by its key and in the palette.
            let open = model.commands.open_count();
            let text = if open > 0 {
                format!("Commands {}", format::count(open as u64))
            } else {
                "Commands".to_owned()
            };
            let hint = "All commands of the hub (C). The number: those that have not ended";
            let shown = model.table.open || model.groups.open;
            if !model.is_narrow && widgets::chip(ui, &text, shown).on_hover_text(hint).clicked() {
                actions.push(if model.groups.open { Action::ToggleGroups } else { Action::ToggleTable });
            }
            ui.add_space(6.0);
            let hint = "Type from when to when (R)";
            let width = model.viewport.width();
            let names: Vec<&str> = SPANS.iter().map(|(name, _)| *name).chain(["Range"]).collect();
            let is_open = model.range_form.is_some();
            if ui.available_width() > widgets::buttons_width(ui, &names) + LIVE {
                if widgets::chip(ui, "Range", is_open).on_hover_text(hint).clicked() {
                    actions.push(Action::ToggleRange);
                }
                for (name, micros) in SPANS.iter().rev() {
                    if widgets::chip(ui, name, width == *micros).clicked() {
                        actions.push(Action::SetWidth { micros: *micros });
                    }
                }
            } else if ui.available_width() > LIVE + 60.0 {
                // Where not all fit, what is shown now stands for them.
                let name = SPANS.iter().find(|(_, micros)| *micros == width);
                let text = name.map_or_else(|| format::duration(width), |(name, _)| (*name).to_owned());
                if widgets::chip(ui, &text, is_open).on_hover_text(hint).clicked() {
                    actions.push(Action::ToggleRange);
                }
            }
            ui.add_space(2.0);
            if ui.available_width() > 60.0 {
                live_pill(ui, model, actions);
            }
            steps(ui, model, actions);
        });
    });
}

fn connection_pill(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let connection = &model.connection;
    let (color, state) = match &connection.link {
        Link::Connected => (t.ok, connection.round_trip.map(format::round_trip).unwrap_or_default()),
        Link::Connecting { .. } => (t.warn, "connecting…".to_owned()),
        Link::Waiting { .. } if connection.was_connected() => (t.warn, "reconnecting".to_owned()),
        Link::Waiting { .. } => (t.warn, "no hub".to_owned()),
        Link::Stopped { .. } => (t.error, "not connected".to_owned()),
    };
    let font = fonts::mono(12.0);
    // A narrow window has no room for an address: it stands in the hover, and in the dialog behind a click.
    let address = if model.is_narrow { String::new() } else { connection.address.clone() };
    let host = ui.painter().layout_no_wrap(address, font.clone(), t.text_secondary);
    let state_text = ui.painter().layout_no_wrap(state.clone(), font, t.text_secondary);
    let gap = if state.is_empty() || model.is_narrow { 0.0 } else { 12.0 };
    // The round trip must not move what stands to its right.
    let state_width =
        if connection.is_connected() { state_text.size().x.max(38.0) } else { state_text.size().x };
    let size = vec2(24.0 + host.size().x + gap + state_width + 10.0, 24.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| {
        let label = match &connection.link {
            Link::Connected => format!("Connected to {} {state}", connection.address),
            _ => format!("{} {state}", connection.address),
        };
        WidgetInfo::labeled(Role::Button, true, label)
    });
    ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_PILL), t.control);
    widgets::focus_ring(ui, &response, rect);
    let y = rect.center().y;
    let dot = pos2(rect.left() + 12.0, y);
    match connection.link {
        Link::Connected => ui.painter().circle_filled(dot, 3.5, color),
        Link::Connecting { .. } | Link::Waiting { .. } => {
            ui.painter().circle_stroke(dot, 3.5, egui::Stroke::new(1.5, color))
        }
        Link::Stopped { .. } => {
            let square = Rect::from_center_size(dot, vec2(7.0, 7.0));
            ui.painter().rect_filled(square, 1.0, color)
        }
    };
    let host_at = pos2(rect.left() + 24.0, y - host.size().y / 2.0);
    let state_at = pos2(rect.right() - 10.0 - state_text.size().x, y - state_text.size().y / 2.0);
    ui.painter().galley(host_at, host, t.text_secondary);
    ui.painter().galley(state_at, state_text, t.text_secondary);
    let offset = connection.clock_offset;
    let response = response.on_hover_ui(|ui| {
        ui.label(format!("Hub at {}", connection.address));
        if connection.is_connected() {
            ui.label(format!(
                "Round trip {}",
                connection.round_trip.map_or("not known yet".into(), format::round_trip)
            ));
            let direction = if offset >= 0 { "ahead of" } else { "behind" };
            ui.label(format!("Its clock is {} {direction} this machine's", format::duration(offset.abs())));
            if let Some(why) = connection.why_not_send() {
                ui.label(why);
            }
            ui.label("Click for other hubs");
        } else {
            ui.label("Click to try now");
        }
    });
    if response.clicked() {
        let is_connected = connection.is_connected();
        actions.push(if is_connected { Action::ToggleHubs } else { Action::ReconnectNow });
    }
}

fn fleet(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let tally = model.devices.tally();
    if tally.total == 0 || ui.available_width() < RIGHT_GROUP + 170.0 {
        return;
    }
    let noun = if tally.total == 1 { "device" } else { "devices" };
    let mut parts = vec![(format!("{} {noun}", format::count(tally.total as u64)), "")];
    for (n, what, filter) in [
        (tally.stale, "stale", "status:stale"),
        (tally.offline, "offline", "status:offline"),
        (tally.out_of_range, "out of range", "status:out"),
    ] {
        if n > 0 {
            parts.push((format!("{n} {what}"), filter));
        }
    }
    ui.spacing_mut().item_spacing.x = 4.0;
    for (i, (text, filter)) in parts.into_iter().enumerate() {
        if i > 0 {
            ui.label(egui::RichText::new("·").color(t.text_weak));
        }
        let shown = egui::RichText::new(&text).font(fonts::regular(12.5)).color(t.text_secondary);
        let label = egui::Label::new(shown).sense(Sense::click());
        let response = ui.add(label).on_hover_cursor(egui::CursorIcon::PointingHand);
        // What is clicked is a button to those who do not see it.
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &text));
        widgets::focus_ring(ui, &response, response.rect.expand(2.0));
        if response.clicked() {
            actions.push(Action::SetFilter(filter.to_owned()));
        }
    }
}

/// The views before and after this one, once there are any.
fn steps(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let (back, forward) = (model.viewport.can_go_back(), model.viewport.can_go_forward());
    if !(back || forward) || ui.available_width() < 70.0 {
        return;
    }
    for (text, name, can, action) in [
        ("›", "The view after this one (Alt+Right)", forward, Action::Forward),
        ("‹", "The view before this one (Alt+Left)", back, Action::Back),
    ] {
        let response = ui.add_enabled_ui(can, |ui| widgets::chip(ui, text, false)).inner;
        response.widget_info(|| WidgetInfo::labeled(Role::Button, can, name));
        if response.on_hover_text(name).clicked() {
            actions.push(action);
        }
    }
}

fn live_pill(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let live = model.viewport.is_following();
    // Without the hub nothing is live, though the view will follow again.
    let is_waiting = live && !model.connection.is_connected();
    let name = match (live, is_waiting) {
        (_, true) => "Waiting",
        (true, _) => "Live",
        (false, _) => "Paused",
    };
    // A view that stands still says that the world does not.
    let missed = if live { 0 } else { model.readings_since_pause() };
    let behind = model.viewport.behind(model.now());
    let text = if live { name.to_owned() } else { format!("{name}, {}", format::behind(behind)) };
    if !live {
        ui.ctx().request_repaint_after(format::age_changes_in(behind));
    }
    let (fill, color) = if live && !is_waiting { (t.accent, t.on_accent) } else { (t.control, t.text) };
    let galley = ui.painter().layout_no_wrap(text.clone(), fonts::medium(12.5), color);
    let (rect, response) = ui.allocate_exact_size(vec2(galley.size().x + 30.0, 22.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, live, &text));
    let fill = if response.hovered() { tokens::mix(fill, t.text, 0.12) } else { fill };
    ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), fill);
    widgets::focus_ring(ui, &response, rect);
    let mark = pos2(rect.left() + 13.0, rect.center().y);
    if is_waiting {
        ui.painter().circle_stroke(mark, 3.5, egui::Stroke::new(1.5, color));
    } else if live {
        ui.painter().circle_filled(mark, 4.5, color);
    } else {
        bars(ui, mark, color);
    }
    ui.painter().galley(pos2(rect.left() + 22.0, rect.center().y - galley.size().y / 2.0), galley, color);
    let hint = if live {
        "Pause (space)".to_owned()
    } else {
        format!("Go back to live (L). {} readings have arrived since.", format::count(missed))
    };
    if response.on_hover_text(hint).clicked() {
        actions.push(if live { Action::Pause } else { Action::Follow });
    }
}

fn bars(ui: &Ui, center: egui::Pos2, color: Color32) {
    for x in [-2.5, 2.5] {
        let bar = Rect::from_center_size(center + vec2(x, 0.0), vec2(2.5, 9.0));
        ui.painter().rect_filled(bar, 0.5, color);
    }
}

/// The way to the log of notices, with how many are new.
fn bell(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let unread = model.toasts.unread();
    let name = if unread == 0 { "Notices".to_owned() } else { format!("Notices, {unread} unread") };
    let response = widgets::icon_button(ui, Icon::Bell, &name);
    if unread > 0 && !model.log_open {
        let text = if unread > 99 { "99+".to_owned() } else { unread.to_string() };
        let galley = ui.painter().layout_no_wrap(text, fonts::semibold(9.5), t.on_accent);
        let size = vec2((galley.size().x + 7.0).max(14.0), 13.0);
        let badge = Rect::from_center_size(response.rect.right_top() + vec2(-3.0, 5.0), size);
        ui.painter().rect_filled(badge, 6.5, t.accent);
        ui.painter().galley(badge.center() - galley.size() / 2.0, galley, t.on_accent);
    }
    if response.clicked() {
        actions.push(Action::ToggleLog);
    }
}

/// What the menu offers.
const MENU: [Verb; 7] = [
    Verb::Palette,
    Verb::Hubs,
    Verb::Layouts,
    Verb::UndoLayout,
    Verb::RedoLayout,
    Verb::Settings,
    Verb::Help,
];

fn menu(ui: &mut Ui, model: &Model, layout: &crate::layout::Layout, actions: &mut Vec<Action>) {
    let response = widgets::icon_button(ui, Icon::Menu, "Menu");
    egui::Popup::menu(&response).show(|ui| {
        ui.set_min_width(230.0);
        for verb in MENU {
            let about = verb.about();
            let keys = about.keys().next().map(Chord::text).unwrap_or_default();
            let action = verb.action(model, layout);
            let button = egui::Button::new(about.name)
                .shortcut_text(egui::RichText::new(keys).font(fonts::mono(11.5)))
                .frame_when_inactive(false)
                .min_size(vec2(218.0, 24.0));
            let response = ui.add_enabled(action.is_ok(), button);
            if let (true, Ok(action)) = (response.clicked(), action) {
                actions.push(action);
                ui.close();
            }
        }
    });
}

fn theme_switch(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let choice = model.settings.theme;
    let picture = match choice {
        ThemeChoice::Dark => Icon::Moon,
        ThemeChoice::Light => Icon::Sun,
        ThemeChoice::System => Icon::HalfMoon,
    };
    let name = format!("Theme: {}", choice.label().to_lowercase());
    if widgets::icon_button(ui, picture, &name).clicked() {
        actions.push(Action::SetTheme(choice.next()));
    }
}
