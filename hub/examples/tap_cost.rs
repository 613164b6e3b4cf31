//! What the tap does with a frame while nobody watches: finds its end and counts it. Prints nanoseconds for each.
//!
//! `cargo run --release --example tap_cost`

use std::hint::black_box;
use std::time::Instant;

use hub::wire::Tapped;
use protocol::wire::Side;

/// Frames of one reading, as they come in reads of 4 KiB.
const FRAMES: usize = 5_000_000;

fn main() {
    let text = r#"{"type":"readings","seq":123456,"points":[{"at":1767225600000000,"values":{"m00":41.5}}]}"#;
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
    frame.extend(text.bytes());
    let read: Vec<u8> = frame.iter().copied().cycle().take(frame.len() * 4_096).collect();
    let (stream, _other) = tokio::io::duplex(64);
    let stream = tokio_util::either::Either::Right(tokio_util::either::Either::Right(stream));
    let mut tapped = Tapped::new(stream, String::new(), hub::clock::now());
    tapped.upgraded("s1".into(), &[], false, None);
    let mut done = 0;
    let start = Instant::now();
    while done < FRAMES {
        for chunk in read.chunks(4_096) {
            tapped.saw(Side::Device, black_box(chunk));
        }
        done += 4_096;
    }
    let nanos = start.elapsed().as_nanos() as f64 / done as f64;
    let counted = tapped.tap().map(|tap| tap.figures().device.frames);
    assert_eq!(counted, Some(done as u64), "every frame is counted");
    #[expect(clippy::print_stdout, reason = "the number is its only output")]
    {
        println!("{}", serde_json::json!({ "nanos_per_frame": nanos }));
    }
}
