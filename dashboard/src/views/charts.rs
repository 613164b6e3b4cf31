//! The docked charts: cards that can be split, moved, put into tabs, closed, and dropped on.

use egui::{
    Align2, Color32, CursorIcon, DragAndDrop, Rect, RichText, Sense, Stroke, Ui, UiBuilder, pos2, vec2,
};
use egui_tiles::{Behavior, EditAction, SimplificationOptions, TabState, TileId, Tiles, UiResponse};

use crate::action::{Action, ChartId, Place};
use crate::layout::{self, Layout, Pane};
use crate::model::Model;
use crate::model::exports::{ExportForm, ExportKind};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::chart::{self, ChartCache};
use crate::views::devices::DraggedSeries;
use crate::views::widgets;

/// Height of the strip of a card that drags it.
const STRIP: f32 = 30.0;
/// Width of a card that is not time: the value axis and the margins.
const AXES: f32 = 54.0;

/// Draws all charts. Returns the width of the widest one in pixels, and whether a person moved or resized something.
pub fn charts(
    ui: &mut Ui,
    model: &Model,
    layout: &mut Layout,
    cache: &mut ChartCache,
    actions: &mut Vec<Action>,
) -> f32 {
    let rect = ui.max_rect();
    let mut docking = Docking { model, cache, actions, edited: false, dropped: false, widest: 0.0 };
    layout.tree.ui(&mut docking, ui);
    let Docking { edited, dropped, widest, .. } = docking;
    if dropped {
        layout.close_holes();
    }
    // What no chart took makes a chart of its own.
    drop_anywhere(ui, rect, actions);
    if edited {
        layout.touched();
    }
    widest * ui.pixels_per_point()
}

/// Takes a device or metric that is dropped where no chart is.
pub fn drop_anywhere(ui: &Ui, rect: Rect, actions: &mut Vec<Action>) {
    if !DragAndDrop::has_payload_of_type::<DraggedSeries>(ui.ctx()) {
        return;
    }
    let response = ui.interact(rect, ui.scope_id().with("drop"), Sense::hover());
    if let Some(payload) = response.dnd_release_payload::<DraggedSeries>() {
        actions.push(Action::AddChart { title: None, series: payload.0.clone() });
    }
}

/// Draws what is being dragged beside the pointer.
pub fn dragged(ui: &Ui, model: &Model) {
    let Some(payload) = DragAndDrop::payload::<DraggedSeries>(ui.ctx()) else { return };
    let Some(info) = payload.0.first().and_then(|s| model.series_info(*s)) else { return };
    let Some(at) = ui.ctx().pointer_interact_pos() else { return };
    let t = Tokens::of(ui);
    let painter =
        ui.ctx().layer_painter(egui::LayerId::new(egui::Order::Tooltip, egui::Id::unique("dragged")));
    let text = format!("{} · {}", info.device.info.id, info.label());
    let galley = painter.layout_no_wrap(text, fonts::medium(12.5), t.text);
    let rect = Align2::LEFT_TOP.anchor_size(at + vec2(14.0, 10.0), galley.size() + vec2(16.0, 8.0));
    painter.rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), t.popup);
    let stroke = Stroke::new(1.0, t.accent);
    painter.rect_stroke(rect, f32::from(tokens::RADIUS_CONTROL), stroke, egui::StrokeKind::Inside);
    painter.galley(rect.min + vec2(8.0, 4.0), galley, t.text);
}

struct Docking<'a> {
    model: &'a Model,
    cache: &'a mut ChartCache,
    actions: &'a mut Vec<Action>,
    edited: bool,
    dropped: bool,
    widest: f32,
}

impl Docking<'_> {
    fn menu(&mut self, ui: &Ui, card: Rect, pane: &Pane) {
        let button = Rect::from_min_size(pos2(card.right() - 15.0, card.top() + 6.0), vec2(14.0, 22.0));
        let id = ui.scope_id().with("menu");
        let response = ui.interact(button, id, Sense::click());
        let popup = egui::Popup::default_response_id(&response);
        let title = layout::title(pane, &self.model.devices);
        let name = format!("Menu of {title}");
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
        let t = Tokens::of(ui);
        if ui.rect_contains_pointer(card) || response.has_focus() || egui::Popup::is_id_open(ui.ctx(), popup)
        {
            let color = if response.hovered() { t.text } else { t.text_weak };
            for y in [-4.5, 0.0, 4.5] {
                ui.painter().circle_filled(button.center() + vec2(0.0, y), 1.4, color);
            }
        }
        widgets::focus_ring(ui, &response, button);
        egui::Popup::menu(&response).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside).show(
            |ui| {
                ui.set_min_width(190.0);
                self.menu_items(ui, pane);
            },
        );
    }

    fn menu_items(&mut self, ui: &mut Ui, pane: &Pane) {
        let t = Tokens::of(ui);
        let chart = pane.chart;
        let mut text = pane.title.clone().unwrap_or_default();
        let edit = egui::TextEdit::singleline(&mut text)
            .hint_text(RichText::new("Title").color(t.text_weak))
            .char_limit(80)
            .desired_width(178.0);
        if ui.add(edit).accessible_name("Title").changed() {
            self.actions.push(Action::RenameChart { chart, title: text });
        }
        let is_table = self.cache.is_table(chart::id_of(chart));
        let text = if is_table { "Show as chart" } else { "Show as table" };
        let button = egui::Button::new(text).frame_when_inactive(false).min_size(vec2(178.0, 22.0));
        if ui.add(button).clicked() {
            self.cache.toggle_table(chart::id_of(chart));
            ui.close();
        }
        let mut item = |ui: &mut Ui, text: &str, action: Action| {
            if ui
                .add(egui::Button::new(text).frame_when_inactive(false).min_size(vec2(178.0, 22.0)))
                .clicked()
            {
                self.actions.push(action);
                ui.close();
            }
        };
        item(ui, "Axes and limits…", Action::EditChart(Some(Box::new(chart::form(self.model, pane)))));
        for (text, kind) in [("Copy as picture", ExportKind::Picture), ("Copy as CSV", ExportKind::Csv)] {
            item(ui, text, Action::CopyChart { chart, kind });
        }
        let title = layout::title(pane, &self.model.devices);
        let form = ExportForm::new(self.model, chart, &title, ExportKind::Picture);
        item(ui, "Write to a file…", Action::EditExport(Some(Box::new(form))));
        ui.separator();
        item(ui, "Split to the right", Action::SplitChart { chart, place: Place::Right });
        item(ui, "Split below", Action::SplitChart { chart, place: Place::Below });
        item(ui, "Copy into a tab", Action::SplitChart { chart, place: Place::Tab });
        if pane.spec.series.len() > 1 {
            item(ui, "One chart for each series", Action::SeparateSeries(chart));
            ui.separator();
            for &series in pane.spec.series.iter().take(24) {
                if let Some(info) = self.model.series_info(series) {
                    let text = format!("Remove {}", info.device.info.id);
                    item(ui, &text, Action::RemoveFromChart { chart, series });
                }
            }
        }
        ui.separator();
        item(ui, "Close the chart", Action::CloseChart(chart));
    }

    fn take_drop(&mut self, ui: &Ui, card: Rect, chart: ChartId) {
        if !DragAndDrop::has_payload_of_type::<DraggedSeries>(ui.ctx()) {
            return;
        }
        let response = ui.interact(card, ui.scope_id().with("drop"), Sense::hover());
        if response.contains_pointer() {
            let t = Tokens::of(ui);
            let stroke = Stroke::new(2.0, t.accent);
            ui.painter().rect_stroke(card, f32::from(tokens::RADIUS_CARD), stroke, egui::StrokeKind::Inside);
        }
        if let Some(payload) = response.dnd_release_payload::<DraggedSeries>() {
            for &series in &payload.0 {
                self.actions.push(Action::AddToChart { chart, series });
            }
        }
    }
}

impl Behavior<Pane> for Docking<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, _tile: TileId, pane: &mut Pane) -> UiResponse {
        let card = ui.max_rect();
        // Below the widgets of the chart, so that its legend can be clicked.
        let strip = Rect::from_min_size(card.min, vec2(card.width(), STRIP));
        // It is for the pointer alone: what it does by keyboard is in the menu of the card.
        let sense = Sense::click_and_drag() - Sense::FOCUSABLE;
        let drag = ui.interact(strip, ui.scope_id().with("strip"), sense);
        self.widest = self.widest.max(card.width() - AXES);
        let mut child = ui.new_child(UiBuilder::new().max_rect(card).id_salt(pane.chart));
        child.set_clip_rect(card.intersect(ui.clip_rect()));
        if pane.spec.series.is_empty() {
            waiting(&mut child, card, pane, self.model);
        } else {
            let id = chart::id_of(pane.chart);
            chart::chart(&mut child, self.model, &pane.spec, id, self.cache, self.actions);
        }
        self.menu(ui, card, pane);
        self.take_drop(ui, card, pane.chart);
        if drag.on_hover_cursor(CursorIcon::Grab).drag_started() {
            return UiResponse::DragStarted;
        }
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, pane: &Pane) -> egui::WidgetText {
        RichText::new(layout::title(pane, &self.model.devices)).font(fonts::medium(12.5)).into()
    }

    fn is_tab_closable(&self, _tiles: &Tiles<Pane>, _tile: TileId) -> bool {
        true
    }

    fn on_tab_close(&mut self, _tiles: &mut Tiles<Pane>, _tile: TileId) -> bool {
        self.edited = true;
        true
    }

    fn simplification_options(&self) -> SimplificationOptions {
        layout::SIMPLIFICATION
    }

    fn gap_width(&self, _style: &egui::Style) -> f32 {
        tokens::GAP
    }

    fn min_size(&self) -> f32 {
        120.0
    }

    fn ideal_tile_aspect_ratio(&self) -> f32 {
        1.5
    }

    fn resize_stroke(&self, style: &egui::Style, state: egui_tiles::ResizeState) -> Stroke {
        let t = Tokens::for_visuals(&style.visuals);
        match state {
            egui_tiles::ResizeState::Idle => Stroke::NONE,
            egui_tiles::ResizeState::Hovering => Stroke::new(2.0, t.line),
            egui_tiles::ResizeState::Dragging => Stroke::new(2.0, t.accent),
        }
    }

    fn tab_bar_color(&self, visuals: &egui::Visuals) -> Color32 {
        Tokens::for_visuals(visuals).canvas
    }

    fn tab_bg_color(&self, visuals: &egui::Visuals, _: &Tiles<Pane>, _: TileId, state: &TabState) -> Color32 {
        let t = Tokens::for_visuals(visuals);
        if state.active { t.panel } else { t.canvas }
    }

    fn tab_outline_stroke(
        &self,
        visuals: &egui::Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        _: &TabState,
    ) -> Stroke {
        Stroke::new(1.0, Tokens::for_visuals(visuals).line)
    }

    fn tab_bar_hline_stroke(&self, _visuals: &egui::Visuals) -> Stroke {
        Stroke::NONE
    }

    fn tab_text_color(
        &self,
        visuals: &egui::Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        state: &TabState,
    ) -> Color32 {
        let t = Tokens::for_visuals(visuals);
        if state.active { t.text } else { t.text_weak }
    }

    fn dragged_overlay_color(&self, visuals: &egui::Visuals) -> Color32 {
        Tokens::for_visuals(visuals).canvas.gamma_multiply(0.6)
    }

    fn drag_preview_stroke(&self, visuals: &egui::Visuals) -> Stroke {
        Stroke::new(1.5, Tokens::for_visuals(visuals).accent)
    }

    fn drag_preview_color(&self, visuals: &egui::Visuals) -> Color32 {
        Tokens::for_visuals(visuals).accent.gamma_multiply(0.15)
    }

    fn on_edit(&mut self, action: EditAction) {
        // A drag that has only begun has changed nothing yet.
        self.edited |= action != EditAction::TileDragged;
        self.dropped |= action == EditAction::TileDropped;
    }
}

/// A card whose series the hub does not know yet.
fn waiting(ui: &mut Ui, card: Rect, pane: &Pane, model: &Model) {
    let t = Tokens::of(ui);
    let radius = f32::from(tokens::RADIUS_CARD);
    ui.painter().rect(card, radius, t.panel, Stroke::new(1.0, t.line), egui::StrokeKind::Inside);
    let title = layout::title(pane, &model.devices);
    let at = pos2(card.left() + tokens::PADDING, card.top() + 16.0);
    widgets::text_in(ui, at, card.width() - 40.0, &title, fonts::medium(13.0), t.text);
    ui.centered_and_justified(|ui| {
        let names: Vec<&str> = pane.names.iter().take(3).map(|n| n.device.as_str()).collect();
        let names = if names.is_empty() { "a device".to_owned() } else { names.join(", ") };
        let text = if !model.connection.is_connected() {
            format!("Waiting for the hub, to know {names}")
        } else if model.devices.is_complete() {
            format!(
                "Waiting for {names}: the hub does not know it. Drop another series here, or close the chart."
            )
        } else {
            format!("Waiting for {names}")
        };
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
    });
}
