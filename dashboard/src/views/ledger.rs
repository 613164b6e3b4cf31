//! The parts of a device's page that come from the hub's books: its connections, and what became of what it sent.

use egui::{Color32, RichText, Ui};
use protocol::Timestamp;
use protocol::viewer::{Account, ConnectionInfo, EndedBy};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::page::{Asked, Fold, Page, Sums};
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Most connections and epochs that are drawn. The hub keeps as many connections.
const ROWS_MAX: usize = 100;

/// Draws both, folded away until they are wanted.
pub fn ledger(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(page) = &model.page else { return };
    ui.spacing_mut().item_spacing.y = 4.0;
    connections(ui, model, page, actions);
    account(ui, model, page, actions);
}

/// What is said when there is nothing to show yet, and what to do about it. `true`: there is something.
fn state<T>(ui: &mut Ui, model: &Model, asked: &Asked<T>, actions: &mut Vec<Action>) -> bool {
    let t = Tokens::of(ui);
    let say = |ui: &mut Ui, text: &str, color: Color32| {
        ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(color)).wrap());
    };
    match asked {
        Asked::No | Asked::Loading(None) | Asked::Failed(_) if !model.connection.is_connected() => {
            say(ui, "Not connected: asked for when the hub is back.", t.text_weak);
        }
        Asked::No | Asked::Loading(None) => say(ui, "Loading…", t.text_weak),
        Asked::Failed(why) => {
            say(ui, &format!("Could not be loaded: {why}"), t.error);
            if widgets::chip(ui, "Ask again", false).clicked() {
                actions.push(Action::RefreshPage);
            }
        }
        Asked::Loading(Some(_)) | Asked::Known(_) => return true,
    }
    false
}

fn connections(ui: &mut Ui, model: &Model, page: &Page, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let summary = match (&page.connections, page.connections.known()) {
        (_, Some(list)) => match list.first().map(|first| &first.end) {
            Some(None) => format!("{}, one is open", list.len()),
            Some(Some(end)) => format!("{}, the last {}", list.len(), ended(end.by)),
            None => "none".to_owned(),
        },
        (Asked::Failed(_), _) => "not loaded".to_owned(),
        _ => "…".to_owned(),
    };
    if widgets::fold(ui, "Connections", &summary, page.shows_connections).clicked() {
        actions.push(Action::FoldPage(Fold::Connections));
    }
    if !page.shows_connections || !state(ui, model, &page.connections, actions) {
        return;
    }
    let list = page.connections.known().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        let text = "The hub remembers none: the device has not connected since it keeps them.";
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
    }
    for connection in list.iter().take(ROWS_MAX) {
        row(ui, model, connection);
    }
}

const fn ended(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Device => "ended by the device",
        EndedBy::Hub => "ended by the hub",
        EndedBy::Lost => "was lost",
    }
}

fn row(ui: &mut Ui, model: &Model, connection: &ConnectionInfo) {
    let t = Tokens::of(ui);
    let clock = |at| format::clock_or_date(at, model.now(), &model.zone);
    let from = clock(connection.opened_at);
    let (times, why, color) = match &connection.end {
        None => {
            let age = format::duration(model.now().micros_since(connection.opened_at).max(0));
            (format!("{from} until now, {age}"), "open".to_owned(), t.ok)
        }
        Some(end) => {
            let times = match end.at {
                Some(at) => {
                    let lasted = format::duration(at.micros_since(connection.opened_at).max(0));
                    format!("{from} to {}, {lasted}", clock(at))
                }
                None => format!("{from}, the end is not known"),
            };
            let mut why = ended(end.by).to_owned();
            if !end.reason.is_empty() {
                why.push_str(": ");
                why.push_str(&format::ellipsis(&end.reason, 120));
            }
            if let Some(code) = end.code {
                why.push_str(&format!(" ({code})"));
            }
            (times, why, if end.by == EndedBy::Lost { t.warn } else { t.text_secondary })
        }
    };
    let ground = egui::Frame::new().fill(t.canvas).stroke(egui::Stroke::new(1.0, t.line)).corner_radius(4);
    ground.inner_margin(egui::Margin::symmetric(8, 4)).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        ui.label(RichText::new(times).font(fonts::mono(11.0)).color(t.text));
        ui.add(egui::Label::new(RichText::new(why).font(fonts::regular(11.5)).color(color)).wrap());
        let place = format!("{} {}", format::ellipsis(&connection.address, 60), connection.session);
        ui.label(RichText::new(place).font(fonts::mono(10.5)).color(t.text_weak));
        ui.take_available_width();
    });
}

fn account(ui: &mut Ui, model: &Model, page: &Page, actions: &mut Vec<Action>) {
    let summary = match (&page.ledger, page.ledger.known()) {
        (_, Some((account, _))) => {
            let readings = format::short_count(account.readings);
            let verdict = if account.adds_up { "nothing is missing" } else { "does not add up" };
            format!("{readings} readings, {verdict}")
        }
        (Asked::Failed(_), _) => "not loaded".to_owned(),
        _ => "…".to_owned(),
    };
    if widgets::fold(ui, "Ledger", &summary, page.shows_ledger).clicked() {
        actions.push(Action::FoldPage(Fold::Ledger));
    }
    if !page.shows_ledger || !state(ui, model, &page.ledger, actions) {
        return;
    }
    if let Some((account, at)) = page.ledger.known() {
        books(ui, model, account, *at, actions);
    }
}

fn books(ui: &mut Ui, model: &Model, account: &Account, at: Timestamp, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let sums = Sums::of(account);
    let (text, color) = if account.adds_up {
        ("Everything that was sent is stored or accounted for.".to_owned(), t.ok)
    } else {
        let lost = [(sums.missing, "batches"), (sums.readings_missing, "readings")];
        let lost: Vec<String> = lost
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{} {what}", format::count(*n)))
            .collect();
        let lost = if lost.is_empty() { "more than was sent".to_owned() } else { lost.join(" and ") };
        (format!("It does not add up: {lost}. Run `hub verify` on the hub's machine."), t.error)
    };
    ui.add(egui::Label::new(RichText::new(text).font(fonts::medium(12.0)).color(color)).wrap());
    if account.streams.is_empty() {
        let text = "The device has sent nothing yet.";
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak));
    }
    table(
        ui,
        "batches",
        "Batches",
        &[
            ("Sent", sums.sent, None, "As the device counts them, without a hole"),
            ("Stored", sums.stored, None, "On the hub's disk"),
            ("Duplicate", sums.duplicate, None, "Came again and were dropped: that is harmless"),
            ("Refused", sums.refused, Some(t.warn), "Could never be accepted, and the device was told"),
            ("Lost by the device", sums.skipped, Some(t.warn), "The device said that it lost them"),
            ("Missing", sums.missing, Some(t.error), "Counted, and nothing is known of them"),
        ],
    );
    table(
        ui,
        "readings",
        "Readings",
        &[
            ("Received", account.readings, None, "In the stored batches"),
            ("There", account.hot.saturating_add(account.sealed), None, "Can be shown and exported"),
            (
                "Conflict",
                account.conflicts,
                Some(t.warn),
                "Their metric had a reading at the same microsecond",
            ),
            ("Removed", account.removed, None, "Taken away by retention"),
            ("Damaged", account.damaged, Some(t.error), "Found damaged on the hub's disk and put aside"),
            ("Missing", sums.readings_missing, Some(t.error), "Stored once, and nothing is known of them"),
        ],
    );
    if account.streams.len() > 1 {
        let clock = |at| format::clock_or_date(at, model.now(), &model.zone);
        let newest: Vec<(String, String)> = account
            .streams
            .iter()
            .rev()
            .take(ROWS_MAX)
            .map(|s| {
                let name = format::ellipsis(s.epoch.as_str(), 12);
                let what = format!("{} sent, {} stored, since {}", s.sent, s.stored, clock(s.created_at));
                (name, what)
            })
            .collect();
        ui.label(RichText::new("Epochs, newest first").font(fonts::medium(11.5)).color(t.text_secondary));
        widgets::facts(ui, "epochs", &newest);
    }
    ui.horizontal(|ui| {
        let text = format!("As of {}", format::clock(at, &model.zone));
        ui.label(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak));
        if widgets::link(ui, "Refresh").clicked() {
            actions.push(Action::RefreshPage);
        }
    });
}

/// Numbers with their names; those that should be none have a colour when they are not.
fn table(ui: &mut Ui, id: &str, title: &str, rows: &[(&str, u64, Option<Color32>, &str)]) {
    let t = Tokens::of(ui);
    ui.label(RichText::new(title).font(fonts::medium(11.5)).color(t.text_secondary));
    let width = ui.available_width();
    egui::Grid::new(id).num_columns(2).min_row_height(17.0).spacing(egui::vec2(8.0, 1.0)).show(ui, |ui| {
        for (name, count, alarm, hint) in rows {
            let color = alarm.filter(|_| *count > 0);
            ui.scope(|ui| {
                ui.set_min_width(width * 0.5);
                let text = RichText::new(*name).font(fonts::regular(12.0));
                ui.label(text.color(color.unwrap_or(t.text_weak))).on_hover_text(*hint);
            });
            let text = RichText::new(format::count(*count)).font(fonts::mono(12.0));
            ui.label(text.color(color.unwrap_or(t.text)));
            ui.end_row();
        }
    });
}
