//! Since when the devices of a chart are not connected: silence that has a reason looks different from a gap.

use egui::{Align2, Rect, Shape, Stroke, Ui, pos2, vec2};
use protocol::Timestamp;

use super::Scene;
use crate::format;
use crate::theme::fonts;

/// Least room for the words.
const WORDS_MIN_PX: f32 = 140.0;

/// Shades what lies after the last device of the chart went offline.
pub(super) fn outages(ui: &Ui, scene: &Scene<'_>) {
    let Some(since) = offline_since(scene).filter(|since| *since < scene.to) else { return };
    let tokens = scene.tokens;
    let left = scene.times().x(since.0.max(scene.from.0));
    let rect = Rect::from_min_max(pos2(left, scene.area.top()), scene.area.max);
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    painter.rect_filled(rect, 0.0, tokens.text_weak.gamma_multiply(0.07));
    if since >= scene.from {
        let edge = [rect.left_top(), rect.left_bottom()];
        painter.extend(Shape::dashed_line(
            &edge,
            Stroke::new(1.0, tokens.text_weak.gamma_multiply(0.7)),
            2.0,
            3.0,
        ));
    }
    if rect.width() >= WORDS_MIN_PX {
        let text =
            format!("Offline since {}", format::clock_or_date(since, scene.model.now(), &scene.model.zone));
        let at = rect.left_bottom() + vec2(6.0, -5.0);
        painter.text(at, Align2::LEFT_BOTTOM, text, fonts::regular(11.0), tokens.text_weak);
    }
}

/// When the last of the chart's devices was lost; `None` while one of them is connected.
fn offline_since(scene: &Scene<'_>) -> Option<Timestamp> {
    let mut latest = None;
    for curve in &scene.curves {
        let device = &scene.model.series_info(curve.id)?.device.info;
        if device.connected {
            return None;
        }
        latest = latest.max(Some(device.since?));
    }
    latest
}
