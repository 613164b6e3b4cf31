//! The dialog in which a chart, or the wire of a device, is written to a file.

use std::path::Path;

use protocol::{DeviceId, Timestamp};

use super::Model;
use crate::action::ChartId;

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// A chart.
    Chart(ChartId),
    /// What was watched of the wire of a device.
    Wire(DeviceId),
}

/// What it is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportKind {
    /// A picture: PNG.
    Picture,
    /// Comma-separated values.
    Csv,
    /// A capture that Wireshark opens.
    Capture,
    /// An object of JSON in each line.
    JsonLines,
}

impl ExportKind {
    /// The end of the name of its files.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Picture => "png",
            Self::Csv => "csv",
            Self::Capture => "pcapng",
            Self::JsonLines => "jsonl",
        }
    }
}

/// What is typed and asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportForm {
    /// What is written.
    pub of: Exported,
    /// Its title.
    pub title: String,
    /// What it is written as.
    pub kind: ExportKind,
    /// The file.
    pub path: String,
    /// The file that is there already, and is replaced when asked once more.
    pub exists: Option<String>,
    /// Why it was not written.
    pub problem: Option<String>,
}

impl ExportForm {
    /// A form with a file that says what it is and when it was made.
    pub fn new(model: &Model, chart: ChartId, title: &str, kind: ExportKind) -> Self {
        let path = default_path(&model.export_path, title, model.now(), kind);
        Self { of: Exported::Chart(chart), title: title.to_owned(), kind, path, exists: None, problem: None }
    }

    /// The same for what was watched of the wire of a device.
    pub fn of_wire(model: &Model, device: &DeviceId) -> Self {
        let (title, kind) = (format!("Wire of {device}"), ExportKind::Capture);
        let path = default_path(&model.export_path, &title, model.now(), kind);
        Self { of: Exported::Wire(device.clone()), title, kind, path, exists: None, problem: None }
    }

    /// The same written as something else.
    pub fn with_kind(&self, kind: ExportKind) -> Self {
        let path = Path::new(&self.path).with_extension(kind.ending()).display().to_string();
        Self { kind, path, exists: None, problem: None, ..self.clone() }
    }

    /// The same with another file.
    pub fn with_path(&self, path: String) -> Self {
        Self { path, exists: None, problem: None, ..self.clone() }
    }
}

/// A file beside `beside`, named after the title and the time.
fn default_path(beside: &str, title: &str, now: Timestamp, kind: ExportKind) -> String {
    let plain: String = title.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let words: Vec<&str> = plain.split_whitespace().take(8).collect();
    let at = jiff::Timestamp::from_microsecond(now.0)
        .map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_default();
    let name = format!("{}-{at}.{}", words.join("-").to_lowercase(), kind.ending());
    Path::new(beside).with_file_name(name).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_its_chart_and_the_time() {
        let at = Timestamp(1_773_324_600_000_000);
        let path =
            default_path("/home/anna/Documents/layout.json", "Air temperature · pump/1", at, ExportKind::Csv);
        assert_eq!(path, "/home/anna/Documents/air-temperature-pump-1-20260312T141000Z.csv");
    }
}
