//! A device at rest: the buffers in which large messages were read are given back, and nothing that comes meanwhile is lost.

use protocol::DEVICE_PATH;

use crate::closes::memory_kib;
use crate::harness::{Role, TestHub, until};
use crate::wire::{Peer, Raw, counted, frame, hello};

const TEXT: u8 = 0x81;
const BEGIN: u8 = 0x01;
const GO_ON: u8 = 0x80;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Reads until this is acknowledged. Returns the pongs that came before. The hub's pings are not answered, as a frame of ours
/// may be half sent; what comes after is answer enough.
async fn acked(raw: &mut Raw, seq: u64) -> Vec<Vec<u8>> {
    let mut pongs = Vec::new();
    loop {
        let (first, payload) = raw.next().await.unwrap();
        match first {
            PONG => pongs.push(payload),
            PING => {}
            _ => {
                let text = String::from_utf8(payload).unwrap();
                assert!(text.contains("\"ack\"") || text.contains("\"welcome\""), "{text}");
                if text.contains(&format!("\"seq\":{seq}}}")) {
                    return pongs;
                }
            }
        }
    }
}

/// Reads until the hub has pinged so often.
async fn pinged(raw: &mut Raw, mut times: u32) {
    while times > 0 {
        let (first, _) = raw.next().await.unwrap();
        times -= u32::from(first == PING);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_has_come_when_a_device_is_about_to_rest_is_not_lost() {
    let hub = TestHub::process(&["--heartbeat-seconds", "1"]).await;
    let batch = |seq: u64| counted(seq, seq as i64 * 1_000, seq as i64 * 1_000 + 500).to_string();
    let mut raw = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    raw.frame(TEXT, hello("pump").to_string().as_bytes()).await;
    // A large message, with so many bytes of the next one at its heels: none, parts of its head, parts of its payload.
    let mut seq = 1;
    for begun in [0, 1, 2, 3, 7, 8, 100, 5_000, usize::MAX] {
        let next = frame(TEXT, batch(seq + 1).as_bytes());
        let begun = begun.min(next.len());
        raw.bytes(&[&frame(TEXT, batch(seq).as_bytes()), &next[..begun]].concat()).await;
        if begun < next.len() {
            acked(&mut raw, seq).await;
            // With each ping it is looked whether it rests.
            pinged(&mut raw, 2).await;
            raw.bytes(&next[begun..]).await;
        }
        acked(&mut raw, seq + 1).await;
        seq += 2;
    }
    // Half a message in fragments, with a ping between them.
    let text = batch(seq);
    let (one, other) = text.as_bytes().split_at(4_000);
    raw.bytes(&[frame(TEXT, batch(seq - 1).as_bytes()), frame(BEGIN, one)].concat()).await;
    pinged(&mut raw, 2).await;
    raw.frame(PING, b"are you there?").await;
    raw.frame(GO_ON, other).await;
    let pongs = acked(&mut raw, seq).await;
    assert_eq!(pongs, [b"are you there?"]);
    assert_eq!(hub.reader().stats().unwrap().readings, seq * 501, "each is stored, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_6_devices_that_have_sent_large_messages_and_rest_keep_no_buffer_of_them() {
    const DEVICES: usize = 60;
    const MOST_KIB: u64 = 64;
    let hub = TestHub::process(&["--heartbeat-seconds", "1"]).await;
    let batch = |seq: u64| counted(seq, seq as i64 * 4_096, seq as i64 * 4_096 + 4_095);
    assert!(batch(1).to_string().len() > 150_000, "large ones");
    let sends = async |device: &mut Peer, batches: u64| {
        for seq in 1..=batches {
            device.say(batch(seq)).await;
            device.acked(seq).await;
        }
    };
    // What is made once is made before it is measured.
    let mut first = hub.welcomed("first").await;
    sends(&mut first, DEVICES as u64).await;
    let mut devices = Vec::new();
    for n in 0..10 {
        let mut device = hub.welcomed(&format!("early-{n}")).await;
        sends(&mut device, 1).await;
        devices.push(device);
    }
    let before = memory_kib(&hub);
    for n in 0..DEVICES {
        let mut device = hub.welcomed(&format!("device-{n}")).await;
        sends(&mut device, 1).await;
        devices.push(device);
    }
    let grown = || memory_kib(&hub).saturating_sub(before);
    until("the memory to be given back", async || grown() < DEVICES as u64 * MOST_KIB).await;
    println!("{} KiB a device that has sent 4 096 readings at once", grown() / DEVICES as u64);
}
