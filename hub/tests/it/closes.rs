//! RFC 6455 on both endpoints: what breaks its rules is closed with the right code, and the close frame arrives.

use protocol::limits::{DEVICE_MESSAGE_MAX_BYTES, VIEWER_MESSAGE_MAX_BYTES};
use protocol::{DEVICE_PATH, VIEWER_PATH};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Role, TestHub};
use crate::wire::{Bystander, Raw, frame, hello};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A violation, as the bytes of a client, and the code with which the hub closes.
pub(crate) fn violations(message_max: usize) -> Vec<(&'static str, Vec<u8>, u16)> {
    let unmasked = {
        let mut bytes = vec![TEXT, 2];
        bytes.extend(b"{}");
        bytes
    };
    vec![
        ("a binary message", frame(BINARY, b"{}"), 1003),
        ("a message too large", frame(TEXT, &vec![b' '; message_max + 1]), 1009),
        ("a message far too large", frame(TEXT, &vec![b' '; 4 * message_max]), 1009),
        (
            "fragments that are too large together",
            [frame(0x01, &vec![b' '; message_max]), frame(0x80, b" ")].concat(),
            1009,
        ),
        ("a length of 2^63", vec![TEXT, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009),
        ("text that is not UTF-8", frame(TEXT, b"{\"type\":\"\xff\"}"), 1007),
        (
            "text that is not UTF-8, in fragments",
            [frame(0x01, b"{\"type\":\"\xc3"), frame(0x80, b"\"}")].concat(),
            1007,
        ),
        ("a reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff\xfe"), 1007),
        ("an unmasked frame", unmasked, 1002),
        ("a reserved data opcode", frame(0x83, b"{}"), 1002),
        ("a reserved control opcode", frame(0x8b, b""), 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("a ping in fragments", frame(0x09, b""), 1002),
        ("a ping of 126 bytes", frame(PING, &[b'x'; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
        ("a message inside a message", [frame(0x01, b"{"), frame(TEXT, b"{}")].concat(), 1002),
        ("a close frame of one byte", frame(CLOSE, b"\x03"), 1002),
        ("a close code that may not be sent", frame(CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("a close code that does not exist", frame(CLOSE, &999_u16.to_be_bytes()), 1002),
    ]
}

#[tokio::test]
async fn a_device_that_breaks_the_rules_is_closed_with_the_right_code_also_before_hello() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    for (what, bytes, code) in violations(DEVICE_MESSAGE_MAX_BYTES) {
        for says_hello in [false, true] {
            let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
            if says_hello {
                device.frame(TEXT, hello("rude").to_string().as_bytes()).await;
                assert_eq!(device.next().await.unwrap().0, TEXT, "{what}: welcome");
            }
            device.bytes(&bytes).await;
            let (found, reason) = device.closed().await;
            assert_eq!(found, code, "{what}, hello {says_hello}: {reason}");
            assert!(!reason.is_empty() || what.contains("close code"), "{what}");
            bystander.is_undisturbed().await;
        }
    }
}

#[tokio::test]
async fn a_viewer_that_breaks_the_rules_is_closed_with_the_right_code() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    for (what, bytes, code) in violations(VIEWER_MESSAGE_MAX_BYTES) {
        let mut viewer = Raw::connect(&hub, VIEWER_PATH, Role::Viewer).await;
        viewer.bytes(&bytes).await;
        let (found, reason) = viewer.closed().await;
        assert_eq!(found, code, "{what}: {reason}");
        bystander.is_undisturbed().await;
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_on_both_endpoints() {
    let hub = TestHub::start().await;
    for (path, role) in [(DEVICE_PATH, Role::Fleet), (VIEWER_PATH, Role::Viewer)] {
        let mut peer = Raw::connect(&hub, path, role).await;
        if role == Role::Fleet {
            peer.frame(TEXT, hello("pump").to_string().as_bytes()).await;
        }
        for payload in [&b""[..], b"are you there?", &[0xff; 125]] {
            peer.frame(PING, payload).await;
            loop {
                let (first, answer) = peer.next().await.unwrap();
                if first == PONG {
                    assert_eq!(answer, payload);
                    break;
                }
                assert_eq!(first, TEXT);
            }
        }
        // A pong that nobody asked for is nothing.
        peer.frame(PONG, b"unasked").await;
        peer.frame(CLOSE, &1000_u16.to_be_bytes()).await;
        assert_eq!(peer.closed().await.0, 1000);
    }
}

#[tokio::test]
async fn the_close_handshake_of_a_client_is_answered_with_its_code() {
    let hub = TestHub::start().await;
    for (path, role) in [(DEVICE_PATH, Role::Fleet), (VIEWER_PATH, Role::Viewer)] {
        for (sent, answered) in
            [(&b"\x03\xe8done"[..], 1000), (b"\x03\xe9going away", 1001), (b"\x0f\xa0", 4000)]
        {
            let mut peer = Raw::connect(&hub, path, role).await;
            if role == Role::Fleet {
                peer.frame(TEXT, hello("pump").to_string().as_bytes()).await;
            }
            peer.frame(CLOSE, sent).await;
            assert_eq!(peer.closed().await.0, answered);
        }
        // Without a code, and before hello.
        let mut peer = Raw::connect(&hub, path, role).await;
        peer.frame(CLOSE, b"").await;
        loop {
            let (first, payload) = peer.next().await.unwrap();
            if first == CLOSE {
                assert_eq!(payload, b"");
                break;
            }
        }
        assert_eq!(peer.next().await, None);
    }
}

#[tokio::test]
async fn i_5_floods_of_frames_that_cost_nothing_to_send_disturb_nobody() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    for (what, first, rest) in [
        ("pings whose pongs are not read", frame(PING, &[b'x'; 125]), frame(PING, &[b'x'; 125])),
        ("fragments of nothing", frame(0x01, b""), frame(0x00, b"")),
        ("empty messages", frame(TEXT, b""), frame(TEXT, b"")),
    ] {
        let mut rude = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
        rude.frame(TEXT, hello("rude").to_string().as_bytes()).await;
        rude.bytes(&first).await;
        let many = rest.repeat(1_000);
        let flood = async {
            for _ in 0..100 {
                if rude.stream.write_all(&many).await.is_err() {
                    break;
                }
            }
            // The hub writes no more to one that does not read, and then reads no more of it.
            std::future::pending::<()>().await;
        };
        let others = async {
            for _ in 0..50 {
                bystander.is_undisturbed().await;
            }
        };
        tokio::select! {
            () = flood => {}
            () = others => {}
        }
        drop(rude);
        assert!(memory_kib(&hub) < 128 * 1024, "{what}: {} KiB", memory_kib(&hub));
    }
}

/// Memory of the program that is in use.
pub(crate) fn memory_kib(hub: &TestHub) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_pings_between() {
    let hub = TestHub::start().await;
    let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    let text = hello("pump").to_string();
    let (first, rest) = text.as_bytes().split_at(10);
    device.frame(0x01, first).await;
    device.frame(PING, b"between").await;
    for byte in rest {
        device.frame(0x00, &[*byte]).await;
    }
    device.frame(0x80, b"").await;
    assert_eq!(device.next().await.unwrap(), (PONG, b"between".to_vec()));
    let (first, payload) = device.next().await.unwrap();
    assert_eq!(first, TEXT);
    assert!(payload.starts_with(b"{\"type\":\"welcome\""));
}
