//! The cursor that all charts share, the pinned ones, and the table of what all curves say at its time.

use std::sync::Arc;

use egui::{
    Align2, Color32, CornerRadius, Galley, LayerId, Order, Pos2, Rect, Response, Stroke, StrokeKind, Ui,
    pos2, vec2,
};
use protocol::Timestamp;
use protocol::command::CommandState;

use super::Scene;
use super::cache::PerChart;
use super::measure;
use super::spans::{self, Pointed};
use crate::theme::{fonts, tokens};
use crate::{format, views::widgets};

/// Radius of the dot on a curve.
const DOT_RADIUS: f32 = 3.0;
/// Most series in the table; further ones are counted. Chosen: what fits beside a chart.
const ROWS_MAX: usize = 16;
const ROW_HEIGHT: f32 = 19.0;
const PADDING: f32 = 10.0;
const GAP: f32 = 14.0;

/// Draws the cursor, the pins, and the table if the pointer is in this chart.
pub(super) fn cursor(
    ui: &Ui,
    scene: &Scene<'_>,
    response: &Response,
    cached: &PerChart,
    pointed: Option<Pointed>,
) {
    let tokens = scene.tokens;
    let times = scene.times();
    pins(ui, scene);
    let Some(at) = scene.model.cursor.filter(|at| *at >= scene.from && *at <= scene.to) else { return };
    let x = times.x(at.0);
    ui.painter().vline(x, scene.area.y_range(), Stroke::new(1.0, tokens.text_secondary));
    for (curve, place) in cached.dots(scene, at) {
        let color = scene.curves[curve].color;
        ui.painter().circle(place, DOT_RADIUS, color, Stroke::new(1.5, tokens.panel));
    }
    let Some(pointer) = response.hover_pos().filter(|p| scene.area.contains(*p)) else { return };
    table(ui, scene, cached, at, x, pointer, pointed);
}

/// Pinned cursors, and the distance between two of them.
fn pins(ui: &Ui, scene: &Scene<'_>) {
    let times = scene.times();
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    for &pin in &scene.model.pins {
        let x = times.x(pin.0);
        let line = [pos2(x, scene.area.top()), pos2(x, scene.area.bottom())];
        painter.extend(egui::Shape::dashed_line(&line, Stroke::new(1.0, scene.tokens.accent), 4.0, 3.0));
    }
    if let Some((left, right)) = measure::stretch(&scene.model.pins) {
        let between = Rect::from_x_y_ranges(times.x(left.0)..=times.x(right.0), scene.area.y_range());
        painter.rect_filled(between, 0.0, scene.tokens.accent.gamma_multiply(0.06));
        for (name, at) in [("A", left), ("B", right)] {
            let (side, align) = if name == "A" { (-4.0, Align2::RIGHT_TOP) } else { (4.0, Align2::LEFT_TOP) };
            let at = pos2(times.x(at.0) + side, scene.area.top() + 13.0);
            painter.text(at, align, name, fonts::semibold(11.0), scene.tokens.accent);
        }
        let text = format!("Δ {}", format::duration(right.micros_since(left)));
        let at = pos2(times.x(left.0) + 5.0, scene.area.bottom() - 4.0);
        spans::line_label(ui, at, &text, scene);
    }
}

/// A row of the table.
struct Row {
    color: Option<Color32>,
    state: Option<CommandState>,
    name: Arc<Galley>,
    value: Arc<Galley>,
    range: Option<Arc<Galley>>,
}

/// The table beside the cursor: every series with its value, the nearest to the pointer brightest.
fn table(
    ui: &Ui,
    scene: &Scene<'_>,
    cached: &PerChart,
    at: Timestamp,
    x: f32,
    pointer: Pos2,
    pointed: Option<Pointed>,
) {
    let tokens = scene.tokens;
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Tooltip, response_id(ui)));
    let text = |text: String, font, color| painter.layout_no_wrap(text, font, color);
    let nearest = cached
        .dots(scene, at)
        .min_by(|a, b| (a.1.y - pointer.y).abs().total_cmp(&(b.1.y - pointer.y).abs()))
        .map(|(curve, _)| curve);
    let mut heading = time_text(scene, at);
    if let Some(pin) = scene.model.pins.last() {
        let distance = at.micros_since(*pin);
        let sign = if distance < 0 { "−" } else { "+" };
        heading.push_str(&format!("   Δ {sign}{}", format::duration(distance.abs())));
    }
    let heading = text(heading, fonts::mono(11.0), tokens.text_weak);
    let mut rows: Vec<Row> = Vec::new();
    let shown = scene.curves.iter().enumerate().filter(|(_, curve)| !curve.is_hidden);
    let count = shown.clone().count();
    for (i, curve) in shown.take(ROWS_MAX) {
        let trace = cached.trace(curve.id);
        let column = trace
            .and_then(|trace| if Scene::is_state(curve) { trace.holding(at) } else { trace.nearest(at) });
        let is_nearest = nearest == Some(i);
        let value =
            column.map_or_else(|| scene.silence(curve, trace, at), |column| scene.value_text(curve, column));
        let value_color = if column.is_some() { tokens.text } else { tokens.text_weak };
        let range =
            column.filter(|c| c.count > 1 && c.min < c.max && !Scene::is_state(curve)).map(|column| {
                let range = format!("{} … {}", format::number(column.min), format::number(column.max));
                text(range, fonts::mono(10.5), tokens.text_weak)
            });
        let name_font = if is_nearest { fonts::medium(12.0) } else { fonts::regular(12.0) };
        let name_color = if is_nearest { tokens.text } else { tokens.text_secondary };
        rows.push(Row {
            color: Some(curve.color),
            state: None,
            name: text(format::ellipsis(&curve.name, 40), name_font, name_color),
            value: text(value, fonts::mono(12.0), value_color),
            range,
        });
    }
    if let Some(width) = decimated(scene, cached, at) {
        rows.insert(
            0,
            Row {
                color: None,
                state: None,
                name: text(
                    format!("means of {}", format::duration(width)),
                    fonts::regular(11.0),
                    tokens.text_weak,
                ),
                value: text("mean".to_owned(), fonts::regular(11.0), tokens.text_weak),
                range: Some(text("min … max".to_owned(), fonts::regular(11.0), tokens.text_weak)),
            },
        );
    }
    let plain = |line: String, color| Row {
        color: None,
        state: None,
        name: text(line, fonts::regular(11.0), color),
        value: text(String::new(), fonts::mono(12.0), color),
        range: None,
    };
    if count > ROWS_MAX {
        rows.push(plain(format!("and {} more", count - ROWS_MAX), tokens.text_weak));
    }
    if let Some(Pointed { state, title, details }) = pointed {
        let mut row = plain(title, tokens.text);
        row.state = Some(state);
        rows.push(row);
        rows.extend(details.into_iter().map(|line| plain(line, tokens.text_secondary)));
    }
    let widest = |of: &dyn Fn(&Row) -> f32| rows.iter().map(of).fold(0.0, f32::max);
    let with_value = |row: &Row| row.color.is_some();
    let name_width = widest(&|row| if with_value(row) { row.name.size().x } else { 0.0 });
    let value_width = widest(&|row| row.value.size().x);
    let range_width = widest(&|row| row.range.as_ref().map_or(0.0, |range| range.size().x + GAP));
    let line_width = widest(&|row| row.name.size().x);
    let width =
        (18.0 + name_width + GAP + value_width + range_width).max(heading.size().x).max(18.0 + line_width);
    let size = vec2(width, ROW_HEIGHT * (rows.len() + 1) as f32) + vec2(2.0, 1.2) * PADDING;
    let rect = place(ui.ctx().content_rect(), pos2(x, pointer.y), size);

    let radius = CornerRadius::same(tokens::RADIUS_CARD);
    painter.add(tokens.shadow().as_shape(rect, radius));
    painter.rect(rect, radius, tokens.popup, Stroke::new(1.0, tokens.line), StrokeKind::Inside);
    let left = rect.left() + PADDING;
    let mut y = rect.top() + PADDING * 0.6 + ROW_HEIGHT / 2.0;
    painter.galley(pos2(left, y - heading.size().y / 2.0), heading, tokens.text_weak);
    for row in rows {
        y += ROW_HEIGHT;
        if let Some(color) = row.color {
            painter.line_segment([pos2(left, y), pos2(left + 10.0, y)], Stroke::new(2.5, color));
        }
        if let Some(state) = row.state {
            widgets::command_shape_on(&painter, pos2(left + 5.0, y), 1.0, state, tokens);
        }
        painter.galley(pos2(left + 18.0, y - row.name.size().y / 2.0), row.name, tokens.text);
        let value_right = left + 18.0 + name_width + GAP + value_width;
        let value_x = value_right - row.value.size().x;
        painter.galley(pos2(value_x, y - row.value.size().y / 2.0), row.value, tokens.text);
        if let Some(range) = row.range {
            painter.galley(pos2(value_right + GAP, y - range.size().y / 2.0), range, tokens.text_weak);
        }
    }
}

/// How much time shares a mean at the cursor; `None` if the values there are single readings.
fn decimated(scene: &Scene<'_>, cached: &PerChart, at: Timestamp) -> Option<i64> {
    let numbers = scene.curves.iter().filter(|curve| !curve.is_hidden && !Scene::is_state(curve));
    numbers
        .filter_map(|curve| cached.trace(curve.id))
        .filter(|trace| trace.nearest(at).is_some_and(|column| column.count > 1))
        .map(|trace| trace.width)
        .max()
}

fn response_id(ui: &Ui) -> egui::Id {
    ui.scope_id().with("cursor table")
}

/// Right of the cursor, or left of it where there is no room; always on the screen.
fn place(screen: Rect, cursor: Pos2, size: egui::Vec2) -> Rect {
    let screen = screen.shrink(4.0);
    let right = cursor.x + GAP;
    let left = if right + size.x <= screen.right() { right } else { cursor.x - GAP - size.x };
    let top = (cursor.y + 16.0).min(screen.bottom() - size.y).max(screen.top());
    Rect::from_min_size(pos2(left.max(screen.left()), top), size)
}

/// The time as finely as a pixel shows it; with the date unless it is today's.
fn time_text(scene: &Scene<'_>, at: Timestamp) -> String {
    let full = format::full(at, &scene.model.zone);
    let today = format::full(scene.model.now(), &scene.model.zone);
    let text = if full.get(..10) == today.get(..10) { full.get(11..).unwrap_or(&full) } else { &full };
    if scene.micros_per_pixel >= 500_000.0 {
        text.trim_end_matches(|c| c != '.').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}
