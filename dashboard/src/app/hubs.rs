//! What the app does with hubs: tests one, remembers it, and shows another one without a new start.

use std::path::{Path, PathBuf};

use super::App;
use super::files::checked_path;
use crate::action::Action;
use crate::disk::Job;
use crate::link::{Target, probe};
use crate::model::hubs::{Credential, Hub, HubsForm};
use crate::model::{Effect, Link as Connection, Model};
use crate::palette::Found;
use crate::settings::HUBS_FILE;
use crate::views::chart::ChartCache;
use crate::views::commands::TableView;

/// Where to connect for a hub that is remembered, with its own file of CAs if it has one, and `any_ca` if not.
pub fn target_of(
    address: &str,
    credential: &Credential,
    ca: Option<&str>,
    any_ca: Option<&Path>,
) -> Result<Target, String> {
    let ca = match ca {
        Some(typed) => Some(checked_path(typed).map_err(|why| format!("The file of the CAs: {why}"))?),
        None => any_ca.map(Path::to_owned),
    };
    let mut target = Target { hub: Some(address.trim().to_owned()), ca, ..Target::default() };
    match credential {
        Credential::ThisMachine => {}
        Credential::Token(token) => {
            let token = client::Token::new(token.reveal()).map_err(|error| format!("The token: {error}."))?;
            target.token = Some(token);
        }
        Credential::File(file) => target.token_file = Some(PathBuf::from(file)),
    }
    Ok(target)
}

impl App {
    pub(super) fn save_hubs(&mut self) {
        let (Some(folder), Some(disk)) = (&self.folder, &self.disk) else { return };
        let Some(text) = self.model.hubs.to_json() else { return };
        self.unsaved.hubs = !disk.ask(Job::Keep { path: folder.join(HUBS_FILE), text, is_secret: true });
    }

    /// Opens the dialog by itself, once, when this is the first start and no hub answers; closes it when one does.
    pub(super) fn first_run(&mut self) {
        if !self.is_first_run {
            return;
        }
        match &self.model.connection.link {
            Connection::Connected => {
                self.is_first_run = false;
                if self.model.hubs_form.as_ref().is_some_and(|form| form.is_first) {
                    self.model.hubs_form = None;
                }
            }
            Connection::Waiting { .. } | Connection::Stopped { .. } if !self.was_asked => {
                self.was_asked = true;
                self.model.hubs_form = Some(HubsForm { is_first: true, ..HubsForm::default() });
            }
            Connection::Waiting { .. } | Connection::Stopped { .. } | Connection::Connecting { .. } => {}
        }
    }

    /// Takes in how a test of a hub went.
    pub(super) fn take_probe(&mut self) {
        let Some(said) = self.probe.as_ref().and_then(crate::link::Probe::try_result) else { return };
        self.probe = None;
        if let Some(form) = &mut self.model.hubs_form {
            form.testing = false;
            form.said = Some(said);
        }
    }

    /// Does what a person asked for with hubs; `None` if it is about something else.
    pub(super) fn hub_action(&mut self, ctx: &egui::Context, action: &Action) -> Option<Vec<Effect>> {
        match action {
            Action::TestHub => {
                let form = self.model.hubs_form.as_mut()?;
                let ca = form.ca();
                match target_of(&form.address, &form.credential(), ca.as_deref(), self.ca.as_deref()) {
                    Ok(target) => {
                        form.testing = true;
                        form.said = None;
                        self.probe = Some(probe(target, self.meter.pace().waker(ctx.clone())));
                    }
                    Err(why) => form.said = Some(Err(why)),
                }
                Some(Vec::new())
            }
            Action::ConnectHub => {
                let form = self.model.hubs_form.clone()?;
                let credential = form.credential();
                let ca = form.ca();
                let taken = target_of(&form.address, &credential, ca.as_deref(), None)
                    .and_then(|_| self.model.hubs.put(form.editing, &form.name, &form.address, credential));
                match taken {
                    Ok(id) => {
                        self.model.hubs.set_ca(id, ca);
                        self.save_hubs();
                        self.use_hub(id);
                    }
                    Err(why) => {
                        if let Some(form) = &mut self.model.hubs_form {
                            form.said = Some(Err(why));
                        }
                    }
                }
                Some(Vec::new())
            }
            Action::UseHub(id) => {
                self.use_hub(*id);
                Some(Vec::new())
            }
            _ => None,
        }
    }

    /// Shows another hub: its link, its model, its layout. What this one had is kept for when it comes back.
    fn use_hub(&mut self, id: u32) {
        let Some(hub) = self.model.hubs.get(id).cloned() else { return };
        let target = target_of(&hub.address, &hub.credential, hub.ca.as_deref(), self.ca.as_deref());
        let link = target.and_then(|target| match &self.connector {
            Some(connect) => connect(target).map_err(|error| format!("No connection can be made: {error}.")),
            None => Err("This window cannot connect to another hub.".into()),
        });
        match link {
            Ok(link) => self.change_to(&hub, link),
            Err(why) => {
                if let Some(form) = &mut self.model.hubs_form {
                    form.said = Some(Err(why));
                } else {
                    self.model.toast(crate::model::Level::Error, "The hub cannot be shown", Some(why));
                }
            }
        }
    }

    fn change_to(&mut self, hub: &Hub, link: crate::link::Link) {
        self.layout.settle();
        self.save_changes();
        let old = std::mem::replace(&mut self.link, link);
        // It says goodbye to its hub, which may take a while.
        let closing = std::thread::Builder::new().name("old link".into()).spawn(move || drop(old));
        if let Err(error) = closing {
            tracing::warn!(%error, "the old link was closed without a thread of its own");
        }
        let now = self.now();
        let address = crate::model::hubs::host(&hub.address);
        let before = self.model.hubs.current;
        let new = Model::new(&address, self.model.settings.clone(), self.model.local_zone().clone(), now);
        let old = std::mem::replace(&mut self.model, new);
        self.model.keep_from(old);
        self.model.hubs.current = Some(hub.id);
        let layout = self.other_layouts.remove(&Some(hub.id)).unwrap_or_default();
        let old = std::mem::replace(&mut self.layout, layout);
        self.other_layouts.insert(before, old);
        self.layout.forget_matches();
        self.cache = ChartCache::default();
        self.table_view = TableView::default();
        self.found = Found::default();
        self.is_first_run = false;
        self.save_hubs();
    }
}
