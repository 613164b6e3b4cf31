//! Strips of states: what a boolean or a text was, when.
//!
//! A state holds until the next reading. Where several states share a column, it is drawn as mixed.

use egui::{Align2, Color32, Rect, Ui, pos2, vec2};

use super::cache::PerChart;
use super::mesh::Map;
use super::{Curve, Scene, TICK_SIZE};
use crate::series::Column;
use crate::theme::{fonts, tokens::mix};

/// Least width of a state that is named inside.
const NAME_MIN_PX: f32 = 26.0;

/// One state and how long it held.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Segment {
    from: f32,
    to: f32,
    column: Column,
}

/// Draws a strip.
pub(super) fn strip(ui: &Ui, scene: &Scene<'_>, rect: Rect, curve: &Curve<'_>, cached: &PerChart) {
    let tokens = scene.tokens;
    let Some(trace) = cached.trace(curve.id) else { return };
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    painter.rect_filled(rect, 2.0, mix(tokens.panel, tokens.grid, 0.7));
    let times = Map { rect, ..scene.times() };
    let before = scene.model.series.before(curve.id, scene.from).map(|(at, value)| Column {
        at: at.0,
        count: 1,
        min: value,
        max: value,
        mean: value,
    });
    // What holds now is not known later than now.
    let end = times.x(scene.to.0.min(scene.model.now().0));
    for segment in segments(before, &trace.columns, trace.width, &times, end) {
        let is_mixed = segment.column.min < segment.column.max;
        let color = fill(scene, curve, &segment.column);
        let place = Rect::from_min_max(pos2(segment.from, rect.top()), pos2(segment.to, rect.bottom()));
        painter.rect_filled(place.shrink2(vec2(0.0, 1.0)), 0.0, color);
        if !is_mixed {
            painter.vline(segment.from, rect.y_range(), (1.0, tokens.panel));
        }
        let visible = place.intersect(rect);
        if visible.width() >= NAME_MIN_PX && !is_mixed {
            let text = scene.state_text(curve, &segment.column);
            let clip = painter.with_clip_rect(visible.shrink2(vec2(3.0, 0.0)).intersect(ui.clip_rect()));
            clip.text(
                visible.left_center() + vec2(5.0, 0.0),
                Align2::LEFT_CENTER,
                text,
                fonts::regular(11.0),
                tokens.text,
            );
        }
    }
    let name = rect.left_center() - vec2(6.0, 0.0);
    let axis = Rect::from_min_max(
        pos2(rect.left() - super::AXIS_WIDTH + 4.0, rect.top()),
        pos2(rect.left(), rect.bottom()),
    );
    ui.painter().with_clip_rect(axis.intersect(ui.clip_rect())).text(
        name,
        Align2::RIGHT_CENTER,
        short_name(ui, &curve.name, axis.width() - 6.0),
        fonts::regular(TICK_SIZE),
        tokens.text_weak,
    );
}

/// As much of a name as there is room for.
fn short_name(ui: &Ui, name: &str, room: f32) -> String {
    let width = |text: &str| {
        let galley =
            ui.painter().layout_no_wrap(text.to_owned(), fonts::regular(TICK_SIZE), Color32::PLACEHOLDER);
        galley.size().x
    };
    let length = name.chars().count();
    (3..=length)
        .rev()
        .map(|max| crate::format::ellipsis(name, max))
        .find(|text| width(text) <= room)
        .unwrap_or_else(|| crate::format::ellipsis(name, 3))
}

/// Runs of the same state, in screen coordinates.
fn segments(before: Option<Column>, columns: &[Column], width: i64, times: &Map, end: f32) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::new();
    for column in before.iter().chain(columns) {
        let from = times.x(column.at - width / 2).max(times.rect.left());
        if let Some(last) = found.last_mut() {
            if last.column.min == column.min && last.column.max == column.max {
                continue;
            }
            last.to = from;
        }
        found.push(Segment { from, to: end, column: *column });
    }
    found.retain(|segment| segment.to > segment.from && segment.to > times.rect.left());
    found
}

fn fill(scene: &Scene<'_>, curve: &Curve<'_>, column: &Column) -> Color32 {
    let tokens = scene.tokens;
    match curve.kind {
        _ if column.min < column.max => mix(tokens.panel, curve.color, 0.35),
        protocol::Kind::Text => {
            // States are told apart by their place in the palette, beginning with the series' own.
            let palette = tokens.series;
            let own = palette.iter().position(|c| *c == curve.color).unwrap_or(0);
            mix(tokens.panel, palette[(own + column.mean as usize) % palette.len()], 0.45)
        }
        _ if column.mean > 0.5 => mix(tokens.panel, curve.color, 0.55),
        _ => mix(tokens.panel, curve.color, 0.10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: i64, value: f64) -> Column {
        Column { at, count: 1, min: value, max: value, mean: value }
    }

    #[test]
    fn a_state_holds_until_another_one_comes() {
        let rect = Rect::from_min_size(pos2(0.0, 0.0), vec2(100.0, 10.0));
        let times = Map { rect, from: 1_000, to: 2_000, low: 0.0, high: 1.0, is_log: false };
        let columns = [reading(1_100, 0.0), reading(1_300, 0.0), reading(1_500, 1.0)];
        let found = segments(Some(reading(500, 1.0)), &columns, 0, &times, 80.0);
        let edges: Vec<_> = found.iter().map(|s| (s.from, s.to, s.column.mean)).collect();
        assert_eq!(edges, [(0.0, 10.0, 1.0), (10.0, 50.0, 0.0), (50.0, 80.0, 1.0)]);
    }
}
