//! The dialog in which a chart is written to a file.

use egui::{Key, RichText, Ui};

use crate::action::Action;
use crate::model::Model;
use crate::model::exports::ExportKind;
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Draws the dialog while it is open.
pub fn exports(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = &model.export_form else { return };
    let t = Tokens::of(ui);
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("exports")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(460.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.label(RichText::new("Write a chart to a file").font(fonts::semibold(15.0)).color(t.text));
        ui.label(RichText::new(&form.title).font(fonts::regular(12.0)).color(t.text_secondary));
        ui.add_space(10.0);
        let kinds = [ExportKind::Picture, ExportKind::Csv];
        let chosen = kinds.iter().position(|kind| *kind == form.kind);
        if let Some(kind) = widgets::segmented(ui, "Kind", &["Picture (PNG)", "Values (CSV)"], chosen)
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
        let response = ui.add(edit).accessible_name("File of the chart");
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
                actions.push(Action::WriteChart);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::EditExport(None));
    }
}
