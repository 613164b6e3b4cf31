//! Any bytes as a message of either side: an answer or an error, and what was understood can be said again.

use protocol::device::{DeviceMessage, HubToDevice};
use protocol::viewer::{HubToViewer, ViewerMessage};

/// Reads bytes as every kind of message.
pub fn any(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    macro_rules! check {
        ($($messages:ty),*) => {$(
            match <$messages>::decode(text) {
                Ok(message) => {
                    let said = message.encode();
                    let again = <$messages>::decode(&said);
                    assert_eq!(again.as_ref(), Ok(&message), "{said}");
                }
                Err(error) => assert!(error.to_string().len() < 4_096 + 2 * text.len()),
            }
        )*};
    }
    check!(DeviceMessage, HubToDevice, ViewerMessage, HubToViewer);
}
