//! How a connection was made, step by step, with what both sides said.

use egui::{RichText, Ui};
use protocol::wire::Handshake;

use crate::format;
use crate::model::Model;
use crate::model::wire::{Inspector, Stage};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// `TLSv1_3` as it is spoken of.
pub(super) fn version(name: &str) -> String {
    name.replace("TLSv", "TLS ").replace('_', ".")
}

/// Draws the one of the selected row, or the newest.
pub(super) fn handshake(ui: &mut Ui, model: &Model, wire: &Inspector) {
    let t = Tokens::of(ui);
    let Some((watched, handshake)) = wire.current().and_then(|w| Some((w, w.handshake()?))) else {
        let text = match &wire.stage {
            Stage::Refused(_) => "How the connection was made is not told either: the hub refused.",
            _ => "How the connection was made is not known yet: it is told when the device is connected.",
        };
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
        return;
    };
    let title = format!("Connection {} from {}", watched.session, handshake.address);
    ui.add(egui::Label::new(RichText::new(title).font(fonts::semibold(13.0)).color(t.text)).wrap());
    ui.add_space(2.0);
    widgets::narrow_facts(ui, "wire-steps", 76.0, &steps(model, handshake));
    ui.add_space(2.0);
    let agreed = [
        ("Protocol", handshake.subprotocol.clone()),
        ("Compression", extensions(&handshake.response).unwrap_or_else(|| "none agreed on".to_owned())),
        ("Key", handshake.key.clone()),
        ("Accept", format!("{}  (SHA-1 of the key and a fixed text)", handshake.accept)),
    ];
    widgets::narrow_facts(ui, "wire-agreed", 76.0, &agreed.map(|(name, value)| (name.to_owned(), value)));
    head(ui, "Request of the device", &handshake.request);
    head(ui, "Response of the hub", &handshake.response);
    if let Some((at, end)) = &watched.ended {
        let text = format!("{}: {}", format::clock_millis(*at, &model.zone), super::ended(end));
        ui.add(
            egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(t.text_secondary)).wrap(),
        );
    }
}

fn steps(model: &Model, handshake: &Handshake) -> Vec<(String, String)> {
    let Handshake { tls, accepted_at, tls_at, requested_at, upgraded_at, hello_at, .. } = handshake;
    let after = |at: &protocol::Timestamp| format!("+{}", format::precise(at.micros_since(*accepted_at)));
    let mut rows = vec![("TCP".to_owned(), format::clock_micros(*accepted_at, &model.zone))];
    if let (Some(tls), Some(at)) = (tls, tls_at) {
        rows.push(("TLS".to_owned(), format!("{}  {}, {}", after(at), version(&tls.version), tls.cipher)));
    }
    rows.push(("Request".to_owned(), format!("{}  its head was read", after(requested_at))));
    rows.push(("Upgrade".to_owned(), format!("{}  101 was written", after(upgraded_at))));
    let hello = match hello_at {
        Some(at) => format!("{}  read", after(at)),
        None => "not read so far".to_owned(),
    };
    rows.push(("Hello".to_owned(), hello));
    rows
}

/// What was agreed on besides, as the response says it.
fn extensions(response: &str) -> Option<String> {
    response.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-extensions").then(|| value.trim().to_owned())
    })
}

fn head(ui: &mut Ui, title: &str, text: &str) {
    let t = Tokens::of(ui);
    ui.add_space(2.0);
    widgets::caption(ui, title);
    let text: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let ground = egui::Frame::new().fill(t.canvas).stroke(egui::Stroke::new(1.0, t.line));
    ground.corner_radius(tokens::RADIUS_CONTROL).inner_margin(egui::Margin::symmetric(8, 6)).show(ui, |ui| {
        let text = RichText::new(text.join("\n")).font(fonts::mono(11.0)).color(t.text);
        ui.add(egui::Label::new(text).wrap().selectable(true));
        ui.take_available_width();
    });
}
