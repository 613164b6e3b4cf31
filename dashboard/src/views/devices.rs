//! The list of devices on the left: a status shape, a sparkline and the last value for each, metrics when unfolded.
//!
//! Only the rows on the screen are drawn, so ten thousand devices cost what thirty do.

use std::time::Duration;

use egui::{Id, Key, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use protocol::{SeriesId, Timestamp, Value};

use crate::action::Action;
use crate::format;
use crate::model::devices::metric_label;
use crate::model::groups::Source;
use crate::model::listing::{GroupBy, ListOrder, ListRow, SortBy};
use crate::model::{Device, Model, Status};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets::{self, Icon};

/// Values in a sparkline.
const SPARKLINE: usize = 60;
/// Width of the value at the right end.
const VALUE_WIDTH: f32 = 70.0;
/// Width of the sparkline.
const SPARKLINE_WIDTH: f32 = 64.0;

/// Height of the bar that says how many devices are chosen.
const CHOSEN_BAR: f32 = 34.0;

/// A row that is being dragged: the series it stands for.
#[derive(Debug, Clone)]
pub struct DraggedSeries(pub Vec<SeriesId>);

/// The id of the filter, so that `/` can go there.
pub fn filter_id() -> Id {
    Id::unique("device-filter")
}

/// Draws the list.
pub fn devices(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    ui.spacing_mut().item_spacing.y = 0.0;
    egui::Frame::new().inner_margin(egui::Margin { left: 12, right: 12, top: 12, bottom: 8 }).show(
        ui,
        |ui| {
            header(ui, model, actions);
            ui.add_space(6.0);
            filter(ui, model, actions);
        },
    );
    let rows = model.devices.rows();
    if rows.is_empty() {
        if model.devices.is_empty() {
            no_devices(ui, model);
        } else {
            nothing_fits(ui, actions);
        }
        return;
    }
    // Below the list, so that no row moves away from under the pointer.
    let bar = if model.chosen.is_empty() { 0.0 } else { CHOSEN_BAR };
    let area = egui::ScrollArea::vertical().auto_shrink(false).max_height(ui.available_height() - bar);
    area.show_rows(ui, tokens::ROW, rows.len(), |ui, visible| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for row in rows.get(visible).unwrap_or_default() {
            match row {
                ListRow::Group { name, status, count, is_folded } => {
                    group_row(ui, name, *status, *count, *is_folded, actions);
                }
                ListRow::Device(id) => {
                    if let Some(device) = model.devices.get(id) {
                        device_row(ui, model, device, actions);
                    }
                }
                ListRow::Metric(id, index) => {
                    if let Some(device) = model.devices.get(id) {
                        metric_row(ui, model, device, *index, actions);
                    }
                }
            }
        }
    });
    if !model.chosen.is_empty() {
        chosen_bar(ui, model, actions);
    }
}

/// What can be done with the devices that are chosen.
fn chosen_bar(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    egui::Frame::new().fill(t.tint(t.accent)).inner_margin(egui::Margin::symmetric(12, 5)).show(ui, |ui| {
        ui.horizontal(|ui| {
            let text = format!("{} chosen", format::count(model.chosen.len() as u64));
            ui.label(egui::RichText::new(text).font(fonts::medium(12.5)).color(t.text));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if widgets::icon_button(ui, Icon::Cross, "Choose none").clicked() {
                    actions.push(Action::ClearChosen);
                }
                ui.add_enabled_ui(model.connection.may_send(), |ui| {
                    if widgets::accent_button(ui, "Send a command…").clicked() {
                        actions.push(Action::Compose(Source::Chosen));
                    }
                });
            });
        });
    });
}

fn header(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        widgets::caption(ui, "Devices");
        let (shown, all) = (model.devices.listed().len(), model.devices.len());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 6.0;
            order(ui, model, actions);
            if shown == all {
                return;
            }
            let text = format!("{} of {}", format::count(shown as u64), format::count(all as u64));
            ui.label(egui::RichText::new(text).font(fonts::mono(11.0)).color(t.text_weak));
            if shown > 1
                && model.chosen.is_empty()
                && model.connection.may_send()
                && widgets::link(ui, "Send to these…").on_hover_text("Tell all that fit the filter").clicked()
            {
                actions.push(Action::Compose(Source::Listed));
            }
        });
    });
}

/// How the list is grouped and sorted, and the menu to change it.
fn order(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let order = model.devices.order();
    let response = widgets::icon_button(ui, Icon::Order, "Group and sort");
    egui::Popup::menu(&response).show(|ui| {
        ui.set_min_width(170.0);
        let t = Tokens::of(ui);
        let mut item = |ui: &mut Ui, text: &str, chosen: bool, order: ListOrder| {
            let button = egui::Button::selectable(chosen, text).min_size(vec2(158.0, 24.0));
            if ui.add(button).clicked() {
                actions.push(Action::SetListOrder(order));
                ui.close();
            }
        };
        ui.label(egui::RichText::new("Group").font(fonts::medium(11.5)).color(t.text_weak));
        for group in GroupBy::ALL {
            item(ui, group.label(), order.group == group, ListOrder { group, ..order });
        }
        ui.separator();
        ui.label(egui::RichText::new("Sort").font(fonts::medium(11.5)).color(t.text_weak));
        for sort in SortBy::ALL {
            item(ui, sort.label(), order.sort == sort, ListOrder { sort, ..order });
        }
    });
}

fn group_row(
    ui: &mut Ui,
    name: &str,
    status: Option<Status>,
    count: usize,
    is_folded: bool,
    actions: &mut Vec<Action>,
) {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), tokens::ROW), Sense::click());
    let noun = if count == 1 { "device" } else { "devices" };
    let label = format!("Group {name}, {} {noun}", format::count(count as u64));
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, !is_folded, &label));
    paint_ground(ui, rect, false, response.hovered());
    widgets::focus_ring(ui, &response, rect);
    let y = rect.center().y;
    let picture = if is_folded { Icon::Right } else { Icon::Down };
    widgets::icon(ui, pos2(rect.left() + 11.0, y), picture, t.text_weak);
    let mut left = rect.left() + 22.0;
    if let Some(status) = status {
        widgets::status_shape(ui, pos2(left + 4.0, y), status, t);
        left += 14.0;
    }
    let text = format::ellipsis(name, 60);
    let width = rect.right() - left - 70.0;
    widgets::text_in(ui, pos2(left, y), width, &text, fonts::semibold(12.0), t.text_secondary);
    let text = format::count(count as u64);
    let galley = ui.painter().layout_no_wrap(text, fonts::mono(11.5), t.text_weak);
    let at = pos2(rect.right() - 12.0 - galley.size().x, y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, t.text_weak);
    ui.painter().hline(rect.x_range(), rect.bottom() - 0.5, egui::Stroke::new(1.0, t.line));
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        actions.push(Action::FoldGroup(name.to_owned()));
    }
}

/// Why there are none, in the words of the place where they will be.
fn no_devices(ui: &mut Ui, model: &Model) {
    let t = Tokens::of(ui);
    let text = match (model.connection.is_connected(), model.devices.is_complete()) {
        (false, _) => "Devices appear once the hub is connected.",
        (true, false) => "Waiting for the list of devices…",
        (true, true) => "No device has connected to this hub yet.",
    };
    ui.add_space(20.0);
    egui::Frame::new().inner_margin(egui::Margin::symmetric(12, 0)).show(ui, |ui| {
        ui.add(egui::Label::new(egui::RichText::new(text).color(t.text_weak)).wrap());
    });
}

fn filter(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let mut text = model.devices.filter().to_owned();
    let edit = egui::TextEdit::singleline(&mut text)
        .id(filter_id())
        .hint_text(egui::RichText::new("Filter devices…   /").color(t.text_weak))
        .desired_width(f32::INFINITY)
        .char_limit(200)
        .margin(egui::Margin::symmetric(8, 4));
    let response = ui.add(edit).accessible_name("Filter devices");
    let rect = response.rect;
    if !response.has_focus() {
        let stroke = egui::Stroke::new(1.0, t.line);
        ui.painter().rect_stroke(rect, f32::from(tokens::RADIUS_CONTROL), stroke, egui::StrokeKind::Inside);
    }
    if response.changed() {
        actions.push(Action::SetFilter(text));
    } else if !text.is_empty() {
        let cross = Rect::from_center_size(pos2(rect.right() - 14.0, rect.center().y), vec2(20.0, 20.0));
        let id = response.id.with("clear");
        if widgets::icon_button_at(ui, cross, id, Icon::Cross, "Clear the filter").clicked() {
            actions.push(Action::SetFilter(String::new()));
        }
    }
    if response.has_focus() && ui.input(|i| i.key_pressed(Key::Escape)) {
        actions.push(Action::SetFilter(String::new()));
        response.surrender_focus();
    }
    if response.lost_focus()
        && ui.input(|i| i.key_pressed(Key::Enter))
        && let [only, ..] = model.devices.listed()
    {
        actions.push(Action::Select(Some(only.clone())));
    }
}

fn nothing_fits(ui: &mut Ui, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.add_space(24.0);
    ui.vertical_centered(|ui| {
        ui.spacing_mut().item_spacing.y = 6.0;
        ui.label(egui::RichText::new("No device fits the filter").color(t.text_secondary));
        if widgets::plain_button(ui, "Show all").clicked() {
            actions.push(Action::SetFilter(String::new()));
        }
    });
}

fn device_row(ui: &mut Ui, model: &Model, device: &Device, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let id = &device.info.id;
    let status = device.status(model.now());
    // Without the hub nobody knows: what is shown is what was known last.
    let is_known = model.connection.is_connected();
    let selected = model.selection.as_ref() == Some(id);
    let chosen = model.chosen.contains(id);
    let beyond = model.device_beyond(device);
    let main = device.main_series();
    let latest = main.and_then(|s| model.latest(s));
    let unit = main.and_then(|s| model.series_info(s)).and_then(|info| info.unit().map(str::to_owned));
    let value = latest.as_ref().map(|(_, v)| v);

    let (rect, response) =
        ui.allocate_exact_size(vec2(ui.available_width(), tokens::ROW), Sense::click_and_drag());
    response.widget_info(|| {
        let value = value.map(|v| format::value_with_unit(v, unit.as_deref())).unwrap_or_default();
        let chosen = if chosen { " chosen" } else { "" };
        let beyond = beyond.map(|level| format!(" {} of a chart", level.label())).unwrap_or_default();
        let known = if is_known { "" } else { "last known " };
        let name = format!("{id} {known}{} {value}{beyond}{chosen}", status.label());
        WidgetInfo::selected(Role::Button, true, selected, name)
    });
    let hovered = response.hovered() || ui.rect_contains_pointer(rect);
    paint_ground(ui, rect, selected || chosen, hovered);
    widgets::focus_ring(ui, &response, rect);

    // The arrow is shown where it is of use, and does not push anything aside.
    let arrow = Rect::from_center_size(pos2(rect.left() + 11.0, rect.center().y), vec2(18.0, 22.0));
    let name = if device.expanded { "Hide metrics of" } else { "Show metrics of" };
    let arrow_response = ui.interact(arrow, response.id.with("arrow"), Sense::click());
    arrow_response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{name} {id}")));
    if chosen {
        let at = arrow.center();
        let tick = vec![at + vec2(-4.0, 0.5), at + vec2(-1.0, 3.5), at + vec2(4.5, -3.0)];
        ui.painter().line(tick, egui::Stroke::new(1.75, t.accent));
    } else if hovered || device.expanded || arrow_response.has_focus() {
        let picture = if device.expanded { Icon::Down } else { Icon::Right };
        let color = if arrow_response.hovered() { t.text } else { t.text_weak };
        widgets::icon(ui, arrow.center(), picture, color);
    }
    let shape = pos2(rect.left() + 26.0, rect.center().y);
    match beyond {
        _ if !is_known => {
            ui.painter().circle_stroke(shape, 3.5, egui::Stroke::new(1.5, t.text_weak));
        }
        Some(level) => widgets::alert_on(ui.painter(), shape, 4.5, widgets::level_color(t, level)),
        None => widgets::status_shape(ui, shape, status, t),
    }

    let quiet = matches!(status, Status::Stale | Status::Offline);
    let color = if quiet || !is_known { t.text_weak } else { t.text };
    let left = rect.left() + 40.0;
    let spark = spark_rect(rect, hovered);
    // Where there is no curve, the name has its room.
    let has_curve = main.is_some_and(|series| model.series.sparkline(series, 2).len() > 1);
    let right = if has_curve || hovered { spark.left() } else { spark_rect(rect, false).right() };
    let font = fonts::regular(13.0);
    widgets::text_in(ui, pos2(left, rect.center().y), right - left - 8.0, id.as_str(), font, color);
    if let Some(series) = main {
        paint_sparkline(ui, model, series, spark, status);
    }
    if hovered && let Some(series) = main {
        add_button(ui, rect, response.id, vec![series], id.as_str(), actions);
    }
    if let Some(heard) = device.last_heard().filter(|_| quiet) {
        paint_age(ui, rect, model.now(), heard);
    } else {
        let outside = main.is_some_and(|s| model.devices.is_outside(s));
        paint_value(ui, rect, value, unit.as_deref(), if outside && is_known { t.warn } else { color });
    }

    response.dnd_set_drag_payload(DraggedSeries(main.into_iter().collect()));
    let (toggles, ranges) = ui.input(|i| (i.modifiers.command, i.modifiers.shift));
    if (response.clicked() || arrow_response.clicked()) && (toggles || ranges) {
        actions.push(Action::Choose { device: id.clone(), range: ranges });
    } else if arrow_response.clicked() {
        actions.push(Action::ToggleExpanded(id.clone()));
    } else if response.double_clicked() {
        if let Some(series) = main {
            actions.push(Action::AddChart { title: None, series: vec![series] });
        }
    } else if response.clicked() {
        actions.push(Action::Select(Some(id.clone())));
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand);
}

fn metric_row(ui: &mut Ui, model: &Model, device: &Device, index: usize, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let Some(metric) = device.info.metrics.get(index) else { return };
    let series = metric.series;
    let label = metric_label(&metric.declaration);
    let latest = model.latest(series);
    let value = latest.as_ref().map(|(_, v)| v);
    let unit = metric.declaration.unit.as_deref();
    let (rect, response) =
        ui.allocate_exact_size(vec2(ui.available_width(), tokens::ROW), Sense::click_and_drag());
    response.widget_info(|| {
        let value = value.map(|v| format::value_with_unit(v, unit)).unwrap_or_default();
        WidgetInfo::labeled(Role::Button, true, format!("{} {label} {value}", device.info.id))
    });
    let hovered = response.hovered() || ui.rect_contains_pointer(rect);
    paint_ground(ui, rect, false, hovered);
    widgets::focus_ring(ui, &response, rect);
    let rail = rect.left() + 26.0;
    ui.painter().vline(rail, rect.y_range(), egui::Stroke::new(1.0, t.line));
    let status = device.status(model.now());
    let quiet = matches!(status, Status::Stale | Status::Offline);
    let color = if quiet { t.text_weak } else { t.text_secondary };
    let left = rect.left() + 40.0;
    let spark = spark_rect(rect, hovered);
    let font = fonts::regular(12.5);
    widgets::text_in(ui, pos2(left, rect.center().y), spark.left() - left - 8.0, &label, font, color);
    paint_sparkline(ui, model, series, spark, status);
    let value_color = if model.devices.is_outside(series) { t.warn } else { color };
    paint_value(ui, rect, value, unit, value_color);
    if hovered {
        add_button(ui, rect, response.id, vec![series], &format!("{label} of {}", device.info.id), actions);
    }
    response.dnd_set_drag_payload(DraggedSeries(vec![series]));
    if response.double_clicked() {
        actions.push(Action::AddChart { title: None, series: vec![series] });
    } else if response.clicked() {
        actions.push(Action::Select(Some(device.info.id.clone())));
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand);
}

fn spark_rect(row: Rect, hovered: bool) -> Rect {
    let right = row.right() - 12.0 - VALUE_WIDTH - 8.0;
    let width = SPARKLINE_WIDTH - if hovered { 24.0 } else { 0.0 };
    let left = right - SPARKLINE_WIDTH;
    Rect::from_min_max(pos2(left, row.top() + 8.0), pos2(left + width, row.bottom() - 8.0))
}

fn add_button(ui: &Ui, row: Rect, id: Id, series: Vec<SeriesId>, what: &str, actions: &mut Vec<Action>) {
    let right = row.right() - 12.0 - VALUE_WIDTH - 2.0;
    let rect = Rect::from_center_size(pos2(right - 11.0, row.center().y), vec2(22.0, 22.0));
    if widgets::icon_button_at(ui, rect, id.with("add"), Icon::Plus, &format!("Add a chart of {what}"))
        .clicked()
    {
        actions.push(Action::AddChart { title: None, series });
    }
}

fn paint_ground(ui: &Ui, rect: Rect, selected: bool, hovered: bool) {
    let t = Tokens::of(ui);
    if selected {
        ui.painter().rect_filled(rect, 0.0, t.selected());
        let bar = Rect::from_min_size(rect.min, vec2(2.0, rect.height()));
        ui.painter().rect_filled(bar, 0.0, t.accent);
    } else if hovered {
        ui.painter().rect_filled(rect, 0.0, t.hovered());
    }
}

fn paint_sparkline(ui: &Ui, model: &Model, series: SeriesId, rect: Rect, status: Status) {
    let t = Tokens::of(ui);
    let values = model.series.sparkline(series, SPARKLINE);
    let outside = model.devices.is_outside(series);
    let quiet = matches!(status, Status::Stale | Status::Offline);
    let (line, dot) = match (outside, quiet) {
        (true, _) => (t.warn, t.warn),
        (false, true) => (tokens::mix(t.panel, t.text_weak, 0.6), t.text_weak),
        (false, false) => (t.text_weak, t.text),
    };
    widgets::sparkline(ui, rect, &values, line, dot);
}

/// Draws a value with its unit, ending at the right edge of a row.
pub fn paint_value(ui: &Ui, row: Rect, value: Option<&Value>, unit: Option<&str>, color: egui::Color32) {
    let t = Tokens::of(ui);
    let text =
        value.map_or_else(|| "–".to_owned(), |v| format::ellipsis(&format::value_of_unit(v, unit), 14));
    let unit = unit.map(format::unit).filter(|u| !u.is_empty() && value.is_some());
    let mut job = egui::text::LayoutJob::default();
    job.append(&text, 0.0, egui::TextFormat::simple(fonts::mono(12.5), color));
    if let Some(unit) = unit {
        let gap = if unit == "°" { 0.0 } else { 4.0 };
        job.append(unit, gap, egui::TextFormat::simple(fonts::regular(11.0), t.text_weak));
    }
    job.wrap = egui::text::TextWrapping::truncate_at_width(VALUE_WIDTH + 34.0);
    let galley = ui.painter().layout_job(job);
    let at = pos2(row.right() - 12.0 - galley.size().x, row.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, color);
}

fn paint_age(ui: &Ui, row: Rect, now: Timestamp, heard: Timestamp) {
    let t = Tokens::of(ui);
    let age = now.micros_since(heard);
    let galley = ui.painter().layout_no_wrap(format::age(age), fonts::mono(12.0), t.text_weak);
    let at = pos2(row.right() - 12.0 - galley.size().x, row.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, t.text_weak);
    // Ages below a minute change every second: that is not worth a repaint of an idle window more than now and then.
    let wake = format::age_changes_in(age).max(Duration::from_secs(if age < 60_000_000 { 5 } else { 1 }));
    ui.ctx().request_repaint_after(wake);
}
