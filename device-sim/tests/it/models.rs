//! Every kind of device.

use std::collections::BTreeSet;

use device_sim::job::{Progress, Reply};
use device_sim::kinds::{Args, DeviceKind, Model};
use proptest::prelude::*;
use protocol::declare::check_args;
use protocol::{DeviceId, Epoch, Kind, Value};
use serde_json::json;

fn read(model: &mut dyn Model, metric: &str) -> f64 {
    model.read(metric).unwrap().as_number().unwrap()
}

fn args(json: serde_json::Value) -> Args {
    json.as_object().unwrap().clone()
}

#[test]
fn every_kind_says_what_a_hub_takes() {
    for kind in DeviceKind::ALL {
        let about = kind.build(1, 0.0).about();
        let hello = about.hello(DeviceId::new("x").unwrap(), Epoch::new("e").unwrap()).unwrap();
        hello.check().unwrap();
        let units: BTreeSet<_> = hello.metrics.iter().filter_map(|m| m.unit.as_deref()).collect();
        assert!(units.len() >= 3, "{kind:?} has only {units:?}");
        let kinds: BTreeSet<_> = hello.metrics.iter().map(|m| m.kind.as_str()).collect();
        assert!(kinds.contains("text"), "{kind:?} tells no state");
        let hz: Vec<f64> = about.metrics.iter().map(|m| m.hz).collect();
        let (slowest, fastest) = hz.iter().fold((f64::MAX, 0.0_f64), |(a, b), hz| (a.min(*hz), b.max(*hz)));
        assert!(
            slowest >= 0.1 && fastest <= 50.0 && fastest / slowest >= 10.0,
            "{kind:?}: {slowest} to {fastest}"
        );
        assert!(hello.commands.iter().any(|c| c.confirm), "{kind:?} has nothing to confirm");
        assert!(hello.commands.iter().any(|c| c.timeout.is_some()), "{kind:?} has nothing slow");
    }
}

#[test]
fn every_declared_command_is_taken_with_its_defaults() {
    for kind in DeviceKind::ALL {
        for command in kind
            .build(1, 0.0)
            .about()
            .hello(DeviceId::new("x").unwrap(), Epoch::new("e").unwrap())
            .unwrap()
            .commands
        {
            let args = check_args(&command, &Args::new()).unwrap();
            let mut model = kind.build(1, 40_000.0);
            model.step(1.0);
            let reply = model.command(command.name.as_str(), &args);
            assert!(matches!(reply, Reply::Done(_) | Reply::Started), "{kind:?} {}: {reply:?}", command.name);
            assert_eq!(reply == Reply::Started, command.timeout.is_some(), "{kind:?} {}", command.name);
        }
        let reply = kind.build(1, 0.0).command("no_such_thing", &Args::new());
        assert!(matches!(reply, Reply::Rejected(why) if why.contains("no_such_thing")));
    }
}

#[test]
fn every_slow_command_makes_progress_and_ends_and_can_be_cancelled() {
    for kind in DeviceKind::ALL {
        for command in kind.build(1, 0.0).about().commands.iter().filter(|c| c.timeout > 0.0) {
            let (mut ends, mut done) = (0, 0);
            for seed in 0..40 {
                let mut model = kind.build(seed, 40_000.0);
                let hello =
                    model.about().hello(DeviceId::new("x").unwrap(), Epoch::new("e").unwrap()).unwrap();
                let declared = hello.commands.iter().find(|c| c.name.as_str() == command.name).unwrap();
                let args = check_args(declared, &Args::new()).unwrap();
                if model.command(command.name, &args) != Reply::Started {
                    continue;
                }
                let mut last = 0.0;
                for _ in 0..=(command.timeout / 0.2) as usize {
                    model.step(0.2);
                    match model.bench().poll() {
                        Some(Progress::Running(progress)) => {
                            assert!(progress >= last);
                            last = progress;
                        }
                        Some(Progress::Done(_)) => {
                            ends += 1;
                            done += 1;
                            break;
                        }
                        Some(Progress::Failed(why)) => {
                            assert!(!why.is_empty());
                            ends += 1;
                            break;
                        }
                        // A fault of the device itself.
                        None => break,
                    }
                }
                assert!(last > 0.3, "{kind:?} {}", command.name);
                model.command(command.name, &args);
                model.bench().cancel();
                assert_eq!(model.bench().running(), None);
            }
            assert!(ends >= 20 && done > 0, "{kind:?} {} ended {ends} times, {done} well", command.name);
        }
    }
}

#[test]
fn some_command_of_the_fleet_fails_and_says_why() {
    let failed = (0..50).any(|seed| {
        let mut model = DeviceKind::MachineTool.build(seed, 0.0);
        model.command("change_tool", &args(json!({ "tool": "T03" })));
        model.step(4.0);
        matches!(model.bench().poll(), Some(Progress::Failed(why)) if why.contains("T03"))
    });
    assert!(failed);
}

/// Where a metric is after a setpoint was given, every second for two minutes.
fn response(
    mut model: Box<dyn Model>,
    name: &str,
    given: serde_json::Value,
    metric: &str,
) -> (f64, Vec<f64>) {
    for _ in 0..300 {
        model.step(0.2);
    }
    let before = read(&mut *model, metric);
    assert!(matches!(model.command(name, &args(given)), Reply::Done(_)));
    let after = (0..120).map(|_| {
        (0..5).for_each(|_| model.step(0.2));
        read(&mut *model, metric)
    });
    (before, after.collect())
}

#[test]
fn a_new_setpoint_is_seen_within_a_minute_and_settles() {
    for (kind, name, given, metric, target, tolerance) in [
        (DeviceKind::ColdRoom, "set_temperature", json!({ "setpoint": -8.0 }), "temperature", -8.0, 1.5),
        (DeviceKind::ColdRoom, "set_temperature", json!({ "setpoint": -26.0 }), "temperature", -26.0, 1.5),
        (DeviceKind::Pump, "set_speed", json!({ "speed": 1_200.0 }), "speed", 1_200.0, 30.0),
        (
            DeviceKind::MachineTool,
            "set_spindle_speed",
            json!({ "speed": 3_000.0 }),
            "spindle_speed",
            3_000.0,
            100.0,
        ),
        (
            DeviceKind::Greenhouse,
            "set_temperature",
            json!({ "setpoint": 29.0 }),
            "air_temperature",
            29.0,
            2.5,
        ),
        (DeviceKind::Solar, "set_charge_limit", json!({ "current": 20.0 }), "battery_current", 20.0, 3.0),
    ] {
        let (mut seen, mut settled) = (0, 0);
        for seed in 0..20 {
            let mut model = kind.build(seed, 43_000.0);
            if kind == DeviceKind::Solar {
                model.command("set_mode", &args(json!({ "mode": "backup" })));
            }
            let (before, after) = response(model, name, given.clone(), metric);
            let way = target - before;
            seen += usize::from(after[..60].iter().any(|v| ((v - before) / way) > 0.63));
            settled +=
                usize::from(after[60..].iter().filter(|v| (*v - target).abs() < tolerance).count() > 20);
        }
        assert!(seen >= 16 && settled >= 16, "{kind:?} to {target}: seen {seen}, settled {settled} of 20");
    }
}

#[test]
fn states_change_by_themselves() {
    for kind in DeviceKind::ALL {
        let mut states = BTreeSet::new();
        for seed in 0..5 {
            let mut model = kind.build(seed, 20_000.0);
            for _ in 0..7_200 {
                model.step(5.0);
                states.insert(model.read("state").unwrap().to_string());
            }
        }
        assert!(states.len() >= 2, "{kind:?}: {states:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_day_of_any_device_stays_plausible(seed: u64, start in 0.0..86_400.0, kind in 0..6_usize) {
        let kind = DeviceKind::ALL[kind];
        let mut model = kind.build(seed, start);
        let metrics = model.about().metrics;
        for _ in 0..86_400 / 4 {
            model.step(4.0);
            for metric in metrics {
                let value = model.read(metric.name).unwrap();
                prop_assert_eq!(value.kind(), metric.kind, "{:?} {}", kind, metric.name);
                if let (Value::Number(number), Some((min, max)), Kind::Number) = (&value, metric.range, metric.kind) {
                    // The range is what a chart shows; noise may cross its edge by a little.
                    let slack = 0.02 * (max - min);
                    prop_assert!(
                        number.is_finite() && *number >= min - slack && *number <= max + slack,
                        "{:?} {}: {} is outside {} to {}", kind, metric.name, number, min, max
                    );
                }
            }
        }
    }
}
