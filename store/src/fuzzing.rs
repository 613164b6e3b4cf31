//! For the fuzz targets alone: what they need of the private parts.

use protocol::Kind;

use crate::block::codec;

/// Reads any bytes as the parts of a block, as they are and with a check that fits. What can be read must come back when
/// it is written and read again.
///
/// The first three bytes say which codec and how many readings.
#[doc(hidden)]
pub fn block(data: &[u8]) {
    const CODECS: [u8; 8] = [1, 2, 17, 18, 33, 34, 49, 65];
    let [choice, low, high, body @ ..] = data else { return };
    let count = usize::from(u16::from_le_bytes([*low, *high]));
    let codec = CODECS[usize::from(*choice) % CODECS.len()];
    let checked = codec::seal(codec, if codec == 65 { 0 } else { count }, body);
    for blob in [body, &checked] {
        if let Ok(times) = codec::read_times(blob, count) {
            let again = codec::read_times(&codec::write_times(&times), count);
            assert!(again.is_ok_and(|again| again == times), "times change when they are written again");
        }
        for kind in [Kind::Number, Kind::Bool, Kind::Text] {
            if let Ok(values) = codec::read_values(blob, count, kind) {
                let again = codec::read_values(&codec::write_values(&values), count, kind);
                assert!(
                    again.is_ok_and(|again| again == values),
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
