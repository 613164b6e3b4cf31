//! What devices declare, and what is remembered of it.

use protocol::declare::MetricDeclaration;
use protocol::device::Hello;
use protocol::limits::METRICS_EVER_MAX;
use protocol::{Kind, Timestamp};
use store::Writer;

use crate::support::{Base, NOW, hello, register, row, store, times};

#[test]
fn a_device_is_remembered_as_it_described_itself() {
    let base = Base::new();
    let mut writer = base.writer();
    let hello = hello("pump", "e1");
    let registered = writer.register(&hello, NOW).unwrap();
    let record = base.reader().device(&hello.device).unwrap().unwrap();
    assert_eq!(record.key, registered.device);
    assert_eq!(record.info.model, hello.model);
    assert_eq!(record.info.firmware, hello.firmware);
    assert_eq!(record.info.commands, hello.commands);
    assert!(!record.info.connected);
    let metrics: Vec<_> = record.info.metrics.iter().map(|metric| metric.declaration.clone()).collect();
    assert_eq!(metrics, hello.metrics);
    let series: Vec<_> = record.info.metrics.iter().map(|metric| metric.series).collect();
    assert_eq!(series, registered.series);
}

#[test]
fn saying_hello_again_gives_the_same_series_and_writes_nothing() {
    let base = Base::new();
    let mut writer = base.writer();
    let first = register(&mut writer, "pump");
    let log = crate::support::suffixed(&base.path(), "-wal");
    let before = std::fs::read(&log).unwrap();
    assert_eq!(register(&mut writer, "pump"), first);
    assert_eq!(std::fs::read(&log).unwrap(), before);
    drop(writer);
    assert_eq!(register(&mut base.writer(), "pump"), first);
}

#[test]
fn a_new_epoch_is_a_new_stream_of_the_same_device() {
    let base = Base::new();
    let mut writer = base.writer();
    let first = register(&mut writer, "pump");
    store(&mut writer, first.stream, 1, vec![row(first.series[0], 1, 1.0)]);
    let second = writer.register(&hello("pump", "e2"), NOW).unwrap();
    assert_eq!((second.device, &second.series), (first.device, &first.series));
    assert_ne!(second.stream, first.stream);
    assert_eq!(second.settled.0, 0);
    store(&mut writer, second.stream, 1, vec![row(first.series[0], 2, 1.0)]);
    assert_eq!(times(&base.reader(), first.series[0]), [1, 2]);
    let ledger = base.reader().ledger(&"pump".parse().unwrap()).unwrap();
    assert_eq!(ledger.iter().map(|stream| stream.epoch.as_str()).collect::<Vec<_>>(), ["e1", "e2"]);
}

#[test]
fn a_metric_may_change_everything_but_its_kind() {
    let base = Base::new();
    let mut writer = base.writer();
    let first = register(&mut writer, "pump");
    let mut changed = hello("pump", "e1");
    changed.metrics[0].unit = Some("K".into());
    changed.metrics[0].max = None;
    changed.firmware = Some("2.0".into());
    changed.metrics.swap(0, 1);
    let second = writer.register(&changed, NOW).unwrap();
    assert_eq!(second.series, [first.series[1], first.series[0], first.series[2]]);
    let info = base.reader().device(&changed.device).unwrap().unwrap().info;
    assert_eq!(info.firmware, Some("2.0".into()));
    assert_eq!(info.metrics[1].declaration, changed.metrics[1]);

    changed.firmware = Some("3.0".into());
    changed.metrics[1].kind = Kind::Text;
    let error = writer.register(&changed, NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "metric temperature is stored as number and cannot become text: use another name"
    );
    let info = base.reader().device(&changed.device).unwrap().unwrap().info;
    assert_eq!(info.firmware, Some("2.0".into()), "nothing of the refused hello is kept");
    store(&mut writer, second.stream, 1, vec![row(first.series[0], 1, 1.0)]);
}

#[test]
fn a_metric_that_is_declared_no_more_keeps_its_readings_and_stands_last() {
    let base = Base::new();
    let mut writer = base.writer();
    let first = register(&mut writer, "pump");
    store(&mut writer, first.stream, 1, vec![row(first.series[0], 1, 1.0)]);
    let mut fewer = hello("pump", "e1");
    fewer.metrics.remove(0);
    let second = writer.register(&fewer, NOW).unwrap();
    assert_eq!(second.series, first.series[1..]);
    let info = base.reader().device(&fewer.device).unwrap().unwrap().info;
    let series: Vec<_> = info.metrics.iter().map(|metric| metric.series).collect();
    assert_eq!(series, [first.series[1], first.series[2], first.series[0]]);
    assert_eq!(times(&base.reader(), first.series[0]), [1]);
    assert_eq!(writer.register(&hello("pump", "e1"), NOW).unwrap(), store_again(&first));
}

fn store_again(registered: &store::Registered) -> store::Registered {
    store::Registered { settled: protocol::Seq(1), ..registered.clone() }
}

#[test]
fn devices_are_listed_by_id_with_when_they_were_last_seen() {
    let base = Base::new();
    let mut writer = base.writer();
    let b = register(&mut writer, "b");
    let a = writer.create_device(&"a".parse().unwrap(), NOW).unwrap();
    assert_eq!(writer.create_device(&"a".parse().unwrap(), NOW).unwrap(), a);
    assert_eq!(writer.create_device(&"b".parse().unwrap(), NOW).unwrap(), b.device);
    writer.touch(&[(b.device, Timestamp(7)), (store::DeviceKey(99), NOW)]).unwrap();
    writer.touch(&[]).unwrap();
    let devices = base.reader().devices().unwrap();
    let seen: Vec<_> = devices.iter().map(|d| (d.info.id.as_str(), d.info.last_seen)).collect();
    assert_eq!(seen, [("a", None), ("b", Some(Timestamp(7)))]);
    assert_eq!((devices[0].info.metrics.len(), devices[1].info.metrics.len()), (0, 3));
    assert_eq!(base.reader().device(&"c".parse().unwrap()).unwrap(), None);
}

#[test]
fn a_device_without_metrics_is_a_device() {
    let base = Base::new();
    let mut writer = base.writer();
    let bare: Hello = serde_json::from_value(serde_json::json!({"device": "d", "epoch": "e"})).unwrap();
    let first = writer.register(&bare, NOW).unwrap();
    assert_eq!(writer.register(&bare, NOW).unwrap(), first);
    assert!(first.series.is_empty());
}

#[test]
fn i_6_a_device_that_declares_ever_new_metrics_is_refused_by_name() {
    let base = Base::new();
    let mut writer = base.writer();
    let declare = |writer: &mut Writer, from: usize| {
        let mut hello = hello("pump", "e1");
        let template = hello.metrics[0].clone();
        hello.metrics = (from..from + 256)
            .map(|i| MetricDeclaration { name: format!("m{i}").parse().unwrap(), ..template.clone() })
            .collect();
        writer.register(&hello, NOW)
    };
    for i in 0..METRICS_EVER_MAX / 256 {
        declare(&mut writer, i * 256).unwrap();
    }
    let error = declare(&mut writer, METRICS_EVER_MAX - 255).unwrap_err();
    assert!(error.is_request(), "{error}");
    let text = error.to_string();
    assert!(text.contains("2049 metrics") && text.contains("2048"), "{text}");
    declare(&mut writer, METRICS_EVER_MAX - 256).unwrap();
    let device = base.reader().device(&"pump".parse().unwrap()).unwrap().unwrap();
    assert_eq!(device.info.metrics.len(), METRICS_EVER_MAX);
}
