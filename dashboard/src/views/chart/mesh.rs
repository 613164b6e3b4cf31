//! Curves as ready triangles: a translucent band from minimum to maximum, and a line along the mean.
//!
//! Made once for a lane and kept as long as neither the data nor the view change, so a frame in which only the cursor moves
//! costs nothing here. Never given anything that is not finite.

use std::sync::Arc;

use egui::epaint::{Mesh, Vertex, WHITE_UV};
use egui::{Color32, Pos2, Rect, Shape, Vec2, pos2, vec2};

use crate::series::{Column, Trace};

/// Share of the colour that a band has.
const BAND_ALPHA: f32 = 0.25;
/// From this distance between readings on, in points, each is a dot.
const DOTS_PX: f32 = 9.0;
/// Radius of a dot on a line.
const DOT_RADIUS: f32 = 2.0;
/// The sharpest corner at which a line keeps its width; sharper ones are cut.
const CORNER: f32 = 0.3;
/// Length of a dash, and of the space after it.
const DASH_PX: f32 = 5.0;
const DASH_GAP_PX: f32 = 3.0;
/// A gap at least this wide shows dashes at its beginning.
const STUB_PX: f32 = 24.0;

/// From time and value to the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Map {
    /// Where the curves are drawn.
    pub(super) rect: Rect,
    /// The time at its left edge, in microseconds.
    pub(super) from: i64,
    /// The time at its right edge.
    pub(super) to: i64,
    /// The value at its lower edge; of a logarithmic axis the power of ten.
    pub(super) low: f64,
    /// The value at its upper edge; of a logarithmic axis the power of ten.
    pub(super) high: f64,
    /// Whether the axis is logarithmic.
    pub(super) is_log: bool,
}

impl Map {
    /// The place of a time.
    pub(super) fn x(&self, at: i64) -> f32 {
        let share = (at - self.from) as f64 / (self.to - self.from).max(1) as f64;
        (f64::from(self.rect.left()) + share * f64::from(self.rect.width())) as f32
    }

    /// The time at a place.
    pub(super) fn time(&self, x: f32) -> i64 {
        let share = f64::from(x - self.rect.left()) / f64::from(self.rect.width().max(1.0));
        self.from.saturating_add((share * (self.to - self.from) as f64) as i64)
    }

    /// The place of a value. Stays near the rectangle, so that a far outlier does not break triangles.
    pub(super) fn y(&self, value: f64) -> f32 {
        let place = if self.is_log { log10(value) } else { value };
        let share = (place - self.low) / (self.high - self.low);
        // The mean of numbers whose sum overflowed is no number.
        let share = if share.is_nan() { 0.0 } else { share.clamp(-8.0, 9.0) };
        (f64::from(self.rect.bottom()) - share * f64::from(self.rect.height())) as f32
    }
}

impl Map {
    /// Whether a value has a place on the axis: on a logarithmic one only what is above zero has.
    pub(super) fn has(&self, value: f64) -> bool {
        !self.is_log || value > 0.0
    }
}

/// Not inlined: the compiler would compute it for linear axes too, and throw it away.
#[inline(never)]
fn log10(value: f64) -> f64 {
    value.log10()
}

/// How a curve looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// Its colour.
    pub(super) color: Color32,
    /// Width of its line, in points.
    pub(super) width: f32,
    /// Whether its line is dashed: the ninth series of a chart and on.
    pub(super) is_dashed: bool,
    /// Size of a physical pixel, in points.
    pub(super) pixel: f32,
}

/// Draws the curves of a lane, all of their triangles into one mesh: whoever gathers the triangles of a frame then copies
/// them once, and not again and again as they become more.
#[derive(Default)]
pub(super) struct Pen {
    mesh: Mesh,
    /// What is no triangle yet; it lies below the mesh.
    others: Vec<Shape>,
}

impl Pen {
    /// A pen that uses the memory of shapes that it made and that are drawn no more: to take as much anew costs half of the
    /// work of filling it.
    pub(super) fn reusing(old: Vec<Shape>) -> Self {
        let last = old.into_iter().next_back();
        let Some(Shape::Mesh(mesh)) = last else { return Self::default() };
        let mut mesh = Arc::try_unwrap(mesh).unwrap_or_default();
        // `Mesh::clear` gives the memory of the vertices back.
        mesh.vertices.clear();
        mesh.indices.clear();
        Self { mesh, others: Vec::new() }
    }

    /// Draws a curve over what was drawn before.
    pub(super) fn curve(&mut self, trace: &Trace, map: &Map, look: &Look) {
        let Self { mesh, others } = self;
        // What has no place on the axis is left out of the line, and said below it.
        let runs = || trace.runs().flat_map(|run| run.split(|column| !map.has(column.mean)));
        for run in runs() {
            if run.iter().any(|column| column.max > column.min) {
                add_band(run, map, look, mesh);
            }
        }
        for &(column, width) in &trace.thinned {
            thin(&column, width, map, look, mesh, others);
        }
        let mut points: Vec<Pos2> = Vec::new();
        let mut dots: Vec<Pos2> = Vec::new();
        let mut previous_end: Option<Pos2> = None;
        for run in runs() {
            points.clear();
            points.extend(run.iter().map(|column| pos2(map.x(column.at), map.y(column.mean))));
            let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
                continue;
            };
            if let Some(end) = previous_end.replace(last) {
                stub(end, first, look, others);
            }
            if points.len() == 1 {
                dots.push(first);
            } else if look.is_dashed {
                dashes(&points, map.rect, phase(map), |dash| add_line(dash, look, mesh));
            } else {
                add_line(&points, look, mesh);
            }
            if trace.width == 0 && (last.x - first.x) / points.len() as f32 >= DOTS_PX {
                dots.append(&mut points);
            }
        }
        others.extend(dots.into_iter().map(|at| Shape::circle_filled(at, DOT_RADIUS, look.color)));
    }

    /// Everything that was drawn; the mesh comes last.
    pub(super) fn shapes(self) -> Vec<Shape> {
        let Self { mesh, others: mut shapes } = self;
        if !mesh.is_empty() {
            shapes.push(Shape::mesh(mesh));
        }
        shapes
    }
}

/// Where the dashes of a curve begin, so that they stay where they are in time when the view moves.
fn phase(map: &Map) -> f32 {
    let per_micro = f64::from(map.rect.width()) / (map.to - map.from).max(1) as f64;
    map.rect.left() - (map.from as f64 * per_micro).rem_euclid(f64::from(DASH_PX + DASH_GAP_PX)) as f32
}

/// Cuts a line into dashes by the way that it goes along the axis of time: along the curve itself, a noisy one would be
/// cut into thousands. What is not on the screen is left out.
fn dashes(points: &[Pos2], rect: Rect, phase: f32, mut say: impl FnMut(&[Pos2])) {
    const PERIOD: f32 = DASH_PX + DASH_GAP_PX;
    let (left, right) = (rect.left() - PERIOD, rect.right() + PERIOD);
    let mut dash: Vec<Pos2> = Vec::new();
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let (begin, end) = (a.x.max(left), b.x.min(right));
        if begin >= end {
            continue;
        }
        let at = |x: f32| pos2(x, egui::remap(x, a.x..=b.x, a.y..=b.y));
        let (first, last) =
            (((begin - phase) / PERIOD).floor() as i32, ((end - phase) / PERIOD).floor() as i32);
        for period in first..=last {
            let on = phase + period as f32 * PERIOD;
            let (from, to) = (on.max(begin), (on + DASH_PX).min(end));
            if from >= to {
                continue;
            }
            // A dash goes on where the piece before it ended.
            if dash.last().is_none_or(|end| end.x != from) {
                if dash.len() > 1 {
                    say(&dash);
                }
                dash.clear();
                dash.push(at(from));
            }
            dash.push(at(to));
        }
    }
    if dash.len() > 1 {
        say(&dash);
    }
}

/// What retention has left of a stretch: its mean as a flat line, its extremes as a flat band.
fn thin(column: &Column, width: i64, map: &Map, look: &Look, band: &mut Mesh, shapes: &mut Vec<Shape>) {
    let half = width / 2;
    let ends = [column.at - half, column.at + half].map(|at| Column { at, ..*column });
    if column.max > column.min && map.has(column.max) {
        add_band(&ends, map, look, band);
    }
    if map.has(column.mean) {
        let line = ends.map(|end| pos2(map.x(end.at), map.y(end.mean)));
        shapes.push(Shape::line_segment(line, (look.width, look.color)));
    }
}

/// Two dashes that fade into a gap: something was measured up to here, and then nothing.
fn stub(end: Pos2, next: Pos2, look: &Look, shapes: &mut Vec<Shape>) {
    if next.x - end.x < STUB_PX {
        return;
    }
    for (from, alpha) in [(3.0, 0.5), (8.0, 0.25)] {
        let at = pos2(end.x + from, end.y);
        let stroke = (look.width, look.color.gamma_multiply(alpha));
        shapes.push(Shape::line_segment([at, at + vec2(3.0, 0.0)], stroke));
    }
}

/// Four vertices a column: the edges fade over one pixel.
fn add_band(run: &[Column], map: &Map, look: &Look, mesh: &mut Mesh) {
    let color = look.color.gamma_multiply(BAND_ALPHA);
    let half = look.width * 0.5;
    let fade = look.pixel * 0.5;
    mesh.reserve_vertices(run.len() * 4);
    mesh.reserve_triangles(run.len() * 6);
    let start = mesh.vertices.len() as u32;
    for (i, column) in run.iter().enumerate() {
        let x = map.x(column.at);
        let (top, bottom) = (map.y(column.max) - half, map.y(column.min) + half);
        mesh.vertices.extend_from_slice(&[
            vertex(pos2(x, top - fade), Color32::TRANSPARENT),
            vertex(pos2(x, top + fade), color),
            vertex(pos2(x, bottom - fade), color),
            vertex(pos2(x, bottom + fade), Color32::TRANSPARENT),
        ]);
        if i > 0 {
            join(mesh, start + (i as u32 - 1) * 4, start + i as u32 * 4);
        }
    }
}

/// A line of constant width: four vertices a corner, across its direction.
fn add_line(points: &[Pos2], look: &Look, mesh: &mut Mesh) {
    mesh.reserve_vertices(points.len() * 4);
    mesh.reserve_triangles(points.len() * 6);
    let inner = (look.width - look.pixel).max(0.0) * 0.5;
    let outer = inner + look.pixel;
    let is_dense = match (points.first(), points.last()) {
        (Some(first), Some(last)) => last.x - first.x < look.width * points.len() as f32,
        _ => return,
    };
    let mut before: Option<Vec2> = None;
    let mut previous: Option<u32> = None;
    let mut last_cut: Option<Vec2> = None;
    for (i, &point) in points.iter().enumerate() {
        let after = points.get(i + 1).map(|&next| normal(point, next));
        let (arriving, leaving) = match (before, after) {
            (Some(a), Some(b)) => {
                let cosine = a.dot(b);
                if cosine > CORNER {
                    let across = (a + b) / (1.0 + cosine);
                    (across, across)
                } else if is_dense {
                    // A corner no wider than the line: one cut between both directions, whichever way they point.
                    let across = unit(if cosine < 0.0 { a - b } else { a + b });
                    (across, across)
                } else {
                    (a, b)
                }
            }
            (Some(a), None) => (a, a),
            (None, Some(b)) => (b, b),
            (None, None) => return,
        };
        // Both ends of a piece must be cut the same way round, or it would be pinched in its middle.
        let turn =
            |cut: Vec2| if is_dense && last_cut.is_some_and(|last| last.dot(cut) < 0.0) { -cut } else { cut };
        let (arriving, leaving) = (turn(arriving), turn(leaving));
        last_cut = Some(leaving);
        let here = across(mesh, point, arriving, inner, outer, look.color);
        if let Some(previous) = previous {
            join(mesh, previous, here);
        }
        previous = Some(if arriving == leaving {
            here
        } else {
            across(mesh, point, leaving, inner, outer, look.color)
        });
        before = after;
    }
}

const fn vertex(pos: Pos2, color: Color32) -> Vertex {
    Vertex { pos, uv: WHITE_UV, color }
}

fn normal(from: Pos2, to: Pos2) -> Vec2 {
    unit(to - from).rot90()
}

/// Places are near the screen: the careful `hypot` of [`Vec2::normalized`] is not needed.
fn unit(vector: Vec2) -> Vec2 {
    let length = vector.length_sq().sqrt();
    if length > 0.0 { vector / length } else { vector }
}

fn across(mesh: &mut Mesh, at: Pos2, normal: Vec2, inner: f32, outer: f32, color: Color32) -> u32 {
    let index = mesh.vertices.len() as u32;
    mesh.vertices.extend_from_slice(&[
        vertex(at - normal * outer, Color32::TRANSPARENT),
        vertex(at - normal * inner, color),
        vertex(at + normal * inner, color),
        vertex(at + normal * outer, Color32::TRANSPARENT),
    ]);
    index
}

fn join(mesh: &mut Mesh, a: u32, b: u32) {
    mesh.indices.extend_from_slice(&[
        a,
        a + 1,
        b,
        b,
        a + 1,
        b + 1, //
        a + 1,
        a + 2,
        b + 1,
        b + 1,
        a + 2,
        b + 2, //
        a + 2,
        a + 3,
        b + 2,
        b + 2,
        a + 3,
        b + 3,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(at: i64, mean: f64, spread: f64) -> Column {
        Column { at, count: 3, min: mean - spread, max: mean + spread, mean }
    }

    fn map() -> Map {
        let rect = Rect::from_min_size(pos2(50.0, 20.0), vec2(1_000.0, 300.0));
        Map { rect, from: 0, to: 1_000_000_000, low: 0.0, high: 100.0, is_log: false }
    }

    fn look() -> Look {
        Look { color: Color32::WHITE, width: 1.5, is_dashed: false, pixel: 1.0 }
    }

    fn meshes(shapes: &[Shape]) -> Vec<&Mesh> {
        shapes
            .iter()
            .filter_map(|shape| if let Shape::Mesh(mesh) = shape { Some(&**mesh) } else { None })
            .collect()
    }

    fn shapes(trace: &Trace, map: &Map, look: &Look) -> Vec<Shape> {
        let mut pen = Pen::default();
        pen.curve(trace, map, look);
        pen.shapes()
    }

    #[test]
    fn a_pen_draws_the_same_with_the_memory_of_what_it_drew_before() {
        let columns = (0..500).map(|s| column(s * 1_000_000, (s % 90) as f64, 1.0)).collect();
        let trace = Trace { columns, width: 1_000_000, gap: 3_000_000, cadence: 0, ..Trace::default() };
        let first = shapes(&trace, &map(), &look());
        let place = meshes(&first)[0].vertices.as_ptr();
        let before = meshes(&first)[0].clone();
        let mut pen = Pen::reusing(first);
        pen.curve(&trace, &map(), &look());
        let second = pen.shapes();
        assert_eq!(meshes(&second)[0], &before);
        assert_eq!(meshes(&second)[0].vertices.as_ptr(), place, "the same memory");
    }

    /// The x of the ends of the dashes of a curve.
    fn ends(points: &[Pos2], phase: f32) -> Vec<(f32, f32)> {
        let mut ends = Vec::new();
        dashes(points, map().rect, phase, |dash| {
            assert!(dash.windows(2).all(|pair| pair[0].x <= pair[1].x), "{dash:?}");
            ends.push((dash[0].x, dash[dash.len() - 1].x));
        });
        ends
    }

    #[test]
    fn dashes_lie_on_the_curve_at_places_that_do_not_depend_on_its_corners() {
        let straight: Vec<Pos2> = [60.0, 100.0].map(|x| pos2(x, 20.0)).into();
        let corners: Vec<Pos2> =
            [60.0, 61.0, 62.5, 64.0, 77.0, 78.0, 79.0, 100.0].map(|x| pos2(x, 20.0)).into();
        let expected = [(60.0, 61.0), (64.0, 69.0), (72.0, 77.0), (80.0, 85.0), (88.0, 93.0), (96.0, 100.0)];
        assert_eq!(ends(&straight, 0.0), expected);
        assert_eq!(ends(&corners, 0.0), expected);
        let steep = [pos2(100.0, 0.0), pos2(116.0, 160.0)];
        dashes(&steep, map().rect, 100.0, |dash| {
            for point in dash {
                assert!(((point.x - 100.0) * 10.0 - point.y).abs() < 1e-3, "{point:?}");
            }
        });
    }

    #[test]
    fn a_dashed_curve_from_far_away_has_no_more_dashes_than_fit_on_the_screen() {
        let far = [pos2(-1e9, 0.0), pos2(500.0, 10.0), pos2(1e9, 20.0)];
        let count = ends(&far, 3.0).len();
        assert!((100..140).contains(&count), "{count}");
        let mut look = look();
        look.is_dashed = true;
        let noisy = (0..2_000).map(|s| column(s * 500_000, (s % 2) as f64 * 100.0, 0.0)).collect();
        let trace = Trace { columns: noisy, width: 0, gap: 3_000_000, cadence: 0, ..Trace::default() };
        let shapes = shapes(&trace, &map(), &look);
        assert_eq!(shapes.len(), 1, "one mesh, however many dashes");
    }

    #[test]
    fn no_triangle_crosses_a_gap_and_every_corner_is_finite() {
        let seconds = (0..400_i64).chain(600..1_000);
        let columns = seconds
            .map(|s| column(s * 1_000_000, [0.0, 1e300, -1e300, 50.0][s as usize % 4], (s % 5) as f64))
            .collect();
        let trace = Trace { columns, width: 1_000_000, gap: 3_000_000, cadence: 0, ..Trace::default() };
        let shapes = shapes(&trace, &map(), &look());
        let meshes = meshes(&shapes);
        assert_eq!(meshes.len(), 1, "the band and the line together");
        for mesh in meshes {
            assert!(mesh.is_valid() && mesh.vertices.iter().all(|v| v.pos.is_finite()));
            for triangle in mesh.indices.chunks(3) {
                let x = |i: usize| mesh.vertices[triangle[i] as usize].pos.x;
                let (left, right) = (x(0).min(x(1)).min(x(2)), x(0).max(x(1)).max(x(2)));
                assert!(right - left < 10.0, "{left} {right}");
            }
        }
    }

    #[test]
    fn what_is_not_above_zero_breaks_a_line_on_a_logarithmic_axis() {
        let columns =
            (0..100).map(|s| column(s * 10_000_000, if s == 50 { 0.0 } else { 50.0 }, 0.0)).collect();
        let trace = Trace { columns, width: 0, gap: 30_000_000, cadence: 0, ..Trace::default() };
        let log = Map { low: -1.0, high: 3.0, is_log: true, ..map() };
        let shapes = shapes(&trace, &log, &look());
        let dots = shapes.iter().filter(|shape| matches!(shape, Shape::Circle(_))).count();
        assert_eq!(dots, 99);
        for mesh in meshes(&shapes) {
            let bottom = log.rect.bottom();
            assert!(mesh.is_valid() && mesh.vertices.iter().all(|v| v.pos.is_finite() && v.pos.y < bottom));
        }
    }

    #[test]
    fn few_readings_are_dots_on_a_line_and_one_alone_is_a_dot() {
        let dots = |count: i64| {
            let columns = (0..count).map(|s| column(s * 100_000_000, 5.0, 0.0)).collect();
            let trace = Trace { columns, width: 0, gap: 300_000_000, cadence: 0, ..Trace::default() };
            shapes(&trace, &map(), &look()).iter().filter(|shape| matches!(shape, Shape::Circle(_))).count()
        };
        assert_eq!((dots(1), dots(5)), (1, 5));
    }
}
