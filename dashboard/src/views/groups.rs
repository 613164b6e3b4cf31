//! The panel of groups: one request to many devices, with a live tally, its members, and what can still be done.

use egui::{Align, Layout, Rect, RichText, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};
use protocol::group::{MemberState, Tally};
use protocol::viewer::{GroupInfo, GroupRequest, Member};

use crate::action::Action;
use crate::format;
use crate::model::groups::Source;
use crate::model::{Groups, Model, Question, outcome};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets::{self, Icon};

/// Height of a row of members, and of a group in the list.
const ROW: f32 = 24.0;
const GROUP_ROW: f32 = 46.0;
/// Width of the list of groups.
const LIST: f32 = 270.0;

/// Draws the panel.
pub fn groups(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    // The panel keeps its height, however little is in it.
    ui.set_min_height(ui.available_height());
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        super::commands::tabs(ui, model, actions);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, Icon::Cross, "Close the groups").clicked() {
                actions.push(Action::ToggleGroups);
            }
            ui.add_enabled_ui(model.connection.may_send(), |ui| {
                if widgets::accent_button(ui, "Send to many…").clicked() {
                    actions.push(Action::Compose(Source::Patterns));
                }
            });
        });
    });
    ui.add_space(6.0);
    let Some(shown) = model.groups.shown() else {
        ui.add_space(18.0);
        ui.vertical_centered(|ui| {
            ui.spacing_mut().item_spacing.y = 6.0;
            let (title, text) = match (model.connection.is_connected(), model.groups.error.as_deref()) {
                (false, _) => ("Not connected", "Groups are loaded when the hub is back.".to_owned()),
                (true, Some(why)) => ("The groups could not be loaded", why.to_owned()),
                (true, None) if model.is_asking_groups() => ("Loading the groups…", String::new()),
                (true, None) => (
                    "No groups yet",
                    "A group tells many devices the same: choose some with Ctrl+click in the list, or say which by \
                     patterns."
                        .to_owned(),
                ),
            };
            ui.label(RichText::new(title).color(t.text_secondary));
            ui.label(RichText::new(text).color(t.text_weak));
            if model.connection.is_connected()
                && model.groups.error.as_deref().is_some()
                && widgets::plain_button(ui, "Ask again").clicked()
            {
                actions.push(Action::AskGroupsAgain);
            }
        });
        return;
    };
    let room = ui.available_rect_before_wrap();
    let list = Rect::from_min_size(room.min, vec2(LIST.min(room.width() * 0.4), room.height()));
    let rest = Rect::from_min_max(pos2(list.right() + 14.0, room.top()), room.max);
    ui.scope_builder(egui::UiBuilder::new().max_rect(list), |ui| all(ui, model, shown, actions));
    ui.painter().vline(list.right() + 7.0, room.y_range(), egui::Stroke::new(1.0, t.line));
    ui.scope_builder(egui::UiBuilder::new().max_rect(rest), |ui| one(ui, model, shown, actions));
}

fn all(ui: &mut Ui, model: &Model, shown: &GroupInfo, actions: &mut Vec<Action>) {
    let groups: Vec<&GroupInfo> = model.groups.newest_first().collect();
    ui.spacing_mut().item_spacing.y = 0.0;
    let area = ScrollArea::vertical().auto_shrink(false).id_salt("groups");
    area.show_rows(ui, GROUP_ROW, groups.len(), |ui, visible| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for group in groups.get(visible).unwrap_or_default() {
            group_row(ui, model, group, group.id == shown.id, actions);
        }
    });
}

fn group_row(ui: &mut Ui, model: &Model, group: &GroupInfo, shown: bool, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), GROUP_ROW), Sense::click());
    let name = format::humanize(group.request.name.as_str());
    let total = group.tally.total();
    response.widget_info(|| {
        WidgetInfo::selected(Role::Button, true, shown, format!("Group {name} to {total} devices"))
    });
    if shown {
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), t.selected());
    } else if response.hovered() {
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), t.hovered());
    }
    widgets::focus_ring(ui, &response, rect);
    let first = rect.top() + 13.0;
    let at = format::clock_or_date(group.issued_at, model.now(), &model.zone);
    let galley = ui.painter().layout_no_wrap(at, fonts::mono(11.0), t.text_weak);
    let right = rect.right() - 8.0 - galley.size().x;
    ui.painter().galley(pos2(right, first - galley.size().y / 2.0), galley, t.text_weak);
    let left = rect.left() + 8.0;
    let width = right - left - 8.0;
    let text = format!("{name}  ·  {}", format::count(u64::from(total)));
    widgets::text_in(ui, pos2(left, first), width, &text, fonts::medium(12.5), t.text);
    let bar = Rect::from_min_max(pos2(left, rect.top() + 27.0), pos2(rect.right() - 8.0, rect.top() + 34.0));
    tally_bar(ui, bar, &group.tally);
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        actions.push(Action::ShowGroup(Some(group.id.clone())));
    }
}

/// A bar in which each state has its share; none that is there is too thin to be seen.
fn tally_bar(ui: &Ui, rect: Rect, tally: &Tally) {
    const LEAST: f32 = 3.0;
    let t = Tokens::of(ui);
    ui.painter().rect_filled(rect, 2.0, t.control);
    let counts: Vec<_> = tally.counts().collect();
    let total = tally.total().max(1) as f32;
    let spare = (rect.width() - counts.len() as f32 * (LEAST + 1.0)).max(0.0);
    let mut left = rect.left();
    // What has ended well stands at the left, what has not begun at the right.
    let mut ordered = counts;
    ordered.sort_by_key(|(state, _)| place(*state));
    for (state, count) in ordered {
        let width = LEAST + spare * count as f32 / total;
        let part = Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height()));
        let color = widgets::member_color(t, state);
        match state {
            // Not begun: an outline, told from what is under way without its colour.
            MemberState::Waiting | MemberState::Skipped => {
                let edge = egui::Stroke::new(1.0, color);
                ui.painter().rect_stroke(part, 1.0, edge, egui::StrokeKind::Inside);
            }
            _ => {
                ui.painter().rect_filled(part, 1.0, color);
            }
        }
        left += width + 1.0;
    }
}

/// The order of states in the bar and in its legend.
const fn place(state: MemberState) -> u8 {
    use protocol::command::CommandState::{
        Cancelled, Expired, Failed, Queued, Received, Rejected, Running, Sent, Succeeded, Unknown, Unresolved,
    };
    match state {
        MemberState::Issued(Succeeded) => 0,
        MemberState::Issued(Failed) => 1,
        MemberState::Issued(Rejected) => 2,
        MemberState::Refused => 3,
        MemberState::Issued(Expired) => 4,
        MemberState::Issued(Unresolved) => 5,
        MemberState::Issued(Unknown) => 6,
        MemberState::Issued(Running) => 7,
        MemberState::Issued(Received) => 8,
        MemberState::Issued(Sent) => 9,
        MemberState::Issued(Queued) => 10,
        MemberState::Issued(Cancelled) => 11,
        MemberState::Skipped => 12,
        MemberState::Waiting => 13,
    }
}

fn one(ui: &mut Ui, model: &Model, group: &GroupInfo, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 4.0;
    let total = group.tally.total();
    ui.horizontal(|ui| {
        let name = format::humanize(group.request.name.as_str());
        ui.label(RichText::new(name).font(fonts::semibold(14.0)).color(t.text));
        let to = format!("{}: {}", devices(total), targets(&group.request));
        ui.add(
            egui::Label::new(RichText::new(to).font(fonts::regular(12.5)).color(t.text_secondary)).truncate(),
        );
    });
    let line = RichText::new(status(model, group)).font(fonts::regular(12.0)).color(t.text_secondary);
    ui.add(egui::Label::new(line).truncate());
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 12.0), Sense::hover());
    let done = total.saturating_sub(group.tally.open());
    response.widget_info(|| {
        let mut info =
            WidgetInfo::labeled(Role::ProgressIndicator, true, format!("{done} of {total} have ended"));
        info.value = Some(f64::from(done) / f64::from(total.max(1)));
        info
    });
    tally_bar(ui, rect, &group.tally);
    legend(ui, model, group, actions);
    buttons(ui, model, group, actions);
    ui.add_space(2.0);
    members(ui, model, group, actions);
}

/// How many, with the right word.
pub fn devices(count: u32) -> String {
    let noun = if count == 1 { "device" } else { "devices" };
    format!("{} {noun}", format::count(u64::from(count)))
}

/// To whom, in words.
fn targets(request: &GroupRequest) -> String {
    let mut parts = Vec::new();
    for (name, list) in
        [("", &request.to.devices), ("models ", &request.to.models), ("tags ", &request.to.tags)]
    {
        match list.as_slice() {
            [] => {}
            [all] if all == "*" => parts.push("all".to_owned()),
            [first, second, third, rest @ ..] if !rest.is_empty() => {
                parts.push(format!("{name}{first}, {second}, {third} and {} more", rest.len()));
            }
            few => parts.push(format!("{name}{}", few.join(", "))),
        }
    }
    parts.join("; ")
}

fn status(model: &Model, group: &GroupInfo) -> String {
    let clock = |at| format::clock_or_date(at, model.now(), &model.zone);
    let mut parts = Vec::new();
    if let Some(ended) = group.ended_at {
        let took = format::duration(ended.micros_since(group.issued_at));
        parts.push(format!("Ended at {} after {took}", clock(ended)));
    } else {
        parts.push(format!("{} have not ended", format::count(u64::from(group.tally.open()))));
    }
    if let Some(stopped) = &group.stopped {
        let why = if stopped.by == "hub" { "by the hub after too many failures" } else { "by " };
        let who = if stopped.by == "hub" { "" } else { stopped.by.as_str() };
        parts.push(format!("stopped at {} {why}{who}", clock(stopped.at)));
    }
    if let Some(at_once) = group.request.at_once {
        parts.push(format!("{at_once} at a time"));
    }
    if let Some(most) = group.request.stop_after {
        parts.push(format!("stops after {most} failures"));
    }
    if group.retry_of.is_some() {
        parts.push("a retry".to_owned());
    }
    parts.push(format!("by {}", format::ellipsis(&group.issued_by, 30)));
    parts.join("  ·  ")
}

/// The states with their numbers; a click lists only those.
fn legend(ui: &mut Ui, model: &Model, group: &GroupInfo, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let mut counts: Vec<_> = group.tally.counts().collect();
    counts.sort_by_key(|(state, _)| place(*state));
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(2.0, 2.0);
        for (state, count) in counts {
            let only = model.groups.only == Some(state);
            let text = format!("{} {}", format::count(u64::from(count)), outcome::member_label(state));
            let galley = ui.painter().layout_no_wrap(text.clone(), fonts::regular(12.0), t.text);
            let (rect, response) = ui.allocate_exact_size(vec2(galley.size().x + 28.0, 22.0), Sense::click());
            response.widget_info(|| WidgetInfo::selected(Role::Button, true, only, &text));
            if only || response.hovered() {
                let fill = if only { t.selected() } else { t.hovered() };
                ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), fill);
            }
            widgets::focus_ring(ui, &response, rect);
            widgets::member_shape(ui, pos2(rect.left() + 11.0, rect.center().y), state, t);
            ui.painter().galley(
                pos2(rect.left() + 21.0, rect.center().y - galley.size().y / 2.0),
                galley,
                t.text,
            );
            if response.on_hover_text("List only these").clicked() {
                actions.push(Action::OnlyMembers((!only).then_some(state)));
            }
        }
    });
}

/// How many a retry would go to.
fn failed(tally: &Tally) -> u32 {
    use protocol::command::CommandState::{Expired, Failed, Rejected};
    let counts = [Failed, Rejected, Expired].map(|state| tally.of(MemberState::Issued(state)));
    counts.into_iter().fold(0, u32::saturating_add)
}

/// How many have not been handed over yet.
fn not_begun(tally: &Tally) -> u32 {
    let queued = tally.of(MemberState::Issued(protocol::command::CommandState::Queued));
    tally.of(MemberState::Waiting).saturating_add(queued)
}

fn buttons(ui: &mut Ui, model: &Model, group: &GroupInfo, actions: &mut Vec<Action>) {
    let may_send = model.connection.may_send();
    let (waiting, open, failed) = (not_begun(&group.tally), group.tally.open(), failed(&group.tally));
    if group.ended_at.is_some() && failed == 0 {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 4.0);
        if waiting > 0 && group.ended_at.is_none() {
            ui.add_enabled_ui(may_send, |ui| {
                let text = format!("Cancel the {} not begun…", format::count(u64::from(waiting)));
                if widgets::danger_button(ui, &text).clicked() {
                    actions.push(Action::Ask(Question::CancelGroup(group.id.clone(), false)));
                }
            });
        }
        if open > waiting && group.ended_at.is_none() {
            ui.add_enabled_ui(may_send, |ui| {
                if widgets::plain_button(ui, "Ask all to stop…").clicked() {
                    actions.push(Action::Ask(Question::CancelGroup(group.id.clone(), true)));
                }
            });
        }
        if failed > 0 && group.ended_at.is_some() {
            ui.add_enabled_ui(may_send, |ui| {
                let text = format!("Retry the {} that failed…", format::count(u64::from(failed)));
                if widgets::plain_button(ui, &text).clicked() {
                    actions.push(Action::Ask(Question::RetryGroup(group.id.clone())));
                }
            });
        }
    });
}

fn members(ui: &mut Ui, model: &Model, group: &GroupInfo, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let groups: &Groups = &model.groups;
    if !groups.members_loaded() {
        let text = match groups.members_error() {
            _ if !model.connection.is_connected() => {
                "Not connected: the members are loaded when the hub is back.".to_owned()
            }
            Some(why) => format!("The members could not be loaded: {why}. They are asked for again."),
            None => "Loading the members…".to_owned(),
        };
        ui.label(RichText::new(text).color(t.text_weak));
        return;
    }
    let rows: Vec<&Member> = groups.members().collect();
    ui.spacing_mut().item_spacing.y = 0.0;
    let area = ScrollArea::vertical().auto_shrink(false).id_salt(("members", group.id.as_str()));
    area.show_rows(ui, ROW, rows.len(), |ui, visible| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for member in rows.get(visible).unwrap_or_default() {
            member_row(ui, model, group, member, actions);
        }
    });
}

fn member_row(ui: &mut Ui, model: &Model, group: &GroupInfo, member: &Member, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let sense = if member.command.is_some() { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), sense);
    let label = outcome::member_label(member.state);
    let selected = member.command.is_some() && model.detail == member.command;
    response.widget_info(|| {
        WidgetInfo::selected(
            Role::Button,
            member.command.is_some(),
            selected,
            format!("{} {label}", member.device),
        )
    });
    if selected {
        ui.painter().rect_filled(rect, 0.0, t.selected());
    } else if response.hovered() && member.command.is_some() {
        ui.painter().rect_filled(rect, 0.0, t.hovered());
    }
    widgets::focus_ring(ui, &response, rect);
    let y = rect.center().y;
    let regular = fonts::regular(12.5);
    widgets::text_in(ui, pos2(rect.left() + 6.0, y), 150.0, member.device.as_str(), regular.clone(), t.text);
    widgets::member_shape(ui, pos2(rect.left() + 168.0, y), member.state, t);
    let color = match member.state {
        MemberState::Waiting | MemberState::Skipped | MemberState::Refused => t.text_secondary,
        state @ MemberState::Issued(_) => widgets::member_color(t, state),
    };
    let progress = member
        .command
        .as_ref()
        .and_then(|id| model.commands.get(id))
        .and_then(|c| c.progress.filter(|p| p.is_finite() && !c.state.is_final()));
    let text = match progress {
        Some(p) => format!("{label} {:.0} %", p.clamp(0.0, 1.0) * 100.0),
        None => label.to_owned(),
    };
    widgets::text_in(ui, pos2(rect.left() + 180.0, y), 140.0, &text, regular, color);
    let why =
        member.error.clone().or_else(|| member.code.as_ref().map(ToString::to_string)).unwrap_or_default();
    let left = rect.left() + 326.0;
    let room = rect.right() - left;
    widgets::text_in(
        ui,
        pos2(left, y),
        room,
        &format::ellipsis(&why, 200),
        fonts::regular(12.0),
        t.text_secondary,
    );
    if let Some(command) = &member.command
        && response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked()
    {
        let (group, device) = (group.id.clone(), member.device.clone());
        actions.push(if selected {
            Action::ShowCommand(None)
        } else {
            Action::ShowMember { group, device, command: command.clone() }
        });
    }
}

/// Draws what a person is asked before many devices are told.
pub fn question(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(question) = &model.question else { return };
    let (Question::CancelGroup(id, _) | Question::RetryGroup(id)) = question;
    let Some(group) = model.groups.get(id) else {
        actions.push(Action::Answer(false));
        return;
    };
    let name = format::humanize(group.request.name.as_str());
    let (waiting, open) = (not_begun(&group.tally), group.tally.open());
    let (title, yes, text) = match question {
        Question::CancelGroup(_, false) => (
            format!("Cancel {name} for {}?", devices(waiting)),
            "Cancel them",
            format!("They have not begun. The {} that have go on.", format::count(u64::from(open - waiting.min(open)))),
        ),
        Question::CancelGroup(_, true) => (
            format!("Ask {} to stop?", devices(open)),
            "Ask them",
            "Those that have not begun do not begin. Those that have are asked to stop, and decide for themselves."
                .to_owned(),
        ),
        Question::RetryGroup(_) => (
            format!("{name} again on {}?", devices(failed(&group.tally))),
            "Send again",
            "It goes to those that failed, refused it or did not get it in time. A device whose outcome is not known is \
             left out: it may have done it."
                .to_owned(),
        ),
    };
    let answer = widgets::question(ui, "group question", &title, yes, |ui| {
        let t = Tokens::of(ui);
        ui.add(egui::Label::new(RichText::new(text).color(t.text_secondary)).wrap());
    });
    if let Some(yes) = answer {
        actions.push(Action::Answer(yes));
    }
}
