//! The dashboard's window: arguments, the link's thread, and a clear word when there is no screen.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use dashboard::app::{App, Pace, Start, system_clock, target_of};
use dashboard::disk;
use dashboard::link::{Link, Target};
use dashboard::model::Hubs;
use dashboard::settings::{self, ThemeChoice};
use jiff::tz::TimeZone;
use tracing_subscriber::EnvFilter;

// glibc gives memory back after every frame and takes it again in the next: five times the cost of drawing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A window on a telemetry hub: live charts, history, devices and commands.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The hub, as ws://host:port [default: `$TELEMETRY_HUB`, else the hub shown last, else this machine's]
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// Data folder of a hub on this machine, which has its address and its tokens [default: `$TELEMETRY_DATA`, else telemetry-hub in the user's data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File with the token of an operator or viewer [default: `$TELEMETRY_TOKEN`, else the one in the data folder]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File of CAs in PEM to trust instead of the system's, for a hub at wss:// [default: `$TELEMETRY_CA`]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Colours [default: those chosen last]
    #[arg(long, value_enum)]
    theme: Option<ThemeChoice>,
    /// Begin with charts chosen by what the devices measure, instead of those shown last
    #[arg(long)]
    fresh_layout: bool,
    /// Close after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    exit_after: Option<Duration>,
    /// At the end print how soon something was shown, and how long readings waited to be painted, as a line of JSON
    #[arg(long)]
    figures: bool,
}

/// A time as a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text:?} is not a number of seconds, 0 or more"))
}

fn main() -> ExitCode {
    let started = Instant::now();
    let arguments = Arguments::parse();
    let (filter, problem) = log_filter(std::env::var_os(EnvFilter::DEFAULT_ENV));
    // The WebSocket library logs whole requests, tokens included, at trace.
    let quiet = ["tungstenite=info", "tokio_tungstenite=info"].into_iter().filter_map(|d| d.parse().ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    if let Some(problem) = problem {
        tracing::warn!("{problem}");
    }
    match run(arguments, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// What is logged unless `RUST_LOG` says something else.
const LOG: &str = "warn,dashboard=info,client=info";

/// What `RUST_LOG` says, or the usual filter and what is wrong with the variable: a window opens without it too.
fn log_filter(variable: Option<OsString>) -> (EnvFilter, Option<String>) {
    let text = variable.unwrap_or_default();
    let text = text.to_string_lossy();
    if text.trim().is_empty() {
        return (EnvFilter::new(LOG), None);
    }
    match EnvFilter::builder().parse(&text) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let problem = format!(
                "the variable {} is {text:?}: {error}; give a level, or filters as in info,client=debug. Logging as \
                 with {LOG}",
                EnvFilter::DEFAULT_ENV
            );
            (EnvFilter::new(LOG), Some(problem))
        }
    }
}

fn run(arguments: Arguments, started: Instant) -> Result<(), eframe::Error> {
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Telemetry")
            .with_app_id("telemetry-dashboard")
            .with_icon(dashboard::theme::icon::icon())
            .with_inner_size([1440.0, 860.0])
            .with_min_inner_size([400.0, 360.0]),
        ..Default::default()
    };
    eframe::run_native(
        "telemetry-dashboard",
        options,
        Box::new(|creation| {
            let ctx = creation.egui_ctx.clone();
            let folder = settings::folder();
            let mut problems = Vec::new();
            let kept = folder.as_ref().map(|folder| folder.join(settings::HUBS_FILE));
            let mut hubs = kept
                .and_then(|path| disk::read_kept(&path, &mut problems, Hubs::from_json))
                .unwrap_or_default();
            let given = Target {
                hub: arguments.hub,
                data: arguments.data,
                token_file: arguments.token_file,
                token: None,
                ca: arguments.ca.clone(),
            };
            // What is given comes before what is remembered.
            let is_given = given.is_given();
            let remembered = hubs.current().or(hubs.iter().next()).cloned();
            let mut target = given;
            if is_given {
                hubs.current = None;
            } else if let Some(hub) = remembered {
                let ca = hub.ca.as_deref();
                match target_of(&hub.address, &hub.credential, ca, arguments.ca.as_deref()) {
                    Ok(of_hub) => {
                        hubs.current = Some(hub.id);
                        target = of_hub;
                    }
                    Err(problem) => problems.push(format!("{}: {problem}", hub.name)),
                }
            }
            let pace = Pace::default();
            let waker = pace.waker(ctx.clone());
            let start = Start {
                address: target.address(),
                folder,
                fresh_layout: arguments.fresh_layout,
                theme: arguments.theme,
                zone: TimeZone::system(),
                clock: system_clock(),
                exit_after: arguments.exit_after,
                is_first_run: !is_given && hubs.is_empty(),
                hubs,
                ca: arguments.ca,
                connector: Some(Box::new({
                    let waker = Arc::clone(&waker);
                    move |target| Link::start(target, Arc::clone(&waker))
                })),
                problems,
                started,
                print_figures: arguments.figures,
            };
            let link = Link::start(target, waker)?;
            Ok(Box::new(App::new(&ctx, start, link, pace)))
        }),
    )
}

/// What went wrong, what it means, and what to do.
fn explain(error: &eframe::Error) -> String {
    let advice = "A window needs a display (DISPLAY or WAYLAND_DISPLAY) and OpenGL. \
        On Debian: apt-get install libx11-6 libxcursor1 libxi6 libx11-xcb1 libxkbcommon-x11-0 libgl1. \
        Without a screen: xvfb-run dashboard.";
    match error {
        eframe::Error::AppCreation(error) => format!("The dashboard could not start: {error}"),
        other => {
            let reason = other.to_string();
            let reason = without_place(&reason);
            format!("No window could be opened: {}. {advice}", reason.trim_end_matches('.'))
        }
    }
}

/// What went wrong, without the line of a library's source before it: `os error at /…/mod.rs:765: `.
fn without_place(reason: &str) -> &str {
    let place = reason.split_once("os error at ");
    place.and_then(|(_, rest)| rest.split_once(": ")).map_or(reason, |(_, problem)| problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_is_named_with_what_it_may_be() {
        for text in ["x", "-1", "nan", "inf", "1e99", ""] {
            let error =
                Arguments::try_parse_from(["dashboard", "--exit-after", text]).unwrap_err().to_string();
            assert!(error.contains("is not a number of seconds") || text.is_empty(), "{text}: {error}");
        }
        let arguments = Arguments::try_parse_from(["dashboard", "--exit-after", "1.5"]).unwrap();
        assert_eq!(arguments.exit_after, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn a_bad_filter_of_the_log_is_said_and_the_usual_one_is_taken() {
        for text in [None, Some(""), Some("debug"), Some("info,client=debug")] {
            let (filter, problem) = log_filter(text.map(Into::into));
            assert_eq!(problem, None, "{text:?}");
            assert!(!filter.to_string().is_empty());
        }
        let (filter, problem) = log_filter(Some("client=loud".into()));
        assert_eq!(filter.to_string(), EnvFilter::new(LOG).to_string());
        let problem = problem.unwrap_or_default();
        assert!(problem.contains("RUST_LOG is \"client=loud\"") && !problem.contains('\n'), "{problem}");
    }

    #[test]
    fn the_source_of_a_library_is_not_told() {
        let reason =
            "winit EventLoopError: os error at /a/b/mod.rs:765: neither WAYLAND_DISPLAY nor DISPLAY is set";
        assert_eq!(without_place(reason), "neither WAYLAND_DISPLAY nor DISPLAY is set");
        assert_eq!(without_place("no OpenGL"), "no OpenGL");
    }
}
