//! The form of a group: to whom, what, how many at a time, and who would get it according to the hub.

use egui::{Align, Layout, RichText, ScrollArea, Sense, Ui, vec2};
use protocol::viewer::Member;

use crate::action::Action;
use crate::format;
use crate::model::form::Field;
use crate::model::groups::{Composer, ComposerStage};
use crate::model::{Model, outcome};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::groups::devices;
use crate::views::{form, widgets};

/// Size of the dialog, where the window has room for it.
const WIDTH: f32 = 860.0;
const HEIGHT: f32 = 560.0;
/// Below this width the columns stand below each other.
const TWO_COLUMNS: f32 = 560.0;
/// Height of the list of who gets it, where it stands below the form.
const PREVIEW_HEIGHT: f32 = 220.0;
/// Devices that are named before the rest is counted.
const NAMED: usize = 12;
const ROW: f32 = 22.0;

/// Draws the dialog.
pub fn composer(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(composer) = &model.composer else { return };
    let t = Tokens::of(ui);
    let screen = ui.ctx().content_rect();
    let size = vec2(WIDTH.min(screen.width() - 60.0), HEIGHT.min(screen.height() - 80.0));
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(18));
    let modal = egui::Modal::new(egui::Id::unique("composer")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(size.x);
        ui.horizontal(|ui| {
            ui.label(RichText::new("Send to many devices").font(fonts::semibold(15.0)).color(t.text));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, widgets::Icon::Cross, "Close the form").clicked() {
                    actions.push(Action::CloseComposer);
                }
            });
        });
        ui.add_space(10.0);
        let (room, _) = ui.allocate_exact_size(vec2(size.x, size.y - 90.0), Sense::hover());
        if size.x < TWO_COLUMNS {
            let below = egui::UiBuilder::new().max_rect(room).layout(Layout::top_down(Align::Min));
            ui.scope_builder(below, |ui| {
                ScrollArea::vertical().auto_shrink(false).id_salt("composer").show(ui, |ui| {
                    ui.set_width(room.width() - 12.0);
                    ui.spacing_mut().item_spacing.y = 4.0;
                    to(ui, composer, actions);
                    ui.add_space(12.0);
                    what(ui, composer, actions);
                    ui.add_space(12.0);
                    rolling(ui, composer, actions);
                    ui.add_space(8.0);
                    ui.separator();
                    let who = vec2(ui.available_width(), PREVIEW_HEIGHT);
                    ui.allocate_ui(who, |ui| preview(ui, model, composer, actions));
                });
            });
            ui.advance_cursor_after_rect(room);
            ui.add_space(8.0);
            foot(ui, model, composer, actions);
            return;
        }
        let middle = room.left() + size.x * 0.54;
        let left = egui::Rect::from_min_max(room.min, egui::pos2(middle - 12.0, room.bottom()));
        let right = egui::Rect::from_min_max(egui::pos2(middle + 12.0, room.top()), room.max);
        let column = |rect| egui::UiBuilder::new().max_rect(rect).layout(Layout::top_down(Align::Min));
        ui.scope_builder(column(left), |ui| {
            ScrollArea::vertical().auto_shrink(false).id_salt("composer").show(ui, |ui| {
                ui.set_width(left.width() - 12.0);
                ui.spacing_mut().item_spacing.y = 4.0;
                to(ui, composer, actions);
                ui.add_space(12.0);
                what(ui, composer, actions);
                ui.add_space(12.0);
                rolling(ui, composer, actions);
            });
        });
        ui.painter().vline(middle, room.y_range(), egui::Stroke::new(1.0, t.line));
        ui.scope_builder(column(right), |ui| preview(ui, model, composer, actions));
        // However little is in the columns, what follows stands below them.
        ui.advance_cursor_after_rect(room);
        ui.add_space(8.0);
        foot(ui, model, composer, actions);
    });
    // A click beside it would throw away what was typed: only the keyboard and the cross close it.
    let escape = ui.input(|i| i.key_pressed(egui::Key::Escape));
    if modal.is_top_modal && !modal.any_popup_open && escape && composer.stage == ComposerStage::Editing {
        actions.push(Action::CloseComposer);
    }
    confirmation(ui, composer, actions);
}

fn to(ui: &mut Ui, composer: &Composer, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "To");
    if !composer.devices.is_empty() {
        let names: Vec<&str> = composer.devices.iter().take(NAMED).map(protocol::DeviceId::as_str).collect();
        let more = composer.devices.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {} more", format::count(more as u64)) } else { String::new() };
        let text = format!("{}{more}", names.join(", "));
        ui.label(
            RichText::new(devices(composer.devices.len() as u32)).font(fonts::medium(13.0)).color(t.text),
        );
        ui.add(egui::Label::new(RichText::new(text).font(fonts::mono(11.5)).color(t.text_secondary)).wrap());
        if widgets::link(ui, "Say which by patterns instead").clicked() {
            actions.push(Action::ComposeByPatterns);
        }
        return;
    }
    for (field, label, hint) in [
        (Field::Devices, "Devices", "pump-*, press-1"),
        (Field::Models, "Models", "PS-2, Cold room *"),
        (Field::Tags, "Tags", "site:north, canary"),
    ] {
        ui.horizontal(|ui| {
            let (rect, _) = ui.allocate_exact_size(vec2(62.0, 24.0), Sense::hover());
            let at = egui::pos2(rect.left(), rect.center().y);
            widgets::text_in(ui, at, 60.0, label, fonts::regular(12.5), t.text_secondary);
            own_field(ui, composer, &field, label, hint, f32::INFINITY, actions);
        });
    }
    let text = "A device has to fit every line with something in it. * is any text, ? any one character.";
    form::weak_text(ui, text);
    let known =
        if composer.matching > 0 { devices(composer.matching as u32) } else { "No device".to_owned() };
    if composer.targets() != protocol::group::Targets::default() {
        let verb = if composer.matching == 1 || composer.matching == 0 { "fits" } else { "fit" };
        ui.label(RichText::new(format!("{known} {verb}")).font(fonts::medium(12.5)).color(t.text));
    }
}

fn own_field(
    ui: &mut Ui,
    composer: &Composer,
    field: &Field,
    label: &str,
    hint: &str,
    width: f32,
    actions: &mut Vec<Action>,
) {
    let t = Tokens::of(ui);
    let mut text = composer.text(field).to_owned();
    let edit = egui::TextEdit::singleline(&mut text)
        .font(fonts::mono(12.5))
        .hint_text(RichText::new(hint).color(t.text_weak))
        .char_limit(40_000)
        .margin(egui::Margin::symmetric(7, 4))
        .desired_width(width);
    let response = ui.add(edit).accessible_name(label);
    let wrong = composer.problem(field).is_some();
    if wrong || !response.has_focus() {
        let stroke = egui::Stroke::new(1.0, if wrong { t.error } else { t.line });
        let radius = f32::from(tokens::RADIUS_CONTROL);
        ui.painter().rect_stroke(response.rect, radius, stroke, egui::StrokeKind::Inside);
    }
    if response.changed() {
        actions.push(Action::TypeText { field: field.clone(), text });
    }
}

fn what(ui: &mut Ui, composer: &Composer, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "Command");
    let chosen = composer.form.as_ref().map(crate::model::Form::name);
    let offer = composer.offers.iter().find(|o| Some(&o.name) == chosen.as_ref());
    let text = match (offer, &chosen) {
        (Some(offer), _) => offer.label.clone(),
        (None, Some(name)) => format::humanize(name),
        (None, None) => "Choose…".to_owned(),
    };
    ui.add_enabled_ui(!composer.offers.is_empty(), |ui| {
        ui.name_inputs("Command", |ui| {
            egui::ComboBox::from_id_salt("group command")
                .width(ui.available_width())
                .selected_text(text)
                .show_ui(ui, |ui| {
                    for offer in &composer.offers {
                        let text = format!("{} · {} of {}", offer.label, offer.devices, composer.matching);
                        if ui.selectable_label(chosen.as_ref() == Some(&offer.name), text).clicked() {
                            actions.push(Action::ChooseCommand(offer.name.clone()));
                        }
                    }
                });
        });
    });
    if composer.offers.is_empty() {
        form::weak_text(ui, "The commands that these devices declare.");
    }
    let Some(shown) = &composer.form else { return };
    ui.add_space(6.0);
    egui::Frame::new()
        .stroke(egui::Stroke::new(1.0, t.line))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin::same(10))
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing = vec2(8.0, 4.0);
            form::fields(ui, shown, &shown.problems(), actions);
            ui.take_available_width();
        });
}

fn rolling(ui: &mut Ui, composer: &Composer, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let mut on = composer.rolling;
    ui.horizontal(|ui| {
        if widgets::switch(ui, "A few at a time", &mut on).changed() {
            actions.push(Action::SetRolling(on));
        }
        ui.label(RichText::new("A few at a time").font(fonts::regular(12.5)).color(t.text_secondary));
    });
    if !composer.rolling {
        form::weak_text(ui, "All devices get it at once.");
        return;
    }
    ui.horizontal(|ui| {
        own_field(ui, composer, &Field::AtOnce, "Devices at a time", "all", 52.0, actions);
        ui.label(
            RichText::new("at a time, the next when one has ended")
                .font(fonts::regular(12.0))
                .color(t.text_weak),
        );
    });
    if let Some(problem) = composer.problem(&Field::AtOnce) {
        form::error_text(ui, &problem);
    }
    ui.horizontal(|ui| {
        own_field(ui, composer, &Field::StopAfter, "Failures to stop after", "no", 52.0, actions);
        let text = "failures stop it: then no more are begun";
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak));
    });
    if let Some(problem) = composer.problem(&Field::StopAfter) {
        form::error_text(ui, &problem);
    }
}

/// Who would get it and who would not, as the hub says.
fn preview(ui: &mut Ui, model: &Model, composer: &Composer, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "Who gets it");
    ui.add_space(4.0);
    if let Some(error) = composer.preview_error() {
        form::error_text(ui, error);
        if widgets::chip(ui, "Ask again", false).clicked() {
            actions.push(Action::AskGroupsAgain);
        }
        return;
    }
    if let Err(missing) = composer.request() {
        form::weak_text(ui, &format!("{missing}. Then the hub is asked, and nothing is sent."));
        return;
    }
    let Some((get, refused)) = composer.preview() else {
        let text = if model.connection.is_connected() {
            "Asking the hub…"
        } else {
            "Not connected: asked when the hub is back."
        };
        form::weak_text(ui, text);
        return;
    };
    let offline = get.iter().filter(|m| !is_connected(model, m)).count();
    let line = |ui: &mut Ui, text: String, color| {
        ui.label(RichText::new(text).font(fonts::medium(12.5)).color(color));
    };
    let verb = |count: usize, one: &'static str, many: &'static str| if count == 1 { one } else { many };
    let gets = verb(get.len(), "gets it", "get it");
    line(ui, format!("{} {gets}", devices(get.len() as u32)), t.text);
    if offline > 0 {
        let are = verb(offline, "is", "are");
        line(ui, format!("{} of them {are} offline now", format::count(offline as u64)), t.warn);
    }
    if !refused.is_empty() {
        let not = verb(refused.len(), "does not", "do not");
        line(ui, format!("{} {not}", devices(refused.len() as u32)), t.warn);
    }
    ui.add_space(4.0);
    // Those that do not get it first: they want to be looked at.
    let rows: Vec<&Member> = refused.into_iter().chain(get).collect();
    ui.spacing_mut().item_spacing.y = 0.0;
    ScrollArea::vertical().auto_shrink(false).id_salt("preview").show_rows(
        ui,
        ROW,
        rows.len(),
        |ui, visible| {
            ui.spacing_mut().item_spacing.y = 0.0;
            for member in rows.get(visible).unwrap_or_default() {
                preview_row(ui, model, member);
            }
        },
    );
}

fn is_connected(model: &Model, member: &Member) -> bool {
    model.devices.get(&member.device).is_some_and(|d| d.info.connected)
}

fn preview_row(ui: &mut Ui, model: &Model, member: &Member) {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let gets = member.state == protocol::group::MemberState::Waiting;
    let why = match (&member.error, gets) {
        // The name stands before it already.
        (Some(why), _) => match why.strip_prefix(member.device.as_str()) {
            Some(rest) if rest.starts_with(' ') => rest.trim_start().to_owned(),
            _ => why.clone(),
        },
        (None, true) if !is_connected(model, member) => "offline: it waits".to_owned(),
        (None, true) => String::new(),
        (None, false) => outcome::member_label(member.state).to_owned(),
    };
    let spoken = format!("{} {} {why}", member.device, if gets { "gets it" } else { "does not get it:" });
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, spoken.trim_end()));
    let y = rect.center().y;
    if gets {
        ui.painter().circle_filled(egui::pos2(rect.left() + 6.0, y), 2.5, t.ok);
    } else {
        widgets::member_shape(ui, egui::pos2(rect.left() + 6.0, y), member.state, t);
    }
    let name = egui::pos2(rect.left() + 16.0, y);
    let width = widgets::text_in(ui, name, 150.0, member.device.as_str(), fonts::regular(12.0), t.text);
    let left = rect.left() + 16.0 + width + 10.0;
    let color = if gets { t.text_weak } else { t.text_secondary };
    widgets::text_in(ui, egui::pos2(left, y), rect.right() - left, &why, fonts::regular(11.5), color);
    response.on_hover_text(why);
}

fn foot(ui: &mut Ui, model: &Model, composer: &Composer, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let count = composer.preview().map_or(0, |(get, _)| get.len());
            let (text, busy) = match composer.stage {
                ComposerStage::Sending(_) => ("Sending…".to_owned(), true),
                ComposerStage::InDoubt(_) => ("Looking it up…".to_owned(), true),
                _ if count > 0 => (format!("Send to {}…", devices(count as u32)), false),
                _ => ("Send…".to_owned(), true),
            };
            ui.add_enabled_ui(!busy && model.connection.may_send(), |ui| {
                if widgets::accent_button(ui, &text).clicked() {
                    actions.push(Action::SubmitGroup);
                }
            });
            if widgets::plain_button(ui, "Close").clicked() {
                actions.push(Action::CloseComposer);
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let note = match (&composer.stage, &composer.refused, model.connection.why_not_send()) {
                    (ComposerStage::InDoubt(_), ..) => Some((
                        "The connection was lost before the hub answered. Whether it has the group is looked up when it \
                         is back.",
                        t.warn,
                    )),
                    (_, Some(refused), _) => Some((refused.as_str(), t.error)),
                    (_, _, Some(why)) => Some((why, t.text_weak)),
                    _ => None,
                };
                if let Some((note, color)) = note {
                    ui.add(egui::Label::new(RichText::new(note).font(fonts::regular(12.0)).color(color)).wrap());
                }
            });
        });
    });
}

/// The last question, which names how many devices it is about.
fn confirmation(ui: &Ui, composer: &Composer, actions: &mut Vec<Action>) {
    if composer.stage != ComposerStage::Confirming {
        return;
    }
    let (Ok(request), Some((get, refused)), Some(shown)) =
        (composer.request(), composer.preview(), composer.form.as_ref())
    else {
        actions.push(Action::DismissGroup);
        return;
    };
    let count = devices(get.len() as u32);
    let name = request.name.to_string();
    let title = format!("{} on {count}?", format::humanize(&name));
    let mut rows = vec![("Devices".to_owned(), count), ("Command".to_owned(), name)];
    for (argument, value) in &request.args {
        let param =
            shown.declaration.as_ref().and_then(|d| d.params.iter().find(|p| p.name.as_str() == argument));
        let text = param.map_or_else(|| value.to_string(), |param| form::shown(param, value));
        rows.push((format::humanize(argument), text));
    }
    match request.at_once {
        Some(n) => rows.push(("At a time".to_owned(), n.to_string())),
        None => rows.push(("At a time".to_owned(), "all".to_owned())),
    }
    if let Some(n) = request.stop_after {
        rows.push(("Stops after".to_owned(), format!("{n} failures")));
    }
    if !refused.is_empty() {
        rows.push(("Left out".to_owned(), format!("{} that do not take it", devices(refused.len() as u32))));
    }
    let asks = shown.declaration.as_ref().is_some_and(|d| d.confirm);
    let answer = widgets::question(ui, "group confirmation", &title, "Send now", |ui| {
        let t = Tokens::of(ui);
        widgets::facts(ui, "group facts", &rows);
        if asks {
            let text = "The devices ask that a person confirms this command.";
            ui.label(RichText::new(text).color(t.warn));
        }
    });
    match answer {
        Some(true) => actions.push(Action::ConfirmGroup),
        Some(false) => actions.push(Action::DismissGroup),
        None => {}
    }
}
