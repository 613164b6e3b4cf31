//! From sensor to screen: how long readings take, by stage and by device.

use egui::{Align2, Rect, RichText, Sense, Ui, pos2, vec2};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::latency::{COLUMNS, COLUMNS_PER_DECADE, Figure, Figures, Stage};
use crate::theme::{Tokens, fonts};
use crate::views::widgets::{self, Icon};

/// Height of a row.
const ROW: f32 = 22.0;
/// Width of a number.
const NUMBER: f32 = 60.0;
/// Width of a drawn histogram.
const BARS: f32 = 170.0;
/// From this width on it stands in the row of a device which stage takes the most.
const WIDE: f32 = 520.0;
/// From this width on the devices stand beside the stages.
const TWO_COLUMNS: f32 = 860.0;
/// A single column is not wider: numbers stay near their names.
const COLUMN_MAX: f32 = 640.0;
/// Gap between both.
const COLUMN_GAP: f32 = 32.0;
/// Least distance between the names of two decades below a histogram.
const DECADE_MIN: f32 = 26.0;
/// Devices that are shown: the slowest.
const DEVICES: usize = 8;

/// What the numbers are.
const NUMBERS: [&str; 3] = ["p50", "p99", "most"];

/// Draws the panel into all of the room that it was given.
pub fn latency(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 2.0;
    ui.horizontal(|ui| {
        ui.label(RichText::new("From sensor to screen").font(fonts::semibold(14.0)).color(t.text));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if widgets::icon_button(ui, Icon::Cross, "Close from sensor to screen").clicked() {
                actions.push(Action::ToggleLatency);
            }
        });
    });
    let area = egui::ScrollArea::vertical().auto_shrink(false).id_salt("latency");
    widgets::scrolled(ui, area, |ui| match model.latency.figures() {
        Some(figures) => show(ui, model, figures, actions),
        None => nothing(ui, model),
    });
}

fn nothing(ui: &mut Ui, model: &Model) {
    let t = Tokens::of(ui);
    let text = if !model.connection.is_connected() {
        "Not connected: readings are traced as soon as there is a hub."
    } else if model.shown().is_empty() {
        "No chart is shown: readings are traced on their way to charts. Double click on a device for one."
    } else {
        "No reading has come since the charts were shown: it stands here as soon as one does."
    };
    ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
}

fn show(ui: &mut Ui, model: &Model, figures: &Figures, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let noun = if figures.count == 1 { "reading" } else { "readings" };
    let last = format::clock(figures.last, &model.zone);
    let text = format!(
        "{} {noun} of the last two minutes, drawn by lot among those for charts; the last at {last}",
        format::count(figures.count)
    );
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(t.text_secondary)).wrap());
    ui.add_space(6.0);
    if ui.available_width() >= TWO_COLUMNS {
        ui.spacing_mut().item_spacing.x = COLUMN_GAP;
        ui.columns_const(|[left, right]| {
            stages(left, figures);
            devices(right, figures, actions);
        });
    } else {
        ui.set_max_width(ui.available_width().min(COLUMN_MAX));
        stages(ui, figures);
        ui.add_space(8.0);
        devices(ui, figures, actions);
    }
    ui.add_space(8.0);
}

/// What each stage takes, and all of them together.
fn stages(ui: &mut Ui, figures: &Figures) {
    let width = ui.available_width();
    heading(ui, "Stage", width);
    for (stage, figure) in Stage::ALL.iter().zip(&figures.stages) {
        row(ui, stage.label(), None, figure, width, Look::Stage).on_hover_text(stage.about());
    }
    let whole = row(ui, "Sensor to screen", None, &figures.whole, width, Look::Sum);
    whole.on_hover_text("All of it, of each reading by itself: its p99 is not the sum of the others.");
    axis(ui, width);
}

/// What the slowest devices take; a click opens one.
fn devices(ui: &mut Ui, figures: &Figures, actions: &mut Vec<Action>) {
    let width = ui.available_width();
    heading(ui, "Slowest devices", width);
    for device in figures.devices.iter().take(DEVICES) {
        let name = device.device.as_str();
        let slowest = Stage::ALL.iter().zip(&device.stages).max_by_key(|(_, time)| **time);
        let slowest =
            slowest.map(|(stage, time)| format!("{} {}", stage.label(), format::milliseconds(*time)));
        let aside = slowest.as_deref().filter(|_| width >= WIDE);
        let at = row(ui, name, aside, &device.whole, width, Look::Device).rect;
        let most = slowest.map_or_else(String::new, |slowest| format!("on average most in: {slowest}"));
        let hint = format!("{} traces; {most}. Click to open the device.", format::count(device.count));
        let response =
            ui.interact(at, ui.scope_id().with(("device", name)), Sense::click()).on_hover_text(hint);
        response.widget_info(|| {
            let label = format!("{}; {most}", in_words(name, &device.whole));
            egui::WidgetInfo::labeled(egui::Role::Button, true, label)
        });
        widgets::focus_ring(ui, &response, at);
        if response.clicked() {
            actions.push(Action::Select(Some(device.device.clone())));
        }
    }
}

fn bars(width: f32) -> f32 {
    BARS.min(width * 0.25)
}

/// The left edge of each number.
fn places(rect: Rect, width: f32) -> [f32; 3] {
    let right = rect.right() - bars(width) - 14.0;
    [3.0, 2.0, 1.0].map(|i| right - i * NUMBER)
}

fn heading(ui: &mut Ui, name: &str, width: f32) {
    let t = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(width, ROW), Sense::hover());
    let y = rect.center().y;
    let font = fonts::medium(11.5);
    widgets::text_in(ui, pos2(rect.left(), y), width, name, font.clone(), t.text_weak);
    for (x, name) in places(rect, width).into_iter().zip(NUMBERS) {
        let at = pos2(x + NUMBER - 8.0, y);
        ui.painter().text(at, Align2::RIGHT_CENTER, name, font.clone(), t.text_weak);
    }
    let line = egui::Stroke::new(1.0, t.line);
    ui.painter().hline(rect.x_range(), rect.bottom(), line);
}

/// What a row is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Stage,
    Sum,
    Device,
}

/// A row as it is read out: the numbers, and between which most are.
fn in_words(name: &str, figure: &Figure) -> String {
    let [p50, p99, most] = [figure.p50, figure.p99, figure.most].map(format::milliseconds);
    let fullest = figure.fullest().map_or_else(String::new, |(low, high)| {
        format!(", mostly {} to {}", format::milliseconds(low), format::milliseconds(high))
    });
    format!("{name}: p50 {p50}, p99 {p99}, most {most}{fullest}")
}

/// Draws a row: a name, something about it beside, three numbers, and a histogram.
fn row(
    ui: &mut Ui,
    name: &str,
    aside: Option<&str>,
    figure: &Figure,
    width: f32,
    look: Look,
) -> egui::Response {
    let t = Tokens::of(ui);
    let is_sum = look == Look::Sum;
    let (rect, response) = ui.allocate_exact_size(vec2(width, ROW), Sense::hover());
    if is_sum {
        ui.painter().hline(rect.x_range(), rect.top(), egui::Stroke::new(1.0, t.line));
    }
    let y = rect.center().y;
    let places = places(rect, width);
    let (font, color) = if is_sum { (fonts::semibold(12.5), t.text) } else { (fonts::regular(12.5), t.text) };
    let mut room = places[0] - rect.left();
    if let Some(aside) = aside {
        let galley = ui.painter().layout_no_wrap(aside.to_owned(), fonts::regular(11.5), t.text_weak);
        room -= galley.size().x + 10.0;
        let at = pos2(rect.left() + room + 2.0, y - galley.size().y / 2.0);
        ui.painter().galley(at, galley, t.text_weak);
    }
    widgets::text_in(ui, pos2(rect.left(), y), room, name, font, color);
    for (x, value) in places.into_iter().zip([figure.p50, figure.p99, figure.most]) {
        let at = pos2(x + NUMBER - 8.0, y);
        ui.painter().text(at, Align2::RIGHT_CENTER, format::milliseconds(value), fonts::mono(11.5), color);
    }
    let area = Rect::from_min_max(pos2(rect.right() - bars(width), rect.top() + 3.0), rect.max);
    let most = figure.counts.iter().copied().max().unwrap_or(0).max(1) as f32;
    let step = area.width() / COLUMNS as f32;
    let fill = if is_sum { t.accent } else { t.text_weak };
    for (i, count) in figure.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f32 / most * (area.height() - 3.0)).max(1.0);
        let left = area.left() + i as f32 * step;
        let bar =
            Rect::from_min_max(pos2(left, area.bottom() - height), pos2(left + step - 1.0, area.bottom()));
        ui.painter().rect_filled(bar, 0.0, fill);
    }
    // What a device is called is read out with the button over its row.
    if look != Look::Device {
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, in_words(name, figure)));
    }
    response
}

/// What the columns of the histograms are.
fn axis(ui: &mut Ui, width: f32) {
    let t = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(width, 14.0), Sense::hover());
    let left = rect.right() - bars(width);
    let step = bars(width) / COLUMNS as f32;
    // Where all have no room beside each other, every other one.
    let every = if step * COLUMNS_PER_DECADE as f32 >= DECADE_MIN { 1 } else { 2 };
    let names = [(1, "0.1"), (2, "1"), (3, "10"), (4, "100"), (5, "1 s")];
    for (decade, name) in names.into_iter().step_by(every) {
        let x = left + step * (decade * COLUMNS_PER_DECADE) as f32;
        ui.painter().vline(x, rect.top()..=rect.top() + 3.0, egui::Stroke::new(1.0, t.line));
        let at = pos2(x, rect.top() + 9.0);
        ui.painter().text(at, Align2::CENTER_CENTER, name, fonts::mono(9.5), t.text_weak);
    }
}
