//! Files of readings: out of one database and into another, nothing lost, nothing twice.

use std::path::{Path, PathBuf};

use hub::exchange::{Choice, ExchangeError, Format, Imported, export, import};
use protocol::{Kind, Seq, Timestamp, Value};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use store::{Batch, BatchContent, Reader, Row, SealPolicy, Writer};
use tempfile::TempDir;

use crate::harness::{TestHub, stderr, stdout, until};

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

struct Base {
    folder: TempDir,
}

impl Base {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("telemetry.db")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn written(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Everything in it, as CSV.
    fn csv(&self) -> String {
        let reader = Reader::open(&self.database()).unwrap();
        String::from_utf8(exported(&reader, Format::Csv)).unwrap()
    }

    fn import(&self, file: &Path) -> Result<Imported, ExchangeError> {
        self.import_until(file, u64::MAX)
    }

    /// Imports, and stops once so many readings are stored.
    fn import_until(&self, file: &Path, stop_at: u64) -> Result<Imported, ExchangeError> {
        let mut writer = Writer::open(&self.database()).unwrap();
        let reader = Reader::open(&self.database()).unwrap();
        let format = Format::of(file).unwrap();
        import(&mut writer, &reader, file, format, NOW, &mut |progress| {
            progress.done == "checked" || progress.readings < stop_at
        })
    }
}

fn exported(reader: &Reader, format: Format) -> Vec<u8> {
    let choice = Choice { devices: vec![], metrics: vec![], from: Timestamp(0), to: Timestamp::END_READING };
    export(reader, &choice, format, Vec::new(), &mut |_| true).unwrap().1
}

/// A fleet with readings of all kinds, late and doubled ones among them, some hot and some sealed.
fn fill(database: &Path, seed: u64, batches: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut writer = Writer::open(database).unwrap();
    writer.set_seal_policy(SealPolicy { keep: 500, run_min: 1, run_max: 1_000, pieces: 3, quiet: 1_000 });
    let devices: Vec<_> = (0..3)
        .map(|n| {
            let hello = json!({"device": format!("pump/{n}"), "epoch": "e1", "commands": [{"name": "reset"}], "metrics": [
                {"name": "temperature", "unit": "Cel"}, {"name": "door", "kind": "bool"}, {"name": "mode", "kind": "text"}]});
            writer.register(&serde_json::from_value(hello).unwrap(), NOW).unwrap()
        })
        .collect();
    let texts = [
        "open",
        "",
        "half \"open\", or not",
        "two\nlines\r\n",
        " spaces ",
        "ünïcode ✓",
        "1.5",
        "true",
        "'=1+1",
    ];
    let numbers =
        [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0, 0.1, 1e16, 1.0 / 3.0, 123_456_789.123_456_79];
    let mut clock = NOW.0;
    for batch in 0..batches {
        let device = &devices[batch as usize % devices.len()];
        let rows = (0..rng.random_range(0..200)).map(|_| {
            clock += rng.random_range(1..60_000_000);
            let late = if rng.random_range(0..5) == 0 { rng.random_range(0..150_000_000_000) } else { 0 };
            let metric = rng.random_range(0..3_usize);
            let value: Value = match metric {
                0 if rng.random_range(0..4) == 0 => numbers[rng.random_range(0..numbers.len())].into(),
                0 => (f64::from(rng.random_range(-4_000..8_500)) / 100.0).into(),
                1 => rng.random_range(0..2).eq(&0).into(),
                _ => texts[rng.random_range(0..texts.len())].into(),
            };
            Row { series: device.series[metric], at: Timestamp((clock - late) / 1_000 * 1_000), value }
        });
        let seq = Seq(batch / devices.len() as u64 + 1);
        let content = BatchContent::Readings(rows.collect());
        writer.append(&[Batch { stream: device.stream, after: Seq(seq.0 - 1), seq, content }], NOW).unwrap();
        while rng.random_range(0..3) > 0
            && (writer.seal(700).unwrap().more || writer.merge(700).unwrap().more)
        {}
    }
    let stats = Reader::open(database).unwrap().stats().unwrap();
    assert!(stats.hot > 0 && stats.hot < stats.readings / 2, "seed {seed}: {stats:?}");
    stats.readings
}

#[test]
fn what_is_exported_and_imported_and_exported_again_is_the_same() {
    for seed in 0..2 {
        let first = Base::new();
        fill(&first.database(), seed, 150);
        let text = first.csv();
        let rows = text.matches(",number\n").count()
            + text.matches(",bool\n").count()
            + text.matches(",text\n").count();
        for (format, name) in [(Format::Csv, "readings.csv"), (Format::Parquet, "readings.parquet")] {
            let second = Base::new();
            let file = second.file(name);
            std::fs::write(&file, exported(&Reader::open(&first.database()).unwrap(), format)).unwrap();
            let imported = second.import(&file).unwrap();
            assert_eq!(
                (imported.stored, imported.already, imported.conflicts),
                (rows as u64, 0, 0),
                "seed {seed}"
            );
            assert!(second.csv() == text, "seed {seed}, {name}");
            // Into what holds it already, nothing goes twice: neither by the file nor by the reading.
            for base in [&second, &first] {
                let again = base.import(&file).unwrap();
                assert_eq!(
                    (again.stored, again.already, again.conflicts),
                    (0, rows as u64, 0),
                    "seed {seed}, {name}"
                );
                assert!(base.csv() == text, "seed {seed}, {name}");
            }
        }
    }
}

/// A file of many readings of a few series, in no order.
fn large(base: &Base, rows: u64) -> PathBuf {
    let mut text = String::from("time,value,metric,device\n");
    for n in 0..rows {
        let at = NOW.0 + (n * 7_919 % rows) as i64 * 250_000;
        text.push_str(&format!("{at},{}.5,speed,fan-{}\n", n % 1_000, n % 3));
    }
    base.written("large.csv", &text)
}

#[test]
fn i_2_an_import_that_was_stopped_goes_on_where_it_was() {
    let (whole, parts) = (Base::new(), Base::new());
    let file = large(&whole, 150_000);
    assert_eq!(whole.import(&file).unwrap().stored, 150_000);
    let mut had = 0;
    for stop_at in [1, 70_000] {
        assert!(matches!(parts.import_until(&file, stop_at), Err(ExchangeError::Stopped)));
        let readings = Reader::open(&parts.database()).unwrap().stats().unwrap().readings;
        assert!(readings > had && readings < 150_000, "{readings}");
        had = readings;
    }
    let last = parts.import(&file).unwrap();
    assert_eq!((last.stored, last.already, last.conflicts), (150_000 - had, had, 0));
    assert!(parts.csv() == whole.csv());
}

#[tokio::test]
async fn i_2_an_import_that_was_killed_and_run_again_stores_everything_once() {
    let whole = Base::new();
    let file = large(&whole, 150_000);
    whole.import(&file).unwrap();
    let hub = TestHub::nowhere(&[]);
    let mut child =
        crate::harness::program(hub.data()).args(["import", file.to_str().unwrap()]).spawn().unwrap();
    until("something to be stored", async || {
        Reader::open(&hub.database())
            .is_ok_and(|reader| reader.position().is_ok_and(|position| position.0 > 0))
    })
    .await;
    child.kill().await.unwrap();
    let output = hub.run(&["import", file.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains(" 0 in conflict: 3 series of 3 devices"), "{}", stdout(&output));
    assert!(exported(&hub.reader(), Format::Csv) == whole.csv().as_bytes());
}

#[test]
fn a_file_that_a_person_made_is_understood() {
    let base = Base::new();
    let file = base.written(
        "mine.csv",
        "\u{feff}value,metric,timestamp,device\r\n20.5,temperature,2026-01-01T00:00:00+01:00,oven\r\n\
         true,door,1767225600000000,oven\r\nbaking,mode,2026-01-01 00:00:01,oven\r\n\r\n-1e3,temperature,2026-01-01,oven\r\n",
    );
    assert_eq!(base.import(&file).unwrap().stored, 4);
    let expected = "device,metric,observed_at,value,unit,kind\n\
                    oven,door,2026-01-01T00:00:00.000000Z,true,,bool\n\
                    oven,mode,2026-01-01T00:00:01.000000Z,baking,,text\n\
                    oven,temperature,2025-12-31T23:00:00.000000Z,20.5,,number\n\
                    oven,temperature,2026-01-01T00:00:00.000000Z,-1000.0,,number\n";
    assert_eq!(base.csv(), expected);
}

#[test]
fn a_file_with_a_mistake_names_it_and_nothing_of_it_is_stored() {
    let base = Base::new();
    fill(&base.database(), 1, 30);
    let before = base.csv();
    let good = "a,b,2026-01-01,1,,\n";
    for (row, place, problem) in [
        ("a,b,yesterday,1,,", "line 3, column observed_at", "RFC 3339"),
        ("a,b,2026-01-01,one,,", "line 3, column value", "\"one\" is not a number"),
        ("a,b,2026-01-01,,,", "line 3, column value", "\"\" is not a number"),
        ("a,b,2026-01-01,inf,,", "line 3, column value", "not a finite number"),
        ("a,b,2026-01-01,true,,bool", "line 3, column value", "a series of kind number"),
        ("a,b,2026-01-01,1,,float", "line 3, column kind", "number, bool or text"),
        ("a,b,2150-01-01,1,,", "line 3, column observed_at", "outside 1970 to 2100"),
        ("a b,b,2026-01-01,1,,", "line 3, column device", "\"a b\" holds ' '"),
        (",b,2026-01-01,1,,", "line 3, column device", "empty"),
        ("a,b,2026-01-01", "line: 3", "3 fields"),
        ("pump/1,temperature,2026-01-01,1,degF,", "line 3, column unit", "is in \"Cel\""),
        ("pump/1,door,2026-01-01,7,,", "line 3, column value", "neither true nor false"),
        ("pump/1,mode,2026-01-01,1,,number", "line 3, column value", "a series of kind text"),
    ] {
        let file =
            base.written("bad.csv", &format!("device,metric,observed_at,value,unit,kind\n{good}{row}\n"));
        let error = base.import(&file).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(problem), "{row}: {error}");
    }
    for (name, bytes) in
        [("bad.csv", &b"device,metric,time,value\na,b,2026-01-01,\xff\n"[..]), ("bad.parquet", b"PAR1 no")]
    {
        let file = base.file(name);
        std::fs::write(&file, bytes).unwrap();
        assert!(matches!(base.import(&file), Err(ExchangeError::Content(_))), "{name}");
    }
    assert!(base.csv() == before);
    let long = "x".repeat(257);
    let file = base.written("bad.csv", &format!("device,metric,time,value\na,b,2026-01-01,{long}\n"));
    assert!(base.import(&file).unwrap_err().to_string().contains("at most 256"));
}

#[test]
fn what_is_stored_first_counts_and_the_conflict_is_named() {
    let base = Base::new();
    let first = base.written("first.csv", "device,metric,time,value\na,b,5,1\na,b,5,1\na,b,6,1\na,b,5,2\n");
    let imported = base.import(&first).unwrap();
    assert_eq!((imported.stored, imported.already, imported.conflicts), (2, 1, 1));
    let second = base.written("second.csv", "device,metric,time,value\na,b,7,3\na,b,6,4\na,b,5,1\n");
    let imported = base.import(&second).unwrap();
    assert_eq!((imported.stored, imported.already, imported.conflicts), (1, 1, 1));
    let conflict = imported.conflict.unwrap();
    assert_eq!(
        (conflict.at.as_str(), conflict.stored, conflict.given),
        ("1970-01-01T00:00:00.000006Z", 1.0.into(), 4.0.into())
    );
    assert_eq!(base.csv().lines().count(), 4);
}

#[test]
fn an_import_leaves_what_a_device_declared_and_a_device_can_go_on_with_what_was_imported() {
    let base = Base::new();
    fill(&base.database(), 2, 30);
    let declared = |base: &Base| Reader::open(&base.database()).unwrap().devices().unwrap();
    let before = declared(&base);
    let file = base.written(
        "more.csv",
        "device,metric,time,value,unit\npump/1,temperature,3,1,\npump/1,new,3,1,Pa\nfresh,new,3,on,\n",
    );
    base.import(&file).unwrap();
    let after = declared(&base);
    for (before, after) in before.iter().zip(after.iter().filter(|device| device.info.id.as_str() != "fresh"))
    {
        assert_eq!(before.info.commands, after.info.commands);
        assert!(
            after.info.metrics.starts_with(&before.info.metrics),
            "what is declared comes first, as it was"
        );
    }
    // The device says hello as ever, and that is no change.
    let mut writer = Writer::open(&base.database()).unwrap();
    let hello = json!({"device": "fresh", "epoch": "e1", "metrics": [{"name": "new", "kind": "text", "label": "New"}]});
    let registered = writer.register(&serde_json::from_value(hello).unwrap(), NOW).unwrap();
    let fresh = after.iter().find(|device| device.info.id.as_str() == "fresh").unwrap();
    assert_eq!(registered.series, [fresh.info.metrics[0].series], "it goes on in the same series");
    assert_eq!(fresh.info.metrics[0].declaration.kind, Kind::Text);
    let hello = json!({"device": "fresh", "epoch": "e1", "metrics": [{"name": "new"}]});
    assert!(writer.register(&serde_json::from_value(hello).unwrap(), NOW).is_err(), "its kind stays");
}

#[tokio::test]
async fn export_reads_beside_a_running_hub_and_import_asks_to_stop_it() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    for seq in 1..=3 {
        device.say(crate::wire::counted(seq, seq as i64, seq as i64)).await;
        device.acked(seq).await;
    }
    let output = hub.run(&["export", "-", "--device", "pu*", "--from", "-7d"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1, "nothing is that new: {}", stdout(&output));
    let output = hub.run(&["export", "-", "--metric", "count", "--to", "now"]).await;
    assert_eq!(stdout(&output).lines().count(), 4, "{}", stdout(&output));
    let file = hub.data().join("out.parquet");
    let file = file.to_str().unwrap();
    let output = hub.run(&["export", file]).await;
    assert!(stderr(&output).contains("exported 3 readings"), "{}", stderr(&output));

    let output = hub.run(&["import", file]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a hub runs on it. Stop the hub"), "{}", stderr(&output));
    hub.stop().await;
    let output = hub.run(&["import", file]).await;
    assert!(stdout(&output).starts_with("0 readings stored, 3 were there already"), "{}", stdout(&output));

    for (arguments, code, problem) in [
        (&["export", "out.txt"][..], 2, "end it with .csv or .parquet"),
        (&["export", "-", "--from", "soon"], 2, "--from: \"soon\" is not a time"),
        (&["export", "-", "--from", "now", "--to", "-1d"], 2, "--from is not before --to"),
        (&["import", "nowhere.csv"], 1, "nowhere.csv"),
    ] {
        let output = hub.run(arguments).await;
        assert_eq!(output.status.code(), Some(code));
        assert!(stderr(&output).contains(problem), "{arguments:?}: {}", stderr(&output));
    }
}

#[tokio::test]
async fn sql_answers_beside_a_running_hub_in_three_formats_and_writes_nothing() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    for seq in 1..=3 {
        device.say(crate::wire::counted(seq, seq as i64, seq as i64)).await;
        device.acked(seq).await;
    }
    let query = "SELECT device, metric, observed_at / 1000 % 10 AS at, value, NULL AS empty FROM readings WHERE device = 'pump'";
    for (format, expected) in [
        ("csv", "device,metric,at,value,empty\npump,count,1,1.0,\npump,count,2,2.0,\npump,count,3,3.0,\n"),
        ("json", "{\"device\":\"pump\",\"metric\":\"count\",\"at\":1,\"value\":1.0,\"empty\":null}\n"),
        (
            "table",
            "device  metric  at  value  empty\n------  ------  --  -----  -----\npump    count    1    1.0\n",
        ),
    ] {
        let output = hub.run(&["sql", query, "--format", format]).await;
        assert!(stdout(&output).starts_with(expected), "{}{}", stdout(&output), stderr(&output));
        assert!(output.status.success());
    }
    for (query, problem) in [
        ("DELETE FROM hot", "only queries are allowed"),
        ("SELECT * FROM reeding", "no such table: reeding"),
        ("SELECT * FROM readings WHERE", "incomplete input"),
    ] {
        let output = hub.run(&["sql", query]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(problem), "{query}: {}", stderr(&output));
    }
    hub.stop().await;
    assert_eq!(hub.reader().position().unwrap().0, 3);
}
