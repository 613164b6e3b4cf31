//! `docs/protocol.md` and this crate say the same: every type, field, code and limit is in the document, and every
//! message printed there is one.

use protocol::command::CommandState;
use protocol::device::{DeviceMessage, HubToDevice};
use protocol::limits;
use protocol::viewer::{HubToViewer, ViewerMessage};
use protocol::{CloseCode, ErrorCode, RefuseCode, Step};
use serde_json::Value as Json;

use crate::golden::{self, Side};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// A part of the document from a heading to the next one of the same or a higher level.
fn section(heading: &str) -> &'static str {
    let level = heading.split(' ').next().unwrap().len();
    let start = DOCUMENT.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let body = &DOCUMENT[start + heading.len() + 2..];
    let end =
        (1..=level).filter_map(|n| body.find(&format!("\n{} ", "#".repeat(n)))).min().unwrap_or(body.len());
    &body[..end]
}

/// Rows of the tables in a section, as cells.
fn rows(section: &str) -> Vec<Vec<String>> {
    section
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The chapters of the messages, with the side that sends them.
const CHAPTERS: [(&str, &str); 4] = [
    ("### 3.1 Device to hub", DeviceMessage::NAME),
    ("### 3.2 Hub to device", HubToDevice::NAME),
    ("### 6.1 Viewer to hub", ViewerMessage::NAME),
    ("### 6.2 Hub to viewer", HubToViewer::NAME),
];

/// Reads a message of a side and writes it again.
fn reread(side: &str, text: &str) -> Result<String, String> {
    fn of<S: Side>(text: &str) -> Result<String, String> {
        S::read(text).map(|message| message.write()).map_err(|e| e.to_string())
    }
    match side {
        DeviceMessage::NAME => match DeviceMessage::decode(text) {
            Ok(DeviceMessage::Hello(hello)) => hello.check().map_err(|e| e.to_string())?,
            Ok(DeviceMessage::CommandUpdate(update)) => update.check()?,
            _ => {}
        },
        HubToDevice::NAME => return of::<HubToDevice>(text),
        ViewerMessage::NAME => return of::<ViewerMessage>(text),
        HubToViewer::NAME => return of::<HubToViewer>(text),
        other => panic!("{other} is no side"),
    }
    of::<DeviceMessage>(text)
}

/// Whether all that `part` says is in `whole`: a field that the crate does not know is missing there.
fn is_within(part: &Json, whole: &Json) -> bool {
    match (part, whole) {
        (Json::Object(part), Json::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|found| is_within(value, found)))
        }
        (Json::Array(part), Json::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_within(a, b))
        }
        (Json::Number(part), Json::Number(whole)) => part.as_f64() == whole.as_f64(),
        _ => part == whole,
    }
}

fn assert_is_message(side: &str, text: &str) {
    let written = reread(side, text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (part, whole): (Json, Json) =
        (serde_json::from_str(text).unwrap(), serde_json::from_str(&written).unwrap());
    assert!(is_within(&part, &whole), "has a field that is not one:\n{text}\nread as\n{written}");
}

/// The code blocks of a section that are tagged so.
fn blocks<'a>(section: &'a str, tag: &'a str) -> impl Iterator<Item = &'a str> {
    section
        .split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(move |block| block.strip_prefix(tag)?.strip_prefix('\n'))
}

#[test]
fn i_10_every_message_in_the_document_is_one_of_the_side_and_type_of_its_heading() {
    let mut seen = 0;
    for (chapter, side) in CHAPTERS {
        for part in section(chapter).split("\n#### ").skip(1) {
            let kind = part.lines().next().unwrap();
            let texts: Vec<&str> = blocks(part, "json").collect();
            assert!(!texts.is_empty(), "{side}.{kind} has no example");
            for text in texts {
                let json: Json = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
                assert_eq!(json["type"], kind, "{chapter}");
                assert_is_message(side, text);
                seen += 1;
            }
        }
    }
    assert_eq!(
        seen,
        blocks(DOCUMENT, "json").count(),
        "a message stands outside the chapters of the messages"
    );
}

#[test]
fn i_10_the_annotated_session_holds_nothing_but_messages() {
    let session: Vec<&str> = blocks(DOCUMENT, "session").flat_map(str::lines).collect();
    assert!(session.len() > 20);
    for line in session {
        match line.split_at(3) {
            ("-> ", text) => assert_is_message(DeviceMessage::NAME, text),
            ("<- ", text) => assert_is_message(HubToDevice::NAME, text),
            _ => assert!(line.starts_with("# "), "{line}"),
        }
    }
}

#[test]
fn every_type_and_every_field_of_a_message_is_in_the_document() {
    fn kinds<S: Side>(chapter: &str) {
        let chapter = section(chapter);
        let described: Vec<&str> =
            chapter.split("\n#### ").skip(1).map(|part| part.lines().next().unwrap()).collect();
        assert_eq!(described, S::ALL_TYPES, "the types of {}, in order", S::NAME);
        for (file, text) in golden::all().into_iter().filter(|(file, _)| !file.contains("unknown_fields")) {
            let mut parts = file.split('.');
            if parts.next() != Some(S::NAME) {
                continue;
            }
            let heading = format!("\n#### {}\n", parts.next().unwrap());
            let start = chapter.find(&heading).unwrap() + heading.len();
            let part = chapter[start..].split("\n#### ").next().unwrap();
            let json: Json = serde_json::from_str(&text).unwrap();
            for field in json.as_object().unwrap().keys().filter(|field| *field != "type") {
                assert!(
                    part.contains(&code(field)) || part.contains(&format!("`{field}.")),
                    "{file}: {field} is not described"
                );
            }
        }
    }
    kinds::<DeviceMessage>(CHAPTERS[0].0);
    kinds::<HubToDevice>(CHAPTERS[1].0);
    kinds::<ViewerMessage>(CHAPTERS[2].0);
    kinds::<HubToViewer>(CHAPTERS[3].0);
}

#[test]
fn every_refuse_code_is_in_the_document_with_what_to_do() {
    let rows = rows(section("### 9.1 Refuse codes"));
    let found: Vec<(&str, &str)> = rows[1..].iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let known: Vec<(String, &str)> = RefuseCode::ALL
        .iter()
        .map(|c| (code(c.as_str()), if c.is_retryable() { "yes" } else { "no" }))
        .collect();
    assert_eq!(found, known.iter().map(|(c, retry)| (c.as_str(), *retry)).collect::<Vec<_>>());
    let both = section("### 4.3 Refusals").lines().find(|line| line.starts_with("| codes |")).unwrap();
    let (last, again) = both.trim_matches('|').split_once('|').unwrap().1.split_once('|').unwrap();
    for c in RefuseCode::ALL {
        assert_eq!(again.contains(&code(c.as_str())), c.is_retryable(), "{c} in 4.3");
        assert_eq!(last.contains(&code(c.as_str())), !c.is_retryable(), "{c} in 4.3");
    }
}

#[test]
fn every_error_code_is_in_the_document() {
    let rows = rows(section("### 9.2 Error codes"));
    let found: Vec<&str> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(found, ErrorCode::ALL.iter().map(|c| code(c.as_str())).collect::<Vec<_>>());
}

#[test]
fn every_close_code_is_in_the_document_with_its_reason_and_whether_to_retry() {
    let rows = rows(section("### 9.3 Close codes"));
    let found: Vec<&[String]> = rows[1..].iter().map(|row| &row[..3]).collect();
    let known: Vec<[String; 3]> = CloseCode::ALL
        .iter()
        .map(|c| {
            let retry = if c.is_retryable() { "yes" } else { "no" };
            [c.number().to_string(), retry.to_owned(), c.reason().to_owned()]
        })
        .collect();
    assert_eq!(found, known);
}

#[test]
fn every_limit_is_in_the_document_with_its_value() {
    macro_rules! values {
        ($($name:ident)*) => { [$((stringify!($name), limits::$name.to_string()),)*] };
    }
    let known = values! {
        DEVICE_ID_MAX_BYTES METRIC_NAME_MAX_BYTES EPOCH_MAX_BYTES COMMAND_ID_MAX_BYTES TAG_MAX_BYTES
        TEXT_VALUE_MAX_BYTES LABEL_MAX_BYTES METRICS_MAX METRICS_EVER_MAX TAGS_MAX COMMANDS_MAX PARAMS_MAX CHOICES_MAX READINGS_PER_BATCH_MAX
        DEVICE_MESSAGE_MAX_BYTES VIEWER_MESSAGE_MAX_BYTES HUB_MESSAGE_MAX_BYTES COMMAND_PAYLOAD_MAX_BYTES
        COMMAND_ERROR_MAX_BYTES SUBSCRIPTIONS_MAX SELECT_MAX HISTORY_PENDING_MAX HISTORY_POINTS_PER_MESSAGE
        HISTORY_POINTS_MAX MAX_HZ MIN_HZ DEFAULT_HZ HEARTBEAT_SECONDS HEARTBEATS_MISSED_MAX HELLO_DEADLINE_SECONDS
        UNACKED_BATCHES_MAX COMMAND_LIFETIME_DEFAULT_MILLIS COMMAND_LIFETIME_MAX_MILLIS
        COMMAND_ANSWER_SECONDS COMMAND_END_SECONDS COMMAND_SETTLE_SECONDS COMMANDS_REMEMBERED_MAX
        COMMANDS_OPEN_PER_DEVICE_MAX GROUP_DEVICES_MAX GROUP_PATTERNS_MAX GROUPS_OPEN_MAX
        LIST_DEFAULT LIST_PAGE LIST_MAX CONNECTIONS_KEPT TRACES_MAX PAINTED_MAX INSPECTIONS_MAX INSPECT_PAYLOAD_DEFAULT_BYTES INSPECT_PAYLOAD_MAX_BYTES INSPECT_FRAMES_PER_TENTH
    };
    let in_source: Vec<&str> = include_str!("../../src/limits.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .collect();
    assert_eq!(
        known.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        in_source,
        "this test knows every limit"
    );
    let rows = rows(section("## 10 Limits"));
    let found: Vec<(&str, &str)> = rows[1..].iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let known: Vec<(String, String)> = known.into_iter().map(|(name, value)| (code(name), value)).collect();
    assert_eq!(found, known.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>());
}

#[test]
fn every_step_of_a_commands_life_is_in_the_document() {
    let rows = rows(section("### 5.1 Life"));
    for state in CommandState::ALL {
        let row =
            rows.iter().find(|row| row[0].split(", ").any(|cell| cell == code(state.as_str()))).unwrap();
        let next: Vec<String> = CommandState::ALL
            .into_iter()
            .filter(|next| state.may_become(*next))
            .map(|next| code(next.as_str()))
            .collect();
        let mut told: Vec<&str> = row[1].split(", ").filter(|cell| cell.starts_with('`')).collect();
        told.sort_by_key(|cell| CommandState::ALL.iter().position(|s| code(s.as_str()) == *cell));
        assert_eq!(told, next, "{state}");
    }
}

#[test]
fn the_connection_and_the_ladder_are_in_the_document() {
    let connection = section("## 1 Connection");
    for text in [
        protocol::SUBPROTOCOL,
        protocol::DEVICE_PATH,
        protocol::VIEWER_PATH,
        protocol::DEFAULT_ADDRESS,
        "Authorization",
    ] {
        assert!(connection.contains(text), "{text}");
    }
    let steps: Vec<String> =
        Step::ALL.iter().map(|step| code(serde_json::to_value(step).unwrap().as_str().unwrap())).collect();
    assert!(section("#### history").contains(&steps.join(", ")), "{steps:?}");
}
