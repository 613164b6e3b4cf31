//! The fuzz targets that speak to a hub, and the one of its configuration, over their seeds and a few changes of them: see
//! `fuzz/`.

#[expect(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../../../fuzz/src/config.rs"]
mod config;
#[expect(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../../../fuzz/src/hub.rs"]
mod hub;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[expect(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../../../fuzz/src/session.rs"]
mod session;
#[expect(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../../../fuzz/src/upgrade.rs"]
mod upgrade;

#[test]
fn i_7_any_bytes_are_a_configuration_or_a_mistake_that_is_named() {
    replay::replay("fuzz/seeds/config", 3_000, config::any);
}

#[test]
fn i_7_whatever_comes_after_the_upgrade_a_session_says_nothing_that_is_not_of_the_protocol() {
    replay::replay("fuzz/seeds/session", 1_500, session::any);
}

#[test]
fn i_12_whatever_comes_over_a_new_connection_nobody_gets_in_without_a_token() {
    replay::replay("fuzz/seeds/upgrade", 1_500, upgrade::any);
}
