//! The fuzz targets of the store over their seeds and a few changes of them: see `fuzz/`.

#[expect(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../../../fuzz/src/database.rs"]
mod database;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn i_7_blocks_of_any_bytes_are_read_or_refused() {
    replay::replay("fuzz/seeds/block", 20_000, store::fuzzing::block);
}

#[test]
fn i_7_damaged_files_and_logs_give_answers_or_errors() {
    replay::replay("fuzz/seeds/database", 60, database::damaged_file);
    replay::replay("fuzz/seeds/log", 60, database::damaged_log);
}
