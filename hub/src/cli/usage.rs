//! What is said of a command line that cannot be meant: which value, whether it was typed or stood in a variable of the
//! environment, what is wrong with it, and what it may be.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};

use super::Cli;

/// Longest bad value that is repeated, in characters.
const SHOWN: usize = 80;

/// Reads the command line and the environment; or says what is wrong, for a person, and with which exit code.
pub(super) fn parse(args: &[OsString]) -> Result<Cli, Problem> {
    let mut command = command();
    let found = command.try_get_matches_from_mut(args);
    found.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        match bad_value(&error, &command, args, |name| std::env::var(name).ok()) {
            Some(text) => Problem::Value(text),
            None => Problem::Usage(error),
        }
    })
}

/// Why a command line is not done.
#[derive(Debug)]
pub(super) enum Problem {
    /// A value that cannot be, in words.
    Value(String),
    /// Anything else, as clap says it; help that was asked for, too.
    Usage(clap::Error),
}

/// All that can be typed. A negative number is a value, to be refused as one, and not the name of a flag.
fn command() -> Command {
    fn with_negatives(command: Command) -> Command {
        let takes_value = |arg: &Arg| arg.get_action().takes_values();
        let allow = |arg: Arg| if takes_value(&arg) { arg.allow_negative_numbers(true) } else { arg };
        command.mut_args(allow).mut_subcommands(with_negatives)
    }
    with_negatives(Cli::command())
}

/// The argument of this name, wherever it is.
fn find<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    let here = command.get_arguments().find(|arg| arg.get_long() == Some(long));
    here.or_else(|| command.get_subcommands().find_map(|command| find(command, long)))
}

/// What to say of a value that cannot be; `None`: the error is about something else.
fn bad_value(
    error: &clap::Error,
    command: &Command,
    args: &[OsString],
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let context = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    };
    let flag = context(ContextKind::InvalidArg)?;
    let value = context(ContextKind::InvalidValue)?;
    let long = flag.strip_prefix("--").map(|rest| rest.split([' ', '=']).next().unwrap_or(rest));
    let arg = long.and_then(|long| find(command, long));
    let is_typed = long.is_some_and(|long| {
        args.iter()
            .filter_map(|arg| arg.to_str()?.strip_prefix("--"))
            .any(|arg| arg.split('=').next() == Some(long))
    });
    let from = arg
        .and_then(Arg::get_env)
        .and_then(|name| name.to_str())
        .filter(|name| !is_typed && variable(name).is_some_and(|text| text == value));
    let source = error.source().map(ToString::to_string);
    let reason = match (error.get(ContextKind::ValidValue), source) {
        _ if value.is_empty() => "it is empty".to_owned(),
        (Some(ContextValue::Strings(known)), _) => format!("it must be one of {}", known.join(", ")),
        (_, Some(problem)) => match problem.as_str() {
            "invalid digit found in string" | "cannot parse integer from empty string" => {
                "it is not a whole number, or less than 0".to_owned()
            }
            "number too large to fit in target type" | "number too small to fit in target type" => {
                "it is too large a number".to_owned()
            }
            "invalid float literal" => "it is not a number".to_owned(),
            problem => within(problem).unwrap_or_else(|| problem.to_owned()),
        },
        (_, None) => "it cannot be that".to_owned(),
    };
    let shown: String = value.chars().take(SHOWN).collect();
    let cut = if shown.len() < value.len() { "…" } else { "" };
    let mut text = match from {
        Some(variable) => format!("the variable {variable} is {shown:?}{cut}: {reason}"),
        None => format!("{flag} is {shown:?}{cut}: {reason}"),
    };
    if let Some(help) = arg.and_then(Arg::get_help) {
        text += &format!("\n{flag}: {help}");
    }
    if let Some(variable) = from {
        text += &format!("\nSet {variable} to such a value, or unset it.");
    }
    Some(text)
}

/// `0 is not in 1..=3600` in words.
fn within(problem: &str) -> Option<String> {
    let (_, range) = problem.split_once(" is not in ")?;
    let (min, max) = range.split_once("..")?;
    Some(match max.strip_prefix('=') {
        Some(max) => format!("it must be a whole number from {min} to {max}"),
        None => format!("it must be a whole number from {min} on"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> String {
        let args: Vec<OsString> =
            std::iter::once("hub").chain(words.iter().copied()).map(Into::into).collect();
        match parse(&args) {
            Err(Problem::Value(text)) => text,
            Err(Problem::Usage(error)) => panic!("{words:?}: {error}"),
            Ok(cli) => panic!("{words:?} was taken: {cli:?}"),
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag_what_is_wrong_and_what_it_may_be() {
        for (words, parts) in [
            (
                &["serve", "--heartbeat-seconds", "7s"][..],
                &[
                    "--heartbeat-seconds <SECONDS> is \"7s\"",
                    "whole number of seconds from 1 to 3600",
                    "between two pings",
                ][..],
            ),
            (&["--shutdown-seconds=-1"], &["--shutdown-seconds <SECONDS> is \"-1\"", "from 1 to 600"]),
            (&["--max-connections", "0"], &["--max-connections <COUNT> is \"0\"", "from 1 to 1000000"]),
            (&["--log", "loud"], &["--log <FILTER> is \"loud\"", "not a level"]),
            (&["--log-format", "xml"], &["--log-format <FORMAT> is \"xml\"", "one of text, json"]),
            (&["--data", ""], &["--data <DIR> is \"\"", "it is empty"]),
            (&["tail", "--count", "many"], &["--count <COUNT> is \"many\"", "not a whole number"]),
            (
                &["command", "send", "a", "b", "--lifetime", "-1"],
                &["--lifetime <SECONDS> is \"-1\"", "seconds"],
            ),
            (&["command", "list", "--limit", "0"], &["--limit <COUNT> is \"0\"", "from 1 on"]),
            (&["audit", "--limit", "1001"], &["--limit <COUNT> is \"1001\"", "from 1 to 1000"]),
            (&["token", "revoke", "x"], &["<KEY> is \"x\"", "not a whole number"]),
        ] {
            let text = said(words);
            for part in parts {
                assert!(text.contains(part), "{words:?} must name {part:?}: {text}");
            }
        }
        let long = "x".repeat(10_000);
        assert!(said(&["tail", "--count", &long]).len() < 500);
    }

    #[test]
    fn a_bad_value_of_the_environment_is_named_with_its_variable() {
        let command = command();
        let args: Vec<OsString> = ["hub", "--heartbeat-seconds", "7s"].map(Into::into).into();
        let error = command.clone().try_get_matches_from(&args).unwrap_err();
        // Such an error comes from the variable too, where nothing was typed.
        let nothing: [OsString; 1] = ["hub".into()];
        let here = |name: &str| (name == "TELEMETRY_HEARTBEAT_SECONDS").then(|| "7s".to_owned());
        let text = bad_value(&error, &command, &nothing, here).unwrap();
        assert!(text.starts_with("the variable TELEMETRY_HEARTBEAT_SECONDS is \"7s\": it must be"), "{text}");
        assert!(text.ends_with("or unset it."), "{text}");
        let typed = bad_value(&error, &command, &args, here).unwrap();
        assert!(typed.starts_with("--heartbeat-seconds") && !typed.contains("TELEMETRY"), "{typed}");
    }
}
