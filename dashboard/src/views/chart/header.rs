//! The title of a chart, and beside it its legend.

use egui::{Id, Rect, Response, Role, Sense, Ui, WidgetInfo, pos2};

use super::cache::PerChart;
use super::{ChartSpec, Scene, legend};
use crate::format;
use crate::theme::fonts;
use crate::views::widgets;

/// The share of the height of a chart that rows of the legend may take.
const LEGEND_SHARE: f32 = 0.3;
/// Gap between the title and the unit.
const UNIT_GAP: f32 = 8.0;

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

/// Draws the row above the plot, and those of the legend below it. Returns the response of the title, and the height of
/// the rows below it. `height` is what the chart has without them.
pub(super) fn header(
    ui: &mut Ui,
    scene: &Scene<'_>,
    spec: &ChartSpec,
    id: Id,
    rect: Rect,
    height: f32,
    cached: &mut PerChart,
) -> (Response, f32) {
    let tokens = scene.tokens;
    let title = title(scene, spec);
    let painter = ui.painter().clone();
    let mut units: Vec<&str> = Vec::new();
    for unit in
        scene.curves.iter().filter_map(|curve| curve.unit).map(format::unit).filter(|unit| !unit.is_empty())
    {
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    // One unit stands beside the title; several must stand at each value.
    let mut entries = legend::entries(ui, scene, &painter, units.len() > 1, cached);
    let unit = match units[..] {
        [unit] => Some(painter.layout_no_wrap(unit.to_owned(), fonts::regular(12.5), tokens.text_secondary)),
        _ => None,
    };
    let unit_width = unit.as_ref().map_or(0.0, |unit| UNIT_GAP + unit.size().x);
    let font = fonts::medium(13.0);
    let wanted = painter.layout_no_wrap(title.clone(), font.clone(), tokens.text).size().x + unit_width;
    let rows_max = (height * LEGEND_SHARE / legend::ROW) as usize;
    let widths = (rect.width(), wanted);
    let plan = legend::plan(scene, &painter, &mut entries, widths, rows_max, &mut cached.legend_rows);
    let room = plan.room_for_title(&entries, rect.width(), wanted);
    let at = pos2(rect.left(), rect.center().y);
    let mut title_width = widgets::text_in(ui, at, room, &title, font, tokens.text);
    if let Some(unit) = unit
        && title_width + unit_width <= room
    {
        let at = pos2(rect.left() + title_width + UNIT_GAP, rect.center().y - unit.size().y / 2.0);
        title_width += unit_width;
        painter.galley(at, unit, tokens.text_secondary);
    }
    let right = legend::legend(ui, scene, id, rect, &entries, &plan, cached);
    let title_rect =
        Rect::from_min_max(rect.min, pos2((rect.left() + title_width).min(right), rect.bottom()));
    let response = ui.interact(title_rect, id.with("title"), Sense::CLICK);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &title));
    (response, plan.height())
}
