//! The picture of the window in task bars: a curve on a dark tile, drawn here instead of shipped as a file.

use egui::{Color32, IconData};

use super::tokens::DARK;

/// Edge of the picture, in pixels.
const SIZE: usize = 64;

/// The icon.
pub fn icon() -> IconData {
    let mut rgba = Vec::with_capacity(SIZE * SIZE * 4);
    for y in 0..SIZE {
        for x in 0..SIZE {
            let color = pixel(x as f32 + 0.5, y as f32 + 0.5);
            rgba.extend(color.to_srgba_unmultiplied());
        }
    }
    IconData { rgba, width: SIZE as u32, height: SIZE as u32 }
}

fn pixel(x: f32, y: f32) -> Color32 {
    let size = SIZE as f32;
    let radius = 14.0;
    let corner = |v: f32| (radius - v).max(v - (size - radius)).max(0.0);
    let inside = (radius - corner(x).hypot(corner(y)) + 0.5).clamp(0.0, 1.0);
    // The distance to the curve, measured across its slope.
    let phase = (x - 10.0) / (size - 20.0) * std::f32::consts::TAU;
    let (curve, slope) =
        (size / 2.0 - phase.sin() * 13.0, phase.cos() * 13.0 * std::f32::consts::TAU / (size - 20.0));
    let distance = (y - curve).abs() / 1.0f32.hypot(slope);
    let on_curve = if (8.0..size - 8.0).contains(&x) { (3.2 - distance).clamp(0.0, 1.0) } else { 0.0 };
    let color = super::tokens::mix(DARK.panel, DARK.accent, on_curve);
    color.gamma_multiply(inside)
}
