//! What was watched, as a file: one JSON object a line as `hub wire --json` writes them, or a capture for Wireshark.

use protocol::wire::pcap::Capture;
use serde_json::json;

use super::{Inspector, Row, What};

impl Inspector {
    /// All rows that are kept, whatever the table shows. How a connection was made comes first, also if that row is gone:
    /// a capture is nothing without it.
    pub fn rows_to_write(&self) -> Vec<Row> {
        let is_kept = |row: &Row| matches!(row.record().map(|r| &r.event), Some(super::Event::Opened(_)));
        let opened: Vec<u64> =
            self.rows.iter().filter(|row| is_kept(row)).map(|row| row.connection).collect();
        let missing = self.watched.iter().filter(|w| !w.rows.is_empty() && !opened.contains(&w.number));
        let heads = missing.filter_map(|watched| {
            let record = watched.handshake.as_ref()?;
            Some(Row {
                key: 0,
                at: record.at,
                what: What::Record(std::sync::Arc::clone(record)),
                answers: Vec::new(),
                answered_by: None,
                connection: watched.number,
                bytes: 0,
            })
        });
        heads.chain(self.rows.iter().cloned()).collect()
    }
}

/// A row as a line of JSON.
pub fn json_line(row: &Row) -> String {
    let line = match &row.what {
        What::Record(record) => match serde_json::to_value(&**record) {
            Ok(mut line) => {
                if !row.answers.is_empty() {
                    line["answers"] = json!(row.answers);
                }
                line
            }
            Err(_) => return String::new(),
        },
        What::LeftOut { frames, .. } => json!({"event": "left_out", "frames": frames}),
        What::Unwatched => json!({"event": "unwatched"}),
    };
    line.to_string()
}

/// All rows as JSON Lines.
pub fn json_lines(rows: &[Row]) -> String {
    rows.iter().map(|row| json_line(row) + "\n").collect()
}

/// All rows as a capture (pcapng).
pub fn capture(rows: &[Row]) -> Vec<u8> {
    let mut capture = Capture::default();
    let mut bytes = Capture::head();
    for record in rows.iter().filter_map(Row::record) {
        bytes.extend(capture.record(record));
    }
    bytes
}
