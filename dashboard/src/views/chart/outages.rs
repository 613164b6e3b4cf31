//! When the devices of a chart were not connected: silence that has a reason looks different from a gap.
//!
//! Where all devices of a chart were away the ground is shaded; where only some were, each has a bar in its colour at
//! the top. Known is what this window was told: since when a device is away, and when it was away before.

use egui::{Align2, Rect, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};
use protocol::Timestamp;

use super::Scene;
use crate::format;
use crate::model::Device;
use crate::theme::fonts;

/// Least room for the words.
const WORDS_MIN_PX: f32 = 140.0;
/// Height of the bar of a device, and its distance to the next.
const BAR_HEIGHT: f32 = 3.0;
const BAR_STEP: f32 = 5.0;
/// Most devices that have a bar. Chosen: more would cover the curves.
const BARS_MAX: usize = 6;

/// A stretch of time; without an end it goes on.
type Stretch = (Timestamp, Option<Timestamp>);

/// Shades what all devices of the chart missed.
pub(super) fn ground(ui: &Ui, scene: &Scene<'_>, id: egui::Id) {
    let devices = devices(scene);
    let Some(((first, _), others)) = devices.split_first() else { return };
    let all = others
        .iter()
        .fold(first.outages().collect::<Vec<_>>(), |all, (device, _)| overlap(&all, device.outages()));
    for (i, stretch) in all.iter().enumerate() {
        shade(ui, scene, *stretch, id.with(("offline", i)));
    }
}

fn devices<'a>(scene: &Scene<'a>) -> Vec<(&'a Device, egui::Color32)> {
    let mut devices: Vec<(&Device, egui::Color32)> = Vec::new();
    for curve in scene.curves.iter().filter(|curve| !curve.is_hidden) {
        if let Some(info) = scene.model.series_info(curve.id)
            && !devices.iter().any(|(device, _)| device.info.id == info.device.info.id)
        {
            devices.push((info.device, curve.color));
        }
    }
    devices
}

/// Marks what some devices of a chart of several missed; over the grid.
pub(super) fn bars(ui: &Ui, scene: &Scene<'_>, id: egui::Id) {
    let devices = devices(scene);
    if devices.len() < 2 {
        return;
    }
    let away = devices.iter().filter(|(device, _)| device.outages().any(|s| place(scene, s).is_some()));
    for (row, (device, color)) in away.take(BARS_MAX).enumerate() {
        for (i, stretch) in device.outages().enumerate() {
            let Some((left, right)) = place(scene, stretch) else { continue };
            let top = scene.area.top() + 2.0 + row as f32 * BAR_STEP;
            let bar = Rect::from_min_max(pos2(left, top), pos2(right, top + BAR_HEIGHT));
            ui.painter().rect_filled(bar, 1.0, color.gamma_multiply(0.55));
            let text = format!("{}: {}", device.info.id, words(scene, stretch));
            say(ui, bar, id.with(("away", row, i)), &text);
        }
    }
}

fn shade(ui: &Ui, scene: &Scene<'_>, stretch: Stretch, id: egui::Id) {
    let Some((left, right)) = place(scene, stretch) else { return };
    let tokens = scene.tokens;
    let rect = Rect::from_x_y_ranges(left..=right, scene.area.y_range());
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    painter.rect_filled(rect, 0.0, tokens.text_weak.gamma_multiply(0.10));
    let stroke = Stroke::new(1.0, tokens.text_weak.gamma_multiply(0.7));
    for x in [left, right].into_iter().filter(|x| *x > scene.area.left() && *x < scene.area.right()) {
        let edge = [pos2(x, rect.top()), pos2(x, rect.bottom())];
        painter.extend(Shape::dashed_line(&edge, stroke, 2.0, 3.0));
    }
    let text = capital(&words(scene, stretch));
    if rect.width() >= WORDS_MIN_PX {
        let at = rect.left_bottom() + vec2(6.0, -5.0);
        painter.text(at, Align2::LEFT_BOTTOM, &text, fonts::regular(11.0), tokens.text_weak);
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
    (from < to).then(|| (times.x(from.0), times.x(to.0)))
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

fn words(scene: &Scene<'_>, (from, to): Stretch) -> String {
    let clock = |at| format::clock_or_date(at, scene.model.now(), &scene.model.zone);
    match to {
        Some(to) => format!("offline for {} from {}", format::duration(to.micros_since(from)), clock(from)),
        None => format!("offline since {}", clock(from)),
    }
}

fn capital(text: &str) -> String {
    text.replacen("offline", "Offline", 1)
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
}
