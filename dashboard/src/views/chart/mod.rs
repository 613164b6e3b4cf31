//! One chart: curves of some series over the shared stretch of time, and the commands that moved them.
//!
//! Numbers of one unit share a lane with its own value axis; states (booleans and texts) are coloured strips below.
//! [`egui_plot`] draws the grid and clips; curves, axes, legend, cursor and tooltip are ours, because bounds belong to
//! the model's viewport and single curves of a million readings must cost a frame nothing. A chart never changes the
//! model: it pushes actions.

mod cache;
mod colors;
mod cursor;
mod explain;
mod header;
mod input;
mod keys;
mod lane;
mod legend;
mod limits;
mod measure;
mod mesh;
mod outages;
mod picture;
mod scale;
mod spans;
mod states;
mod table;

use std::collections::BTreeMap;

use egui::emath::GuiRounding as _;
use egui::{
    Align2, Color32, CornerRadius, Id, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};
use protocol::{Kind, SeriesId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::action::{Action, ChartId};
use crate::format;
use crate::layout::{self, Pane};
use crate::model::chart_form::{AxisForm, ChartForm, LimitsForm};
use crate::model::{Axis, Model, Thresholds};
use crate::series::{Column, Trace};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

pub use cache::ChartCache;
use cache::PerChart;
use mesh::Map;
pub use picture::{Drawn, drawn};

/// What a chart shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChartSpec {
    /// Its title; made from the series if left out.
    pub title: Option<String>,
    /// Its series.
    pub series: Vec<SeriesId>,
    /// Axes that are not as usual, by the code of their unit; empty: no unit.
    #[serde(default)]
    pub axes: BTreeMap<String, Axis>,
    /// The limits of its series.
    #[serde(default)]
    pub thresholds: BTreeMap<SeriesId, Thresholds>,
}

/// Width of the column of value labels. The same in all charts, so that their times line up.
const AXIS_WIDTH: f32 = 46.0;
/// Height of the row of time labels.
const AXIS_HEIGHT: f32 = 22.0;
/// Height of the title and legend.
const HEADER_HEIGHT: f32 = 32.0;
/// Height of a strip of states, and the gap above it.
const STRIP_HEIGHT: f32 = 18.0;
const STRIP_GAP: f32 = 5.0;
/// Gap between lanes.
const LANE_GAP: f32 = 14.0;
/// Most lanes; further units share the last one.
const LANES_MAX: usize = 4;
/// Room for the menu of the card, right of the legend.
const MENU_WIDTH: f32 = 20.0;
/// Room at the right edge.
const MARGIN_RIGHT: f32 = 8.0;
/// The least age of a stale value, in microseconds. Chosen: readings that travel in batches are not stale.
const STALE_MIN: i64 = 5_000_000;
/// Size of the labels of both axes.
const TICK_SIZE: f32 = 10.5;

/// One series of a chart, as it is drawn in this frame.
struct Curve<'a> {
    id: SeriesId,
    /// What tells it from the others of this chart.
    name: String,
    unit: Option<&'a str>,
    kind: Kind,
    color: Color32,
    is_dashed: bool,
    is_hidden: bool,
    /// Beyond which values a person wants to be warned.
    limits: Thresholds,
}

/// What all parts of a chart need to draw themselves.
struct Scene<'a> {
    model: &'a Model,
    tokens: &'static Tokens,
    curves: Vec<Curve<'a>>,
    /// Everything between the axes, over all lanes.
    area: Rect,
    from: Timestamp,
    to: Timestamp,
    micros_per_pixel: f64,
}

impl Scene<'_> {
    /// The map of times; its values mean nothing.
    const fn times(&self) -> Map {
        Map { rect: self.area, from: self.from.0, to: self.to.0, low: 0.0, high: 1.0, is_log: false }
    }

    fn is_state(curve: &Curve<'_>) -> bool {
        curve.kind != Kind::Number
    }

    /// What a series says at a time, or why it says nothing.
    fn said_at(&self, curve: &Curve<'_>, trace: Option<&Trace>, at: Timestamp) -> String {
        let column =
            trace.and_then(|trace| if Self::is_state(curve) { trace.holding(at) } else { trace.nearest(at) });
        column.map_or_else(|| self.silence(curve, trace, at), |column| self.value_text(curve, column))
    }

    /// Why a series says nothing at a time: its device was away, it was silent, or nothing is known.
    fn silence(&self, curve: &Curve<'_>, trace: Option<&Trace>, at: Timestamp) -> String {
        let info = self.model.series_info(curve.id);
        if info.is_some_and(|info| info.device.has_lost(at)) {
            return "lost for good".to_owned();
        }
        if info.is_some_and(|info| info.device.was_away(at)) {
            return "offline".to_owned();
        }
        let Some(trace) = trace else { return "no data".to_owned() };
        match trace.around(at) {
            (Some(before), Some(after)) if trace.is_gap(before, after) => {
                format!("gap of {}", format::duration(after.at - before.at - trace.width))
            }
            _ if trace.is_partial && !self.model.connection.is_connected() => "waits for the hub".to_owned(),
            _ if trace.is_partial && self.model.series.is_loading(curve.id) => "loading…".to_owned(),
            (Some(before), None) => format!("silent for {}", format::duration(at.0 - before.at)),
            _ => "no data".to_owned(),
        }
    }

    /// How old the latest value of a series is, in microseconds, if it is too old to stand for what is now.
    ///
    /// That is when its device is away, or a number is missing for longer than a gap of its series and [`STALE_MIN`].
    /// A state that holds is not stale: it says nothing until it changes.
    fn stale_for(&self, curve: &Curve<'_>, trace: Option<&Trace>) -> Option<i64> {
        let (at, _) = self.model.series.latest(curve.id)?;
        let age = self.model.now().micros_since(at);
        let is_away = self.model.series_info(curve.id).is_some_and(|info| !info.device.info.connected);
        let patience = trace.filter(|trace| trace.cadence > 0).map(|trace| trace.gap.max(STALE_MIN));
        let is_late = !Self::is_state(curve) && patience.is_some_and(|patience| age > patience);
        (is_away || is_late).then_some(age.max(0))
    }

    /// The text of a column of a series.
    fn value_text(&self, curve: &Curve<'_>, column: &Column) -> String {
        match curve.kind {
            Kind::Number => format::with_unit(format::number(column.mean), curve.unit),
            Kind::Bool | Kind::Text => self.state_text(curve, column),
        }
    }

    /// The name of a state; of several in one column the last is not known, so all that differ are said to be mixed.
    fn state_text(&self, curve: &Curve<'_>, column: &Column) -> String {
        if column.min < column.max {
            return "mixed".to_owned();
        }
        match curve.kind {
            Kind::Bool => if column.mean > 0.5 { "on" } else { "off" }.to_owned(),
            _ => self
                .model
                .series
                .text(curve.id, column.mean)
                .map_or_else(|| "–".to_owned(), ToString::to_string),
        }
    }
}

/// Draws a chart into all of the available room and says what the user asked for.
///
/// Returns the response of its title, for a menu or for dragging.
pub fn chart(
    ui: &mut Ui,
    model: &Model,
    spec: &ChartSpec,
    id: Id,
    cache: &mut ChartCache,
    actions: &mut Vec<Action>,
) -> egui::Response {
    let rect = ui.available_rect_before_wrap();
    ui.advance_cursor_after_rect(rect);
    let tokens = Tokens::of(ui);
    let radius = CornerRadius::same(tokens::RADIUS_CARD);
    ui.painter().rect(rect, radius, tokens.panel, Stroke::new(1.0, tokens.line), StrokeKind::Inside);
    let cached = cache.of(id);
    cached.size = Some(rect.size());

    // The right end belongs to the menu of the card.
    let header = Rect::from_min_max(
        rect.min + vec2(tokens::PADDING, 0.0),
        pos2(rect.right() - MENU_WIDTH, rect.top() + HEADER_HEIGHT),
    );
    let mut area = Rect::from_min_max(
        pos2(rect.left() + AXIS_WIDTH, rect.top() + HEADER_HEIGHT),
        pos2(rect.right() - MARGIN_RIGHT, rect.bottom() - AXIS_HEIGHT),
    );
    let numbers = spec.series.iter().filter(|&&id| is_number(model, id) && !cached.hidden.contains(&id));
    let measures = measure::height(&model.pins, numbers.count(), area.height());
    area.max.y -= measures;
    if area.width() < 40.0 || area.height() < 24.0 {
        return ui.interact(header, id.with("title"), Sense::CLICK);
    }
    let area = area.round_to_pixels(ui.pixels_per_point());
    let mut scene = scene(ui, model, spec, cached, tokens, area);
    cached.update(&scene);
    cached.micros_per_pixel = Some(scene.micros_per_pixel);

    let (title, legend) = header::header(ui, &scene, spec, id, header, area.height(), cached);
    scene.area.min.y += legend;
    scene.area = scene.area.round_to_pixels(ui.pixels_per_point());
    let area = scene.area;
    let response = ui.interact(area, id.with("area"), Sense::click_and_drag());
    let mut spans = std::mem::take(&mut cached.spans);
    spans.update(ui, &scene);
    if cached.is_table {
        cached.spans = spans;
        let room = Rect::from_min_max(pos2(rect.left(), area.top()), pos2(rect.right(), rect.bottom() - 4.0));
        table::table(ui, &scene, room, cached);
        let spoken = format!("Table of {}", summary(&scene, spec, cached));
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &spoken));
        keys::keys(ui, &scene, &response, cached, actions);
        widgets::focus_ring(ui, &response, rect);
        return title;
    }
    outages::ground(ui, &scene, id);
    lanes(ui, &scene, spec, id, spans.height(), cached);
    outages::bars(ui, &scene, id);
    time_axis(ui, &scene, cached);
    let below = Rect::from_min_max(
        pos2(rect.left() + tokens::PADDING, rect.bottom() - measures),
        pos2(rect.right() - MARGIN_RIGHT, rect.bottom() - 1.0),
    );
    measure::rows(ui, &scene, &mut cached.measured, id, below);
    let pointed = spans.draw(ui, &scene, id, actions);
    cached.spans = spans;
    input::input(ui, &scene, &response, cached, actions);
    keys::keys(ui, &scene, &response, cached, actions);
    cursor::cursor(ui, &scene, &response, cached, pointed);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, summary(&scene, spec, cached)));
    widgets::focus_ring(ui, &response, rect);
    title
}

/// The form of the axes and limits of a chart, as they are.
pub fn form(model: &Model, pane: &Pane) -> ChartForm {
    let spec = &pane.spec;
    let mut axes: Vec<AxisForm> = Vec::new();
    let mut limits = Vec::new();
    for &id in spec.series.iter().filter(|&&id| is_number(model, id)) {
        let info = model.series_info(id);
        let unit = info.as_ref().and_then(|info| info.unit()).unwrap_or_default();
        if !axes.iter().any(|axis| axis.unit == unit) {
            axes.push(AxisForm::of(unit, spec.axes.get(unit).copied().unwrap_or_default()));
        }
        let name = info.map_or_else(
            || format!("series {}", id.0),
            |info| format!("{} {}", info.device.info.id, info.label()),
        );
        limits.push(LimitsForm::of(id, &name, spec.thresholds.get(&id).copied().unwrap_or_default()));
    }
    ChartForm { chart: pane.chart, title: layout::title(pane, &model.devices), axes, limits }
}

fn is_number(model: &Model, id: SeriesId) -> bool {
    let declared = model.series_info(id).map(|info| info.declaration.kind);
    declared.or_else(|| model.series.kind(id)).unwrap_or_default() == Kind::Number
}

fn scene<'a>(
    ui: &Ui,
    model: &'a Model,
    spec: &ChartSpec,
    cached: &mut PerChart,
    tokens: &'static Tokens,
    area: Rect,
) -> Scene<'a> {
    let (from, to) = model.range();
    let span = to.micros_since(from).max(1);
    let micros_per_pixel = (span as f64 / f64::from(area.width() * ui.pixels_per_point()).max(1.0)).max(1.0);
    // Whole pixels, so that a view that follows draws the same picture until there is a new column.
    let pixel = micros_per_pixel as i64;
    let from = Timestamp(from.0.div_euclid(pixel) * pixel);
    let to = from.plus_micros(span);
    let infos: Vec<_> = spec.series.iter().map(|&id| (id, model.series_info(id))).collect();
    let mut devices = infos.iter().filter_map(|(_, info)| info.map(|i| &i.device.info.id));
    let first_device = devices.next();
    let is_one_device = devices.all(|device| Some(device) == first_device);
    let mut labels = infos.iter().filter_map(|(_, info)| info.map(|i| i.label()));
    let first_label = labels.next();
    let is_one_label = labels.all(|label| Some(&label) == first_label.as_ref());
    let palette = cached.colors.of(&spec.series, tokens);
    let curves = infos
        .into_iter()
        .zip(palette)
        .map(|((id, info), (color, is_dashed))| {
            let name = match info {
                None => format!("series {}", id.0),
                Some(info) if is_one_device => info.label(),
                Some(info) if is_one_label => info.device.info.id.to_string(),
                Some(info) => format!("{} {}", info.device.info.id, info.label()),
            };
            Curve {
                id,
                name,
                unit: info.and_then(|i| i.declaration.unit.as_deref()).filter(|u| !u.is_empty()),
                kind: info.map(|i| i.declaration.kind).or_else(|| model.series.kind(id)).unwrap_or_default(),
                color: tokens.series[color],
                is_dashed,
                is_hidden: cached.hidden.contains(&id),
                limits: spec.thresholds.get(&id).copied().unwrap_or_default(),
            }
        })
        .collect();
    Scene { model, tokens, curves, area, from, to, micros_per_pixel }
}

/// Lanes of numbers above, strips of states below; at the bottom is room for the spans of commands.
fn lanes(ui: &mut Ui, scene: &Scene<'_>, spec: &ChartSpec, id: Id, spans_height: f32, cached: &mut PerChart) {
    let strips: Vec<usize> = (0..scene.curves.len())
        .filter(|&i| Scene::is_state(&scene.curves[i]) && !scene.curves[i].is_hidden)
        .collect();
    let mut units: Vec<Option<&str>> = Vec::new();
    for curve in scene.curves.iter().filter(|curve| !Scene::is_state(curve) && !curve.is_hidden) {
        if !units.contains(&curve.unit) && units.len() < LANES_MAX {
            units.push(curve.unit);
        }
    }
    let strips_height = strips.len() as f32 * (STRIP_HEIGHT + STRIP_GAP);
    let room = (scene.area.height() - strips_height - spans_height).max(40.0);
    let lanes_height = if units.is_empty() { 0.0 } else { room };
    let height = (lanes_height - LANE_GAP * (units.len().max(1) - 1) as f32) / units.len().max(1) as f32;
    for (i, unit) in units.iter().enumerate() {
        let top = scene.area.top() + i as f32 * (height + LANE_GAP);
        let rect = Rect::from_min_size(pos2(scene.area.left(), top), vec2(scene.area.width(), height));
        let is_last = i + 1 == LANES_MAX;
        let members: Vec<usize> = (0..scene.curves.len())
            .filter(|&c| !Scene::is_state(&scene.curves[c]))
            .filter(|&c| scene.curves[c].unit == *unit || (is_last && !units.contains(&scene.curves[c].unit)))
            .collect();
        let lane = lane::Lane {
            id: id.with(("lane", i)),
            rect,
            unit: *unit,
            members: &members,
            is_unit_shown: units.len() > 1,
            axis: spec.axes.get(unit.unwrap_or_default()).copied().unwrap_or_default(),
        };
        lane.draw(ui, scene, cached);
    }
    for (i, &curve) in strips.iter().enumerate() {
        let top = scene.area.top() + lanes_height + STRIP_GAP + i as f32 * (STRIP_HEIGHT + STRIP_GAP);
        let rect = Rect::from_min_size(pos2(scene.area.left(), top), vec2(scene.area.width(), STRIP_HEIGHT));
        states::strip(ui, scene, rect, &scene.curves[curve], cached);
    }
    state(ui, scene, id, spans_height, cached);
    thinned(ui, scene, id, cached);
}

/// Says in the middle why there is nothing to see, or at the bottom that there is more than is seen.
fn state(ui: &Ui, scene: &Scene<'_>, id: Id, spans_height: f32, cached: &PerChart) {
    let (is_partial, has_data) = (cached.is_partial(scene), cached.has_data(scene));
    if has_data && !is_partial {
        return;
    }
    let text = if is_partial { missing(scene).to_owned() } else { nothing(scene) };
    let (at, anchor, size) = if has_data {
        (scene.area.left_bottom() + vec2(6.0, -5.0 - spans_height), Align2::LEFT_BOTTOM, 11.0)
    } else {
        (scene.area.center(), Align2::CENTER_CENTER, 13.0)
    };
    let room = if has_data { scene.area.width() - 12.0 } else { scene.area.width() - 24.0 };
    let mut job = egui::text::LayoutJob::simple(
        text.clone(),
        fonts::regular(size),
        scene.tokens.text_weak,
        room.max(40.0),
    );
    job.halign = anchor.x();
    let galley = ui.painter().layout_job(job);
    // What is laid out around a line in the middle begins left of it.
    let place = anchor.anchor_size(at, galley.size());
    let origin = match anchor.x() {
        egui::Align::Center => pos2(at.x, place.top()),
        _ => place.min,
    };
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    painter.galley(origin, galley, scene.tokens.text_weak);
    let response = ui.interact(place, id.with("state"), Sense::empty());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
}

/// Says why there is nothing to see although all is known, and what to do.
fn nothing(scene: &Scene<'_>) -> String {
    let mut shown = scene.curves.iter().filter(|curve| !curve.is_hidden).peekable();
    if shown.peek().is_none() {
        return "All series are switched off: choose one in the legend".to_owned();
    }
    match shown.filter_map(|curve| scene.model.series.latest(curve.id)).map(|(at, _)| at).max() {
        Some(newest) => {
            let clock = format::clock_or_date(newest, scene.model.now(), &scene.model.zone);
            let way = if newest < scene.from { "zoom out to see it" } else { "go to it with \"Live\"" };
            format!("No readings in this stretch of time. The newest is of {clock}: {way}.")
        }
        None => "No readings yet. They are drawn as soon as the device sends some.".to_owned(),
    }
}

/// Says that history is missing, and whether it is on its way.
fn missing(scene: &Scene<'_>) -> &'static str {
    let mut shown = scene.curves.iter().filter(|curve| !curve.is_hidden);
    if !scene.model.connection.is_connected() {
        "Some history is not here: it waits for the hub"
    } else if shown.any(|curve| scene.model.series.is_loading(curve.id)) {
        "Loading history…"
    } else {
        "Some history is not here yet: it is asked for again"
    }
}

/// Says where retention has thinned the history that is shown.
fn thinned(ui: &Ui, scene: &Scene<'_>, id: Id, cached: &PerChart) {
    let shown = scene.curves.iter().filter(|curve| !curve.is_hidden);
    let left = shown.filter_map(|curve| cached.trace(curve.id)?.thinned.last().copied());
    let Some((column, width)) = left.max_by_key(|(column, width)| column.at + width / 2) else { return };
    let end = Timestamp(column.at + width / 2);
    let clock = format::clock_or_date(end, scene.model.now(), &scene.model.zone);
    let until = if end >= scene.to { String::new() } else { format!(" until {clock}") };
    let text = format!("Thinned by retention: means of {}{until}", format::duration(width));
    let galley = ui.painter().layout_no_wrap(text.clone(), fonts::regular(11.0), scene.tokens.text_secondary);
    let place = Rect::from_min_size(scene.area.left_top() + vec2(6.0, 14.0), galley.size() + vec2(12.0, 6.0));
    ui.painter().rect_filled(place, 3.0, scene.tokens.popup);
    ui.painter().galley(place.min + vec2(6.0, 3.0), galley, scene.tokens.text);
    let response = ui.interact(place, id.with("thinned"), Sense::empty());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
}

fn time_axis(ui: &Ui, scene: &Scene<'_>, cached: &PerChart) {
    let times = scene.times();
    let y = scene.area.bottom() + 5.0;
    let font = fonts::mono(TICK_SIZE);
    let (left, right) = (scene.area.left() - AXIS_WIDTH + 4.0, scene.area.right() + MARGIN_RIGHT - 3.0);
    for tick in cached.ticks() {
        let Some(label) = &tick.label else { continue };
        let galley = ui.painter().layout_no_wrap(label.clone(), font.clone(), scene.tokens.text_weak);
        let x = times.x(tick.at.0);
        let half = galley.size().x / 2.0;
        if x - half >= left && x + half <= right {
            ui.painter().galley(pos2(x - half, y), galley, scene.tokens.text_weak);
        }
    }
}

/// What a chart says to those who do not see it.
fn summary(scene: &Scene<'_>, spec: &ChartSpec, cached: &PerChart) -> String {
    let mut text = format!("Chart {}", header::title(scene, spec));
    for curve in &scene.curves {
        let value = cached.trace(curve.id).and_then(|trace| trace.columns.last());
        let value = value.map_or_else(|| "no data".to_owned(), |column| scene.value_text(curve, column));
        text.push_str(&format!(", {} {value}", curve.name));
        if let Some(age) = scene.stale_for(curve, cached.trace(curve.id)) {
            text.push_str(&format!(", stale, {}", format::age(age)));
        }
    }
    let clock = |at| format::clock_or_date(at, scene.model.now(), &scene.model.zone);
    let following = if scene.model.viewport.is_following() { ", following what arrives" } else { "" };
    text + &format!("; from {} to {}{following}", clock(scene.from), clock(scene.to))
}

/// The id of a chart's widgets.
pub fn id_of(chart: ChartId) -> Id {
    Id::unique(("chart", chart))
}
