//! What the app does with charts that are copied or written to files: as a picture, or as CSV.
//!
//! The text is made at once, a picture is painted by the thread of the files (I-16).

use super::App;
use super::files::checked_path;
use crate::action::{Action, ChartId};
use crate::disk::Job;
use crate::model::exports::{ExportForm, ExportKind};
use crate::model::{Effect, Level, chart_csv};
use crate::views::chart;

impl App {
    /// Does what a person asked for with a chart as a picture or CSV; `None` if it is about something else.
    pub(super) fn export_action(&mut self, ctx: &egui::Context, action: &Action) -> Option<Vec<Effect>> {
        match action {
            Action::CopyChart { chart, kind } => Some(self.copy_chart(ctx, *chart, *kind)),
            Action::WriteChart => {
                let form = self.model.export_form.clone()?;
                if let Err(problem) = self.write_chart(ctx, &form) {
                    self.say_export(Err(problem));
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn copy_chart(&mut self, ctx: &egui::Context, chart: ChartId, kind: ExportKind) -> Vec<Effect> {
        match kind {
            ExportKind::Csv => match self.chart_csv(chart) {
                Some(text) => {
                    let rows = text.lines().count().saturating_sub(1) as u64;
                    let said = format!("{} rows are on the clipboard as CSV", crate::format::count(rows));
                    self.model.toast(Level::Success, &said, None);
                    return vec![Effect::Copy(text)];
                }
                None => self.say_export(Err("The chart is not on the screen.".into())),
            },
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

    fn write_chart(&mut self, ctx: &egui::Context, form: &ExportForm) -> Result<(), String> {
        let path = checked_path(&form.path)?;
        let replace = form.exists.as_ref() == Some(&form.path);
        let job = match form.kind {
            ExportKind::Csv => self.chart_csv(form.chart).map(|text| Job::Export { path, text, replace }),
            ExportKind::Picture => self
                .drawn(ctx, form.chart)
                .map(|drawn| Job::Picture { drawn: Box::new(drawn), file: Some((path, replace)) }),
        };
        self.ask_for(job)
    }

    fn ask_for(&self, job: Option<Job>) -> Result<(), String> {
        let job = job.ok_or("The chart is not on the screen.")?;
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
