//! What a device says of itself in `hello`: the metrics it sends and the commands it takes.
//!
//! The dashboard builds its charts and controls from this, and the hub checks readings and arguments against it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::command::Delivery;
use crate::limits;
use crate::name::{MetricName, Tag};
use crate::value::Kind;

/// A metric that a device sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricDeclaration {
    /// Its name, unique in the device.
    pub name: MetricName,
    /// The unit, a code of SenML's registry (RFC 8428): `Cel`, `%RH`, `Pa`. Empty or left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What a person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Lower end of the plausible range. Only for display; readings outside are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Upper end of the plausible range. Only for display; readings outside are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What sort of values it has.
    #[serde(default)]
    pub kind: Kind,
}

/// A command that a device takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandDeclaration {
    /// Its name, unique in the device.
    pub name: MetricName,
    /// What a person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its parameters, in the order in which a form shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParamDeclaration>,
    /// Whether a person should be asked before it is sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
    /// How long it is expected to take at most, in seconds, from one word about it to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// When it is handed over, seen from the commands before it, unless the operator says otherwise.
    #[serde(default, skip_serializing_if = "Delivery::is_default")]
    pub delivery: Delivery,
}

/// A parameter of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParamDeclaration {
    /// Its name, unique in the command.
    pub name: MetricName,
    /// What sort of value it takes.
    #[serde(default)]
    pub kind: Kind,
    /// The unit, a code of SenML's registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Smallest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The texts allowed; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// What a form starts with, and what the hub fills in when the argument is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// Whether it must be given. A parameter that is not required and has no default may be left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// What is wrong with a declaration or with arguments, naming the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct DeclarationError {
    /// Where: `metrics[3].unit`, `args.setpoint`.
    pub place: String,
    /// What, and which limit.
    pub problem: String,
}

fn wrong(place: impl Into<String>, problem: impl Into<String>) -> DeclarationError {
    DeclarationError { place: place.into(), problem: problem.into() }
}

/// Says which limit of a declaration is exceeded.
fn most(name: &str, value: usize, scope: &str) -> String {
    let again = if scope == "text" { "choose a shorter one" } else { "declare fewer" };
    limits::refusal(name, value, scope, again)
}

fn check_label(place: impl FnOnce() -> String, text: Option<&str>) -> Result<(), DeclarationError> {
    match text {
        Some(text) if text.len() > limits::LABEL_MAX_BYTES => Err(wrong(
            place(),
            format!("{} bytes long: {}", text.len(), most("label_bytes", limits::LABEL_MAX_BYTES, "text")),
        )),
        _ => Ok(()),
    }
}

fn check_range(
    place: impl FnOnce() -> String,
    min: Option<f64>,
    max: Option<f64>,
) -> Result<(), DeclarationError> {
    match (min, max) {
        (Some(min), Some(max)) if min > max => Err(wrong(place(), format!("min {min} is above max {max}"))),
        _ => Ok(()),
    }
}

/// Checks the metrics of a `hello` against the limits.
pub fn check_metrics(metrics: &[MetricDeclaration]) -> Result<(), DeclarationError> {
    if metrics.len() > limits::METRICS_MAX {
        return Err(wrong(
            "metrics",
            format!(
                "{} metrics: {}",
                metrics.len(),
                most("metrics_per_device", limits::METRICS_MAX, "device")
            ),
        ));
    }
    let mut seen = HashSet::new();
    for (i, metric) in metrics.iter().enumerate() {
        if !seen.insert(metric.name.as_str()) {
            return Err(wrong(
                format!("metrics[{i}].name"),
                format!("{:?} is declared twice", metric.name.as_str()),
            ));
        }
        check_label(|| format!("metrics[{i}].unit"), metric.unit.as_deref())?;
        check_label(|| format!("metrics[{i}].label"), metric.label.as_deref())?;
        check_range(|| format!("metrics[{i}].min"), metric.min, metric.max)?;
    }
    Ok(())
}

/// Checks the tags of a `hello` against the limits.
pub fn check_tags(tags: &[Tag]) -> Result<(), DeclarationError> {
    if tags.len() > limits::TAGS_MAX {
        let problem = format!("{} tags: {}", tags.len(), most("tags_per_device", limits::TAGS_MAX, "device"));
        return Err(wrong("tags", problem));
    }
    let mut seen = HashSet::new();
    match tags.iter().position(|tag| !seen.insert(tag)) {
        Some(i) => Err(wrong(format!("tags[{i}]"), format!("{:?} is declared twice", tags[i].as_str()))),
        None => Ok(()),
    }
}

/// Checks the commands of a `hello` against the limits.
pub fn check_commands(commands: &[CommandDeclaration]) -> Result<(), DeclarationError> {
    if commands.len() > limits::COMMANDS_MAX {
        return Err(wrong(
            "commands",
            format!(
                "{} commands: {}",
                commands.len(),
                most("commands_per_device", limits::COMMANDS_MAX, "device")
            ),
        ));
    }
    let mut seen = HashSet::new();
    for (i, command) in commands.iter().enumerate() {
        let place = format!("commands[{i}]");
        if !seen.insert(command.name.as_str()) {
            return Err(wrong(
                format!("{place}.name"),
                format!("{:?} is declared twice", command.name.as_str()),
            ));
        }
        check_label(|| format!("{place}.label"), command.label.as_deref())?;
        if command.params.len() > limits::PARAMS_MAX {
            return Err(wrong(
                format!("{place}.params"),
                format!(
                    "{} parameters: {}",
                    command.params.len(),
                    most("params_per_command", limits::PARAMS_MAX, "command")
                ),
            ));
        }
        if command.timeout.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
            return Err(wrong(format!("{place}.timeout"), "must be above 0 seconds"));
        }
        let mut names = HashSet::new();
        for (j, param) in command.params.iter().enumerate() {
            let place = format!("{place}.params[{j}]");
            if !names.insert(param.name.as_str()) {
                return Err(wrong(
                    format!("{place}.name"),
                    format!("{:?} is declared twice", param.name.as_str()),
                ));
            }
            check_label(|| format!("{place}.unit"), param.unit.as_deref())?;
            check_range(|| format!("{place}.min"), param.min, param.max)?;
            if param.choices.len() > limits::CHOICES_MAX {
                return Err(wrong(
                    format!("{place}.choices"),
                    format!(
                        "{} choices: {}",
                        param.choices.len(),
                        most("choices_per_param", limits::CHOICES_MAX, "parameter")
                    ),
                ));
            }
            for (k, choice) in param.choices.iter().enumerate() {
                check_label(|| format!("{place}.choices[{k}]"), Some(choice))?;
            }
            if let Some(default) = &param.default {
                check_argument(param, default).map_err(|p| wrong(format!("{place}.default"), p))?;
            }
        }
    }
    Ok(())
}

/// Checks arguments against a declaration and returns them with defaults filled in.
///
/// The error names the argument and the bound.
pub fn check_args(
    command: &CommandDeclaration,
    args: &Map<String, Json>,
) -> Result<Map<String, Json>, DeclarationError> {
    if let Some(name) =
        args.keys().find(|name| !command.params.iter().any(|p| p.name.as_str() == name.as_str()))
    {
        let known: Vec<&str> = command.params.iter().map(|p| p.name.as_str()).collect();
        return Err(wrong(
            format!("args.{name}"),
            if known.is_empty() {
                format!("{} takes no arguments", command.name)
            } else {
                format!("{} has no such parameter: it takes {}", command.name, known.join(", "))
            },
        ));
    }
    let mut checked = Map::new();
    for param in &command.params {
        let name = param.name.as_str();
        match args.get(name).or(param.default.as_ref()) {
            Some(value) => {
                check_argument(param, value).map_err(|p| wrong(format!("args.{name}"), p))?;
                checked.insert(name.to_owned(), value.clone());
            }
            None if param.required => return Err(wrong(format!("args.{name}"), "is required")),
            None => {}
        }
    }
    Ok(checked)
}

fn check_argument(param: &ParamDeclaration, value: &Json) -> Result<(), String> {
    match (param.kind, value) {
        (Kind::Number, Json::Number(n)) => {
            let n = n.as_f64().unwrap_or(f64::NAN);
            let unit = param.unit.as_deref().map(|u| format!(" {u}")).unwrap_or_default();
            if let Some(min) = param.min.filter(|min| n < *min) {
                return Err(format!("{n} is below the minimum of {min}{unit}"));
            }
            if let Some(max) = param.max.filter(|max| n > *max) {
                return Err(format!("{n} is above the maximum of {max}{unit}"));
            }
            Ok(())
        }
        (Kind::Bool, Json::Bool(_)) => Ok(()),
        (Kind::Text, Json::String(text)) => {
            if text.len() > limits::TEXT_VALUE_MAX_BYTES {
                return Err(format!(
                    "{} bytes long: at most {} are allowed",
                    text.len(),
                    limits::TEXT_VALUE_MAX_BYTES
                ));
            }
            if !param.choices.is_empty() && !param.choices.contains(text) {
                return Err(format!("{text:?} is not one of {}", param.choices.join(", ")));
            }
            Ok(())
        }
        (kind, other) => Err(format!("{other} is not a {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn setpoint() -> CommandDeclaration {
        serde_json::from_value(json!({"name": "set_temperature", "params": [
            {"name": "setpoint", "kind": "number", "unit": "Cel", "min": -30, "max": 10, "required": true},
            {"name": "mode", "kind": "text", "choices": ["eco", "boost"], "default": "eco"}]}))
        .unwrap()
    }

    fn check(args: Json) -> Result<Json, String> {
        check_args(&setpoint(), args.as_object().unwrap()).map(Json::Object).map_err(|e| e.to_string())
    }

    #[test]
    fn arguments_get_their_defaults() {
        assert_eq!(check(json!({"setpoint": -18})), Ok(json!({"setpoint": -18, "mode": "eco"})));
    }

    #[test]
    fn a_wrong_argument_is_named_with_its_bound() {
        for (args, error) in [
            (json!({}), "args.setpoint: is required"),
            (json!({"setpoint": 11}), "args.setpoint: 11 is above the maximum of 10 Cel"),
            (json!({"setpoint": "warm"}), "args.setpoint: \"warm\" is not a number"),
            (json!({"setpoint": 1, "mode": "x"}), "args.mode: \"x\" is not one of eco, boost"),
            (json!({"set": 1}), "args.set: set_temperature has no such parameter: it takes setpoint, mode"),
        ] {
            assert_eq!(check(args), Err(error.to_owned()));
        }
    }

    #[test]
    fn a_default_outside_its_own_bounds_is_refused() {
        let mut command = setpoint();
        command.params[1].default = Some(json!("turbo"));
        assert_eq!(
            check_commands(&[command]).unwrap_err().to_string(),
            "commands[0].params[1].default: \"turbo\" is not one of eco, boost"
        );
    }
}
