//! The fuzz target of messages over its seeds and a few changes of them: see `fuzz/`.

#[expect(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../../../fuzz/src/messages.rs"]
mod messages;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn i_7_messages_of_any_bytes_are_read_or_refused() {
    replay::replay("protocol/tests/golden", 30_000, messages::any);
}
