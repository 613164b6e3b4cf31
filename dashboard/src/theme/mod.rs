//! Colours, fonts and measures: the only place that names a colour or a font.
//!
//! Views ask for [`Tokens`] and for the fonts of [`fonts`]; they never spell a colour out.

pub mod fonts;
pub mod icon;
pub mod sight;
pub mod tokens;

use egui::{CornerRadius, Margin, Stroke, Style, TextStyle, Theme, ThemePreference, Visuals, vec2};

pub use tokens::Tokens;

use crate::settings::ThemeChoice;

/// The choice as egui knows it.
pub const fn preference(choice: ThemeChoice) -> ThemePreference {
    match choice {
        ThemeChoice::Dark => ThemePreference::Dark,
        ThemeChoice::Light => ThemePreference::Light,
        ThemeChoice::System => ThemePreference::System,
    }
}

/// Gives the context our fonts and both palettes, and chooses one.
pub fn install(ctx: &egui::Context, choice: ThemeChoice) {
    ctx.set_fonts(fonts::definitions());
    ctx.set_style_of(Theme::Dark, style(&tokens::DARK, Visuals::dark()));
    ctx.set_style_of(Theme::Light, style(&tokens::LIGHT, Visuals::light()));
    ctx.set_theme(preference(choice));
}

fn style(t: &Tokens, base: Visuals) -> Style {
    let mut style = Style { visuals: visuals(t, base), ..Style::default() };
    style.text_styles = [
        (TextStyle::Heading, fonts::semibold(15.0)),
        (TextStyle::Body, fonts::regular(13.0)),
        (TextStyle::Button, fonts::regular(12.5)),
        (TextStyle::Small, fonts::regular(11.0)),
        (TextStyle::Monospace, fonts::mono(12.5)),
    ]
    .into();
    style.drag_value_text_style = TextStyle::Monospace;
    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(8.0, 4.0);
    spacing.button_padding = vec2(8.0, 3.0);
    spacing.interact_size = vec2(32.0, 24.0);
    spacing.indent = 16.0;
    spacing.menu_margin = Margin::same(6);
    spacing.window_margin = Margin::same(12);
    spacing.icon_width = 16.0;
    spacing.icon_width_inner = 8.0;
    spacing.combo_height = 280.0;
    spacing.tooltip_width = 380.0;
    spacing.scroll.bar_width = 6.0;
    spacing.scroll.floating_width = 4.0;
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.35;
    style.animation_time = 0.1;
    style.explanation_tooltips = false;
    style
}

fn visuals(t: &Tokens, mut v: Visuals) -> Visuals {
    let radius = CornerRadius::same(tokens::RADIUS_CONTROL);
    v.dark_mode = t.dark;
    v.override_text_color = None;
    v.weak_text_color = Some(t.text_weak);
    v.panel_fill = t.panel;
    v.window_fill = t.popup;
    v.window_stroke = Stroke::new(1.0, t.line);
    v.window_corner_radius = CornerRadius::same(tokens::RADIUS_CARD);
    v.menu_corner_radius = CornerRadius::same(tokens::RADIUS_CARD);
    v.window_shadow = t.shadow();
    v.popup_shadow = t.shadow();
    v.extreme_bg_color = t.canvas;
    v.text_edit_bg_color = Some(t.canvas);
    v.faint_bg_color = t.panel;
    v.code_bg_color = t.control;
    v.hyperlink_color = t.accent;
    v.warn_fg_color = t.warn;
    v.error_fg_color = t.error;
    v.selection.bg_fill = t.selected();
    v.selection.stroke = Stroke::new(1.0, t.accent);
    v.slider_trailing_fill = true;
    v.indent_has_left_vline = false;
    v.striped = false;
    v.text_cursor.stroke = Stroke::new(1.5, t.accent);
    v.text_cursor.blink = false; // a blinking cursor would repaint an idle window
    for (w, fill, line, text) in [
        (&mut v.widgets.noninteractive, t.panel, t.line, t.text_secondary),
        (&mut v.widgets.inactive, t.control, t.line, t.text),
        (&mut v.widgets.hovered, t.control_hover(), t.line, t.text),
        (&mut v.widgets.active, t.control_hover(), t.accent, t.text),
        (&mut v.widgets.open, t.control, t.line, t.text),
    ] {
        w.bg_fill = fill;
        w.weak_bg_fill = fill;
        w.bg_stroke = Stroke::new(1.0, line);
        w.fg_stroke = Stroke::new(1.0, text);
        w.corner_radius = radius;
        w.expansion = 0.0;
    }
    v.widgets.inactive.bg_stroke = Stroke::NONE;
    v.widgets.hovered.bg_stroke = Stroke::NONE;
    v
}
