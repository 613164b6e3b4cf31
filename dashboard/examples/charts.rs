//! Paints charts of made-up readings into PNG files, without a window: `--example charts -- FOLDER`.

#[path = "../testkit/fixtures.rs"]
mod fixtures;
#[path = "../testkit/mod.rs"]
mod testkit;

use std::path::{Path, PathBuf};

use dashboard::action::Action;
use dashboard::model::Model;
use dashboard::settings::ThemeChoice;
use dashboard::theme;
use dashboard::views::chart::{ChartCache, ChartSpec, chart};
use egui::{Id, Pos2, Rect, UiBuilder, Vec2, pos2, vec2};
use egui_kittest::Harness;
use protocol::SeriesId;
use testkit::SoftRenderer;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let spec = |ids: &[i64]| ChartSpec {
        series: ids.iter().copied().map(SeriesId).collect(),
        ..ChartSpec::default()
    };
    for (choice, name) in [(ThemeChoice::Dark, "dark"), (ThemeChoice::Light, "light")] {
        let charts = [spec(&[1, 5, 9]), spec(&[6, 10, 14]), spec(&[9, 13]), spec(&[1, 2])];
        let file = folder.join(format!("greenhouses-{name}.png"));
        let pointer = Some(pos2(420.0, 150.0));
        paint(&file, fixtures::greenhouses(), choice, &charts, 2, vec2(1100.0, 760.0), pointer)?;
        let charts = [spec(&[1]), spec(&[1, 2, 3, 4])];
        let file = folder.join(format!("step-{name}.png"));
        let pointer = Some(pos2(330.0, 220.0));
        paint(&file, fixtures::step_response(), choice, &charts, 1, vec2(900.0, 760.0), pointer)?;
    }
    Ok(())
}

/// Paints charts in a grid of so many columns, with the pointer at a place.
fn paint(
    file: &Path,
    mut model: Model,
    choice: ThemeChoice,
    charts: &[ChartSpec],
    columns: usize,
    size: Vec2,
    pointer: Option<Pos2>,
) -> anyhow::Result<()> {
    let mut cache = ChartCache::default();
    let mut harness = Harness::builder()
        .with_size(size)
        .with_theme(if choice == ThemeChoice::Light { egui::Theme::Light } else { egui::Theme::Dark })
        .renderer(SoftRenderer::default())
        .with_context_setup(move |ctx| theme::install(ctx, choice))
        .build_ui(|ui| {
            ui.painter().rect_filled(ui.ctx().content_rect(), 0.0, theme::Tokens::of(ui).canvas);
            let rows = charts.len().div_ceil(columns);
            let cell = vec2((size.x - 8.0) / columns as f32, (size.y - 8.0) / rows as f32);
            let mut actions = Vec::new();
            for (i, spec) in charts.iter().enumerate() {
                let corner = pos2(8.0 + (i % columns) as f32 * cell.x, 8.0 + (i / columns) as f32 * cell.y);
                let rect = Rect::from_min_size(corner, cell - vec2(8.0, 8.0));
                ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
                    chart(ui, &model, spec, Id::unique(("chart", i)), &mut cache, &mut actions);
                });
            }
            for action in actions {
                if let Action::SetCursor(at) = action {
                    model.cursor = at;
                }
            }
        });
    if let Some(pointer) = pointer {
        harness.hover_at(pointer);
    }
    harness.run_steps(4);
    harness.render().map_err(anyhow::Error::msg)?.save(file)?;
    Ok(())
}
