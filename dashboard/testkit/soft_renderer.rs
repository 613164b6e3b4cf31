//! The renderer of image tests: the window's own raster, so that no GPU, display or driver is needed.

use dashboard::raster::Raster;
use egui::{Context, FullOutput, TexturesDelta};

/// The renderer: the textures it was given, and nothing else.
#[derive(Default)]
pub(crate) struct SoftRenderer {
    raster: Raster,
}

impl egui_kittest::TestRenderer for SoftRenderer {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        self.raster.apply(delta);
    }

    fn render(&mut self, ctx: &Context, output: &FullOutput) -> Result<image::RgbaImage, String> {
        let scale = output.pixels_per_point;
        let size = ctx.content_rect().size() * scale;
        let size = [size.x.round() as usize, size.y.round() as usize];
        let primitives = ctx.tessellate(output.shapes.clone(), scale);
        self.raster
            .paint(&primitives, size, scale)
            .and_then(|p| image::RgbaImage::from_raw(p.width as u32, p.height as u32, p.rgba))
            .ok_or_else(|| "the picture has no size".to_owned())
    }
}
