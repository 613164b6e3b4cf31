//! A chart as a picture: drawn once more, alone, into triangles; a thread paints them.

use egui::epaint::ClippedPrimitive;
use egui::{Context, Id, RawInput, Rect, Vec2, ViewportId};

use super::{ChartCache, ChartSpec, chart};
use crate::model::Model;
use crate::raster::{Picture, Raster};
use crate::settings::ThemeChoice;
use crate::theme::{self, Tokens};

/// Pixels in a point of a picture, at least. Chosen: sharp where it is shown at twice its size.
const SCALE_MIN: f32 = 2.0;
/// Passes until fonts and axes have settled.
const PASSES: usize = 3;
/// Air around the card.
const MARGIN: f32 = 8.0;

/// A chart as triangles, with all that is needed to paint them.
#[derive(Debug)]
pub struct Drawn {
    primitives: Vec<ClippedPrimitive>,
    raster: Raster,
    size: Vec2,
    scale: f32,
}

impl Drawn {
    /// Paints it. Takes a while: not for the thread that draws the window.
    pub fn paint(&self) -> Option<Picture> {
        let size = self.size * self.scale;
        self.raster.paint(&self.primitives, [size.x.round() as usize, size.y.round() as usize], self.scale)
    }
}

/// Draws a chart as it is on the screen, with the same series hidden. `None`: it was not drawn yet.
pub fn drawn(
    model: &Model,
    spec: &ChartSpec,
    id: Id,
    cache: &ChartCache,
    scale: f32,
    is_dark: bool,
) -> Option<Drawn> {
    let (mut cache, size) = cache.copy_of(id)?;
    let scale = scale.max(SCALE_MIN);
    let ctx = Context::default();
    theme::install(&ctx, if is_dark { ThemeChoice::Dark } else { ThemeChoice::Light });
    let size = size + Vec2::splat(2.0 * MARGIN);
    let rect = Rect::from_min_size(egui::Pos2::ZERO, size);
    let mut raster = Raster::default();
    let mut drawn = None;
    for pass in 0..PASSES {
        let mut input = RawInput { screen_rect: Some(rect), time: Some(pass as f64), ..RawInput::default() };
        input.viewports.entry(ViewportId::ROOT).or_default().native_pixels_per_point = Some(scale);
        let mut output = ctx.run_ui(input, |ui| {
            ui.painter().rect_filled(rect, 0.0, Tokens::of(ui).canvas);
            let builder = egui::UiBuilder::new().max_rect(rect.shrink(MARGIN));
            // What it asks for is asked by nobody.
            ui.scope_builder(builder, |ui| chart(ui, model, spec, id, &mut cache, &mut Vec::new()));
        });
        raster.apply(&mut output.textures_delta);
        drawn = Some((
            ctx.tessellate(std::mem::take(&mut output.shapes), output.pixels_per_point),
            output.pixels_per_point,
        ));
    }
    let (primitives, scale) = drawn?;
    Some(Drawn { primitives, raster, size, scale })
}
