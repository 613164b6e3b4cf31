//! What crosses the wire between devices, hub and viewers: messages, codec, limits, state machines.
//!
//! No socket, no clock, no task lives here (I-8): time is an argument, bytes come in as `&str` and go out as `String`.
//! The normative description is `docs/protocol.md`; the golden messages in `tests/` keep both from drifting (I-10).

pub mod answers;
pub mod codec;
pub mod command;
pub mod declare;
pub mod desk;
pub mod device;
pub mod error;
pub mod frame;
pub mod group;
pub mod inbox;
pub mod ladder;
pub mod limits;
pub mod name;
pub mod outbox;
pub mod select;
pub mod time;
pub mod trace;
pub mod value;
pub mod viewer;
pub mod wire;

pub use codec::DecodeError;
pub use error::{CloseCode, ErrorCode, RefuseCode};
pub use ladder::{Bucket, Step};
pub use name::{CommandId, DeviceId, Epoch, GroupId, MetricName, NameError, Position, Seq, SeriesId, Tag};
pub use time::Timestamp;
pub use value::{Kind, Value};

/// The WebSocket subprotocol both ends name in the upgrade.
pub const SUBPROTOCOL: &str = "telemetry.v1.json";
/// Path of the upgrade for devices.
pub const DEVICE_PATH: &str = "/v1/device";
/// Path of the upgrade for viewers and operators.
pub const VIEWER_PATH: &str = "/v1/viewer";
/// The address a hub listens on unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7878";

/// Where programs on the hub's own machine find each other: names, not paths; whoever reads files joins them.
pub mod local {
    /// Environment variable that names the hub's data folder.
    pub const DATA_VARIABLE: &str = "TELEMETRY_DATA";
    /// Environment variable that holds a token.
    pub const TOKEN_VARIABLE: &str = "TELEMETRY_TOKEN";
    /// Environment variable that holds the hub's URL: `ws://127.0.0.1:7878`.
    pub const HUB_VARIABLE: &str = "TELEMETRY_HUB";
    /// Environment variable that names a file of CAs in PEM, which are trusted instead of the system's.
    pub const CA_VARIABLE: &str = "TELEMETRY_CA";
    /// Environment variable that names the file of a device's certificate in PEM.
    pub const CERTIFICATE_VARIABLE: &str = "TELEMETRY_CERTIFICATE";
    /// Environment variable that names the file of the key of that certificate.
    pub const KEY_VARIABLE: &str = "TELEMETRY_KEY";
    /// Name of the data folder inside the user's data directory (`~/.local/share` on Linux).
    pub const DATA_FOLDER: &str = "telemetry-hub";
    /// The URL of the hub that runs on a data folder, in that folder: `ws://127.0.0.1:7878`. One that was killed leaves it behind.
    pub const ADDRESS_FILE: &str = "hub.url";
    /// The database in the data folder.
    pub const DATABASE_FILE: &str = "telemetry.db";
    /// Token of the administrator in the data folder, readable by its owner only.
    pub const ADMIN_TOKEN_FILE: &str = "admin.token";
    /// Token of the operator in the data folder, readable by its owner only.
    pub const OPERATOR_TOKEN_FILE: &str = "operator.token";
    /// Token of a viewer in the data folder, readable by its owner only.
    pub const VIEWER_TOKEN_FILE: &str = "viewer.token";
    /// Token with which simulators and gateways on this machine may connect as any device; readable by its owner only.
    pub const FLEET_TOKEN_FILE: &str = "fleet.token";
}
