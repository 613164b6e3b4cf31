//! The table of all commands: what it shows, what it asks the hub for, and how it is used.

use dashboard::action::Action;
use dashboard::model::table::{Format, Older, TableFilter};
use dashboard::model::{Effect, Event, Model};
use egui::Key;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::command::CommandState;
use protocol::viewer::{CommandInfo, CommandsRequest, HubToViewer, ViewerMessage};
use serde_json::{Value as Json, json};

use crate::fixtures::*;
use crate::model::sends;
use crate::window::type_into;

/// A command that was issued at this second and succeeded, or is in this state.
fn info(id: &str, device: &str, second: i64, state: &str) -> CommandInfo {
    let states = if state == "queued" {
        vec![("queued", second)]
    } else {
        vec![("queued", second), (state, second + 1)]
    };
    let Event::Message(HubToViewer::Command(event)) =
        command(None, &states, json!({"id": id, "device": device}))
    else {
        unreachable!()
    };
    event.command
}

fn list(id: u64, commands: &[CommandInfo]) -> Event {
    Event::Message(message(json!({"type": "commands", "id": id, "commands": commands})))
}

fn requests(messages: &[ViewerMessage]) -> Vec<CommandsRequest> {
    let of = |m: &ViewerMessage| if let ViewerMessage::Commands(c) = m { Some(c.clone()) } else { None };
    messages.iter().filter_map(of).collect()
}

/// A model whose first page has come, reaching back this many commands, one a second.
fn with_page(count: i64) -> Model {
    let mut model = model();
    let start = requests(&sends(model.handle_event(welcome(100), NOW)))[0].id;
    model.handle_event(devices(&[greenhouse(1, true), greenhouse(2, true)]), NOW);
    let page: Vec<_> =
        (1..=count).map(|n| info(&format!("p{n}"), "greenhouse-01", -n, "succeeded")).collect();
    model.handle_event(list(start, &page), NOW);
    model.apply(Action::ToggleTable, NOW);
    model
}

/// What the table asks for; requests for the charts say since when.
fn tick(model: &mut Model, seconds: i64) -> Vec<CommandsRequest> {
    let mut asked = requests(&sends(model.tick(&[], 800.0, later(seconds))));
    asked.retain(|r| r.since.is_none());
    asked
}

fn ids(model: &Model) -> Vec<&str> {
    model.table.rows().iter().map(protocol::CommandId::as_str).collect()
}

fn filter(model: &mut Model, filter: TableFilter) {
    model.apply(Action::FilterTable(Box::new(filter)), NOW);
}

#[test]
fn the_table_shows_the_newest_first_and_nothing_beyond_a_hole() {
    let mut model = with_page(3);
    // Loaded for a chart, far in the past: what lies between is not known.
    let Event::Message(HubToViewer::Command(mut event)) = command(None, &[("queued", -90_000)], json!({}))
    else {
        unreachable!()
    };
    event.command.id = protocol::CommandId::new("island").unwrap();
    model.handle_event(Event::Message(HubToViewer::Command(event)), NOW);
    tick(&mut model, 0);
    assert_eq!(ids(&model), ["p1", "p2", "p3"]);
    model.handle_event(command(None, &[("queued", 0)], json!({"id": "new"})), NOW);
    tick(&mut model, 1);
    assert_eq!(ids(&model), ["new", "p1", "p2", "p3"]);
}

#[test]
fn older_commands_are_asked_for_at_the_end_until_there_are_none() {
    let mut model = with_page(3);
    assert!(tick(&mut model, 0).is_empty(), "the end has not been reached");
    model.apply(Action::TableEnd(true), NOW);
    let asked = tick(&mut model, 1);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].before > Some(later(-3)) && asked[0].before < Some(later(-2)));
    assert!(tick(&mut model, 1).is_empty(), "one page at a time");
    let older = [info("o1", "greenhouse-02", -10, "succeeded"), info("o2", "greenhouse-01", -20, "failed")];
    model.handle_event(list(asked[0].id, &older), NOW);
    let asked = tick(&mut model, 2);
    assert_eq!(ids(&model), ["p1", "p2", "p3", "o1", "o2"]);
    // Nothing older: the last one comes again, and that is the end.
    model.handle_event(list(asked[0].id, &older[1..]), NOW);
    assert!(tick(&mut model, 3).is_empty());
    assert_eq!(*model.table.older(), Older::Done);
    assert_eq!(model.table.rows().len(), 5);
}

#[test]
fn what_the_hub_can_filter_it_is_asked_to_filter() {
    let mut model = with_page(3);
    model.apply(Action::TableEnd(true), NOW);
    let states = vec![CommandState::Failed];
    filter(&mut model, TableFilter { device: "greenhouse-02".into(), states, ..TableFilter::default() });
    let asked = tick(&mut model, 1);
    assert_eq!(asked[0].device.as_ref().map(protocol::DeviceId::as_str), Some("greenhouse-02"));
    assert_eq!(asked[0].states, [CommandState::Failed]);
    assert!(model.table.rows().is_empty());
    model.handle_event(list(asked[0].id, &[info("f", "greenhouse-02", -900, "failed")]), NOW);
    tick(&mut model, 2);
    assert_eq!(ids(&model), ["f"]);
    // Without the filter there is a hole before that one.
    filter(&mut model, TableFilter::default());
    tick(&mut model, 3);
    assert_eq!(ids(&model), ["p1", "p2", "p3"]);
}

#[test]
fn words_and_parts_of_names_are_searched_here_and_a_fruitless_search_stops() {
    let mut model = with_page(3);
    model.apply(Action::TableEnd(true), NOW);
    let mut open = Vec::new();
    for (text, found) in [("greenhouse-01 24.5", 3), ("SUCCEEDED set", 3), ("nonsense", 0)] {
        filter(&mut model, TableFilter { text: text.into(), ..TableFilter::default() });
        open.extend(tick(&mut model, 1));
        assert_eq!(model.table.rows().len(), found, "{text}");
    }
    let mut pages = 0;
    for n in 0..50 {
        open.extend(tick(&mut model, 2 + n));
        let Some(request) = open.pop() else { continue };
        pages += 1;
        model.handle_event(
            list(request.id, &[info(&format!("x{n}"), "greenhouse-01", -100 - n, "failed")]),
            NOW,
        );
    }
    assert_eq!(*model.table.older(), Older::Fruitless);
    assert!(pages <= 12, "{pages}");
    model.apply(Action::SearchOn, NOW);
    assert_eq!(tick(&mut model, 60).len(), 1);
}

#[test]
fn an_answer_that_failed_is_said_and_can_be_asked_for_again() {
    let mut model = with_page(3);
    model.apply(Action::TableEnd(true), NOW);
    let id = tick(&mut model, 1)[0].id;
    let error = json!({"type": "error", "id": id, "code": "internal", "message": "the disk is slow"});
    model.handle_event(Event::Message(message(error)), NOW);
    assert_eq!(*model.table.older(), Older::Failed("the disk is slow".into()));
    assert!(tick(&mut model, 2).is_empty());
    model.apply(Action::SearchOn, NOW);
    assert_eq!(tick(&mut model, 3).len(), 1);
}

#[test]
fn only_the_time_shown_follows_the_charts() {
    let mut model = with_page(600);
    filter(&mut model, TableFilter { in_view: true, ..TableFilter::default() });
    model.apply(Action::ShowRange { from: later(-50), to: later(-40) }, NOW);
    tick(&mut model, 1);
    // The one that was issued at -51 and ended at -50 was still under way.
    assert_eq!((model.table.rows().len(), ids(&model)[0]), (12, "p40"));
}

#[test]
fn what_is_shown_is_copied_as_csv_and_as_json_lines() {
    let mut model = with_page(2);
    tick(&mut model, 0);
    let copied = |model: &mut Model, format| {
        let effects = model.apply(Action::ExportTable(format), NOW);
        let [Effect::Copy(text)] = effects.as_slice() else { unreachable!() };
        text.clone()
    };
    let csv = copied(&mut model, Format::Csv);
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("id,device,name,args,issued_at,"));
    assert_eq!(lines.len(), 3);
    assert!(
        lines[1].starts_with(
            "p1,greenhouse-01,set_target,\"{\"\"mode\"\":\"\"eco\"\",\"\"target\"\":24.5}\",2025-06-15T11:59:59.000000Z,"
        ),
        "{}",
        lines[1]
    );
    let jsonl = copied(&mut model, Format::JsonLines);
    let first: Json = serde_json::from_str(jsonl.lines().next().unwrap()).unwrap();
    assert_eq!((&first["id"], &first["state"]), (&json!("p1"), &json!("succeeded")));
}

#[test]
fn what_was_under_way_is_found_as_by_looking_at_every_command() {
    let mut model = connected_model(2);
    let mut seed = 7_u64;
    let mut next = |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 33).unwrap() % below
    };
    let mut lives = Vec::new();
    for n in 0..400 {
        let (begin, takes) = (-next(4_000), next(600));
        let ends = next(5) > 0;
        let states = if ends {
            vec![("queued", begin), ("succeeded", begin + takes)]
        } else {
            vec![("queued", begin)]
        };
        let id = format!("r{n}");
        model.handle_event(command(None, &states, json!({"id": id})), NOW);
        lives.push((id, begin, ends.then_some(begin + takes)));
    }
    let device = protocol::DeviceId::new("greenhouse-01").unwrap();
    for (from, to) in [(-4_500, 0), (-1_000, -900), (-50, -50), (-9_000, -8_000), (0, 100)] {
        let mut found: Vec<&str> =
            model.commands.under_way(&device, later(from), later(to)).map(|c| c.id.as_str()).collect();
        let in_view =
            |(_, begin, end): &&(String, i64, Option<i64>)| *begin <= to && end.is_none_or(|e| e >= from);
        let mut expected: Vec<&str> = lives.iter().filter(in_view).map(|(id, ..)| id.as_str()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{from} to {to}");
    }
}

#[test]
fn the_oldest_are_forgotten_first_and_nothing_is_shown_beyond_them() {
    let mut model = with_page(10);
    let max = i64::try_from(dashboard::model::commands::COMMANDS_MAX).unwrap();
    for n in 0..max {
        let at = later(n + 1);
        let new = json!({"type": "command", "command": {"id": format!("n{n}"), "device": "greenhouse-01", "name": "x",
            "state": "queued", "issued_by": "", "expires_at": 0, "attempt": 0,
            "transitions": [{"state": "queued", "at": at.0, "by": "x"}]}});
        model.handle_event(Event::Message(message(new)), NOW);
    }
    assert_eq!(model.commands.len(), dashboard::model::commands::COMMANDS_MAX);
    assert_eq!(model.commands.forgotten_to(), Some(later(-1)));
    tick(&mut model, 1);
    assert_eq!(model.table.rows().len(), dashboard::model::commands::COMMANDS_MAX);
    model.apply(Action::TableEnd(true), NOW);
    assert!(tick(&mut model, 2).is_empty(), "older ones would be forgotten at once");
    assert_eq!(*model.table.older(), Older::Full);
}

/// A window with a table of this many commands, one a second.
fn window_with(count: i64) -> Window {
    let mut window = Window::open_with(dashboard::settings::ThemeChoice::Dark, [1200.0, 800.0]);
    window.tell(welcome(100));
    let start = requests(&window.sent())[0].id;
    window.tell(devices(&[greenhouse(1, true), greenhouse(2, true)]));
    let states = ["succeeded", "failed", "queued"];
    let page: Vec<_> = (1..=count)
        .map(|n| info(&format!("p{n}"), "greenhouse-01", -n, states[usize::try_from(n).unwrap() % 3]))
        .collect();
    window.tell(list(start, &page));
    window.harness.key_press(Key::C);
    window.run();
    window
}

#[test]
fn the_table_is_opened_and_a_row_shows_the_life_of_its_command() {
    let mut window = window_with(5);
    window.harness.get_by_label("11:59:59 greenhouse-01 Set target failed").click();
    window.run();
    window.harness.get_by_label("Copy as JSON");
    assert_eq!(window.harness.state().model().detail.as_ref().unwrap().as_str(), "p1");
    window.harness.key_press(Key::ArrowDown);
    window.run();
    assert_eq!(window.harness.state().model().detail.as_ref().unwrap().as_str(), "p2");
    window.harness.get_by_label("Close the table of commands").click();
    window.run();
    assert!(window.harness.query_by_label_contains("11:59:59 greenhouse-01").is_none());
}

#[test]
fn the_table_is_filtered_by_words_and_states_and_says_when_nothing_fits() {
    let mut window = window_with(9);
    let rows =
        |window: &Window| window.harness.query_all_by_label_contains("greenhouse-01 Set target ").count();
    assert_eq!(rows(&window), 9);
    window.harness.get_by_label("State: any").click();
    window.run();
    window.harness.get_by_role_and_label(egui::accesskit::Role::CheckBox, "failed").click();
    window.run();
    window.harness.get_by_label("State: failed");
    assert_eq!(rows(&window), 3);
    window.harness.key_press(Key::Escape);
    window.run();
    type_into(&mut window, "Search commands…", "pump");
    let asked = requests(&window.sent());
    let last = asked.last().unwrap();
    assert_eq!(last.states, [CommandState::Failed]);
    window.tell(list(last.id, &[]));
    assert_eq!(rows(&window), 0);
    window.harness.get_by_label("No command fits the filters");
    window.harness.get_by_label("Clear the filters").click();
    window.run();
    window.advance(1);
    assert_eq!(rows(&window), 9);
}

#[test]
fn new_commands_above_do_not_move_what_is_being_read() {
    let mut window = window_with(200);
    let first = window.harness.get_by_label("11:59:59 greenhouse-01 Set target failed").rect();
    let pointer = first.center();
    window.harness.hover_at(pointer);
    window.run();
    window.harness.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Point,
        delta: egui::vec2(0.0, -600.0),
        modifiers: egui::Modifiers::NONE,
        phase: egui::TouchPhase::Move,
        source: egui::MouseWheelSource::Unknown,
    });
    window.harness.run_steps(12);
    window.run();
    let read = |window: &Window| {
        let node = window.harness.query_all_by_label_contains("greenhouse-01 Set target ").nth(3).unwrap();
        (node.accesskit_node().label().unwrap(), node.rect().top())
    };
    let (label, top) = read(&window);
    for n in 0..4 {
        let new = command(None, &[("queued", n)], json!({"id": format!("new{n}")}));
        window.tell(new);
        window.advance(1);
    }
    let after = window.harness.get_by_label(&label).rect().top();
    assert!((after - top).abs() < 1.5, "{label}: {top} -> {after}");
    assert!(window.harness.query_by_label_contains("12:00:03 greenhouse-01").is_none());
    window.harness.get_by_label("Newest").click();
    window.run();
    window.harness.get_by_label_contains("12:00:03 greenhouse-01");
}

#[test]
fn ten_thousand_commands_cost_what_fits_on_the_screen() {
    let window = window_with(10_000);
    let drawn = window.harness.query_all_by_label_contains("greenhouse-01 Set target ").count();
    assert!((5..40).contains(&drawn), "{drawn}");
}

#[test]
fn all_commands_in_the_dark() {
    let mut window = window_with(40);
    window.tell(command(
        None,
        &[("queued", -3), ("sent", -3), ("running", -2)],
        json!({"id": "c-2", "progress": 0.4, "device": "greenhouse-02"}),
    ));
    window.tell(command(
        None,
        &[("queued", -14), ("sent", -13), ("failed", -9)],
        json!({"id": "c-3", "device": "greenhouse-02", "error": "the vent is stuck at 40 %", "code": "vent_stuck"}),
    ));
    window.tell(command(
        None,
        &[("queued", -12), ("sent", -12), ("unknown", -11)],
        json!({"id": "c-4", "device": "greenhouse-02", "code": "disconnected"}),
    ));
    window.harness.state_mut().act(Action::ShowCommand(None));
    window.harness.remove_cursor();
    window.advance(1);
    window.harness.snapshot("commands_dark");
}
