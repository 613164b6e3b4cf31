//! When the devices of a chart were not connected, and which of their readings came late or were lost: silence that has
//! a reason looks different from a gap.
//!
//! In a chart of one device the ground says it; where all of several were away, too. Where only some were, each has a bar
//! in its colour at the top. Known is what this window and the hub were told: since when a device is away, when it was
//! away before (the hub remembers its last connections), and what was late or lost since the hub started.

use egui::{Align2, Color32, Painter, Rect, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};
use protocol::Timestamp;
use protocol::viewer::{LateOrLost, Unpunctual};

use super::Scene;
use crate::format;
use crate::model::Device;
use crate::theme::{Tokens, fonts};

/// Least room for the words.
const WORDS_MIN_PX: f32 = 140.0;
/// Height of the bar of a device, and its distance to the next.
const BAR_HEIGHT: f32 = 3.0;
const BAR_STEP: f32 = 5.0;
/// Most devices that have a bar. Chosen: more would cover the curves.
const BARS_MAX: usize = 6;
/// Distance between the strokes of what is lost.
const HATCH: f32 = 7.0;

/// What is left of an absence beside what came late is none any more if it is so short, in microseconds. Chosen: what a
/// device needs to connect and to send its first.
const REST_MICROS: i64 = 5_000_000;

/// A stretch of time; without an end it goes on.
type Stretch = (Timestamp, Option<Timestamp>);

/// What a stretch is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The device was away: nothing came.
    Away,
    /// The device was away, and what it measured came later.
    Late,
    /// What it measured will not come.
    Lost,
}

/// A stretch of one device that is not as usual.
struct Mark {
    look: Look,
    from: Timestamp,
    to: Option<Timestamp>,
    text: String,
}

/// Shades what all devices of the chart missed, and of a single one what came late or was lost.
pub(super) fn ground(ui: &Ui, scene: &Scene<'_>, id: egui::Id) {
    let devices = devices(scene);
    let Some(((first, _), others)) = devices.split_first() else { return };
    if others.is_empty() {
        for (i, mark) in marks(scene, first).iter().enumerate() {
            shade(ui, scene, mark, id.with(("offline", i)));
        }
        return;
    }
    let all = others
        .iter()
        .fold(first.outages().collect::<Vec<_>>(), |all, (device, _)| overlap(&all, device.outages()));
    for (i, (from, to)) in all.into_iter().enumerate() {
        let mark = Mark { look: Look::Away, from, to, text: away_text(scene, (from, to)) };
        shade(ui, scene, &mark, id.with(("offline", i)));
    }
}

fn devices<'a>(scene: &Scene<'a>) -> Vec<(&'a Device, Color32)> {
    let mut devices: Vec<(&Device, Color32)> = Vec::new();
    for curve in scene.curves.iter().filter(|curve| !curve.is_hidden) {
        if let Some(info) = scene.model.series_info(curve.id)
            && !devices.iter().any(|(device, _)| device.info.id == info.device.info.id)
        {
            devices.push((info.device, curve.color));
        }
    }
    devices
}

/// What was not as usual with a device, in view. Where what was measured while it was away has come or is lost, that is
/// said and not that it was away.
fn marks(scene: &Scene<'_>, device: &Device) -> Vec<Mark> {
    let told = &device.info.late_or_lost;
    let mut away: Vec<Stretch> = device.outages().collect();
    for told in told {
        away = away.into_iter().flat_map(|stretch| without(stretch, told.from, told.to)).collect();
        away.retain(|(from, to)| to.is_none_or(|to| to.micros_since(*from) >= REST_MICROS));
    }
    let away = away.into_iter().map(|(from, to)| Mark {
        look: Look::Away,
        from,
        to,
        text: away_text(scene, (from, to)),
    });
    let told = told.iter().map(|told| Mark {
        look: if told.what == Unpunctual::Late { Look::Late } else { Look::Lost },
        from: told.from,
        to: Some(told.to),
        text: told_text(scene, told),
    });
    away.chain(told).filter(|mark| place(scene, (mark.from, mark.to)).is_some()).collect()
}

/// What of a stretch lies outside of another.
fn without((from, to): Stretch, cut_from: Timestamp, cut_to: Timestamp) -> Vec<Stretch> {
    let end = to.unwrap_or(Timestamp(i64::MAX));
    if cut_to <= from || cut_from >= end {
        return vec![(from, to)];
    }
    let before = (from < cut_from).then_some((from, Some(cut_from)));
    let after = (cut_to < end).then_some((cut_to, to));
    before.into_iter().chain(after).collect()
}

/// Marks what happened to some devices of a chart of several; over the grid.
pub(super) fn bars(ui: &Ui, scene: &Scene<'_>, id: egui::Id) {
    let devices = devices(scene);
    if devices.len() < 2 {
        return;
    }
    let marked = devices.iter().map(|(device, color)| (device, color, marks(scene, device)));
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    for (row, (device, color, marks)) in
        marked.filter(|(_, _, marks)| !marks.is_empty()).take(BARS_MAX).enumerate()
    {
        for (i, mark) in marks.iter().enumerate() {
            let Some((left, right)) = place(scene, (mark.from, mark.to)) else { continue };
            let top = scene.area.top() + 2.0 + row as f32 * BAR_STEP;
            let bar = Rect::from_min_max(pos2(left, top), pos2(right.max(left + 2.0), top + BAR_HEIGHT));
            paint_bar(&painter, bar, mark.look, *color, scene.tokens);
            say(ui, bar, id.with(("away", row, i)), &format!("{}: {}", device.info.id, mark.text));
        }
    }
}

/// Whole: away. Dotted: late. A line with crosses: lost.
fn paint_bar(painter: &Painter, bar: Rect, look: Look, color: Color32, tokens: &Tokens) {
    let middle = [bar.left_center(), bar.right_center()];
    match look {
        Look::Away => {
            painter.rect_filled(bar, 1.0, color.gamma_multiply(0.55));
        }
        Look::Late => {
            painter.extend(Shape::dashed_line(&middle, Stroke::new(BAR_HEIGHT, color), 3.0, 3.0));
        }
        Look::Lost => {
            painter.line_segment(middle, Stroke::new(1.0, color));
            let mut x = bar.left() + 3.0;
            while x < bar.right() {
                let at = pos2(x, bar.center().y);
                let stroke = Stroke::new(1.25, tokens.error);
                painter.line_segment([at + vec2(-2.0, -2.0), at + vec2(2.0, 2.0)], stroke);
                painter.line_segment([at + vec2(-2.0, 2.0), at + vec2(2.0, -2.0)], stroke);
                x += 10.0;
            }
        }
    }
}

/// Grey: away. A tint of the accent under a dotted line: late. Hatched: lost.
fn paint_ground(painter: &Painter, rect: Rect, look: Look, tokens: &Tokens) {
    match look {
        Look::Away => {
            painter.rect_filled(rect, 0.0, tokens.text_weak.gamma_multiply(0.10));
        }
        Look::Late => {
            painter.rect_filled(rect, 0.0, tokens.accent.gamma_multiply(0.07));
            let top = [rect.left_top() + vec2(0.0, 1.5), rect.right_top() + vec2(0.0, 1.5)];
            painter.extend(Shape::dashed_line(&top, Stroke::new(2.0, tokens.accent), 2.0, 3.0));
        }
        Look::Lost => {
            let painter = painter.with_clip_rect(rect.intersect(painter.clip_rect()));
            painter.rect_filled(rect, 0.0, tokens.error.gamma_multiply(0.05));
            let stroke = Stroke::new(1.0, tokens.error.gamma_multiply(0.24));
            let mut x = rect.left() - rect.height();
            while x < rect.right() {
                painter.line_segment([pos2(x, rect.bottom()), pos2(x + rect.height(), rect.top())], stroke);
                x += HATCH;
            }
        }
    }
}

/// A small picture of how a stretch is drawn, for the legend.
pub(super) fn sample(painter: &Painter, rect: Rect, look: Look, tokens: &Tokens) {
    paint_ground(painter, rect, look, tokens);
}

fn shade(ui: &Ui, scene: &Scene<'_>, mark: &Mark, id: egui::Id) {
    let Some((left, right)) = place(scene, (mark.from, mark.to)) else { return };
    let tokens = scene.tokens;
    // A loss between two readings that are close together is still seen.
    let rect = Rect::from_x_y_ranges(left..=right.max(left + 3.0), scene.area.y_range());
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    paint_ground(&painter, rect, mark.look, tokens);
    let edge = match mark.look {
        Look::Away => tokens.text_weak,
        Look::Late => tokens.accent,
        Look::Lost => tokens.error,
    };
    let stroke = Stroke::new(1.0, edge.gamma_multiply(0.7));
    for x in [left, right].into_iter().filter(|x| *x > scene.area.left() && *x < scene.area.right()) {
        let edge = [pos2(x, rect.top()), pos2(x, rect.bottom())];
        painter.extend(Shape::dashed_line(&edge, stroke, 2.0, 3.0));
    }
    let text = format::humanize(&mark.text);
    if rect.width() >= WORDS_MIN_PX {
        let at = rect.left_bottom() + vec2(6.0, -5.0);
        let color = if mark.look == Look::Lost { tokens.text_secondary } else { tokens.text_weak };
        let clip = painter.with_clip_rect(rect.intersect(painter.clip_rect()));
        clip.text(at, Align2::LEFT_BOTTOM, &text, fonts::regular(11.0), color);
    }
    say(ui, rect, id, &text);
}

/// Says it to those who do not see it.
fn say(ui: &Ui, rect: Rect, id: egui::Id, text: &str) {
    let response = ui.interact(rect, id, Sense::empty());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text));
}

/// From where to where a stretch is in view.
fn place(scene: &Scene<'_>, (from, to): Stretch) -> Option<(f32, f32)> {
    let to = to.unwrap_or(scene.to).min(scene.to);
    let from = from.max(scene.from);
    let times = scene.times();
    (from <= to).then(|| (times.x(from.0), times.x(to.0)))
}

/// When both were away. Both must be in order of time and apart.
fn overlap(one: &[Stretch], other: impl Iterator<Item = Stretch>) -> Vec<Stretch> {
    let end = |to: Option<Timestamp>| to.unwrap_or(Timestamp(i64::MAX));
    let mut both = Vec::new();
    for (from, to) in other {
        for (first, last) in one {
            let from = from.max(*first);
            let until = end(to).min(end(*last));
            if from < until {
                both.push((from, (until.0 < i64::MAX).then_some(until)));
            }
        }
    }
    both
}

fn clock(scene: &Scene<'_>, at: Timestamp) -> String {
    format::clock_or_date(at, scene.model.now(), &scene.model.zone)
}

fn away_text(scene: &Scene<'_>, (from, to): Stretch) -> String {
    match to {
        Some(to) => {
            format!("offline for {} from {}", format::duration(to.micros_since(from)), clock(scene, from))
        }
        None => format!("offline since {}", clock(scene, from)),
    }
}

fn told_text(scene: &Scene<'_>, told: &LateOrLost) -> String {
    let at = clock(scene, told.told_at);
    match told.what {
        Unpunctual::Late => format!("buffered, delivered late at {at}"),
        Unpunctual::Lost => {
            let noun = if told.batches == 1 { "batch" } else { "batches" };
            format!("lost for good: {} {noun}, known at {at}", format::count(told.batches))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_missed_is_shaded() {
        let at = Timestamp;
        let one = [(at(10), Some(at(20))), (at(30), Some(at(40))), (at(50), None)];
        let other = [(at(15), Some(at(35))), (at(60), None)];
        let both = overlap(&one, other.into_iter());
        assert_eq!(both, [(at(15), Some(at(20))), (at(30), Some(at(35))), (at(60), None)]);
        assert_eq!(overlap(&one, std::iter::empty()), []);
    }

    #[test]
    fn what_came_late_was_not_only_away() {
        let at = Timestamp;
        let away = (at(10), Some(at(50)));
        assert_eq!(without(away, at(20), at(30)), [(at(10), Some(at(20))), (at(30), Some(at(50)))]);
        assert_eq!(without(away, at(0), at(60)), []);
        assert_eq!(without(away, at(50), at(60)), [away]);
        assert_eq!(without((at(10), None), at(0), at(20)), [(at(20), None)]);
    }
}
