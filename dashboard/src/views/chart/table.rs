//! A chart as a table: the times and values that it draws, newest first. Only the rows on the screen are made.

use egui::{Align2, Rect, Role, ScrollArea, Sense, Stroke, Ui, UiBuilder, WidgetInfo, pos2, vec2};

use super::cache::PerChart;
use super::{Curve, Scene};
use crate::format;
use crate::series::Column;
use crate::theme::fonts;

/// Height of a row.
const ROW: f32 = 20.0;
/// Width of the time, and of one series.
const TIME: f32 = 176.0;
const VALUE: f32 = 128.0;

/// The times in view at which any of these curves has a column, ascending, each once.
pub(super) fn times(scene: &Scene<'_>, cached: &PerChart, curves: &[&Curve<'_>]) -> Vec<i64> {
    let (from, to) = (scene.from.0, scene.to.0);
    let traces = curves.iter().filter_map(|curve| cached.trace(curve.id));
    let mut times: Vec<i64> = traces
        .flat_map(|trace| trace.columns.iter().map(|column| column.at))
        .filter(|at| (from..=to).contains(at))
        .collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// The column of a curve at exactly this time.
pub(super) fn at<'a>(cached: &'a PerChart, curve: &Curve<'_>, time: i64) -> Option<&'a Column> {
    let columns = &cached.trace(curve.id)?.columns;
    columns.get(columns.binary_search_by_key(&time, |column| column.at).ok()?)
}

fn text(scene: &Scene<'_>, curve: &Curve<'_>, column: &Column) -> String {
    let value = scene.value_text(curve, column);
    if column.count > 1 && column.min < column.max && !Scene::is_state(curve) {
        return format!("{value}, {}…{}", format::number(column.min), format::number(column.max));
    }
    value
}

/// Draws the table in the room of the plot.
pub(super) fn table(ui: &mut Ui, scene: &Scene<'_>, rect: Rect, cached: &mut PerChart) {
    let tokens = scene.tokens;
    let curves: Vec<&Curve<'_>> = scene.curves.iter().filter(|curve| !curve.is_hidden).collect();
    let times = times(scene, cached, &curves);
    let mut scroll = cached.table_scroll;
    let width = TIME + curves.len() as f32 * VALUE;
    ui.scope_builder(UiBuilder::new().max_rect(rect.shrink2(vec2(8.0, 0.0))), |ui| {
        ui.set_clip_rect(rect.intersect(ui.clip_rect()));
        ui.spacing_mut().item_spacing = vec2(0.0, 0.0);
        ScrollArea::horizontal().id_salt("columns").auto_shrink(false).show(ui, |ui| {
            let width = width.max(ui.available_width());
            ui.set_min_width(width);
            let (head, _) = ui.allocate_exact_size(vec2(width, ROW), Sense::hover());
            cells(
                ui,
                head,
                "Time",
                curves.iter().map(|curve| {
                    let unit = curve.unit.map(format::unit).filter(|unit| !unit.is_empty());
                    let unit = unit.map(|unit| format!(", {unit}")).unwrap_or_default();
                    (format!("{}{unit}", format::ellipsis(&curve.name, 22)), curve.color)
                }),
                tokens.text_secondary,
            );
            ui.painter().hline(head.x_range(), head.bottom(), Stroke::new(1.0, tokens.line));
            if times.is_empty() {
                ui.add_space(8.0);
                ui.label(egui::RichText::new("No readings in this stretch of time").color(tokens.text_weak));
                return;
            }
            let area = ScrollArea::vertical()
                .id_salt("rows")
                .auto_shrink(false)
                .vertical_scroll_offset(scroll.max(0.0));
            let output = area.show_rows(ui, ROW, times.len(), |ui, visible| {
                for row in visible {
                    let Some(&time) = times.len().checked_sub(row + 1).and_then(|i| times.get(i)) else {
                        continue;
                    };
                    let (place, response) = ui.allocate_exact_size(vec2(width, ROW), Sense::hover());
                    let clock = format::full(protocol::Timestamp(time), &scene.model.zone);
                    let values: Vec<(String, egui::Color32)> = curves
                        .iter()
                        .map(|curve| {
                            let column = at(cached, curve, time);
                            let level =
                                column.and_then(|c| curve.limits.level(c.min).max(curve.limits.level(c.max)));
                            let color =
                                level.map_or(tokens.text, |l| crate::views::widgets::level_color(tokens, l));
                            (column.map(|column| text(scene, curve, column)).unwrap_or_default(), color)
                        })
                        .collect();
                    response.widget_info(|| {
                        let said = curves.iter().zip(&values).filter(|(_, (value, _))| !value.is_empty());
                        let said: Vec<_> =
                            said.map(|(curve, (value, _))| format!("{} {value}", curve.name)).collect();
                        WidgetInfo::labeled(Role::Row, true, format!("{clock}: {}", said.join(", ")))
                    });
                    if row % 2 == 1 {
                        ui.painter().rect_filled(place, 0.0, tokens.hovered());
                    }
                    cells(ui, place, &clock, values.into_iter(), tokens.text_weak);
                }
            });
            let most = (output.content_size.y - output.inner_rect.height()).max(0.0);
            scroll = output.state.clamped_offset().y.clamp(0.0, most);
        });
    });
    cached.table_scroll = scroll;
}

/// Paints a row: the time, then the values, each at the right of its column.
fn cells(
    ui: &Ui,
    row: Rect,
    time: &str,
    values: impl Iterator<Item = (String, egui::Color32)>,
    time_color: egui::Color32,
) {
    let painter = ui.painter();
    painter.text(row.left_center(), Align2::LEFT_CENTER, time, fonts::mono(11.5), time_color);
    for (i, (value, color)) in values.enumerate() {
        let right = row.left() + TIME + (i + 1) as f32 * VALUE - 8.0;
        let clip = Rect::from_min_max(pos2(right - VALUE + 12.0, row.top()), pos2(right, row.bottom()));
        let painter = painter.with_clip_rect(clip.intersect(ui.clip_rect()));
        painter.text(pos2(right, row.center().y), Align2::RIGHT_CENTER, value, fonts::mono(11.5), color);
    }
}
