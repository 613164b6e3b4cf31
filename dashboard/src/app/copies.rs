//! What the app does with charts that are copied or written to files, and with wires that are written.
//!
//! The text is made at once, a picture is painted by the thread of the files (I-16).

use protocol::Timestamp;

use super::App;
use super::files::checked_path;
use crate::action::{Action, ChartId};
use crate::disk::Job;
use crate::model::exports::{ExportForm, ExportKind, Exported};
use crate::model::{Effect, Level, chart_csv};
use crate::views::chart;

/// Frames that a chart needs to be drawn after it has come to the front, and to ask for what it lacks.
const FRAMES_MIN: u32 = 3;
/// Longest wait for its history, in microseconds; then it is copied as it is.
const PATIENCE_MICROS: i64 = 10_000_000;
/// Why a chart cannot be copied or written, and what to do.
const NOT_DRAWN: &str = "The chart has not been drawn yet: close what covers it, or bring it to the front of its tabs, \
                         and try again.";

/// The panel was closed meanwhile.
const NOT_WATCHED: &str = "The wire is not watched any more: open its panel again.";

/// A chart that is copied once it has been drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToCopy {
    chart: ChartId,
    kind: ExportKind,
    frames: u32,
    until: Timestamp,
}

impl App {
    /// Does what a person asked for with a chart as a picture or CSV; `None` if it is about something else.
    pub(super) fn export_action(&mut self, ctx: &egui::Context, action: &Action) -> Option<Vec<Effect>> {
        match action {
            Action::CopyChart { chart, kind } => Some(self.copy_chart(ctx, *chart, *kind)),
            Action::WriteExport => {
                let form = self.model.export_form.clone()?;
                if let Err(problem) = self.write_export(ctx, &form) {
                    self.say_export(Err(problem));
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }

    /// Copies a chart. One behind another tab is brought to the front first, and copied when its history is here.
    fn copy_chart(&mut self, ctx: &egui::Context, chart: ChartId, kind: ExportKind) -> Vec<Effect> {
        if self.layout.chart(chart).is_some() && !self.layout.is_in_front(chart) {
            self.layout.apply(&Action::ShowChart(chart), &self.model.devices);
            let until = self.model.local_now().plus_micros(PATIENCE_MICROS);
            self.to_copy = Some(ToCopy { chart, kind, frames: 0, until });
            let text = "The chart was behind another tab: it is in front now";
            let detail = "It is copied as soon as its history is here.".to_owned();
            self.model.toast(Level::Info, text, Some(detail));
            return Vec::new();
        }
        self.copy_now(ctx, chart, kind)
    }

    /// Copies what waits to be drawn, once it is.
    pub(super) fn copy_when_drawn(&mut self, ctx: &egui::Context) {
        let Some(mut waiting) = self.to_copy.take() else { return };
        waiting.frames += 1;
        let is_drawn = waiting.frames > FRAMES_MIN && !self.is_loading(waiting.chart);
        if is_drawn || self.model.local_now() >= waiting.until {
            let effects = self.copy_now(ctx, waiting.chart, waiting.kind);
            self.run(ctx, effects);
        } else {
            self.to_copy = Some(waiting);
            ctx.request_repaint_after(std::time::Duration::from_millis(50));
        }
    }

    /// Whether history of a chart is on its way.
    fn is_loading(&self, chart: ChartId) -> bool {
        let series = self.layout.chart(chart).map(|pane| pane.spec.series.as_slice()).unwrap_or_default();
        self.model.connection.is_connected() && series.iter().any(|id| self.model.series.is_loading(*id))
    }

    fn copy_now(&mut self, ctx: &egui::Context, chart: ChartId, kind: ExportKind) -> Vec<Effect> {
        match kind {
            ExportKind::Csv => match self.chart_csv(chart) {
                Some(text) => {
                    let rows = text.lines().count().saturating_sub(1) as u64;
                    let said = format!("{} rows are on the clipboard as CSV", crate::format::count(rows));
                    let is_loading = self.is_loading(chart);
                    let lacks =
                        is_loading.then(|| "Some history was still on its way and is not in it.".to_owned());
                    self.model.toast(Level::Success, &said, lacks);
                    return vec![Effect::Copy(text)];
                }
                None => self.say_export(Err(NOT_DRAWN.into())),
            },
            ExportKind::Capture | ExportKind::JsonLines => {}
            ExportKind::Picture => {
                let job =
                    self.drawn(ctx, chart).map(|drawn| Job::Picture { drawn: Box::new(drawn), file: None });
                if let Err(problem) = self.ask_for(job) {
                    self.say_export(Err(problem));
                }
            }
        }
        Vec::new()
    }

    fn write_export(&mut self, ctx: &egui::Context, form: &ExportForm) -> Result<(), String> {
        let path = checked_path(&form.path)?;
        let replace = form.exists.as_ref() == Some(&form.path);
        let chart = match &form.of {
            Exported::Chart(chart) => *chart,
            Exported::Wire(device) => {
                let wire =
                    self.model.wire.as_ref().filter(|wire| wire.device == *device).ok_or(NOT_WATCHED)?;
                let (rows, is_capture) = (wire.rows_to_write(), form.kind == ExportKind::Capture);
                return self.ask_for(Some(Job::Wire { rows, is_capture, path, replace }));
            }
        };
        let job = match form.kind {
            ExportKind::Csv => self.chart_csv(chart).map(|text| Job::Export { path, text, replace }),
            _ => self
                .drawn(ctx, chart)
                .map(|drawn| Job::Picture { drawn: Box::new(drawn), file: Some((path, replace)) }),
        };
        self.ask_for(job)
    }

    fn ask_for(&self, job: Option<Job>) -> Result<(), String> {
        let job = job.ok_or(NOT_DRAWN)?;
        let taken = self.disk.as_ref().is_some_and(|disk| disk.ask(job));
        if taken { Ok(()) } else { Err("The disk is busy. Try again.".into()) }
    }

    fn chart_csv(&self, chart: ChartId) -> Option<String> {
        let spec = &self.layout.chart(chart)?.spec;
        let (shown, micros_per_pixel) = self.cache.shown(chart::id_of(chart), spec)?;
        Some(chart_csv::csv(&self.model, &shown, micros_per_pixel))
    }

    fn drawn(&self, ctx: &egui::Context, chart: ChartId) -> Option<chart::Drawn> {
        let spec = &self.layout.chart(chart)?.spec;
        let is_dark = ctx.theme() == egui::Theme::Dark;
        chart::drawn(&self.model, spec, chart::id_of(chart), &self.cache, ctx.pixels_per_point(), is_dark)
    }

    /// Says how it went where a person looks.
    pub(super) fn say_export(&mut self, how: Result<String, String>) {
        match (&mut self.model.export_form, how) {
            (form @ Some(_), Ok(text)) => {
                *form = None;
                self.model.toast(Level::Success, &text, None);
            }
            (Some(form), Err(problem)) => form.problem = Some(problem),
            (None, Ok(text)) => self.model.toast(Level::Success, &text, None),
            (None, Err(problem)) => self.model.toast(Level::Error, "The chart was not copied", Some(problem)),
        }
    }
}
