//! Answers to a viewer that come from the store, in parts: history, and the latest as of a time.

use protocol::limits as wire;
use protocol::viewer::{
    ErrorMessage, History, HistoryRequest, HubToViewer, Latest, LatestRequest, Resolution,
};
use protocol::{ErrorCode, Timestamp, Value};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::subscription::weight;
use super::viewer::{refuse, store_trouble};
use crate::limits::Limit;
use crate::serve::Hub;

/// Answers one request for the latest readings in parts. `Err(None)`: the viewer is gone.
pub(super) async fn answer_latest(
    hub: &Hub,
    out: &mpsc::Sender<Message>,
    request: LatestRequest,
) -> Result<(), Option<ErrorMessage>> {
    let LatestRequest { id, select, at } = request;
    let chosen = hub.directory.select(&select);
    let at = at.unwrap_or(Timestamp(i64::MAX));
    let found = hub.readers.read(move |reader| reader.as_of(at, Some(&chosen))).await;
    let found = found.map_err(|error| Some(store_trouble(id, &error)))?;
    let points: Vec<_> = found.readings.into_iter().map(|row| (row.series, row.at, row.value)).collect();
    let parts = cut(&points, |(_, _, value)| value);
    let last = parts.len().saturating_sub(1);
    for (place, part) in parts.into_iter().enumerate() {
        let part = Latest { id, points: part.to_vec(), more: place < last, position: found.position };
        out.send(Message::Text(HubToViewer::from(part).encode().into())).await.map_err(|_| None)?;
    }
    if points.is_empty() {
        let none = Latest { id, points, more: false, position: found.position };
        out.send(Message::Text(HubToViewer::from(none).encode().into())).await.map_err(|_| None)?;
    }
    Ok(())
}

/// Answers one history request in parts. `Err(None)`: the viewer is gone.
pub(super) async fn answer_history(
    hub: &Hub,
    out: &mpsc::Sender<Message>,
    request: &HistoryRequest,
) -> Result<(), Option<ErrorMessage>> {
    /// Readings or buckets read from the store at once.
    const PAGE: usize = 10 * wire::HISTORY_POINTS_PER_MESSAGE;
    let HistoryRequest { id, series, to, step, .. } = *request;
    let mut from = request.from;
    let mut total = 0;
    let mut first_position = None;
    loop {
        let (points, buckets, complete, coarser, position) = match step {
            Resolution::Raw => {
                let page = hub.readers.read(move |reader| reader.raw(series, from, to, PAGE)).await;
                let page = page.map_err(|e| Some(store_trouble(id, &e)))?;
                (page.points, Vec::new(), page.complete, page.coarser, page.position)
            }
            Resolution::Buckets(step) => {
                let page = hub.readers.read(move |reader| reader.buckets(series, step, from, to, PAGE)).await;
                let page = page.map_err(|e| Some(store_trouble(id, &e)))?;
                (Vec::new(), page.buckets, page.complete, page.coarser, page.position)
            }
        };
        let position = *first_position.get_or_insert(position);
        total += points.len() + buckets.len();
        if total > hub.config.limits.count(Limit::HistoryPoints) {
            hub.metrics.reached(Limit::HistoryPoints);
            let refusal = hub.config.limits.refusal(Limit::HistoryPoints, "there are more points");
            return Err(Some(refuse(id, ErrorCode::LimitReached, refusal.to_string())));
        }
        if let Some((at, _)) = points.last() {
            from = at.plus_micros(1);
        }
        if let (Some(bucket), Resolution::Buckets(step)) = (buckets.last(), step) {
            from = bucket.at.plus_micros(step.micros());
        }
        let part =
            |points, buckets, more| History { id, series, step, points, buckets, coarser, more, position };
        let mut parts: Vec<History> = match step {
            Resolution::Raw => cut(&points, |(_, value)| value)
                .into_iter()
                .map(|chunk| part(chunk.to_vec(), Vec::new(), true))
                .collect(),
            Resolution::Buckets(_) => buckets
                .chunks(wire::HISTORY_POINTS_PER_MESSAGE)
                .map(|chunk| part(Vec::new(), chunk.to_vec(), true))
                .collect(),
        };
        if complete {
            match parts.last_mut() {
                Some(last) => last.more = false,
                None => parts.push(part(Vec::new(), Vec::new(), false)),
            }
        }
        for part in parts {
            let text = Message::Text(HubToViewer::from(part).encode().into());
            out.send(text).await.map_err(|_| None)?;
        }
        if complete {
            return Ok(());
        }
    }
}

/// Cuts readings into parts of about `HISTORY_POINTS_PER_MESSAGE`, fewer where texts are long.
fn cut<T>(points: &[T], value: impl Fn(&T) -> &Value) -> Vec<&[T]> {
    let (mut parts, mut start, mut used) = (Vec::new(), 0, 0);
    for (i, point) in points.iter().enumerate() {
        let more = weight(value(point));
        if i > start && used + more > wire::HISTORY_POINTS_PER_MESSAGE {
            parts.push(&points[start..i]);
            (start, used) = (i, 0);
        }
        used += more;
    }
    if start < points.len() {
        parts.push(&points[start..]);
    }
    parts
}
