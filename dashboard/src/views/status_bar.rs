//! The status bar: what the window says of itself.

use std::time::Duration;

use egui::{Color32, Label, Response, RichText, Sense, Ui};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::settings::Times;
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Draws the status bar. `frame` is the processor time of the last frame.
pub fn status_bar(
    ui: &mut Ui,
    model: &Model,
    readings_held: u64,
    frame: Option<Duration>,
    actions: &mut Vec<Action>,
) {
    let t = Tokens::of(ui);
    let counters = &model.counters;
    ui.horizontal_centered(|ui| {
        ui.spacing_mut().item_spacing.x = 24.0;
        let rate = counters.rate().round() as u64;
        say(
            ui,
            format!("{} readings/s", format::count(rate)),
            t.text_secondary,
            "Readings that arrived here in the last two seconds, a second. Charts ask for every reading, the list for the latest.",
        );
        if let Some(figures) = model.latency.figures() {
            let [p50, p99] = [figures.whole.p50, figures.whole.p99].map(format::milliseconds);
            let hint = "From measuring a reading to painting it, of the last two minutes. Click for each stage and device.";
            let text = format!("sensor to screen {p50}, p99 {p99}");
            if item(ui, text, t.text_secondary, hint, Sense::click()).is_some_and(|r| r.clicked()) {
                actions.push(Action::ToggleLatency);
            }
        }
        if model.settings.times == Times::Utc && model.zone_differs() {
            say(ui, "times in UTC".to_owned(), t.text_secondary, "Another zone is chosen in the settings");
        }
        let color = if counters.omitted > 0 { t.warn } else { t.text_secondary };
        say(
            ui,
            format!("{} omitted", format::count(counters.omitted)),
            color,
            "Readings that the hub left out because this window read too slowly. They are in its store, and are fetched when shown.",
        );
        let held = format!("{} readings, {}", format::short_count(readings_held), format::bytes(model.series.bytes()));
        say(ui, format!("buffer {held}"), t.text_secondary, "Readings and buckets in memory");
        if let Some(frame) = frame {
            let millis = frame.as_secs_f64() * 1e3;
            say(ui, format!("frame {millis:.1} ms"), t.text_secondary, "Processor time of the last frame");
        }
        if counters.position.0 > 0 {
            let text = format!("position {}", format::count(counters.position.0.unsigned_abs()));
            say(ui, text, t.text_secondary, "Where the hub is in its order of commits");
        }
        if counters.bad_messages > 0 {
            say(ui, format!("{} unreadable", counters.bad_messages), t.error, "Messages that could not be read");
        }
        if counters.reconnects > 0 {
            let noun = if counters.reconnects == 1 { "reconnect" } else { "reconnects" };
            say(ui, format!("{} {noun}", counters.reconnects), t.text_weak, "Since this window was opened");
        }
    });
}

fn say(ui: &mut Ui, text: String, color: Color32, hint: &str) {
    item(ui, text, color, hint, Sense::hover());
}

/// Says one thing. What does not fit is left out; it would reach into the panel beside.
fn item(ui: &mut Ui, text: String, color: Color32, hint: &str, sense: Sense) -> Option<Response> {
    let font = fonts::mono(11.5);
    let width = ui.painter().layout_no_wrap(text.clone(), font.clone(), color).size().x;
    (width <= ui.available_width()).then(|| {
        let response = ui.add(Label::new(RichText::new(text).font(font).color(color)).sense(sense));
        if sense.senses_click() {
            widgets::focus_ring(ui, &response, response.rect);
        }
        response.on_hover_text(hint)
    })
}
