//! The dialog in which a chart, or the wire of a device, is written to a file.

use egui::{Key, RichText, Ui};

use crate::action::Action;
use crate::model::Model;
use crate::model::exports::{ExportKind, Exported};
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Draws the dialog while it is open.
pub fn exports(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = &model.export_form else { return };
    let t = Tokens::of(ui);
    let (heading, name, kinds) = match form.of {
        Exported::Chart(_) => (
            "Write a chart to a file",
            "File of the chart",
            [(ExportKind::Picture, "Picture (PNG)"), (ExportKind::Csv, "Values (CSV)")],
        ),
        Exported::Wire(_) => (
            "Write the wire to a file",
            "File of the wire",
            [(ExportKind::Capture, "Capture (pcapng)"), (ExportKind::JsonLines, "JSON Lines")],
        ),
    };
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("exports")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(460.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.label(RichText::new(heading).font(fonts::semibold(15.0)).color(t.text));
        ui.label(RichText::new(&form.title).font(fonts::regular(12.0)).color(t.text_secondary));
        ui.add_space(10.0);
        let chosen = kinds.iter().position(|(kind, _)| *kind == form.kind);
        if let Some((kind, _)) = widgets::segmented(ui, "Kind", &kinds.map(|(_, name)| name), chosen)
            .and_then(|place| kinds.get(place))
        {
            actions.push(Action::EditExport(Some(Box::new(form.with_kind(*kind)))));
        }
        ui.add_space(8.0);
        ui.label(RichText::new("File").font(fonts::medium(12.0)).color(t.text_secondary));
        let mut typed = form.path.clone();
        let edit = egui::TextEdit::singleline(&mut typed)
            .font(fonts::mono(12.5))
            .char_limit(1_000)
            .background_color(t.panel)
            .desired_width(f32::INFINITY);
        let response = ui.add(edit).accessible_name(name);
        if ui.ctx().memory(egui::Memory::focused).is_none() {
            response.request_focus();
        }
        if response.changed() {
            actions.push(Action::EditExport(Some(Box::new(form.with_path(typed)))));
        }
        let (said, color) = match (&form.problem, form.kind) {
            (Some(problem), _) => (problem.as_str(), t.error),
            (None, ExportKind::Picture) => ("The chart as it is on the screen, twice as fine.", t.text_weak),
            (None, ExportKind::Csv) => {
                ("What is shown: readings, or buckets with mean, min and max; times in UTC.", t.text_weak)
            }
            (None, ExportKind::Capture) => {
                ("All frames that are kept, whatever the filters show; Wireshark opens it.", t.text_weak)
            }
            (None, ExportKind::JsonLines) => (
                "All records that are kept, whatever the filters show, as `hub wire --json` has them.",
                t.text_weak,
            ),
        };
        ui.add(egui::Label::new(RichText::new(said).font(fonts::regular(11.5)).color(color)).wrap());
        ui.add_space(12.0);
        ui.horizontal(|ui| {
            let text = if form.exists.is_some() { "Replace it" } else { "Write" };
            let write = widgets::accent_button(ui, text);
            let close = widgets::plain_button(ui, "Close");
            let is_entered = ui.input(|i| i.key_pressed(Key::Enter)) && !close.has_focus();
            if close.clicked() {
                actions.push(Action::EditExport(None));
            } else if write.clicked() || is_entered {
                actions.push(Action::WriteExport);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::EditExport(None));
    }
}
