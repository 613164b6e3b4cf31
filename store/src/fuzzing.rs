//! For the fuzz targets alone: what they need of the private parts.

use protocol::Kind;

use crate::block::{bundle, codec};

/// Reads any bytes as a bundle and as the parts of a block, as they are and with a check that fits. What can be read must come back when
/// it is written and read again.
///
/// The first three bytes say which codec and how many readings.
#[doc(hidden)]
pub fn block(data: &[u8]) {
    const CODECS: [u8; 12] = [1, 2, 3, 4, 17, 18, 19, 33, 34, 49, 65, 81];
    let [choice, low, high, body @ ..] = data else { return };
    let count = usize::from(u16::from_le_bytes([*low, *high]));
    let codec = CODECS[usize::from(*choice) % CODECS.len()];
    let checked = codec::seal(codec, if codec == 65 { 0 } else { count }, body);
    for blob in [body, &checked] {
        if let Ok(times) = codec::read_times(blob, count) {
            let again = codec::read_times(&codec::write_times(&times), count);
            assert!(again.is_ok_and(|again| again == times), "times change when they are written again");
        }
        if let Ok(offsets) = codec::read_offsets(blob, count) {
            let again = codec::read_offsets(&codec::write_offsets(&offsets, false), count);
            assert!(again.is_ok_and(|again| again == offsets), "offsets change when they are written again");
        }
        if let Ok(pieces) = bundle::read(1, blob, count) {
            let again = bundle::read(1, &bundle::write(1, &pieces, false), count);
            assert!(again.is_ok_and(|again| again == pieces), "a bundle changes when it is written again");
        }
        for kind in [Kind::Number, Kind::Bool, Kind::Text] {
            if let Ok(values) = codec::read_values(blob, count, kind) {
                let again = codec::read_values(&codec::write_values(&values), count, kind);
                let quickly = codec::read_values(&codec::write_values_quickly(&values), count, kind);
                assert!(
                    [again, quickly].into_iter().all(|again| again.is_ok_and(|again| again == values)),
                    "values change when they are written again"
                );
            }
        }
        if let Ok((step, buckets)) = codec::read_buckets(blob) {
            let again = codec::read_buckets(&codec::write_buckets(step, &buckets));
            assert!(
                again.is_ok_and(|again| again == (step, buckets)),
                "buckets change when they are written again"
            );
        }
    }
}
