//! What each action does to the model.

use protocol::{CommandId, DeviceId, Timestamp};

use super::range::{Asked, RangeForm};
use super::{
    COMMANDS_OF_DEVICE, Effect, Form, FormStage, HubsForm, LayoutsForm, Level, Model, Palette, SettingsForm,
    commands, form, groups, hubs, layouts, table, zone_of,
};
use crate::action::Action;
use crate::format;
use crate::settings::Number;

impl Model {
    /// Does what a user asked for, at this time of this machine's clock. Actions on the layout do nothing here.
    pub fn apply(&mut self, action: Action, now: Timestamp) -> Vec<Effect> {
        let was_following = self.viewport.is_following();
        let effects = self.do_action(action, now);
        if was_following && !self.viewport.is_following() {
            self.readings_at_pause = self.counters.readings;
        }
        effects
    }

    /// Readings that have arrived since the view was paused.
    pub const fn readings_since_pause(&self) -> u64 {
        self.counters.readings.saturating_sub(self.readings_at_pause)
    }

    fn do_action(&mut self, action: Action, now: Timestamp) -> Vec<Effect> {
        self.local = now;
        let hub_now = self.now();
        match action {
            Action::Zoom { at, factor } => self.viewport.zoom(at, factor, hub_now),
            Action::Pan { micros } => self.viewport.pan(micros, hub_now),
            Action::ShowRange { from, to } => self.viewport.show(from, to, hub_now),
            Action::SetWidth { micros } => {
                self.viewport.set_width(micros, hub_now);
                self.settings.span_micros = micros;
                return vec![Effect::SaveSettings];
            }
            Action::ToggleRange => {
                let (from, to) = self.viewport.range(hub_now);
                let form = RangeForm::of(from, to, self.viewport.is_following(), &self.zone);
                self.range_form = if self.range_form.is_none() { Some(form) } else { None };
            }
            Action::TypeRange { is_end, text } => {
                if let Some(form) = &mut self.range_form {
                    *(if is_end { &mut form.to } else { &mut form.from }) = text;
                }
            }
            Action::ShowTyped => {
                match self.range_form.as_ref().map(|form| form.asked(hub_now, &self.zone)) {
                    Some(Ok(Asked::Stretch(from, to))) => self.viewport.show(from, to, hub_now),
                    Some(Ok(Asked::UpToNow(width))) => self.viewport.show_up_to_now(width, hub_now),
                    Some(Err(_)) | None => return Vec::new(),
                }
                self.range_form = None;
            }
            Action::EditChart(form) => self.chart_form = form,
            Action::EditExport(form) => self.export_form = form,
            Action::SetChart { .. } => self.chart_form = None,
            Action::Follow => self.viewport.follow(hub_now),
            Action::Pause => self.viewport.pause(hub_now),
            Action::Back => self.viewport.back(),
            Action::Forward => self.viewport.forward(),
            Action::SetCursor(at) => self.cursor = at,
            Action::Pin(at) => {
                if self.pins.len() >= 2 {
                    self.pins.clear();
                }
                self.pins.push(at);
            }
            Action::Measure { from, to } => self.pins = vec![from, to],
            Action::Mark { second } => {
                if let Some(at) = self.cursor {
                    let place = usize::from(second).min(self.pins.len());
                    self.pins.truncate(2);
                    match self.pins.get_mut(place) {
                        Some(pin) => *pin = at,
                        None => self.pins.push(at),
                    }
                }
            }
            Action::ClearPins => self.pins.clear(),
            Action::Select(device) => return self.select(device),
            Action::ToggleExpanded(device) => self.devices.toggle_expanded(&device),
            Action::SetFilter(filter) => self.devices.set_filter(filter, hub_now),
            Action::OpenForm(name) => self.open_form(name.as_deref()),
            Action::OpenUndeclared => self.open_undeclared(),
            Action::SetArg { name, value } => {
                if let Some(form) = self.active_form() {
                    form.set_arg(&name, value);
                }
            }
            Action::TypeText { field, text } => self.type_into_form(field, text),
            Action::SetDelivery(delivery) => {
                if let Some(form) = self.active_form() {
                    form.delivery = Some(delivery);
                }
            }
            Action::ToggleAdvanced => {
                if let Some(form) = self.active_form() {
                    form.unfolded = !form.unfolded;
                }
            }
            Action::Submit => return self.submit(false),
            Action::Confirm => return self.submit(true),
            Action::Dismiss => {
                if let Some(form) = self.form.as_mut().filter(|f| f.stage == FormStage::Confirming) {
                    form.stage = FormStage::Editing;
                }
            }
            Action::ShowCommand(command) => self.detail = command,
            Action::Repeat(command) => return self.repeat(&command),
            Action::ToggleTable => {
                self.table.open = !self.table.open;
                self.groups.open = false;
            }
            Action::ToggleGroups => {
                self.groups.open = !self.groups.open;
                self.table.open = false;
            }
            Action::ShowGroup(group) => {
                self.table.open = false;
                self.groups.show(group);
            }
            Action::OnlyMembers(state) => self.groups.only = state,
            Action::ShowMember { group, device, command } => return self.show_member(group, device, command),
            Action::Choose { device, range } => self.choose_device(device, range),
            Action::ClearChosen => self.chosen.clear(),
            Action::Compose(source) => self.compose(source),
            Action::ComposeByPatterns => self.compose_by_patterns(),
            Action::ChooseCommand(name) => self.choose_command(&name),
            Action::SetRolling(on) => {
                if let Some(composer) = &mut self.composer {
                    composer.rolling = on;
                }
            }
            Action::CloseComposer => self.composer = None,
            Action::SubmitGroup => return self.submit_group(false),
            Action::ConfirmGroup => return self.submit_group(true),
            Action::DismissGroup => {
                if let Some(composer) = &mut self.composer {
                    composer.stage = groups::ComposerStage::Editing;
                }
            }
            Action::Ask(question) => self.question = Some(question),
            Action::Answer(yes) => return self.answer_question(yes),
            Action::FilterTable(filter) => self.table.set_filter(*filter, &self.devices),
            Action::TableEnd(near) => self.table.set_end_near(near),
            Action::SearchOn => self.table.go_on(),
            Action::ExportTable(format) => return self.export(format),
            Action::ShowInCharts(command) => self.show_in_charts(&command),
            Action::CancelCommand(command) => return self.cancel(command),
            Action::LoadOlderCommands => {
                let Some(device) = self.selection.clone() else { return Vec::new() };
                let before = self.commands.of_device(&device).last().map(commands::issued_at);
                return vec![self.ask_commands(Some(device), before, COMMANDS_OF_DEVICE)];
            }
            Action::ReconnectNow => return vec![Effect::ReconnectNow],
            Action::SetTheme(theme) => {
                self.settings.theme = theme;
                return vec![Effect::SaveSettings];
            }
            Action::SetListOrder(order) => {
                self.devices.set_order(order);
                self.settings.list = order;
                return vec![Effect::SaveSettings];
            }
            Action::FoldGroup(name) => self.devices.toggle_group(name),
            Action::FoldPage(fold) => {
                if let Some(page) = &mut self.page {
                    page.toggle(fold);
                }
            }
            Action::RefreshPage => return self.ask_page(),
            Action::OpenWire(device) => return self.open_wire(device),
            Action::CloseWire => return self.close_wire(),
            Action::EditWire(edit) => return self.edit_wire(edit),
            Action::AskGroupsAgain => return self.ask_groups_again(),
            Action::ToggleSettings => {
                let form = SettingsForm::of(&self.settings);
                self.settings_form = if self.settings_form.is_none() { Some(form) } else { None };
            }
            Action::TypeSetting { number, text } => {
                if let Some(form) = &mut self.settings_form {
                    form.set(number, text);
                }
            }
            Action::UseSetting(number) => {
                let typed = self.settings_form.as_ref().map(|form| form.typed(number).to_owned());
                if let Some(Ok(value)) = typed.map(|typed| number.parse(&typed)) {
                    return self.set_number(number, value);
                }
            }
            Action::SetNumber { number, value } => return self.set_number(number, value),
            Action::SetTimes(times) => {
                self.settings.times = times;
                self.zone = zone_of(times, &self.local_zone);
                return vec![Effect::SaveSettings];
            }
            Action::FocusFilter => self.list = Some(true),
            Action::ToggleList => {
                // In a narrow window it stands where the page of a device does.
                if self.is_narrow && (self.selection.is_some() || self.detail.is_some()) {
                    self.list = Some(true);
                    return self.select(None);
                }
                self.list = Some(!self.shows_list());
            }
            Action::ToggleLatency => self.latency_open = !self.latency_open,
            Action::ToggleLog => {
                self.log_open = !self.log_open;
                self.toasts.read();
            }
            Action::ClearLog => self.toasts.clear_log(),
            Action::DismissToast(id) => self.toasts.dismiss(id),
            Action::Copy(text) => return vec![Effect::Copy(text)],
            Action::ToggleHelp => self.help = !self.help,
            Action::ToggleHubs => {
                self.hubs_form = if self.hubs_form.is_none() { Some(HubsForm::default()) } else { None };
            }
            Action::EditHub(edit) => {
                if let Some(form) = &mut self.hubs_form {
                    form.edit(edit, &self.hubs);
                }
            }
            Action::ForgetHub(id) => {
                self.hubs.forget(id);
                if let Some(form) = &mut self.hubs_form {
                    form.edit(hubs::HubEdit::Edit(None), &self.hubs);
                }
                return vec![Effect::SaveHubs];
            }
            Action::ToggleLayouts => {
                let form = LayoutsForm::new(self.export_path.clone());
                self.layouts_form = if self.layouts_form.is_none() { Some(form) } else { None };
            }
            Action::EditLayouts(edit) => {
                if let Some(form) = &mut self.layouts_form {
                    form.edit(edit);
                }
            }
            Action::RenameLayout => {
                let Some(form) = &mut self.layouts_form else { return Vec::new() };
                let Some((from, to)) = form.renaming.clone() else { return Vec::new() };
                if let Err(why) = self.library.rename(&from, layouts::clean_name(&to)) {
                    form.said = Some(Err(why));
                    return Vec::new();
                }
                form.renaming = None;
                form.said = None;
                return vec![Effect::SaveLayouts];
            }
            Action::DeleteLayout(name) => {
                self.library.delete(&name);
                if let Some(form) = &mut self.layouts_form {
                    form.deleting = None;
                    form.said = Some(Ok(format!("{name} is deleted")));
                }
                return vec![Effect::SaveLayouts];
            }
            Action::TogglePalette => {
                self.palette = if self.palette.is_none() { Some(Palette::default()) } else { None };
            }
            Action::TypePalette(typed) => {
                if let Some(palette) = &mut self.palette {
                    *palette = Palette { typed, row: 0 };
                }
            }
            Action::PointPalette(row) => {
                if let Some(palette) = &mut self.palette {
                    palette.row = row;
                }
            }
            Action::FocusWire
            | Action::CopyChart { .. }
            | Action::WriteExport
            | Action::AddChart { .. }
            | Action::AddToChart { .. }
            | Action::RemoveFromChart { .. }
            | Action::SplitChart { .. }
            | Action::SeparateSeries(_)
            | Action::CloseChart(_)
            | Action::RenameChart { .. }
            | Action::ShowChart(_)
            | Action::ResetLayout
            | Action::UndoLayout
            | Action::RedoLayout
            | Action::SaveLayout
            | Action::OpenLayout(_)
            | Action::ExportLayout
            | Action::ImportLayout
            | Action::TestHub
            | Action::ConnectHub
            | Action::UseHub(_) => {}
        }
        Vec::new()
    }

    fn set_number(&mut self, number: Number, value: u32) -> Vec<Effect> {
        let range = number.range();
        let value = value.clamp(*range.start(), *range.end());
        if let Some(form) = &mut self.settings_form {
            form.set(number, value.to_string());
        }
        if number.of(&self.settings) == value {
            return Vec::new();
        }
        number.set(&mut self.settings, value);
        self.series.set_budget(self.settings.memory_bytes());
        vec![Effect::SaveSettings]
    }

    fn select(&mut self, device: Option<DeviceId>) -> Vec<Effect> {
        self.detail = None;
        if self.selection == device {
            return Vec::new();
        }
        self.form = None;
        self.selection = device;
        // A device with a single command shows its form at once.
        if let Some(selected) = self.selected_device()
            && let [only] = selected.info.commands.as_slice()
        {
            self.form = Some(Form::new(selected.info.id.clone(), only.clone()));
        }
        let mut effects = self.open_page();
        if let Some(device) = self.selection.clone().filter(|_| self.connection.is_connected()) {
            effects.push(self.ask_commands(Some(device), None, COMMANDS_OF_DEVICE));
        }
        effects
    }

    /// Opens the form of a command as it was sent before.
    fn repeat(&mut self, command: &CommandId) -> Vec<Effect> {
        let Some(info) = self.commands.get(command).cloned() else { return Vec::new() };
        let effects = self.select(Some(info.device.clone()));
        self.detail = None;
        self.open_form(Some(info.name.as_str()));
        match &mut self.form {
            Some(form) => {
                for (name, value) in info.args {
                    form.set_arg(&name, Some(value));
                }
            }
            None => {
                self.open_undeclared();
                let args = serde_json::to_string(&info.args).unwrap_or_default();
                self.type_into_form(form::Field::Name, info.name.as_str().to_owned());
                self.type_into_form(form::Field::Args, args);
            }
        }
        effects
    }

    /// Puts what the table shows on the clipboard.
    fn export(&mut self, format: table::Format) -> Vec<Effect> {
        let rows = self.table.rows().iter().filter_map(|id| self.commands.get(id));
        let text = table::export(rows, format);
        let name = match format {
            table::Format::Csv => "CSV",
            table::Format::JsonLines => "JSON lines",
        };
        let count = format::count(self.table.rows().len() as u64);
        let detail = match self.table.older() {
            table::Older::Done => None,
            _ if self.table.filter().in_view => None,
            _ => Some("These are the rows that are loaded: scroll to the end for older ones.".to_owned()),
        };
        self.toast(Level::Success, &format!("{count} commands are on the clipboard as {name}"), detail);
        vec![Effect::Copy(text)]
    }

    /// Moves the view so that a command is in its middle, with room around it.
    fn show_in_charts(&mut self, command: &CommandId) {
        let Some(info) = self.commands.get(command) else { return };
        let now = self.now();
        let from = commands::issued_at(info);
        let to = commands::ended_at(info).unwrap_or(now).max(from);
        let around = (to.micros_since(from) * 2).clamp(30_000_000, 24 * 3_600_000_000);
        self.viewport.show(from.plus_micros(-around), to.plus_micros(around), now);
    }
}
