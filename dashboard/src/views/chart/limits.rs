//! The limits of the series of a lane: tinted zones under the curves, dashed lines over them, each with its label.

use egui::{Align2, Id, Rect, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::mesh::Map;
use super::{Curve, Scene};
use crate::format;
use crate::model::thresholds::Level;
use crate::theme::fonts;
use crate::views::widgets;

/// Strength of the tint.
const TINT: f32 = 0.09;
/// The height of a label.
const LABEL_PX: f32 = 13.0;
/// A limit that is further from the data than this share of their range does not widen the axis.
const WIDENS: f64 = 0.5;

/// The range of the data with the limits near it, so that one sees them before they are passed.
pub(super) fn widen<'a>(
    range: Option<(f64, f64)>,
    curves: impl Iterator<Item = &'a Curve<'a>>,
    is_log: bool,
) -> Option<(f64, f64)> {
    let (min, max) = range?;
    let reach = (max - min) * WIDENS;
    let limits = curves.filter(|curve| !curve.is_hidden).flat_map(|curve| curve.limits.limits());
    let places = limits
        .map(|(_, _, limit)| if is_log { limit.log10() } else { limit })
        .filter(|place| *place >= min - reach && *place <= max + reach);
    Some(places.fold((min, max), |(low, high), place| (low.min(place), high.max(place))))
}

/// One limit of one or several series of a lane.
struct Limit {
    level: Level,
    is_above: bool,
    value: f64,
    /// Whose it is; `None` if it is that of all.
    name: Option<String>,
}

/// The limits of a lane, those that are the same once.
fn of_lane(scene: &Scene<'_>, members: &[usize]) -> Vec<Limit> {
    let shown = || members.iter().map(|&i| &scene.curves[i]).filter(|curve| !curve.is_hidden);
    let count = shown().count();
    let mut found: Vec<(Limit, usize)> = Vec::new();
    for curve in shown() {
        for (level, is_above, value) in curve.limits.limits() {
            let same = |limit: &Limit| {
                limit.level == level && limit.is_above == is_above && limit.value.total_cmp(&value).is_eq()
            };
            match found.iter_mut().find(|(limit, _)| same(limit)) {
                Some((limit, users)) => {
                    *users += 1;
                    if let Some(name) = &mut limit.name {
                        name.push_str(", ");
                        name.push_str(&curve.name);
                    }
                }
                None => found.push((Limit { level, is_above, value, name: Some(curve.name.clone()) }, 1)),
            }
        }
    }
    found
        .into_iter()
        .map(|(limit, users)| if users == count { Limit { name: None, ..limit } } else { limit })
        .collect()
}

/// Tints what is beyond a limit, up to the next one.
pub(super) fn zones(ui: &Ui, scene: &Scene<'_>, members: &[usize], map: &Map) {
    let painter = ui.painter().with_clip_rect(map.rect.intersect(ui.clip_rect()));
    let limits = of_lane(scene, members);
    for limit in limits.iter().filter(|limit| map.has(limit.value)) {
        let y = map.y(limit.value);
        let edge = if limit.is_above { map.rect.top() } else { map.rect.bottom() };
        // A warning ends where the alarm of the same series begins.
        let alarm = limits
            .iter()
            .filter(|other| {
                other.level > limit.level && other.is_above == limit.is_above && other.name == limit.name
            })
            .filter(|other| map.has(other.value))
            .map(|other| map.y(other.value))
            .next();
        let end = alarm.unwrap_or(edge);
        let zone = Rect::from_x_y_ranges(map.rect.x_range(), y.min(end)..=y.max(end)).intersect(map.rect);
        if zone.is_positive() {
            painter.rect_filled(
                zone,
                0.0,
                widgets::level_color(scene.tokens, limit.level).gamma_multiply(TINT),
            );
        }
    }
}

/// Draws the limits themselves.
pub(super) fn lines(ui: &Ui, scene: &Scene<'_>, id: Id, members: &[usize], map: &Map) {
    let painter = ui.painter().with_clip_rect(map.rect.expand(1.0).intersect(ui.clip_rect()));
    let mut labels: Vec<Rect> = Vec::new();
    for (i, limit) in of_lane(scene, members).iter().enumerate() {
        let color = widgets::level_color(scene.tokens, limit.level);
        let sign = if limit.is_above { ">" } else { "<" };
        let whose =
            limit.name.as_ref().map(|name| format!("{} ", format::ellipsis(name, 24))).unwrap_or_default();
        let text = format!("{whose}{} {sign} {}", limit.level.label(), format::number(limit.value));
        let (y, is_seen) = if map.has(limit.value) {
            let y = map.y(limit.value);
            (y, (map.rect.top()..=map.rect.bottom()).contains(&y))
        } else {
            (map.rect.bottom(), false)
        };
        if is_seen {
            let line = [pos2(map.rect.left(), y), pos2(map.rect.right(), y)];
            painter.extend(Shape::dashed_line(&line, Stroke::new(1.0, color), 6.0, 4.0));
        }
        let spoken = if is_seen { text.clone() } else { format!("{text}, outside of what the axis shows") };
        let hit =
            Rect::from_x_y_ranges(map.rect.x_range(), y - 2.0..=y + 2.0).intersect(map.rect.expand(2.0));
        let response = ui.interact(hit, id.with(("limit", i)), Sense::empty());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &spoken));
        if !is_seen {
            continue;
        }
        // Inside the zone where there is room, on the other side of the line where there is none.
        let room = if limit.is_above { y - map.rect.top() } else { map.rect.bottom() - y };
        let is_over = limit.is_above == (room >= LABEL_PX);
        let (align, dy) = if is_over { (Align2::RIGHT_BOTTOM, -1.5) } else { (Align2::RIGHT_TOP, 1.5) };
        let galley = painter.layout_no_wrap(text, fonts::medium(10.5), color);
        let mut place = align.anchor_size(pos2(map.rect.right() - 6.0, y + dy), galley.size());
        // Labels that would lie on each other stand beside each other.
        while let Some(other) = labels.iter().find(|other| other.intersects(place)) {
            place = place.translate(vec2(other.left() - place.right() - 10.0, 0.0));
        }
        if place.left() > map.rect.left() {
            painter.rect_filled(place.expand2(vec2(3.0, 0.0)), 2.0, scene.tokens.panel.gamma_multiply(0.75));
            painter.galley(place.min, galley, color);
            labels.push(place);
        }
    }
}
