//! Saved layouts in the window: by name, in files, undone and done again, restored at the start.

use dashboard::action::Action;
use dashboard::settings::ThemeChoice;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;

use crate::fixtures::*;
use crate::window::type_into;

fn ctrl(window: &mut Window, key: Key) {
    window.harness.key_press_modifiers(Modifiers::COMMAND, key);
    window.run();
}

fn click(window: &mut Window, label: &str) {
    window.harness.get_by_label(label).click();
    window.run();
}

fn charts(window: &Window) -> usize {
    window.harness.state().layout().charts().count()
}

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

fn close_a_chart(window: &mut Window) {
    let chart = window.harness.state().layout().charts().map(|p| p.chart).max().unwrap();
    window.harness.state_mut().act(Action::CloseChart(chart));
    window.run();
}

fn type_path(window: &mut Window, path: &std::path::Path) {
    let edit = dashboard::model::layouts::LayoutsEdit::Path(String::new());
    window.harness.state_mut().act(Action::EditLayouts(edit));
    window.run();
    type_into(window, "File of a layout", &path.display().to_string());
}

#[test]
fn a_layout_is_saved_by_name_opened_renamed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = Window::open_in(folder.path());
    window.connect(2);
    ctrl(&mut window, Key::S);
    type_into(&mut window, "Name of the layout", "Night watch");
    click(&mut window, "Save");
    assert!(says(&window, "Saved as Night watch"));
    window.harness.get_by_label("Replace");
    click(&mut window, "Close");
    close_a_chart(&mut window);
    assert_eq!(charts(&window), 1);
    ctrl(&mut window, Key::S);
    click(&mut window, "Open layout Night watch");
    assert_eq!(charts(&window), 2);
    ctrl(&mut window, Key::Z);
    assert_eq!(charts(&window), 1, "opening a layout is a step that can be undone");

    ctrl(&mut window, Key::S);
    click(&mut window, "Rename Night watch");
    type_into(&mut window, "New name of Night watch", " 2");
    click(&mut window, "Rename");
    click(&mut window, "Delete Night watch 2");
    window.harness.get_by_label("Delete Night watch 2?");
    click(&mut window, "Leave it");
    // After a start it is still there; once deleted, it is not.
    drop(window);
    let mut window = Window::open_in(folder.path());
    window.connect(2);
    assert_eq!(charts(&window), 1, "the charts as they were");
    ctrl(&mut window, Key::S);
    click(&mut window, "Delete Night watch 2");
    click(&mut window, "Delete");
    assert!(says(&window, "Night watch 2 is deleted"));
    drop(window);
    let window = Window::open_in(folder.path());
    assert_eq!(window.harness.state().model().library.names().len(), 0);
}

#[test]
fn a_closed_chart_says_how_it_comes_back_and_does() {
    let mut window = Window::open();
    window.connect(2);
    window.harness.get_by_label("Menu of Humidity").click();
    window.run();
    click(&mut window, "Close the chart");
    assert!(says(&window, "Humidity is closed") && says(&window, "Ctrl+Z brings it back."));
    ctrl(&mut window, Key::Z);
    assert!(says(&window, "Menu of Humidity"));
    window.harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    window.run();
    assert!(!says(&window, "Menu of Humidity"));
}

#[test]
fn a_layout_goes_to_a_file_and_comes_back_in_another_window() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.json");
    let mut window = Window::open();
    window.connect(2);
    ctrl(&mut window, Key::S);
    type_into(&mut window, "Name of the layout", "Shared");
    type_path(&mut window, &path);
    click(&mut window, "Export");
    window.run_until("written", |w| says(w, "Written to"));
    // A second time it asks before it replaces.
    click(&mut window, "Export");
    window.run_until("asks", |w| says(w, "is there already"));
    click(&mut window, "Replace it");
    window.run_until("replaced", |w| says(w, "Written to"));

    let mut other = Window::open();
    other.connect(2);
    close_a_chart(&mut other);
    ctrl(&mut other, Key::S);
    type_path(&mut other, &path);
    click(&mut other, "Import");
    other.run_until("imported", |w| says(w, "Imported as Shared"));
    assert_eq!(charts(&other), 2);
    assert!(other.harness.state().model().library.has("Shared"));
}

#[test]
fn a_bad_or_newer_file_says_what_is_wrong_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = Window::open();
    window.connect(2);
    ctrl(&mut window, Key::S);
    for (text, why) in [
        (Some("{ \"format\": "), "it is not JSON"),
        (Some("{\"format\": \"telemetry-layout\", \"version\": 7}"), "later version of the dashboard"),
        (Some("{\"format\": \"other\"}"), "its format is \"other\""),
        (None, "there is no such file"),
    ] {
        let path = folder.path().join("in.json");
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        type_path(&mut window, &path);
        click(&mut window, "Import");
        window.run_until(why, |w| says(w, why));
        assert_eq!(charts(&window), 2);
        assert_eq!(window.harness.state().model().library.names().len(), 0);
    }
    type_path(&mut window, std::path::Path::new("layout.json"));
    click(&mut window, "Import");
    assert!(says(&window, "is no whole path"));
}

#[test]
fn a_layout_that_cannot_be_read_at_the_start_is_kept_aside_and_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("layout.json"), "{\"version\": 99}").unwrap();
    let mut window = Window::open_in(folder.path());
    window.connect(2);
    assert_eq!(charts(&window), 2, "a layout made from the fleet");
    assert!(says(&window, "later version") && says(&window, "layout.unreadable.json"));
    close_a_chart(&mut window);
    drop(window);
    let kept = std::fs::read_to_string(folder.path().join("layout.unreadable.json")).unwrap();
    assert_eq!(kept, "{\"version\": 99}");
    assert!(folder.path().join("layout.json").exists());
}

#[test]
fn the_layouts_are_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1000.0, 640.0]);
    window.connect(3);
    ctrl(&mut window, Key::S);
    for name in ["Night watch", "Commissioning", "Energy"] {
        let edit = dashboard::model::layouts::LayoutsEdit::Name(name.into());
        window.harness.state_mut().act(Action::EditLayouts(edit));
        window.harness.state_mut().act(Action::SaveLayout);
    }
    let path = std::path::Path::new("/home/anna/Documents/layout.json");
    type_path(&mut window, path);
    click(&mut window, "Delete Energy");
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("layouts_dark");
}
