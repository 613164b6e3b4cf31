//! What the app does with layouts by name and with files: keeps them, exports, imports, says how it went.

use std::path::PathBuf;

use super::App;
use crate::action::Action;
use crate::disk::{Done, Job};
use crate::format;
use crate::layout::{self, Layout};
use crate::model::layouts::clean_name;
use crate::model::{Effect, Event, Level};
use crate::settings::{LAYOUTS_FILE, SETTINGS_FILE, layout_file};

impl App {
    /// Asks for a file to be kept. `false`: too many wait.
    fn keep(&self, file: &str, text: Option<String>) -> bool {
        let (Some(folder), Some(disk), Some(text)) = (&self.folder, &self.disk, text) else { return true };
        disk.ask(Job::Keep { path: folder.join(file), text, is_secret: false })
    }

    pub(super) fn save_settings(&mut self) {
        self.unsaved.settings =
            !self.keep(SETTINGS_FILE, serde_json::to_string_pretty(&self.model.settings).ok());
    }

    pub(super) fn save_library(&mut self) {
        self.unsaved.library = !self.keep(LAYOUTS_FILE, self.model.library.to_json());
    }

    /// Writes what has changed, the layout and whatever the disk had no time for before.
    pub(super) fn save_changes(&mut self) {
        if self.unsaved.settings {
            self.save_settings();
        }
        if self.unsaved.library {
            self.save_library();
        }
        if self.unsaved.hubs {
            self.save_hubs();
        }
        let file = layout_file(self.model.hubs.current);
        if self.layout.take_changed() && !self.keep(&file, self.layout.to_json()) {
            self.layout.keep_changed();
        }
    }

    /// Takes in what became of files.
    pub(super) fn take_files(&mut self, ctx: &egui::Context) {
        while let Some(done) = self.disk.as_ref().and_then(crate::disk::Disk::try_next) {
            match done {
                Done::NotKept(problem) => {
                    let now = self.now();
                    let effects = self.model.handle_event(Event::NotSaved(problem), now);
                    self.run(ctx, effects);
                }
                Done::Painted(picture) => {
                    let size = [picture.width, picture.height];
                    ctx.copy_image(egui::ColorImage::from_rgba_unmultiplied(size, &picture.rgba));
                    self.say_export(Ok("The chart is on the clipboard as a picture".to_owned()));
                }
                Done::Exported(path) if self.model.export_form.is_some() => {
                    self.say_export(Ok(format!("Written to {}", path.display())));
                }
                Done::Exists(path) if self.model.export_form.is_some() => {
                    if let Some(form) = &mut self.model.export_form {
                        form.exists = Some(form.path.clone());
                    }
                    let problem =
                        format!("{} is there already: write once more to replace it.", path.display());
                    self.say_export(Err(problem));
                }
                Done::Failed(problem) if self.model.export_form.is_some() => self.say_export(Err(problem)),
                Done::Exported(path) => self.say(Ok(format!("Written to {}", path.display()))),
                Done::Exists(path) => {
                    let text = path.display().to_string();
                    if let Some(form) = &mut self.model.layouts_form {
                        form.exists = Some(form.path.clone());
                    }
                    self.say(Err(format!("{text} is there already. Export once more to replace it.")));
                }
                Done::Imported { path, text } => self.import(path, &text),
                Done::Failed(problem) => self.say(Err(problem)),
            }
        }
    }

    fn import(&mut self, path: PathBuf, text: &str) {
        let taken = layout::import(text).map_err(|error| error.to_string()).and_then(|imported| {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let name = imported.name.unwrap_or_else(|| clean_name(&stem));
            let other = Layout::from_value(imported.layout.clone()).map_err(|error| error.to_string())?;
            let name = self.model.library.add(&name, imported.layout)?;
            Ok((name, other))
        });
        match taken {
            Ok((name, other)) => {
                self.layout.replace(other, &self.model.devices);
                self.save_library();
                self.say(Ok(format!("Imported as {name}. Ctrl+Z brings back the charts from before.")));
            }
            Err(error) => {
                self.say(Err(format!("{} was not imported: {error}. Nothing has changed.", path.display())));
            }
        }
    }

    /// Says how something went where a person looks: in the dialog, or as a notice.
    fn say(&mut self, how: Result<String, String>) {
        match (&mut self.model.layouts_form, how) {
            (Some(form), how) => form.said = Some(how),
            (None, Ok(text)) => self.model.toast(Level::Success, &text, None),
            (None, Err(text)) => self.model.toast(Level::Error, "That did not work", Some(text)),
        }
    }

    /// Does what a person asked for with layouts by name and files; `None` if it is about something else.
    pub(super) fn layout_action(&mut self, action: &Action) -> Option<Vec<Effect>> {
        match action {
            Action::SaveLayout => {
                let typed =
                    self.model.layouts_form.as_ref().map(|form| form.name.clone()).unwrap_or_default();
                let name = clean_name(&typed);
                let Some(value) = self.layout.to_value() else { return Some(Vec::new()) };
                let how = self.model.library.put(name.clone(), value).map(|()| format!("Saved as {name}"));
                let is_saved = how.is_ok();
                self.say(how);
                Some(if is_saved { vec![Effect::SaveLayouts] } else { Vec::new() })
            }
            Action::OpenLayout(name) => {
                let Some(value) = self.model.library.get(name).cloned() else { return Some(Vec::new()) };
                match Layout::from_value(value) {
                    Ok(other) => {
                        self.layout.replace(other, &self.model.devices);
                        self.model.layouts_form = None;
                        let text = format!("Layout {name}");
                        let detail = "Ctrl+Z brings back the charts from before.".to_owned();
                        self.model.toast(Level::Success, &text, Some(detail));
                    }
                    Err(error) => self.say(Err(format!("{name} cannot be shown: {error}."))),
                }
                Some(Vec::new())
            }
            Action::ExportLayout | Action::ImportLayout => {
                let form = self.model.layouts_form.clone()?;
                match checked_path(&form.path) {
                    Ok(path) => {
                        let job = if *action == Action::ImportLayout {
                            Some(Job::Import { path })
                        } else {
                            let name = clean_name(&form.name);
                            let replace = form.exists.as_ref() == Some(&form.path);
                            let text = self.layout.to_value().and_then(|value| layout::export(&name, &value));
                            text.map(|text| Job::Export { path, text, replace })
                        };
                        let taken = self.disk.as_ref().zip(job).is_some_and(|(disk, job)| disk.ask(job));
                        if !taken {
                            self.say(Err("The disk is busy. Try again.".into()));
                        }
                    }
                    Err(problem) => self.say(Err(problem)),
                }
                Some(Vec::new())
            }
            Action::CloseChart(chart) => {
                if let Some(pane) = self.layout.chart(*chart) {
                    let title = layout::title(pane, &self.model.devices);
                    let text = format!("{} is closed", format::ellipsis(&title, 60));
                    self.model.toast(Level::Info, &text, Some("Ctrl+Z brings it back.".into()));
                }
                None
            }
            _ => None,
        }
    }
}

/// The file that was typed, with the home folder in place of `~`.
pub(super) fn checked_path(typed: &str) -> Result<PathBuf, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err("Type the path of a file.".into());
    }
    let path = match typed.strip_prefix("~/") {
        Some(rest) => match directories::UserDirs::new() {
            Some(dirs) => dirs.home_dir().join(rest),
            None => return Err("This system names no home folder: type the whole path.".into()),
        },
        None => PathBuf::from(typed),
    };
    if path.is_relative() {
        return Err(format!("{typed} is no whole path: it has to begin with / or ~/"));
    }
    Ok(path)
}

/// Where a layout is exported to unless a person says otherwise.
pub(super) fn export_path() -> String {
    let folder = directories::UserDirs::new()
        .map(|dirs| dirs.document_dir().unwrap_or_else(|| dirs.home_dir()).to_owned());
    let path = folder.unwrap_or_else(std::env::temp_dir).join("layout.json");
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::checked_path;

    #[test]
    fn a_path_is_whole_or_says_what_is_missing() {
        assert!(checked_path("  ").unwrap_err().contains("path of a file"));
        assert!(checked_path("layout.json").unwrap_err().contains("no whole path"));
        let whole = std::env::temp_dir().join("a.json");
        assert_eq!(checked_path(&format!(" {} ", whole.display())), Ok(whole));
    }
}
