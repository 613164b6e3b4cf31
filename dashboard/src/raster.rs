//! Paints egui's triangles on the processor: pictures of charts to copy, and of the window in tests, without a GPU.
//!
//! Edges are computed in whole numbers (1/256 of a pixel, top-left rule), colours in `f32` without fused operations
//! and without libm: the same bytes on every machine. Blending is premultiplied and in gamma space, as egui's own
//! shaders do it. Paint callbacks are not painted: nothing here uses them.

use std::collections::HashMap;

use egui::epaint::{ClippedPrimitive, Mesh, Primitive, Vertex};
use egui::{ColorImage, ImageData, Rect, TextureId, TexturesDelta};

/// Sub-pixel steps of vertex positions.
const FIXED: i64 = 256;
/// Most pixels of a picture. Chosen: larger than any screen, and not so large that memory runs out.
const PIXELS_MAX: usize = 64 * 1024 * 1024;

/// What is needed to paint: the textures it was given, and nothing else.
#[derive(Debug, Default)]
pub struct Raster {
    textures: HashMap<TextureId, ColorImage>,
}

/// A picture: rows from the top, four bytes a pixel, red, green, blue and alpha, not premultiplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The bytes.
    pub rgba: Vec<u8>,
}

impl Raster {
    /// Takes over new, changed and freed textures; leaves `delta` empty.
    pub fn apply(&mut self, delta: &mut TexturesDelta) {
        let mut delta = std::mem::take(delta);
        for (id, patches) in &delta.set {
            for patch in patches {
                let ImageData::Color(image) = &patch.image;
                match patch.pos {
                    None => {
                        self.textures.insert(*id, image.as_ref().clone());
                    }
                    Some([x, y]) => {
                        let Some(texture) = self.textures.get_mut(id) else { continue };
                        let (width, stride) = (image.width(), texture.width());
                        for row in 0..image.height() {
                            let to = texture.pixels.get_mut((y + row) * stride + x..).unwrap_or_default();
                            let from = image.pixels.get(row * width..(row + 1) * width).unwrap_or_default();
                            for (to, from) in to.iter_mut().zip(from) {
                                *to = *from;
                            }
                        }
                    }
                }
            }
        }
        for id in &delta.free {
            self.textures.remove(id);
        }
        delta.clear();
    }

    /// Paints triangles into a picture of so many pixels; `scale` is pixels in a point. `None`: it would have no pixels, or
    /// far too many.
    pub fn paint(&self, primitives: &[ClippedPrimitive], size: [usize; 2], scale: f32) -> Option<Picture> {
        let pixels = size[0].checked_mul(size[1])?;
        if pixels == 0 || pixels > PIXELS_MAX {
            return None;
        }
        let mut target = Target::new(size[0], size[1]);
        for clipped in primitives {
            if let Primitive::Mesh(mesh) = &clipped.primitive {
                let texture = self.textures.get(&mesh.texture_id);
                target.mesh(mesh, texture, clipped.clip_rect, scale);
            }
        }
        Some(target.into_picture())
    }
}
/// What is painted on: premultiplied, gamma space.
struct Target {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
}

/// A vertex in fixed point, with its colour from 0 to 1.
#[derive(Clone, Copy)]
struct Corner {
    x: i64,
    y: i64,
    uv: [f32; 2],
    color: [f32; 4],
}

impl Corner {
    fn of(vertex: &Vertex, scale: f32) -> Self {
        Self {
            x: (vertex.pos.x * scale * FIXED as f32).round() as i64,
            y: (vertex.pos.y * scale * FIXED as f32).round() as i64,
            uv: [vertex.uv.x, vertex.uv.y],
            color: vertex.color.to_array().map(|c| f32::from(c) / 255.0),
        }
    }
}

/// Twice the area of the triangle a, b, p: positive when p lies to the right of a -> b (y points down).
fn edge(a: Corner, b: Corner, x: i64, y: i64) -> i64 {
    (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x)
}

/// 0 for a top or left edge, whose pixels belong to the triangle; -1 for the others.
fn bias(a: Corner, b: Corner) -> i64 {
    let top = a.y == b.y && b.x > a.x;
    let left = b.y < a.y;
    if top || left { 0 } else { -1 }
}

impl Target {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![[0.0; 4]; width * height] }
    }

    fn mesh(&mut self, mesh: &Mesh, texture: Option<&ColorImage>, clip: Rect, scale: f32) {
        let clip = [
            ((clip.min.x * scale).round() as i64).clamp(0, self.width as i64),
            ((clip.min.y * scale).round() as i64).clamp(0, self.height as i64),
            ((clip.max.x * scale).round() as i64).clamp(0, self.width as i64),
            ((clip.max.y * scale).round() as i64).clamp(0, self.height as i64),
        ];
        for triangle in mesh.indices.chunks_exact(3) {
            let [a, b, c] =
                [0, 1, 2].map(|corner| Corner::of(&mesh.vertices[triangle[corner] as usize], scale));
            self.triangle(a, b, c, texture, clip);
        }
    }

    fn triangle(
        &mut self,
        a: Corner,
        mut b: Corner,
        mut c: Corner,
        texture: Option<&ColorImage>,
        clip: [i64; 4],
    ) {
        let mut area = edge(a, b, c.x, c.y);
        if area == 0 {
            return;
        }
        if area < 0 {
            std::mem::swap(&mut b, &mut c);
            area = -area;
        }
        let x_from = (a.x.min(b.x).min(c.x).div_euclid(FIXED)).max(clip[0]);
        let x_to = (a.x.max(b.x).max(c.x).div_euclid(FIXED) + 1).min(clip[2]);
        let y_from = (a.y.min(b.y).min(c.y).div_euclid(FIXED)).max(clip[1]);
        let y_to = (a.y.max(b.y).max(c.y).div_euclid(FIXED) + 1).min(clip[3]);
        let one_sample = (a.uv == b.uv && b.uv == c.uv).then(|| sample(texture, a.uv));
        let per_area = 1.0 / area as f32;
        for y in y_from..y_to {
            for x in x_from..x_to {
                let (px, py) = (x * FIXED + FIXED / 2, y * FIXED + FIXED / 2);
                let (wa, wb, wc) = (edge(b, c, px, py), edge(c, a, px, py), edge(a, b, px, py));
                if wa + bias(b, c) < 0 || wb + bias(c, a) < 0 || wc + bias(a, b) < 0 {
                    continue;
                }
                let (wa, wb, wc) = (wa as f32 * per_area, wb as f32 * per_area, wc as f32 * per_area);
                let texel = one_sample.unwrap_or_else(|| {
                    sample(texture, [0, 1].map(|i| a.uv[i] * wa + b.uv[i] * wb + c.uv[i] * wc))
                });
                let source: [f32; 4] =
                    std::array::from_fn(|i| (a.color[i] * wa + b.color[i] * wb + c.color[i] * wc) * texel[i]);
                let pixel = &mut self.pixels[y as usize * self.width + x as usize];
                for i in 0..4 {
                    pixel[i] = source[i] + pixel[i] * (1.0 - source[3]);
                }
            }
        }
    }

    fn into_picture(self) -> Picture {
        let mut rgba = Vec::with_capacity(self.pixels.len() * 4);
        for [r, g, b, a] in self.pixels {
            let alpha = a.clamp(0.0, 1.0);
            let straight = |c: f32| if alpha > 0.0 { (c / alpha).clamp(0.0, 1.0) } else { 0.0 };
            rgba.extend([straight(r), straight(g), straight(b), alpha].map(|c| (c * 255.0 + 0.5) as u8));
        }
        Picture { width: self.width, height: self.height, rgba }
    }
}

/// The colour of a texture at `uv`: bilinear, clamped at its edges. White where there is none.
fn sample(texture: Option<&ColorImage>, uv: [f32; 2]) -> [f32; 4] {
    let Some(texture) = texture else { return [1.0; 4] };
    let (width, height) = (texture.width(), texture.height());
    let x = (uv[0] * width as f32 - 0.5).clamp(0.0, (width - 1) as f32);
    let y = (uv[1] * height as f32 - 0.5).clamp(0.0, (height - 1) as f32);
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let at = |x: usize, y: usize| texture.pixels[y * width + x].to_array().map(|c| f32::from(c) / 255.0);
    let (p00, p10, p01, p11) = (at(x0, y0), at(x1, y0), at(x0, y1), at(x1, y1));
    std::array::from_fn(|i| {
        let top = p00[i] + (p10[i] - p00[i]) * fx;
        let bottom = p01[i] + (p11[i] - p01[i]) * fx;
        top + (bottom - top) * fy
    })
}
