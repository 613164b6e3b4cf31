//! Several hubs: remembered, tested, switched between without a new start; and the first start without any.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dashboard::action::Action;
use dashboard::link::{FarEnd, Link, Outgoing, Target};
use dashboard::model::Event;
use dashboard::model::hubs::{Credential, HubEdit, Hubs, Secret};
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::{NodeT as _, Queryable as _};

use crate::fixtures::*;
use crate::window::type_into;

/// The links that were made: to where, and their other ends.
type Made = Rc<RefCell<Vec<(Target, FarEnd)>>>;

fn open(folder: Option<&std::path::Path>, hubs: Hubs, is_first_run: bool) -> (Window, Made) {
    let made = Made::default();
    let window = Window::start(ThemeChoice::Dark, [1000.0, 700.0], |start| {
        start.folder = folder.map(std::path::Path::to_owned);
        start.fresh_layout = false;
        start.hubs = hubs;
        start.is_first_run = is_first_run;
        let made = Rc::clone(&made);
        start.connector = Some(Box::new(move |target| {
            let (link, far_end) = Link::pair();
            made.borrow_mut().push((target, far_end));
            Ok(link)
        }));
    });
    (window, made)
}

fn two() -> Hubs {
    let mut hubs = Hubs::default();
    let token = Credential::Token(Secret::new("hunter2".into()));
    hubs.put(None, "Plant", "ws://10.0.0.5:7878", token).unwrap();
    hubs.put(None, "Lab", "ws://10.0.0.6:7878", Credential::File("/tokens/lab".into())).unwrap();
    hubs.current = Some(1);
    hubs
}

fn click(window: &mut Window, label: &str) {
    window.harness.get_by_label(label).click();
    window.run();
}

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

/// Tells the link that was made last.
fn tell(window: &mut Window, made: &Made, event: Event) {
    made.borrow().last().unwrap().1.events.try_send(event).unwrap();
    window.run();
}

#[test]
fn another_hub_is_shown_without_a_new_start_and_each_has_its_own_layout() {
    let folder = tempfile::tempdir().unwrap();
    let (mut window, made) = open(Some(folder.path()), two(), false);
    window.connect(2);
    let chart = window.harness.state().layout().charts().map(|p| p.chart).max().unwrap();
    window.harness.state_mut().act(Action::CloseChart(chart));
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    click(&mut window, "Connect to Lab");
    {
        let made = made.borrow();
        let target = &made[0].0;
        assert_eq!(target.hub.as_deref(), Some("ws://10.0.0.6:7878"));
        assert_eq!(target.token_file.as_deref(), Some(std::path::Path::new("/tokens/lab")));
    }
    assert!(window.harness.state().model().devices.is_empty(), "nothing of the other hub is left");
    assert!(says(&window, "Connecting to 10.0.0.6:7878"));
    tell(&mut window, &made, welcome(5));
    tell(&mut window, &made, devices(&[greenhouse(7, true)]));
    window.harness.get_by_label_contains("greenhouse-07 live");
    assert_eq!(window.harness.state().layout().charts().count(), 2, "a first layout of its own");
    window.run_until("the old link has gone", |w| w.hub.outbox.is_closed());

    // Back again: the layout as it was, also after a new start.
    window.harness.state_mut().act(Action::UseHub(1));
    window.run();
    assert!(made.borrow()[1].0.token.is_some());
    assert_eq!(window.harness.state().layout().charts().count(), 1);
    drop(window);
    let kept = std::fs::read_to_string(folder.path().join("hubs.json")).unwrap();
    let hubs = Hubs::from_json(&kept).unwrap();
    assert_eq!(hubs.current().unwrap().name, "Plant");
    let (window, _made) = open(Some(folder.path()), hubs, false);
    assert_eq!(window.harness.state().layout().charts().count(), 1);
}

#[cfg(unix)]
#[test]
fn i_12_a_typed_token_is_kept_for_its_owner_alone_and_seen_nowhere() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (mut window, made) = open(Some(folder.path()), Hubs::default(), false);
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    type_into(&mut window, "Address", "ws://10.0.0.9:7878");
    type_into(&mut window, "Name", "North");
    click(&mut window, "Type it");
    let token = Secret::new("hunter2-hunter2".into());
    window.harness.state_mut().act(Action::EditHub(HubEdit::Token(token)));
    window.run();
    for node in window.harness.root().children_recursive() {
        let node = node.accesskit_node();
        let texts = [node.label(), node.value(), node.placeholder().map(str::to_owned)];
        assert!(!texts.iter().flatten().any(|t| t.contains("hunter")), "a screen reader reads it out");
    }
    click(&mut window, "Connect");
    assert_eq!(made.borrow()[0].0.token.as_ref().unwrap().reveal(), "hunter2-hunter2");
    assert!(!format!("{:?} {:?}", made.borrow()[0].0, window.harness.state().model()).contains("hunter"));
    drop(window);
    let path = folder.path().join("hubs.json");
    assert!(std::fs::read_to_string(&path).unwrap().contains("hunter2-hunter2"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_hub_is_tested_and_says_why_it_cannot_be_reached() {
    let (mut window, made) = open(None, Hubs::default(), false);
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    for (address, token, why) in [
        // Nobody listens on the discard port.
        ("ws://127.0.0.1:9", "t", "cannot be reached"),
        ("ftp://10.0.0.5", "t", "is not a scheme of a hub"),
        ("ws://10.0.0.5:7878", "two words", "The token:"),
    ] {
        for edit in [
            HubEdit::Edit(None),
            HubEdit::Address(address.into()),
            HubEdit::Kind(dashboard::model::hubs::Kind::Token),
            HubEdit::Token(Secret::new(token.into())),
        ] {
            window.harness.state_mut().act(Action::EditHub(edit));
        }
        window.run();
        click(&mut window, "Test");
        window.run_until(why, |w| says(w, why));
    }
    // A token file is never sent to another machine, and a name is needed once.
    window.harness.state_mut().act(Action::EditHub(HubEdit::Edit(None)));
    window.run();
    type_into(&mut window, "Address", "ws://10.0.0.5:7878");
    click(&mut window, "Test");
    window.run_until("no token", |w| says(w, "No token for 10.0.0.5"));
    assert!(made.borrow().is_empty(), "a test is not a switch");
}

#[test]
fn the_first_start_without_a_hub_says_what_to_do_and_goes_on_by_itself() {
    let (mut window, _made) = open(None, Hubs::default(), true);
    assert!(!says(&window, "Connect to a hub"), "not before the first try has failed");
    let retry_in = Some(Duration::from_secs(2));
    window.tell(Event::Disconnected { reason: "connection refused".into(), retry_in });
    assert!(
        says(&window, "Connect to a hub") && says(&window, "No hub at 127.0.0.1:7878: connection refused")
    );
    // The page behind the dialog offers it too; the dialog is the last one drawn.
    window.harness.query_all_by_label("Try now").last().unwrap().click();
    window.run();
    assert!(matches!(window.hub.outbox.try_recv(), Ok(Outgoing::ReconnectNow)));
    // Closed by hand, it does not open again by itself.
    click(&mut window, "Close");
    window.tell(Event::Disconnected { reason: "connection refused".into(), retry_in });
    assert!(window.harness.state().model().hubs_form.is_none());
    click(&mut window, "Connect to another hub…");
    assert!(window.harness.state().model().hubs_form.is_some());

    let (mut window, _made) = open(None, Hubs::default(), true);
    window.tell(Event::Disconnected { reason: "connection refused".into(), retry_in });
    window.tell(welcome(0));
    assert!(window.harness.state().model().hubs_form.is_none(), "a hub has come: nothing to ask");
    let (mut window, _made) = open(None, two(), false);
    window.tell(Event::Disconnected { reason: "connection refused".into(), retry_in });
    assert!(window.harness.state().model().hubs_form.is_none(), "a hub is remembered: it is waited for");
}

#[test]
fn a_hub_is_changed_and_forgotten() {
    let (mut window, made) = open(None, two(), false);
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    click(&mut window, "Change Lab");
    type_into(&mut window, "Name", " 2");
    click(&mut window, "Save and connect");
    assert_eq!(made.borrow().len(), 1);
    assert_eq!(window.harness.state().model().hubs.current().unwrap().name, "Lab 2");
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    click(&mut window, "Forget Plant");
    window.harness.get_by_label("Forget Plant and its token?");
    click(&mut window, "Forget");
    let names: Vec<_> = window.harness.state().model().hubs.iter().map(|h| h.name.clone()).collect();
    assert_eq!(names, ["Lab 2"]);
}

#[test]
fn hubs_are_found_in_the_palette() {
    let (mut window, made) = open(None, two(), false);
    window.connect(1);
    window.harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::K);
    window.run();
    window.harness.get_by_label("Find anything").type_text("lab");
    window.run();
    window.harness.key_press(egui::Key::Enter);
    window.run();
    assert_eq!(made.borrow().len(), 1);
}

#[test]
fn the_first_start_is_a_picture() {
    let (mut window, _made) = open(None, Hubs::default(), true);
    let reason = "127.0.0.1:7878 cannot be reached: Connection refused (os error 111)".to_owned();
    window.tell(Event::Disconnected { reason, retry_in: Some(Duration::from_secs(2)) });
    window.harness.snapshot("connect_dark");
}

#[test]
fn the_hubs_are_a_picture() {
    let (mut window, _made) = open(None, two(), false);
    window.connect(2);
    window.harness.state_mut().act(Action::SetTheme(ThemeChoice::Light));
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    click(&mut window, "Change Plant");
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("hubs_light");
}

#[test]
fn each_hub_may_have_a_file_of_cas_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (mut window, made) = open(Some(folder.path()), two(), false);
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    let edit = |window: &mut Window, edit: HubEdit| {
        window.harness.state_mut().act(Action::EditHub(edit));
        window.run();
    };
    assert!(!says(&window, "File of its CA"), "nothing of it without TLS");
    edit(&mut window, HubEdit::Address("wss://plant.example:7878".into()));
    edit(&mut window, HubEdit::Name("Plant with TLS".into()));
    type_into(&mut window, "File of its CA", "plant-ca.pem");
    click(&mut window, "Connect");
    assert!(says(&window, "The file of the CAs: plant-ca.pem is no whole path"));
    assert!(made.borrow().is_empty());
    edit(&mut window, HubEdit::Ca("/etc/plant-ca.pem".into()));
    click(&mut window, "Connect");
    let ca = |at: usize| made.borrow()[at].0.ca.clone();
    assert_eq!(ca(0), Some("/etc/plant-ca.pem".into()));
    // The others still trust what they did, and it is remembered with its hub.
    window.harness.state_mut().act(Action::UseHub(2));
    window.run();
    assert_eq!(ca(1), None);
    window.harness.state_mut().act(Action::ToggleHubs);
    window.run();
    click(&mut window, "Change Plant with TLS");
    let form = window.harness.state().model().hubs_form.clone().unwrap();
    assert_eq!((form.ca.as_str(), form.address.as_str()), ("/etc/plant-ca.pem", "wss://plant.example:7878"));
    window.run_until("it is kept", |_| {
        let kept = std::fs::read_to_string(folder.path().join("hubs.json")).unwrap_or_default();
        kept.contains("\"ca\": \"/etc/plant-ca.pem\"")
    });
    edit(&mut window, HubEdit::Ca(String::new()));
    click(&mut window, "Save and connect");
    assert_eq!(ca(2), None);
}
