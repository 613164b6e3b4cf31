//! Any bytes as what comes over a new connection: answered with a status that the protocol has, and never with a 101 where there
//! was no token of the right role, or another page's `Origin` (I-12).
//!
//! `@F`, `@V`, `@O` and `@A` stand for the tokens of the fleet, a viewer, an operator and an administrator.

use super::hub::{TOKENS, with};

const STATUSES: [u16; 18] =
    [100, 101, 200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 426, 429, 431];

fn replace(bytes: &[u8], word: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(word.len()).position(|part| part == word) {
        out.extend(&rest[..at]);
        out.extend(by);
        rest = &rest[at + word.len()..];
    }
    out.extend(rest);
    out
}

fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Says bytes to the port.
pub fn any(data: &[u8]) {
    with(|hub| {
        let mut said = data.to_vec();
        for (word, file) in TOKENS {
            said = replace(&said, word.as_bytes(), hub.token(file).as_bytes());
        }
        let heard = hub.converse(&said);
        let mut statuses = Vec::new();
        let mut rest = &heard[..];
        while let Some(at) = rest.windows(9).position(|part| part == b"HTTP/1.1 ") {
            rest = &rest[at + 9..];
            let status: Option<u16> =
                rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            statuses.extend(status);
            if statuses.last() == Some(&101) {
                break;
            }
        }
        for status in &statuses {
            assert!(STATUSES.contains(status), "{status}: {}", heard.escape_ascii());
        }
        if statuses.contains(&101) {
            // Tickets are had with a token, so one must be there in any case.
            assert!(TOKENS.iter().any(|(word, _)| has(data, word)), "a 101 without a token");
            let lower = data.to_ascii_lowercase();
            let foreign = lower.split(|byte| *byte == b'\n').any(|line| {
                line.strip_prefix(b"origin:")
                    .is_some_and(|value| value.trim_ascii() != b"https://dash.example")
            });
            // Where several requests stand behind each other, the origin may be another one's.
            let requests = statuses.len();
            assert!(!foreign || requests > 1, "a 101 for another page: {}", data.escape_ascii());
        }
        for (_, file) in TOKENS {
            assert!(!has(&heard, &hub.token(file)), "a token of the hub's own is told");
        }
    });
}
