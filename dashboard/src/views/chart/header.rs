//! The title of a chart, and beside it its legend.

use egui::{Id, Rect, Response, Role, Sense, Ui, WidgetInfo, pos2};

use super::cache::PerChart;
use super::legend::{self, ENTRY_GAP, MORE_WIDTH};
use super::{ChartSpec, Scene};
use crate::format;
use crate::theme::fonts;
use crate::views::widgets;

/// The share of the room that a title has at least.
const TITLE_SHARE: f32 = 0.42;
/// The title of a chart: the given one, what its series have in common, or how many there are.
pub(super) fn title(scene: &Scene<'_>, spec: &ChartSpec) -> String {
    if let Some(title) = spec.title.as_deref().filter(|title| !title.trim().is_empty()) {
        return title.to_owned();
    }
    let infos: Vec<_> = spec.series.iter().filter_map(|&id| scene.model.series_info(id)).collect();
    let Some(first) = infos.first() else { return "Chart".to_owned() };
    let (label, device) = (first.label(), &first.device.info.id);
    let is_one_label = infos.iter().all(|info| info.label() == label);
    let is_one_device = infos.iter().all(|info| info.device.info.id == *device);
    match (is_one_label, is_one_device) {
        (true, _) if infos.len() == 1 => format!("{label} · {device}"),
        (true, _) => label,
        (false, true) => device.to_string(),
        (false, false) => format!("{} series", infos.len()),
    }
}

/// Draws the row above the plot and returns the response of the title.
pub(super) fn header(
    ui: &mut Ui,
    scene: &Scene<'_>,
    spec: &ChartSpec,
    id: Id,
    rect: Rect,
    cached: &mut PerChart,
) -> Response {
    let tokens = scene.tokens;
    let title = title(scene, spec);
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let mut units: Vec<&str> = Vec::new();
    for unit in
        scene.curves.iter().filter_map(|curve| curve.unit).map(format::unit).filter(|unit| !unit.is_empty())
    {
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    // One unit stands beside the title; several must stand at each value.
    let entries = legend::entries(ui, scene, &painter, units.len() > 1, cached);
    let least: f32 = entries.iter().map(|entry| entry.width(false, false) + ENTRY_GAP).sum();
    // In a narrow chart the title gives way to the values, but not all of its room.
    let room = (rect.width() - least).max(rect.width() * TITLE_SHARE).min(rect.width() - MORE_WIDTH);
    let at = pos2(rect.left(), rect.center().y);
    let mut title_width = widgets::text_in(ui, at, room, &title, fonts::medium(13.0), tokens.text);
    if let [unit] = units[..] {
        let galley = painter.layout_no_wrap(unit.to_owned(), fonts::regular(12.5), tokens.text_secondary);
        if title_width + 8.0 + galley.size().x <= room {
            let at = pos2(rect.left() + title_width + 8.0, rect.center().y - galley.size().y / 2.0);
            title_width += 8.0 + galley.size().x;
            painter.galley(at, galley, tokens.text_secondary);
        }
    }
    let right = legend::legend(ui, scene, id, rect, title_width, &entries, cached);
    let title_rect =
        Rect::from_min_max(rect.min, pos2((rect.left() + title_width).min(right), rect.bottom()));
    let response = ui.interact(title_rect, id.with("title"), Sense::CLICK);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &title));
    response
}
