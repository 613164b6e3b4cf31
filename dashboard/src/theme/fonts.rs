//! The fonts: Inter for words, `JetBrains Mono` for every number.
//!
//! egui has no switch for tabular figures, so numbers in a proportional font would jitter as they change.

use std::sync::{Arc, LazyLock};

use egui::{FontData, FontDefinitions, FontFamily, FontId};

static MEDIUM: LazyLock<FontFamily> = LazyLock::new(|| FontFamily::Name("medium".into()));
static SEMIBOLD: LazyLock<FontFamily> = LazyLock::new(|| FontFamily::Name("semibold".into()));

/// Words.
pub const fn regular(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

/// Titles of panels.
pub fn medium(size: f32) -> FontId {
    FontId::new(size, MEDIUM.clone())
}

/// Captions and the title of the app.
pub fn semibold(size: f32) -> FontId {
    FontId::new(size, SEMIBOLD.clone())
}

/// Numbers.
pub const fn mono(size: f32) -> FontId {
    FontId::new(size, FontFamily::Monospace)
}

/// Our fonts, with egui's own behind them for the signs that ours lack.
pub fn definitions() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    for (name, bytes) in [
        ("inter", include_bytes!("../../assets/fonts/Inter-Regular.otf").as_slice()),
        ("inter-medium", include_bytes!("../../assets/fonts/Inter-Medium.otf").as_slice()),
        ("inter-semibold", include_bytes!("../../assets/fonts/Inter-SemiBold.otf").as_slice()),
        ("jetbrains-mono", include_bytes!("../../assets/fonts/JetBrainsMono-Regular.ttf").as_slice()),
    ] {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    }
    for (family, name) in [
        (FontFamily::Proportional, "inter"),
        (MEDIUM.clone(), "inter-medium"),
        (SEMIBOLD.clone(), "inter-semibold"),
        (FontFamily::Monospace, "jetbrains-mono"),
    ] {
        let chain = std::iter::once(name.to_owned()).chain(fallback.iter().cloned()).collect();
        fonts.families.insert(family, chain);
    }
    fonts
}
