//! The ledger of a device as JSON, the same over HTTP and on the command line.

use serde_json::{Value as Json, json};
use store::DeviceAccount;

/// What became of the batches of a device, by epoch, and where the readings in them are.
pub fn to_json(account: &DeviceAccount) -> Json {
    let stats = &account.stats;
    let streams: Vec<Json> = account
        .streams
        .iter()
        .map(|stream| {
            json!({"epoch": stream.epoch, "sent": stream.sent(), "stored": stream.stored, "refused": stream.refused,
                   "skipped": stream.skipped, "duplicate": stream.duplicate, "readings": stream.readings,
                   "created_at": stream.created_at, "changed_at": stream.changed_at})
        })
        .collect();
    json!({"device": stats.device, "adds_up": account.adds_up(), "readings": stats.readings, "hot": stats.hot,
           "sealed": stats.sealed, "conflicts": stats.conflicts, "removed": stats.removed, "damaged": stats.damaged,
           "streams": streams})
}
