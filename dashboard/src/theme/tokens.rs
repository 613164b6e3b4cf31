//! The two palettes and the measures that both share.
//!
//! Text reaches a contrast of at least 4.5:1 on its ground, shapes 3:1. The series colours and the two status colours
//! were chosen together so that the closest pair stays apart in `OKLab` for normal, protan, deutan and tritan sight.

use egui::epaint::Shadow;
use egui::{Color32, Ui, Visuals};

/// The least distance in `OKLab` between two of the series and status colours of the dark palette, for normal sight and
/// without each of the three cones.
pub const APART_DARK: f64 = 0.09;
/// The same in the light palette, whose ground leaves less room: lines are drawn thicker there.
pub const APART_LIGHT: f64 = 0.045;

/// Height of the top bar.
pub const TOP_BAR: f32 = 41.0;
/// Height of the status bar.
pub const STATUS_BAR: f32 = 26.0;
/// Height of a row of a list.
pub const ROW: f32 = 28.0;
/// Inner margin of panels.
pub const PADDING: f32 = 12.0;
/// Gap between charts.
pub const GAP: f32 = 8.0;
/// Corner radius of controls.
pub const RADIUS_CONTROL: u8 = 4;
/// Corner radius of cards.
pub const RADIUS_CARD: u8 = 6;
/// Corner radius of pills.
pub const RADIUS_PILL: u8 = 12;
/// Width of a line in a chart.
pub const LINE: f32 = 1.5;
/// Width of a line in a sparkline.
pub const SPARKLINE: f32 = 1.25;

/// The colours of one palette.
#[derive(Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Whether the ground is dark.
    pub dark: bool,
    /// Behind everything, and inside text fields.
    pub canvas: Color32,
    /// Panels and cards.
    pub panel: Color32,
    /// Popups, tooltips, dialogs.
    pub popup: Color32,
    /// Buttons and chips.
    pub control: Color32,
    /// Borders and separators.
    pub line: Color32,
    /// The grid of a chart.
    pub grid: Color32,
    /// Text that matters.
    pub text: Color32,
    /// Text that explains.
    pub text_secondary: Color32,
    /// Captions, ticks, what is old.
    pub text_weak: Color32,
    /// What is chosen or can be acted on.
    pub accent: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// All is well.
    pub ok: Color32,
    /// Look at this.
    pub warn: Color32,
    /// This is wrong.
    pub error: Color32,
    /// The colours of series, in the order in which they are handed out. After the last come dashes.
    pub series: &'static [Color32],
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// Light on dark.
pub const DARK: Tokens = Tokens {
    dark: true,
    canvas: rgb(0x0B_0E12),
    panel: rgb(0x12_161C),
    popup: rgb(0x1A_2028),
    control: rgb(0x25_2D38),
    line: rgb(0x26_2E39),
    grid: rgb(0x1C_232C),
    text: rgb(0xE8_EDF3),
    text_secondary: rgb(0xAA_B4C0),
    text_weak: rgb(0x7A_8695),
    accent: rgb(0x46_AEFC),
    on_accent: rgb(0x0B_0E12),
    ok: rgb(0x3F_B68B),
    warn: rgb(0xFF_9F1C),
    error: rgb(0xFF_5A52),
    series: &[
        rgb(0x46_AEFC),
        rgb(0xD5_CF93),
        rgb(0xC3_52BB),
        rgb(0x3B_A384),
        rgb(0x7A_EAE8),
        rgb(0x8C_71F5),
        rgb(0xDD_F860),
        rgb(0xA8_B6C8),
    ],
};

/// Dark on light.
pub const LIGHT: Tokens = Tokens {
    dark: false,
    canvas: rgb(0xFF_FFFF),
    panel: rgb(0xF6_F8FA),
    popup: rgb(0xFF_FFFF),
    control: rgb(0xE7_ECF1),
    line: rgb(0xD8_DEE6),
    grid: rgb(0xE9_EDF2),
    text: rgb(0x14_202B),
    text_secondary: rgb(0x47_5361),
    text_weak: rgb(0x66_727F),
    accent: rgb(0x09_69DA),
    on_accent: rgb(0xFF_FFFF),
    ok: rgb(0x1A_7F5A),
    warn: rgb(0xC7_7700),
    error: rgb(0xB3_001B),
    series: &[
        rgb(0x09_69DA),
        rgb(0x9D_A58E),
        rgb(0xB1_1D73),
        rgb(0x02_8E70),
        rgb(0x5D_B0DC),
        rgb(0x68_25C2),
        rgb(0x30_3C4B),
    ],
};

impl Tokens {
    /// The palette that this part of the window is drawn with.
    pub fn of(ui: &Ui) -> &'static Self {
        Self::for_visuals(ui.visuals())
    }

    /// The palette that belongs to these visuals.
    pub const fn for_visuals(visuals: &Visuals) -> &'static Self {
        if visuals.dark_mode { &DARK } else { &LIGHT }
    }

    /// The ground of a selected row: the accent at 16 %.
    pub fn selected(&self) -> Color32 {
        mix(self.panel, self.accent, 0.18)
    }

    /// The ground of a row under the pointer.
    pub fn hovered(&self) -> Color32 {
        mix(self.panel, self.text, 0.05)
    }

    /// A button under the pointer.
    pub fn control_hover(&self) -> Color32 {
        mix(self.control, self.text, 0.10)
    }

    /// A status colour as the ground of a banner or a zone.
    pub fn tint(&self, color: Color32) -> Color32 {
        mix(self.panel, color, 0.14)
    }

    /// The shadow under popups.
    pub const fn shadow(&self) -> Shadow {
        Shadow {
            offset: [0, 4],
            blur: 18,
            spread: 0,
            color: Color32::from_black_alpha(if self.dark { 110 } else { 40 }),
        }
    }
}

/// `share` of `over` on `ground`, without transparency.
pub fn mix(ground: Color32, over: Color32, share: f32) -> Color32 {
    let channel = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * share).round() as u8;
    Color32::from_rgb(
        channel(ground.r(), over.r()),
        channel(ground.g(), over.g()),
        channel(ground.b(), over.b()),
    )
}
