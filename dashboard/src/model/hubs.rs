//! The hubs that are remembered, and the dialog in which one is chosen, added, tested and forgotten.
//!
//! A token is a secret: no `Debug`, no error and no screen shows it (I-12).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the file.
const VERSION: u32 = 1;
/// Most hubs that are remembered.
pub const HUBS_MAX: usize = 32;
/// Longest name of a hub, in characters.
pub const NAME_MAX: usize = 60;

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the field it is typed into and for the hub.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How this window proves that a hub may let it in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The token file that a hub on this machine wrote.
    #[default]
    ThisMachine,
    /// A token that was typed.
    Token(Secret),
    /// A file that holds the token.
    File(String),
}

/// A hub that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    /// Names it for as long as it is remembered, whatever it is called.
    pub id: u32,
    /// What a person calls it.
    pub name: String,
    /// `ws://host:port`.
    pub address: String,
    /// What proves that we may come in.
    #[serde(default)]
    pub credential: Credential,
    /// A file of CAs that are trusted for this hub instead of the system's; only for `wss://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hubs {
    list: Vec<Hub>,
    /// The one that this window shows; `None`: one that is not remembered.
    pub current: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    current: Option<u32>,
    hubs: Vec<Hub>,
}

impl Hubs {
    /// Reads what [`Hubs::to_json`] wrote. The error never quotes the text: there are tokens in it.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text)
            .map_err(|e| format!("it is no list of hubs (line {}, column {})", e.line(), e.column()))?;
        if file.version != VERSION {
            return Err(format!("it has format {}, this dashboard reads {VERSION}", file.version));
        }
        let mut hubs = Self { list: Vec::new(), current: None };
        for hub in file.hubs.into_iter().take(HUBS_MAX) {
            if hubs.get(hub.id).is_none() && hub.id < u32::MAX {
                hubs.list.push(hub);
            }
        }
        hubs.current = file.current.filter(|id| hubs.get(*id).is_some());
        Ok(hubs)
    }

    /// As it is kept, tokens included.
    pub fn to_json(&self) -> Option<String> {
        let file = File { version: VERSION, current: self.current, hubs: self.list.clone() };
        serde_json::to_string_pretty(&file).ok()
    }

    /// The hubs, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Hub> {
        self.list.iter()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One of them.
    pub fn get(&self, id: u32) -> Option<&Hub> {
        self.list.iter().find(|hub| hub.id == id)
    }

    /// The one that this window shows.
    pub fn current(&self) -> Option<&Hub> {
        self.get(self.current?)
    }

    /// Remembers a hub, or changes the one with this id; returns the id.
    pub fn put(
        &mut self,
        id: Option<u32>,
        name: &str,
        address: &str,
        credential: Credential,
    ) -> Result<u32, String> {
        let address = address.trim().to_owned();
        if address.is_empty() {
            return Err("Type the address of the hub, such as ws://10.0.0.5:7878.".into());
        }
        let name: String =
            name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME_MAX).collect();
        let name = if name.trim().is_empty() { host(&address) } else { name.trim().to_owned() };
        if self.list.iter().any(|hub| hub.name == name && Some(hub.id) != id) {
            return Err(format!("There is a hub {name:?} already: give this one another name."));
        }
        if let Some(hub) = self.list.iter_mut().find(|hub| Some(hub.id) == id) {
            *hub = Hub { id: hub.id, name, address, credential, ca: hub.ca.take() };
            return Ok(hub.id);
        }
        if self.list.len() >= HUBS_MAX {
            return Err(format!("At most {HUBS_MAX} hubs are remembered: forget one first."));
        }
        let id = self.list.iter().map(|hub| hub.id).max().unwrap_or(0) + 1;
        self.list.push(Hub { id, name, address, credential, ca: None });
        Ok(id)
    }

    /// Trusts the CAs of a file for a hub instead of the system's, or the system's again.
    pub fn set_ca(&mut self, id: u32, ca: Option<String>) {
        if let Some(hub) = self.list.iter_mut().find(|hub| hub.id == id) {
            hub.ca = ca;
        }
    }

    /// Forgets one, token included.
    pub fn forget(&mut self, id: u32) {
        self.list.retain(|hub| hub.id != id);
        if self.current == Some(id) {
            self.current = None;
        }
    }
}

/// An address without what may be a secret in it.
pub fn host(address: &str) -> String {
    let text = address.split_once("://").map_or(address, |(_, rest)| rest);
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let end = text.find(['?', '#']).unwrap_or(text.len());
    text[..end].trim_end_matches('/').to_owned()
}

/// Which kind of credential is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// This machine's token file.
    #[default]
    ThisMachine,
    /// A token.
    Token,
    /// A file.
    File,
}

/// What is typed in the dialog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HubsForm {
    /// It opened by itself, because there is no hub.
    pub is_first: bool,
    /// The hub that is changed; `None`: a new one.
    pub editing: Option<u32>,
    /// What a person calls it.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Which kind of credential.
    pub kind: Kind,
    /// The token.
    pub token: Secret,
    /// The file of the token.
    pub file: String,
    /// The file of the CAs that are trusted for it; empty: the system's.
    pub ca: String,
    /// A test is under way.
    pub testing: bool,
    /// How the last test or attempt to remember it went.
    pub said: Option<Result<String, String>>,
    /// The hub that is forgotten once a person says so.
    pub forgetting: Option<u32>,
}

/// What is done in the dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubEdit {
    /// The name.
    Name(String),
    /// The address.
    Address(String),
    /// The kind of credential.
    Kind(Kind),
    /// The token.
    Token(Secret),
    /// The file of the token.
    File(String),
    /// The file of the CAs.
    Ca(String),
    /// Change this hub, or describe a new one.
    Edit(Option<u32>),
    /// Ask whether to forget this one, or stop.
    Forget(Option<u32>),
}

impl HubsForm {
    /// What is typed as a credential.
    pub fn credential(&self) -> Credential {
        match self.kind {
            Kind::ThisMachine => Credential::ThisMachine,
            Kind::Token => Credential::Token(Secret::new(self.token.reveal().trim().to_owned())),
            Kind::File => Credential::File(self.file.trim().to_owned()),
        }
    }

    /// The file of the CAs that is typed, if there is one.
    pub fn ca(&self) -> Option<String> {
        Some(self.ca.trim().to_owned()).filter(|ca| !ca.is_empty())
    }

    /// Whether a file of CAs means something: the address asks for TLS.
    pub fn wants_ca(&self) -> bool {
        self.address.trim().starts_with("wss://")
    }

    pub(super) fn edit(&mut self, edit: HubEdit, hubs: &Hubs) {
        self.said = None;
        match edit {
            HubEdit::Name(name) => self.name = name,
            HubEdit::Address(address) => self.address = address,
            HubEdit::Kind(kind) => self.kind = kind,
            HubEdit::Token(token) => self.token = token,
            HubEdit::File(file) => self.file = file,
            HubEdit::Ca(ca) => self.ca = ca,
            HubEdit::Forget(id) => self.forgetting = id,
            HubEdit::Edit(id) => {
                let is_first = self.is_first;
                *self = Self { is_first, ..Self::default() };
                if let Some(hub) = id.and_then(|id| hubs.get(id)).cloned() {
                    self.editing = Some(hub.id);
                    (self.name, self.address) = (hub.name, hub.address);
                    self.ca = hub.ca.unwrap_or_default();
                    match hub.credential {
                        Credential::ThisMachine => self.kind = Kind::ThisMachine,
                        Credential::Token(token) => (self.kind, self.token) = (Kind::Token, token),
                        Credential::File(file) => (self.kind, self.file) = (Kind::File, file),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Credential {
        Credential::Token(Secret::new(text.into()))
    }

    #[test]
    fn hubs_are_remembered_changed_and_forgotten() {
        let mut hubs = Hubs::default();
        let plant = hubs.put(None, "Plant", "ws://10.0.0.5:7878", token("hunter2")).unwrap();
        let bare = hubs.put(None, "", "ws://user:pw@lab:1/?token=x", Credential::ThisMachine).unwrap();
        assert_eq!(hubs.get(bare).unwrap().name, "lab:1", "no secret becomes a name");
        assert!(hubs.put(None, "Plant", "ws://b", Credential::ThisMachine).is_err());
        assert!(hubs.put(None, "x", " ", Credential::ThisMachine).is_err());
        hubs.put(Some(plant), "Plant north", "ws://10.0.0.6:7878", token("hunter3")).unwrap();
        hubs.current = Some(plant);
        let read = Hubs::from_json(&hubs.to_json().unwrap()).unwrap();
        assert_eq!(read, hubs);
        assert_eq!(read.current().unwrap().address, "ws://10.0.0.6:7878");
        hubs.forget(plant);
        assert_eq!((hubs.current, hubs.iter().count()), (None, 1));
        assert!(!hubs.to_json().unwrap().contains("hunter"));
        let after = hubs.put(None, "New", "ws://c", Credential::ThisMachine).unwrap();
        assert!(after != plant && after != bare);
        while hubs.iter().len() < HUBS_MAX {
            let name = hubs.iter().len().to_string();
            hubs.put(None, &name, "ws://d", Credential::ThisMachine).unwrap();
        }
        assert!(hubs.put(None, "one more", "ws://e", Credential::ThisMachine).unwrap_err().contains("32"));
    }

    #[test]
    fn i_12_no_debug_and_no_error_shows_a_token() {
        let mut hubs = Hubs::default();
        hubs.put(None, "Plant", "ws://a", token("hunter2")).unwrap();
        let mut form = HubsForm::default();
        form.edit(HubEdit::Edit(Some(1)), &hubs);
        let shown = format!("{hubs:?} {form:?} {:?}", HubEdit::Token(Secret::new("hunter2".into())));
        assert!(!shown.contains("hunter"), "{shown}");
        for bad in [
            r#"{"version":1,"hubs":[{"id":1,"name":"a","address":"b","credential":{"token":"hunter2"}"#,
            r#"{"version":1,"hubs":[{"id":1,"name":"a","address":"b","credential":"hunter2"}]}"#,
            r#"{"version":1,"hubs":"hunter2"}"#,
            r#"{"version":7,"hubs":[],"token":"hunter2"}"#,
        ] {
            let error = Hubs::from_json(bad).unwrap_err();
            assert!(!error.contains("hunter"), "{error}");
        }
    }
}
