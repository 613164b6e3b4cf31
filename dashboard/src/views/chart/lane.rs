//! A lane: the curves of one unit over a grid, with their value axis at the left.

use egui::{Align2, Color32, Id, Rect, Role, Sense, Shape, Ui, UiBuilder, WidgetInfo, pos2, vec2};
use egui_plot::{GridMark, Plot, PlotBounds, PlotGeometry, PlotItem, PlotItemBase, PlotTransform};

use super::cache::PerChart;
use super::mesh::{Look, Map};
use super::{Scene, TICK_SIZE, limits};
use crate::model::Axis;
use crate::series::Column;
use crate::theme::{fonts, tokens};
use crate::{format, ticks};

/// Share of the colour that curves keep while another one is pointed at.
const DIMMED: f32 = 0.25;
/// Strength of the fine grid: the distance between lines, in points, that [`GRID_FADE`] makes about 45 % of.
const FINE_GRID_PX: f64 = 2.4;
/// How much fainter closer lines are.
const GRID_FADE: f32 = 0.2;

/// Where a lane is and what is in it.
pub(super) struct Lane<'a> {
    pub(super) id: Id,
    pub(super) rect: Rect,
    pub(super) unit: Option<&'a str>,
    /// Its curves, by their index in the scene.
    pub(super) members: &'a [usize],
    /// Whether the lane has to say its unit.
    pub(super) is_unit_shown: bool,
    /// How its values are scaled.
    pub(super) axis: Axis,
}

impl Lane<'_> {
    /// Draws the grid, the curves and the value axis.
    pub(super) fn draw(&self, ui: &mut Ui, scene: &Scene<'_>, cached: &mut PerChart) {
        let &Self { id, rect, unit, members, is_unit_shown, axis } = self;
        let tokens = scene.tokens;
        let data = members
            .iter()
            .filter(|&&i| !scene.curves[i].is_hidden)
            .filter_map(|&i| cached.trace(scene.curves[i].id))
            .flat_map(|trace| {
                let (from, to) = (scene.from.0 - trace.width, scene.to.0 + trace.width);
                let thinned = trace.thinned.iter().map(|(column, _)| column);
                let first = trace.columns.partition_point(|column| column.at < from);
                let end = trace.columns.partition_point(|column| column.at <= to);
                trace.columns[first..end.max(first)].iter().chain(thinned)
            })
            .fold(Extent::default(), |extent, column| extent.with(column, axis.log));
        let unplaced = data.unplaced;
        let data = limits::widen(data.range, members.iter().map(|&i| &scene.curves[i]), axis.log);
        let scale = cached.scales.entry((unit.unwrap_or_default().to_owned(), axis.log)).or_default();
        let seconds = ui.input(|i| i.time);
        let width = scene.to.micros_since(scene.from);
        let ((low, high), shrinks_in) = scale.fit(data, axis, rect.height(), width, seconds);
        if let Some(delay) = shrinks_in {
            ui.ctx().request_repaint_after(std::time::Duration::from_secs_f64(delay.max(0.01)));
        }
        let map = Map { rect, from: scene.from.0, to: scene.to.0, low, high, is_log: axis.log };
        limits::zones(ui, scene, members, &map);

        let mut curves = Vec::new();
        let pixel = 1.0 / ui.pixels_per_point();
        for &i in members {
            let curve = &scene.curves[i];
            if curve.is_hidden {
                continue;
            }
            let is_dimmed = cached.highlighted.is_some_and(|id| id != curve.id);
            let is_lit = cached.highlighted == Some(curve.id);
            // The light palette has less contrast to its ground.
            let line = if is_lit {
                tokens::LINE * 1.5
            } else if tokens.dark {
                tokens::LINE
            } else {
                tokens::LINE + 0.35
            };
            let look = Look {
                color: if is_dimmed { curve.color.gamma_multiply(DIMMED) } else { curve.color },
                width: line,
                is_dashed: curve.is_dashed,
                pixel,
            };
            curves.push((curve.id, look));
        }
        let shapes = cached.shapes(id, &curves, map).to_vec();
        let height = f64::from(rect.height());
        let value_ticks = if axis.log {
            ticks::log_ticks(low, high, height)
        } else {
            ticks::value_ticks(low, high, height)
        };
        plot(ui, scene, id, &map, cached.ticks(), &value_ticks, shapes);
        limits::lines(ui, scene, id, members, &map);

        let font = fonts::mono(TICK_SIZE);
        for tick in &value_ticks {
            let Some(label) = &tick.label else { continue };
            // The label of a mark at the very top would reach into the header.
            let share = (tick.at - low) / (high - low);
            let y = (rect.bottom() - share as f32 * rect.height()).max(rect.top() + 4.0);
            let at = pos2(rect.left() - 6.0, y);
            ui.painter().text(at, Align2::RIGHT_CENTER, label, font.clone(), tokens.text_weak);
        }
        if unplaced > 0 {
            below_zero(ui, scene, id, rect, unplaced);
        }
        if is_unit_shown {
            let text = unit.map_or("no unit", format::unit);
            let at = rect.left_top() + vec2(6.0, 4.0);
            ui.painter().text(at, Align2::LEFT_TOP, text, fonts::medium(11.0), tokens.text_weak);
        }
    }
}

/// The range of what a lane shows, of a logarithmic axis in powers of ten.
#[derive(Default)]
struct Extent {
    range: Option<(f64, f64)>,
    /// How many columns or readings reach where a logarithmic axis has no place.
    unplaced: u64,
}

impl Extent {
    fn with(self, column: &Column, is_log: bool) -> Self {
        let Self { range, mut unplaced } = self;
        let (low, high) = if is_log {
            if column.min <= 0.0 {
                unplaced += 1;
            }
            if column.max <= 0.0 {
                return Self { range, unplaced };
            }
            // The least that has a place: of a column that reaches below zero it is not known.
            let low = [column.min, column.mean].into_iter().find(|v| *v > 0.0).unwrap_or(column.max);
            (low.log10(), column.max.log10())
        } else {
            (column.min, column.max)
        };
        let (min, max) = range.unwrap_or((low, high));
        Self { range: Some((min.min(low), max.max(high))), unplaced }
    }
}

/// Says what a logarithmic axis cannot show.
fn below_zero(ui: &Ui, scene: &Scene<'_>, id: Id, rect: Rect, count: u64) {
    let noun = if count == 1 { "value" } else { "values" };
    let text = format!("{} {noun} not above 0: no place on a logarithmic axis", format::count(count));
    let galley = ui.painter().layout_no_wrap(text.clone(), fonts::regular(11.0), scene.tokens.text_secondary);
    let size = galley.size() + vec2(24.0, 6.0);
    let place = Rect::from_min_size(rect.left_bottom() + vec2(4.0, -4.0 - size.y), size);
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    painter.rect_filled(place, 3.0, scene.tokens.popup);
    crate::views::widgets::alert_on(&painter, place.left_center() + vec2(10.0, 0.0), 4.0, scene.tokens.warn);
    painter.galley(place.min + vec2(19.0, 3.0), galley, scene.tokens.text);
    let response = ui.interact(place, id.with("below zero"), Sense::empty());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
}

/// The grid and the clipped curves; its bounds are ours in every frame and it takes no input.
fn plot(
    ui: &mut Ui,
    scene: &Scene<'_>,
    id: Id,
    map: &Map,
    time_ticks: &[ticks::TimeTick],
    value_ticks: &[ticks::ValueTick],
    shapes: Vec<Shape>,
) {
    let seconds = (map.to - map.from) as f64 / 1e6;
    let (width, height) = (f64::from(map.rect.width()), f64::from(map.rect.height()));
    let fine = |is_fine: bool, per_px: f64| if is_fine { FINE_GRID_PX * per_px } else { 1e3 * per_px };
    let time_marks: Vec<GridMark> = time_ticks
        .iter()
        .map(|tick| GridMark {
            value: tick.at.micros_since(scene.from) as f64 / 1e6,
            step_size: fine(tick.label.is_none(), seconds / width),
        })
        .collect();
    let value_marks: Vec<GridMark> = value_ticks
        .iter()
        .map(|tick| GridMark {
            value: tick.at,
            step_size: fine(tick.label.is_none(), (map.high - map.low) / height),
        })
        .collect();
    ui.scope_builder(UiBuilder::new().max_rect(map.rect), |ui| {
        ui.spacing_mut().item_spacing = vec2(0.0, 0.0);
        Plot::new(id)
            .id(id)
            .width(map.rect.width())
            .height(map.rect.height())
            .sense(Sense::empty())
            .auto_bounds(false)
            .show_axes(false)
            .show_background(false)
            .show_x(false)
            .show_y(false)
            .allow_zoom(false)
            .allow_drag(false)
            .allow_scroll(false)
            .allow_boxed_zoom(false)
            .allow_double_click_reset(false)
            .allow_axis_zoom_drag(false)
            .grid_spacing(2.0..=100.0)
            .grid_fade(GRID_FADE)
            .grid_color(scene.tokens.grid)
            .x_grid_spacer(move |_| time_marks.clone())
            .y_grid_spacer(move |_| value_marks.clone())
            .show(ui, |plot| {
                plot.set_plot_bounds_x(0.0..=seconds);
                plot.set_plot_bounds_y(map.low..=map.high);
                plot.add(Curves { base: PlotItemBase::new("curves".to_owned()), shapes });
            });
    });
}

/// Ready shapes as an item of a plot: no bounds, nothing to hover.
struct Curves {
    base: PlotItemBase,
    shapes: Vec<Shape>,
}

impl PlotItem for Curves {
    fn shapes(&self, _ui: &Ui, _transform: &PlotTransform, shapes: &mut Vec<Shape>) {
        shapes.extend_from_slice(&self.shapes);
    }

    fn initialize(&mut self, _x_range: std::ops::RangeInclusive<f64>) {}

    fn color(&self) -> Color32 {
        Color32::TRANSPARENT
    }

    fn geometry(&self) -> PlotGeometry<'_> {
        PlotGeometry::None
    }

    fn bounds(&self) -> PlotBounds {
        PlotBounds::NOTHING
    }

    fn base(&self) -> &PlotItemBase {
        &self.base
    }

    fn base_mut(&mut self) -> &mut PlotItemBase {
        &mut self.base
    }
}
