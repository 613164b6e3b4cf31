//! The ledger adds up, whatever is sent, sent again, lost or sealed.

use protocol::{Position, Seq};
use store::{Batch, BatchContent, Outcome, SealPolicy};

use crate::support::{Base, Chance, NOW, hello, row};

/// What a device did in one epoch, counted beside the store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Told {
    last: u64,
    stored: u64,
    refused: u64,
    skipped: u64,
    duplicate: u64,
    readings: u64,
}

fn run(seed: u64) {
    let mut chance = Chance(seed);
    let base = Base::new();
    let mut writer = base.writer();
    let names = ["a", "b"];
    let mut told: Vec<Vec<Told>> = vec![vec![Told::default()]; names.len()];
    let mut now: Vec<store::Registered> = Vec::new();
    for name in names {
        now.push(writer.register(&hello(name, "e0"), NOW).unwrap());
    }
    for step in 0..300 {
        let who = chance.below(2) as usize;
        if chance.one_in(60) {
            let epoch = format!("e{}", told[who].len());
            now[who] = writer.register(&hello(names[who], &epoch), NOW).unwrap();
            told[who].push(Told::default());
        }
        let (device, told) = (&now[who], told[who].last_mut().unwrap());
        // Mostly the next one; else one that came before, one too far, or a skip.
        let (after, seq) = match chance.below(10) {
            0 if told.last > 0 => (told.last - 1, 1 + chance.below(told.last)),
            1 => (told.last + 1, told.last + 2),
            _ => (told.last, told.last + 1),
        };
        let times = chance.below(200) as i64;
        let rows: Vec<_> = (0..chance.below(12) as i64)
            .map(|i| row(device.series[0], NOW.0 + (times + i) * 50_000_000, 1.0))
            .collect();
        let count = rows.len() as u64;
        let (seq, content) = match chance.below(12) {
            0 => (seq, BatchContent::Refused),
            1 => (seq + chance.below(5), BatchContent::Skipped),
            _ => (seq, BatchContent::Readings(rows)),
        };
        let batch = Batch { stream: device.stream, after: Seq(after), seq: Seq(seq), content };
        let outcome = writer.append(std::slice::from_ref(&batch), NOW).unwrap().outcomes[0];
        match (outcome, &batch.content) {
            (Outcome::Duplicate, _) => told.duplicate += 1,
            (Outcome::OutOfOrder, _) => {}
            (Outcome::Settled, content) => {
                match content {
                    BatchContent::Readings(_) => {
                        told.stored += 1;
                        told.readings += count;
                    }
                    BatchContent::Refused => told.refused += 1,
                    BatchContent::Skipped => told.skipped += seq - told.last,
                }
                told.last = seq;
            }
        }
        if chance.one_in(8) {
            let run_max = 1 + chance.below(100);
            writer.set_seal_policy(SealPolicy {
                keep: chance.below(20),
                run_min: 1,
                run_max,
                pieces: 2,
                quiet: 50,
            });
            for _ in 0..chance.below(10) {
                writer.seal(20).unwrap();
                writer.merge(50).unwrap();
            }
        }
        if step % 25 == 0 {
            let reader = base.reader();
            let mut all = 0;
            for (name, told) in names.iter().zip(&told_of(&reader, &names)) {
                let account = reader.account(&name.parse().unwrap()).unwrap().unwrap();
                assert!(account.adds_up(), "seed {seed}, step {step}: {account:?}");
                assert_eq!(account.streams.len(), told.len());
                all += account.stats.readings;
            }
            assert_eq!(Position(all as i64), writer.position(), "seed {seed}, step {step}");
        }
    }
    let reader = base.reader();
    assert_eq!(told_of(&reader, &names), told, "seed {seed}");
    let conflicts: u64 = reader.device_stats().unwrap().iter().map(|device| device.conflicts).sum();
    assert!(
        conflicts > 0 && told.iter().flatten().any(|told| told.duplicate > 0 && told.skipped > 0),
        "seed {seed}"
    );
}

/// What the store tells of each device's epochs.
fn told_of(reader: &store::Reader, names: &[&str]) -> Vec<Vec<Told>> {
    let of = |name: &&str| {
        let account = reader.account(&name.parse().unwrap()).unwrap().unwrap();
        account
            .streams
            .into_iter()
            .map(|stream| Told {
                last: stream.sent(),
                stored: stream.stored,
                refused: stream.refused,
                skipped: stream.skipped,
                duplicate: stream.duplicate,
                readings: stream.readings,
            })
            .collect()
    };
    names.iter().map(of).collect()
}

#[test]
fn i_2_the_ledger_adds_up_whatever_is_sent_again_out_of_order_or_skipped() {
    for seed in 0..12 {
        run(seed);
    }
}

#[test]
fn an_account_that_lacks_a_reading_or_a_batch_does_not_add_up() {
    for sql in [
        "UPDATE stream SET skipped = skipped + 1",
        "UPDATE stream SET readings = readings + 1",
        "UPDATE series SET conflicts = 1 WHERE series_id = 1",
        "UPDATE series SET removed = 1 WHERE series_id = 1",
        "DELETE FROM hot",
    ] {
        let base = Base::new();
        let mut writer = base.writer();
        let device = crate::support::register(&mut writer, "a");
        crate::support::store(
            &mut writer,
            device.stream,
            1,
            vec![row(device.series[0], 1, 1.0), row(device.series[0], 2, 1.0)],
        );
        drop(writer);
        let account = || base.reader().account(&"a".parse().unwrap()).unwrap().unwrap();
        assert!(account().adds_up());
        rusqlite::Connection::open(base.path()).unwrap().execute_batch(sql).unwrap();
        assert!(!account().adds_up(), "{sql}");
    }
}

#[test]
fn an_unknown_device_has_no_account() {
    let base = Base::new();
    drop(base.writer());
    assert_eq!(base.reader().account(&"nobody".parse().unwrap()).unwrap(), None);
}
