//! What the hover of a name in a legend says: how often a series speaks, and how its silence is drawn.

use egui::{RichText, Sense, Stroke, Ui, pos2, vec2};

use super::outages::{self, Look};
use super::{Curve, Scene};
use crate::format;
use crate::series::Trace;
use crate::theme::fonts;

/// Says how often a series speaks, and how its silence is drawn.
pub(super) fn explain(ui: &mut Ui, scene: &Scene<'_>, curve: &Curve<'_>, trace: Option<&Trace>) {
    let tokens = scene.tokens;
    ui.set_max_width(340.0);
    let mut line = |text: String, color| {
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(color));
    };
    line(curve.name.clone(), tokens.text);
    if let Some((at, _)) = scene.model.series.latest(curve.id) {
        let now = scene.model.now();
        let clock = format::clock_or_date(at, now, &scene.model.zone);
        line(
            format!("Last reading {}, at {clock}", format::age(now.micros_since(at))),
            tokens.text_secondary,
        );
    }
    if let Some((from, None)) = scene.model.series_info(curve.id).and_then(|i| i.device.outages().last()) {
        let clock = format::clock_or_date(from, scene.model.now(), &scene.model.zone);
        line(format!("Its device is offline since {clock}"), tokens.text_secondary);
    }
    if Scene::is_state(curve) {
        line("A state holds until another one comes.".to_owned(), tokens.text_secondary);
    } else if let Some(trace) = trace.filter(|trace| trace.cadence > 0) {
        let (cadence, gap) = (format::duration(trace.cadence), format::duration(trace.gap));
        line(format!("A reading every {cadence}, as learned from what is shown."), tokens.text_secondary);
        line(
            format!(
                "A silence of {gap} or more is a gap: the line ends in two dashes, and nothing is drawn across."
            ),
            tokens.text_secondary,
        );
    }
    key(ui, scene, curve);
}

/// The ways in which silence is drawn, each with what it means.
const KEY: [(Sample, &str); 7] = [
    (Sample::Slow, "Slow: each reading is a dot"),
    (Sample::Gap, "Gap: silent for longer than usual, nobody knows why"),
    (Sample::Ground(Look::Away), "Offline: its device was not connected"),
    (Sample::Ground(Look::Late), "Late: buffered by its device, delivered when it was back"),
    (Sample::Ground(Look::Lost), "Lost for good: given up by its device, or refused"),
    (Sample::Thin, "Thinned: retention has left only coarse means"),
    (Sample::Stale, "Stale: the value here is too old to stand for now"),
];

/// A small picture in the key.
#[derive(Clone, Copy)]
enum Sample {
    Slow,
    Gap,
    Ground(Look),
    Thin,
    Stale,
}

/// Draws the key to how silence looks.
fn key(ui: &mut Ui, scene: &Scene<'_>, curve: &Curve<'_>) {
    let tokens = scene.tokens;
    ui.add_space(4.0);
    ui.spacing_mut().interact_size.y = 16.0;
    for (sample, text) in KEY {
        ui.horizontal(|ui| {
            let (rect, _) = ui.allocate_exact_size(vec2(30.0, 14.0), Sense::hover());
            let painter = ui.painter();
            let line = Stroke::new(1.5, curve.color);
            let (y, left, right) = (rect.center().y, rect.left(), rect.right());
            match sample {
                Sample::Slow => {
                    painter.hline(left..=right, y, line);
                    for x in [left + 3.0, left + 15.0, right - 3.0] {
                        painter.circle_filled(pos2(x, y), 2.0, curve.color);
                    }
                }
                Sample::Gap => {
                    painter.hline(left..=left + 9.0, y, line);
                    for (x, alpha) in [(12.0, 0.5), (17.0, 0.25)] {
                        let faint = Stroke::new(1.5, curve.color.gamma_multiply(alpha));
                        painter.hline(left + x..=left + x + 3.0, y, faint);
                    }
                }
                Sample::Ground(look) => outages::sample(painter, rect, look, tokens),
                Sample::Thin => {
                    let steps =
                        [(0.0, 3.0), (10.0, 3.0), (10.0, -2.0), (20.0, -2.0), (20.0, 1.0), (30.0, 1.0)];
                    painter.line(steps.map(|(x, dy)| pos2(left + x, y + dy)).into(), line);
                }
                Sample::Stale => {
                    painter.circle_stroke(rect.center(), 3.5, line);
                }
            }
            ui.label(RichText::new(text).font(fonts::regular(11.5)).color(tokens.text_weak));
        });
    }
}
