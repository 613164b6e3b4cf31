//! RFC 6455 on both endpoints: what breaks its rules is closed with the right code, and the close frame arrives.

use protocol::limits::{DEVICE_MESSAGE_MAX_BYTES, VIEWER_MESSAGE_MAX_BYTES};
use protocol::{CloseCode, DEVICE_PATH, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Role, TestHub, stdout};
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

/// Those, and more of the same kinds.
fn more_violations(message_max: usize) -> Vec<(&'static str, Vec<u8>, u16)> {
    let mut all = violations(message_max);
    all.push((
        "text that is not UTF-8 from its second fragment on",
        [frame(0x01, b"{}"), frame(0x00, b" \xf0\x9f"), frame(0x80, b"\x41")].concat(),
        1007,
    ));
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        all.push(("a reserved opcode", frame(0x80 | opcode, b""), 1002));
    }
    for bit in [0x10, 0x20, 0x40] {
        all.push(("a reserved bit of a ping", frame(PING | bit, b""), 1002));
    }
    for opcode in [0x08, 0x09, 0x0a] {
        all.push(("a control frame in fragments", frame(opcode, b""), 1002));
        all.push(("a control frame of 126 bytes", frame(0x80 | opcode, &[b'x'; 126]), 1002));
    }
    for code in [0, 1, 998, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535_u16] {
        all.push(("a close code that may not be sent", frame(CLOSE, &code.to_be_bytes()), 1002));
    }
    all
}

/// What brings each close code to a peer of the real hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_close_code_of_ours_reaches_the_peer_with_its_reason() {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(
        hub.data().join("hub.toml"),
        "heartbeat_seconds = 1\n[limits]\nhello_seconds = 2\ndevice_messages_per_second = 5\n\
         rate_burst_seconds = 1\nrate_patience_seconds = 1\n",
    )
    .unwrap();
    hub.launch().await;
    let added = hub.cli(&["device", "add", "pump"]).await;
    let own = stdout(&added).trim().to_owned();
    let device = || Raw::connect(&hub, DEVICE_PATH, Role::Fleet);
    let text = |json: Json| frame(TEXT, json.to_string().as_bytes());
    for code in CloseCode::ALL {
        let (mut peer, reason) = match code {
            CloseCode::Normal => {
                let mut peer = device().await;
                peer.frame(CLOSE, b"\x03\xe8done").await;
                (peer, "done")
            }
            CloseCode::ProtocolError => {
                let mut peer = device().await;
                peer.frame(0x8b, b"").await;
                (peer, "invalid opcode")
            }
            CloseCode::Unsupported => {
                let mut peer = device().await;
                peer.frame(BINARY, b"").await;
                (peer, "binary messages are not spoken")
            }
            CloseCode::InvalidUtf8 => {
                let mut peer = device().await;
                peer.frame(TEXT, b"\xff").await;
                (peer, "text is not UTF-8")
            }
            CloseCode::TooBig => {
                let mut peer = device().await;
                peer.bytes(&frame(TEXT, &vec![b' '; DEVICE_MESSAGE_MAX_BYTES + 1])).await;
                (peer, "device_message_bytes is 262144 (per message)")
            }
            CloseCode::HelloExpected => {
                let mut peer = device().await;
                peer.bytes(&text(json!({"type": "readings", "seq": 1, "points": []}))).await;
                (peer, "the first message must be a valid hello")
            }
            CloseCode::HelloTimeout => (device().await, "hello_seconds is 2"),
            CloseCode::HeartbeatLost => {
                let mut peer = device().await;
                peer.bytes(&text(hello("silent"))).await;
                (peer, "heartbeats_missed is 3")
            }
            CloseCode::Replaced => {
                let mut peer = device().await;
                peer.bytes(&text(hello("twin"))).await;
                assert_eq!(peer.next().await.unwrap().0, TEXT, "welcome");
                let _newer = hub.welcomed("twin").await;
                let (found, reason) = peer.closed().await;
                assert_eq!((found, reason.as_str()), (4000, "another connection of this device took over"));
                continue;
            }
            CloseCode::Revoked => {
                let made = stdout(&hub.cli(&["device", "add", "gone"]).await).trim().to_owned();
                let mut peer = Raw::with_token(&hub, DEVICE_PATH, &made).await;
                peer.bytes(&text(hello("gone"))).await;
                assert_eq!(peer.next().await.unwrap().0, TEXT, "welcome");
                let listed = stdout(&hub.cli(&["token", "list"]).await);
                let line = listed.lines().find(|line| line.contains("gone")).unwrap();
                let key = line.split_whitespace().next().unwrap();
                assert!(hub.cli(&["token", "revoke", key]).await.status.success());
                (peer, "credential revoked")
            }
            CloseCode::WrongDevice => {
                let mut peer = Raw::with_token(&hub, DEVICE_PATH, &own).await;
                peer.bytes(&text(hello("drill"))).await;
                (peer, "credential is for another device")
            }
            CloseCode::TooFast => {
                let mut peer = Raw::with_token(&hub, DEVICE_PATH, &own).await;
                peer.bytes(&text(hello("pump"))).await;
                peer.bytes(&frame(PONG, b"").repeat(100)).await;
                (peer, "device_messages_per_second is 5 (per device)")
            }
            // Below, as the hub is gone afterwards. A viewer that is stuck: slow.rs. A disk that fails or is full: the tests of
            // faults. A policy that no other code names: the hub has none.
            CloseCode::GoingAway
            | CloseCode::TooSlow
            | CloseCode::StorageFailed
            | CloseCode::Internal
            | CloseCode::Policy => continue,
        };
        let (found, said) = peer.closed().await;
        assert_eq!(found, code.number(), "{code:?}: {said}");
        assert!(said.to_lowercase().contains(&reason.to_lowercase()), "{code:?}: {said}");
    }
    let mut last = device().await;
    last.bytes(&text(hello("last"))).await;
    assert_eq!(last.next().await.unwrap().0, TEXT, "welcome");
    hub.terminate();
    assert_eq!(last.closed().await, (1001, "going away".to_owned()));
}

#[tokio::test]
async fn a_device_that_breaks_the_rules_is_closed_with_the_right_code_also_before_hello() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    for (what, bytes, code) in more_violations(DEVICE_MESSAGE_MAX_BYTES) {
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
    for (what, bytes, code) in more_violations(VIEWER_MESSAGE_MAX_BYTES) {
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
