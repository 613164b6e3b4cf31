//! The status bar: what the window says of itself.

use std::time::Duration;

use egui::{RichText, Ui};

use crate::format;
use crate::model::Model;
use crate::settings::Times;
use crate::theme::{Tokens, fonts};

/// Draws the status bar. `frame` is the processor time of the last frame.
pub fn status_bar(ui: &mut Ui, model: &Model, readings_held: u64, frame: Option<Duration>) {
    let t = Tokens::of(ui);
    let counters = &model.counters;
    ui.horizontal_centered(|ui| {
        ui.spacing_mut().item_spacing.x = 24.0;
        let mut say = |text: String, color, hint: &str| {
            // What does not fit is left out; it would reach into the panel beside.
            let width = ui.painter().layout_no_wrap(text.clone(), fonts::mono(11.5), color).size().x;
            if width <= ui.available_width() {
                ui.label(RichText::new(text).font(fonts::mono(11.5)).color(color)).on_hover_text(hint);
            }
        };
        let rate = counters.rate().round() as u64;
        say(
            format!("{} readings/s", format::count(rate)),
            t.text_secondary,
            "Readings that arrived here in the last two seconds, a second. Charts ask for every reading, the list for the latest.",
        );
        if model.settings.times == Times::Utc && model.zone_differs() {
            say("times in UTC".to_owned(), t.text_secondary, "Another zone is chosen in the settings");
        }
        let color = if counters.omitted > 0 { t.warn } else { t.text_secondary };
        say(
            format!("{} omitted", format::count(counters.omitted)),
            color,
            "Readings that the hub left out because this window read too slowly. They are in its store, and are fetched when shown.",
        );
        let held = format!("{} readings, {}", format::short_count(readings_held), format::bytes(model.series.bytes()));
        say(format!("buffer {held}"), t.text_secondary, "Readings and buckets in memory");
        if let Some(frame) = frame {
            let millis = frame.as_secs_f64() * 1e3;
            say(format!("frame {millis:.1} ms"), t.text_secondary, "Processor time of the last frame");
        }
        if counters.position.0 > 0 {
            let text = format!("position {}", format::count(counters.position.0.unsigned_abs()));
            say(text, t.text_secondary, "Where the hub is in its order of commits");
        }
        if counters.bad_messages > 0 {
            say(format!("{} unreadable", counters.bad_messages), t.error, "Messages that could not be read");
        }
        if counters.reconnects > 0 {
            let noun = if counters.reconnects == 1 { "reconnect" } else { "reconnects" };
            say(format!("{} {noun}", counters.reconnects), t.text_weak, "Since this window was opened");
        }
    });
}
