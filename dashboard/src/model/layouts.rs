//! The layouts that were saved by name, and the dialog in which that is done.
//!
//! What a layout holds is not known here: it is JSON that the layout itself wrote and will read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Version of the file.
const VERSION: u32 = 1;
/// Most layouts that are kept by name.
pub const LAYOUTS_MAX: usize = 200;

/// Longest name of a layout, in characters.
pub const NAME_MAX: usize = 60;

/// The saved layouts, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Library {
    layouts: BTreeMap<String, Json>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    layouts: BTreeMap<String, Json>,
}

impl Library {
    /// Reads what [`Library::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if file.version != VERSION {
            return Err(format!("it has format {}, this dashboard reads {VERSION}", file.version));
        }
        Ok(Self { layouts: file.layouts })
    }

    /// As it is kept.
    pub fn to_json(&self) -> Option<String> {
        serde_json::to_string_pretty(&File { version: VERSION, layouts: self.layouts.clone() }).ok()
    }

    /// The names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layouts.keys().map(String::as_str)
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.layouts.contains_key(name)
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.layouts.get(name)
    }

    /// Keeps a layout under a name, in place of the one that has it.
    pub fn put(&mut self, name: String, layout: Json) -> Result<(), String> {
        if name.is_empty() {
            return Err("A layout needs a name.".into());
        }
        if self.layouts.len() >= LAYOUTS_MAX && !self.has(&name) {
            return Err(format!("At most {LAYOUTS_MAX} layouts are kept: delete one first."));
        }
        self.layouts.insert(name, layout);
        Ok(())
    }

    /// Keeps a layout under a name that none has yet, and returns that.
    pub fn add(&mut self, name: &str, layout: Json) -> Result<String, String> {
        let name = if name.is_empty() { "Imported" } else { name };
        let free = (1..=LAYOUTS_MAX + 1)
            .map(|n| if n == 1 { name.to_owned() } else { format!("{name} ({n})") })
            .find(|name| !self.has(name))
            .unwrap_or_default();
        self.put(free.clone(), layout)?;
        Ok(free)
    }

    /// Gives one another name.
    pub fn rename(&mut self, from: &str, to: String) -> Result<(), String> {
        if to.is_empty() {
            return Err("A layout needs a name.".into());
        }
        if from == to {
            return Ok(());
        }
        if self.has(&to) {
            return Err(format!("There is a layout {to:?} already."));
        }
        let layout = self.layouts.remove(from).ok_or_else(|| format!("There is no layout {from:?}."))?;
        self.layouts.insert(to, layout);
        Ok(())
    }

    /// Forgets one.
    pub fn delete(&mut self, name: &str) {
        self.layouts.remove(name);
    }
}

/// A name as it is kept: without line breaks and not too long.
pub fn clean_name(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME_MAX).collect();
    text.trim().to_owned()
}

/// What is typed and asked in the dialog of the layouts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayoutsForm {
    /// The name under which to save.
    pub name: String,
    /// The file to export to or import from.
    pub path: String,
    /// The layout that gets another name, and what stands in the field.
    pub renaming: Option<(String, String)>,
    /// The layout that is to be deleted once a person says so.
    pub deleting: Option<String>,
    /// The file that is there already, and is replaced when asked once more.
    pub exists: Option<String>,
    /// How the last thing went.
    pub said: Option<Result<String, String>>,
}

/// What is done in the dialog besides the actions on layouts themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutsEdit {
    /// What stands in the field of the name.
    Name(String),
    /// What stands in the field of the file.
    Path(String),
    /// Begin to give this one another name, or stop.
    Rename(Option<String>),
    /// What stands in the field of the other name.
    RenameTo(String),
    /// Ask whether to delete this one, or stop.
    Delete(Option<String>),
}

impl LayoutsForm {
    /// An empty form with a file that may be written.
    pub fn new(path: String) -> Self {
        Self { path, ..Self::default() }
    }

    pub(super) fn edit(&mut self, edit: LayoutsEdit) {
        match edit {
            LayoutsEdit::Name(name) => self.name = name,
            LayoutsEdit::Path(path) => {
                self.path = path;
                self.exists = None;
            }
            LayoutsEdit::Rename(name) => self.renaming = name.map(|name| (name.clone(), name)),
            LayoutsEdit::RenameTo(to) => {
                if let Some((_, typed)) = &mut self.renaming {
                    *typed = to;
                }
            }
            LayoutsEdit::Delete(name) => self.deleting = name,
        }
        self.said = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn layouts_are_kept_renamed_and_deleted_and_no_name_hides_another() {
        let mut library = Library::default();
        library.put("Day".into(), json!(1)).unwrap();
        library.put("Night".into(), json!(2)).unwrap();
        assert!(library.rename("Day", "Night".into()).is_err());
        assert!(library.rename("Noon", "Else".into()).is_err());
        assert!(library.put(String::new(), json!(3)).is_err());
        library.rename("Day", "Morning".into()).unwrap();
        assert_eq!(library.add("Night", json!(4)), Ok("Night (2)".into()));
        assert_eq!(library.names().collect::<Vec<_>>(), ["Morning", "Night", "Night (2)"]);
        library.delete("Night");
        let read = Library::from_json(&library.to_json().unwrap()).unwrap();
        assert_eq!(read, library);
        assert_eq!((read.get("Night"), read.get("Morning")), (None, Some(&json!(1))));
    }

    #[test]
    fn there_are_at_most_so_many_and_a_later_file_is_not_taken() {
        let mut library = Library::default();
        for n in 0..LAYOUTS_MAX {
            library.put(n.to_string(), json!(n)).unwrap();
        }
        assert!(library.put("more".into(), json!(0)).unwrap_err().contains("200"));
        assert!(library.add("more", json!(0)).is_err());
        library.put("7".into(), json!("again")).unwrap();
        assert!(Library::from_json(r#"{"version":2,"layouts":{}}"#).unwrap_err().contains("format 2"));
    }
}
