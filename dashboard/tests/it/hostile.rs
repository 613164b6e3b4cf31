//! A hub on a real socket that does whatever it likes, and the window with its real connection at the other end.
//!
//! Whatever comes, the window goes on drawing, keeps to its memory, says why there is no connection and when the next
//! try is, and asks again for what was lost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashboard::action::Action;
use dashboard::app::{App, Pace, Start};
use dashboard::link::{Link, Target};
use dashboard::model;
use dashboard::settings::Number;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use futures_util::{SinkExt as _, StreamExt as _};
use jiff::tz::TimeZone;
use protocol::viewer::{HistoryRequest, HubToViewer, Resolution, Subscribe, ViewerMessage, ViewerWelcome};
use protocol::{SeriesId, Timestamp};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::fixtures::*;

/// Longest time that anything here may take. None takes a tenth of it on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hub's door.
struct Hub {
    listener: TcpListener,
    /// Opened by the test when it has seen what it wanted to see.
    gate: Arc<Notify>,
}

/// The hub's end of a connection.
struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Hub {
    async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    async fn accept(&self) -> Peer {
        #[expect(
            clippy::unnecessary_wraps,
            clippy::result_large_err,
            reason = "the signature is the library's"
        )]
        fn agree(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
            let ours = HeaderValue::from_static(protocol::SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", ours);
            Ok(response)
        }
        Peer { socket: tokio_tungstenite::accept_hdr_async(self.tcp().await, agree).await.unwrap() }
    }

    /// Accepts, welcomes, and tells of two greenhouses.
    async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        // Its position is beyond all that it tells of here: it stays the same database.
        peer.tell(&HubToViewer::Welcome(greeting(1_000))).await;
        let list = [greenhouse(1, true), greenhouse(2, true)];
        peer.say(&json!({"type": "devices", "devices": list, "snapshot": true}).to_string()).await;
        peer
    }

    /// Answers the next request with this status instead of an upgrade.
    async fn refuse(&self, status: &str, body: &str) {
        let mut stream = self.tcp().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let length = body.len();
        let response =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

impl Peer {
    async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    async fn tell(&mut self, message: &HubToViewer) {
        self.say(&message.encode()).await;
    }

    /// Bytes that are no frame, or only a part of one.
    async fn raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.unwrap();
    }

    /// What the window asks next; `None` when it is gone.
    async fn next(&mut self) -> Option<ViewerMessage> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(ViewerMessage::decode(&text).unwrap()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits until the window asks for every reading of the first greenhouse's temperature, and says yes.
    async fn subscription(&mut self) -> Subscribe {
        loop {
            if let ViewerMessage::Subscribe(subscribe) = self.next().await.unwrap()
                && subscribe.select.series.contains(&SeriesId(11))
            {
                let (resumed, position) = (subscribe.since.is_some(), subscribe.since.map_or(100, |p| p.0));
                let yes = json!({"type": "subscribed", "id": subscribe.id, "series": 1, "position": position,
                    "resumed": resumed});
                self.say(&yes.to_string()).await;
                return subscribe;
            }
        }
    }

    /// Waits until the window asks for history of that series again.
    async fn history(&mut self) -> HistoryRequest {
        loop {
            if let ViewerMessage::History(request) = self.next().await.unwrap()
                && request.series == SeriesId(11)
            {
                return request;
            }
        }
    }

    /// Reads whatever comes until the window hangs up.
    async fn rest(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// Readings of the first greenhouse's temperature, one a millisecond from `first` on, in one message.
fn burst(subscription: u64, position: i64, first: i64, count: i64) -> String {
    let points: Vec<_> = (first..first + count)
        .map(|i| (NOW.plus_micros(i * 1_000 - 1_000_000_000), (i % 97) as f64))
        .collect();
    let model::Event::Message(message) = readings(subscription, position, 11, &points) else {
        return String::new();
    };
    message.encode()
}

/// The subscription, and how many readings the window has already.
fn at(subscribe: &Subscribe) -> (u64, i64) {
    (subscribe.id, subscribe.since.map_or(0, |since| since.0 - 100))
}

/// The window, connected to a hub of a few lines that runs on a thread of its own.
struct Struck {
    harness: Harness<'static, App>,
    time: Arc<AtomicI64>,
    hub: Option<std::thread::JoinHandle<()>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    gate: Arc<Notify>,
    steps: u64,
}

impl Struck {
    fn by<F: Future<Output = ()>>(hub: impl FnOnce(Hub) -> F + Send + 'static) -> Self {
        let (port_tx, port_rx) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let gate = Arc::new(Notify::new());
        let hubs_gate = Arc::clone(&gate);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                port_tx.send(listener.local_addr().unwrap().port()).unwrap();
                tokio::select! {
                    () = hub(Hub { listener, gate: hubs_gate }) => {}
                    _ = stopped => {}
                    () = tokio::time::sleep(PATIENCE) => panic!("the hub did not get what it waits for"),
                }
            });
        });
        let target = Target {
            hub: Some(format!("ws://127.0.0.1:{}", port_rx.recv().unwrap())),
            token: Some(client::Token::new("correct-horse").unwrap()),
            ..Target::default()
        };
        let link = Link::start(target, Arc::new(|_| {})).unwrap();
        let time = Arc::new(AtomicI64::new(NOW.0));
        let harness =
            Harness::builder().with_size([1200.0, 760.0]).with_max_steps(12).build_eframe(|creation| {
                let clock = Arc::clone(&time);
                let clock = Arc::new(move || Timestamp(clock.load(Ordering::Relaxed)));
                let mut start = Start::new("hub.test:7878", clock);
                start.zone = TimeZone::UTC;
                App::new(&creation.egui_ctx, start, link, Pace::default())
            });
        Self { harness, time, hub: Some(thread), stop: Some(stop), gate, steps: 0 }
    }

    fn model(&self) -> &model::Model {
        self.harness.state().model()
    }

    /// Draws until something is so, while the clock goes on.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            if self.hub.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
                // It may have ended because it saw what it did not expect.
                self.join();
            }
            assert!(begin.elapsed() < PATIENCE, "never so: {what}; {:?}", self.model().connection);
            std::thread::sleep(Duration::from_millis(2));
            self.time.fetch_add(10_000, Ordering::Relaxed);
            self.harness.step();
            self.steps += 1;
        }
    }

    fn says(&self, text: &str) -> bool {
        self.harness.query_all_by_label_contains(text).next().is_some()
    }

    /// Readings of the first temperature from the first to the newest, or -1 if one is missing.
    fn held(&self) -> i64 {
        let from = NOW.plus_micros(-1_000_000_000);
        let newest = self.model().latest(SeriesId(11)).map_or(from, |(at, _)| at.plus_micros(1));
        let due = (newest.micros_since(from) + 999) / 1_000;
        let held = self.model().series.readings();
        if held == due.unsigned_abs() { due } else { -1 }
    }

    fn until_says(&mut self, text: &str) {
        self.until(text, |window| window.says(text));
    }

    /// Does not wait for the next try.
    fn try_now(&mut self) {
        if let Some(button) = self.harness.query_by_label("Try now") {
            button.click();
        }
        self.harness.run_steps(2);
    }

    /// The hub has nothing more to do: whether it saw what it wanted.
    fn join(&mut self) {
        if let Some(hub) = self.hub.take() {
            hub.join().expect("the hub saw what it wanted");
        }
    }

    /// The hub may do what it likes from now on.
    fn end(mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _gone = stop.send(());
        }
        self.finish();
    }

    /// Draws until the hub has seen everything that it wanted to see.
    fn finish(mut self) {
        let begin = Instant::now();
        while self.hub.as_ref().is_some_and(|hub| !hub.is_finished()) {
            assert!(begin.elapsed() < PATIENCE * 2, "the hub still waits");
            std::thread::sleep(Duration::from_millis(2));
            self.time.fetch_add(10_000, Ordering::Relaxed);
            self.harness.step();
        }
        self.join();
        let model = self.model();
        assert!(model.series.bytes() <= model.settings.memory_bytes());
        assert!(model.toasts.iter().count() <= 5 && model.toasts.log().len() <= 200);
        assert!(model.waiting_requests() < 400, "{} requests", model.waiting_requests());
    }
}

#[test]
fn a_hub_that_refuses_is_quoted_and_tried_again_only_where_that_can_help() {
    let mut window = Struck::by(async |hub| {
        let peer = hub.welcome().await;
        drop(peer);
        hub.refuse("500 Internal Server Error", r#"{"message":"the disk is on fire"}"#).await;
        hub.gate.notified().await;
        hub.refuse("403 Forbidden", "only on Sundays").await;
        hub.refuse("401 Unauthorized", "no such token").await;
        hub.welcome().await.rest().await;
    });
    window.until_says("greenhouse-01");
    window.until_says("HTTP 500: the disk is on fire");
    window.until("the next try", |w| w.says("next try in") || w.says("trying…") || w.says("(attempt "));
    window.gate.notify_one();
    // It tries again by itself, and then waits for a person: a refusal for good does not mend itself.
    window.until_says("The token does not allow this: only on Sundays");
    assert!(!window.says("next try in"));
    window.try_now();
    window.until_says("The hub does not accept the token: no such token");
    assert!(matches!(&window.model().connection.link, model::Link::Stopped { .. }));
    assert!(window.says("greenhouse-01"), "what was known is still there");
    window.try_now();
    window.until("connected again", |w| w.model().connection.is_connected());
    assert!(!window.says("Try now"));
    window.end();
}

#[test]
fn what_cannot_be_read_is_said_and_the_readings_it_may_have_been_are_asked_for_again() {
    let mut window = Struck::by(async |hub| {
        let mut peer = hub.welcome().await;
        peer.subscription().await;
        let first = peer.history().await;
        peer.say(
            &json!({"type": "history", "id": first.id, "series": 11, "step": "raw", "position": 100})
                .to_string(),
        )
        .await;
        for garbage in [
            "",
            "{",
            "null",
            "[[[[[[",
            "{\"type\":7}",
            "{\"type\":\"readings\",\"id\":\"ten\"}",
            "\u{0}\u{202e}",
            "{\"type\":\"devices\",\"devices\":[{}]}",
            "{\"type\":\"history\",\"id\":-1}",
        ] {
            peer.say(garbage).await;
        }
        peer.say(&format!("{{\"type\":\"readings\",\"id\":{}", "[".repeat(100_000))).await;
        // Once answered, nothing would be asked of that stretch again.
        while peer.history().await.from != first.from {}
    });
    window.until("ten unreadable messages", |w| w.model().counters.bad_messages == 10);
    assert!(window.says("A message of the hub could not be read"));
    assert!(window.says("10 unreadable"));
    assert_eq!(window.model().toasts.log().len(), 1, "one notice that counts");
    window.finish();
}

#[test]
fn garbage_instead_of_frames_ends_the_connection_with_its_reason_and_the_next_one_goes_on() {
    let mut window = Struck::by(async |hub| {
        let mut peer = hub.welcome().await;
        let subscribe = peer.subscription().await;
        peer.say(&burst(subscribe.id, 110, 0, 10)).await;
        peer.socket.send(Message::binary(vec![0xff; 4_096])).await.unwrap();
        peer.rest().await;
        let garbage: [&[u8]; 4] = [
            &[0x83, 0x02, 0xff, 0xff],       // an opcode that does not exist
            &[0x81, 0x82, 1, 2, 3, 4, 5, 6], // masked by a server
            &[0x81, 0x02, 0xc3, 0x28],       // text that is not UTF-8
            &[b'H'; 400],
        ];
        for bytes in garbage {
            hub.gate.notified().await;
            let mut peer = hub.welcome().await;
            let (id, since) = at(&peer.subscription().await);
            peer.say(&burst(id, 100 + since + 10, since, 10)).await;
            peer.raw(bytes).await;
            peer.rest().await;
        }
        hub.gate.notified().await;
        let mut peer = hub.welcome().await;
        let (id, since) = at(&peer.subscription().await);
        peer.say(&burst(id, 200, since, 100 - since)).await;
        peer.rest().await;
    });
    window.until_says("it sent a binary message");
    for round in 1..=5 {
        window.until_says("the hub broke the protocol: ");
        window.try_now();
        window.gate.notify_one();
        window.until("a new connection", |w| w.model().counters.reconnects == round);
    }
    window.until("every reading", |w| w.held() == 100);
    window.end();
}

#[test]
fn a_message_that_is_too_large_is_refused_before_it_takes_memory() {
    let mut window = Struck::by(async |hub| {
        let mut peer = hub.welcome().await;
        // A frame of a terabyte is announced, and it begins.
        peer.raw(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0, b'{', b'"']).await;
        peer.rest().await;
        hub.gate.notified().await;
        let mut peer = hub.welcome().await;
        // Many frames of one message that never ends. It ends when the window has had enough.
        peer.raw(&[0x01, 1, b'{']).await;
        let part: Vec<u8> = [&[0x00, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &vec![b' '; 65_536]].concat();
        while peer.socket.get_mut().write_all(&part).await.is_ok() {}
        hub.gate.notified().await;
        hub.welcome().await.rest().await;
    });
    for round in 1..=2 {
        window.until_says("Space limit exceeded");
        window.try_now();
        window.gate.notify_one();
        window.until("a new connection", |w| w.model().counters.reconnects == round);
    }
    window.until_says("2 reconnects");
    window.end();
}

#[test]
fn what_nobody_asked_for_changes_nothing_and_takes_no_room() {
    let mut window = Struck::by(async |hub| {
        let mut peer = hub.welcome().await;
        let subscribe = peer.subscription().await;
        for i in 0..20_000_i64 {
            // Subscriptions, series, requests and parts of answers that never were.
            peer.say(&burst(7_777 + i as u64, 200 + i, 0, 3)).await;
            let series = json!([{"series": 1_000_000 + i, "points": [[NOW.0, 1.0]]}]);
            peer.say(
                &json!({"type": "readings", "id": subscribe.id, "position": 200, "series": series})
                    .to_string(),
            )
            .await;
            peer.say(&json!({"type": "readings", "id": 1, "position": 200, "series": series}).to_string())
                .await;
            let id = (1_u64 << 40) + 100 + i as u64;
            let points = json!([[NOW.0, 1.0]]);
            peer.say(&json!({"type": "history", "id": id, "series": 11, "step": "raw", "position": 1, "more": true,
                "points": points}).to_string())
            .await;
            peer.say(
                &json!({"type": "members", "id": id, "group": "g", "members": [], "more": true}).to_string(),
            )
            .await;
            peer.say(&json!({"type": "error", "id": id, "code": "internal", "message": "x"}).to_string())
                .await;
        }
        peer.say(&burst(subscribe.id, 300_000, 0, 1)).await;
        peer.rest().await;
    });
    window.until("its own reading", |w| w.model().latest(SeriesId(11)).is_some());
    let model = window.model();
    assert!(model.series.len() <= 4_096 + 16, "{} series", model.series.len());
    assert!(model.counters.bad_messages > 10_000, "and that is counted");
    assert!(model.series.bytes() <= model.settings.memory_bytes());
    assert_eq!(model.devices.len(), 2);
    assert!(window.steps > 3);
    window.end();
}

#[test]
fn a_wire_without_end_or_of_nobody_takes_no_more_than_its_bound_and_is_watched_again_after_a_reconnect() {
    async fn inspected(peer: &mut Peer) -> u64 {
        loop {
            if let ViewerMessage::Inspect(inspect) = peer.next().await.unwrap() {
                return inspect.id;
            }
        }
    }
    let frame = |n: u64, text: &str| {
        json!({"session": format!("s{}", n % 100), "at": NOW.0, "event": "frame", "n": n, "from": "device", "offset": n,
            "opcode": n % 16, "fin": n.is_multiple_of(3), "rsv": n % 8, "mask": "zz", "header_bytes": n % 256,
            "payload_bytes": u64::MAX - n, "text": text, "round_trip": u64::MAX - n, "problems": [text]})
    };
    let mut window = Struck::by(async move |hub| {
        let mut peer = hub.welcome().await;
        let id = inspected(&mut peer).await;
        let long = "x\u{202e}".repeat(16 * 1024);
        for part in 0..60 {
            let records: Vec<_> =
                (0..100).map(|i| frame(part * 100 + i, if i % 7 == 0 { &long } else { "{" })).collect();
            let wire = |id| json!({"type": "wire", "id": id, "device": "greenhouse-01", "records": records, "left_out": u64::MAX});
            peer.say(&wire(id).to_string()).await;
            peer.say(&wire(id + 1_000).to_string()).await;
        }
        hub.gate.notified().await;
        drop(peer);
        let mut peer = hub.welcome().await;
        let again = inspected(&mut peer).await;
        assert_ne!(again, id);
        let records = json!([frame(1, "after the reconnect")]);
        peer.say(
            &json!({"type": "wire", "id": again, "device": "greenhouse-01", "records": records}).to_string(),
        )
        .await;
        peer.rest().await;
    });
    window.until("the devices", |w| w.model().devices.len() == 2);
    let device = protocol::DeviceId::new("greenhouse-01").unwrap();
    window.harness.state_mut().act(Action::OpenWire(device));
    let rows = |w: &Struck| w.model().wire.as_ref().map_or(0, |wire| wire.dropped + wire.rows().len() as u64);
    window.until("all that fits", |w| rows(w) >= 6_000);
    let wire = window.model().wire.as_ref().unwrap();
    assert!(wire.bytes() <= model::wire::BYTES_MAX && wire.dropped > 0, "{} bytes", wire.bytes());
    assert!(wire.watched().len() <= 32);
    window.gate.notify_one();
    window.until("it is lost", |w| !w.model().connection.is_connected());
    window.try_now();
    window.until("it is watched again", |w| w.says("after the reconnect"));
    window.end();
}

#[test]
fn an_answer_without_end_is_given_up_before_the_memory_is_full_and_asked_for_again_later() {
    let mut window = Struck::by(async |hub| {
        let mut peer = hub.welcome().await;
        let mut first = peer.history().await;
        while first.step != Resolution::Raw {
            first = peer.history().await;
        }
        // A million and more readings of the stretch, and never the last of them.
        let mut at = first.from.0;
        for _ in 0..160 {
            let points: Vec<_> = (0..10_000).map(|i| json!([at + i, 0.5])).collect();
            at += 10_000;
            peer.say(
                &json!({"type": "history", "id": first.id, "series": 11, "step": "raw", "position": 1,
                "more": true, "points": points})
                .to_string(),
            )
            .await;
        }
        loop {
            let again = peer.history().await;
            if again.from == first.from {
                assert!(again.id > first.id);
                return;
            }
        }
    });
    window.until("a window", |w| w.model().devices.len() == 2);
    window.harness.state_mut().act(Action::SetNumber { number: Number::Memory, value: 16 });
    window.harness.step();
    assert_eq!(window.model().settings.memory_mb, 16);
    window.finish();
}

#[test]
fn a_hub_that_hangs_up_in_the_middle_of_a_message_loses_nothing() {
    let mut window = Struck::by(async |hub| {
        let mut peer = hub.welcome().await;
        let (mut id, mut since) = at(&peer.subscription().await);
        for _ in 0..6 {
            for _ in 0..3 {
                since += 10;
                peer.say(&burst(id, 100 + since, since - 10, 10)).await;
            }
            // The next one is announced, begun, and cut off.
            let text = burst(id, 110 + since, since, 10);
            let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
            peer.raw(&[&[0x81, 126, high, low], &text.as_bytes()[..text.len() / 2]].concat()).await;
            drop(peer);
            peer = hub.welcome().await;
            let sent = since;
            (id, since) = at(&peer.subscription().await);
            assert!(since <= sent, "it has {since}, of which only {sent} came whole");
        }
        peer.say(&burst(id, 300, since, 200 - since)).await;
        peer.rest().await;
    });
    window.until("six connections more", |w| {
        if let Some(button) = w.harness.query_by_label("Try now") {
            button.click();
        }
        w.model().counters.reconnects == 6
    });
    window.until("each reading once", |w| w.held() == 200);
    window.end();
}

#[test]
fn a_hub_that_falls_silent_is_noticed_wherever_it_does() {
    let silent = |welcome: Option<ViewerWelcome>, upgrades: bool| {
        Struck::by(async move |hub: Hub| {
            // Sockets stay open, and nobody reads from them or writes to them.
            let mut open = Vec::new();
            let mut peer = None;
            if upgrades {
                peer = Some(hub.accept().await);
            }
            if let (Some(peer), Some(welcome)) = (&mut peer, welcome) {
                peer.tell(&HubToViewer::Welcome(welcome)).await;
                let list = [greenhouse(1, true)];
                peer.say(&json!({"type": "devices", "devices": list, "snapshot": true}).to_string()).await;
            }
            loop {
                open.push(hub.tcp().await);
            }
        })
    };
    let welcome = ViewerWelcome { heartbeat_seconds: 1, ..greeting(100) };
    let mut after_welcome = silent(Some(welcome), true);
    let mut before_welcome = silent(None, true);
    let mut before_upgrade = silent(None, false);
    after_welcome.until_says("Nothing was heard of the hub for 3 s");
    assert!(after_welcome.says("next try in") || after_welcome.says("trying…"));
    before_welcome.until_says("The hub did not say welcome within 10 s");
    before_upgrade.until_says("did not answer within 10 s");
    after_welcome.end();
    before_welcome.end();
    before_upgrade.end();
}

#[test]
fn a_hub_a_thousand_times_too_fast_has_to_wait_and_the_window_goes_on_drawing() {
    const READINGS: i64 = 1_200_000;
    let sent = Arc::new(AtomicU64::new(0));
    let so_far = Arc::clone(&sent);
    let mut window = Struck::by(async move |hub| {
        let mut peer = hub.welcome().await;
        let id = peer.subscription().await.id;
        for first in (0..READINGS).step_by(400) {
            peer.say(&burst(id, 200 + first, first, 400)).await;
            so_far.fetch_add(400, Ordering::Relaxed);
        }
        peer.rest().await;
    });
    window.until("devices", |w| w.model().devices.len() == 2);
    window.harness.state_mut().act(Action::SetNumber { number: Number::Memory, value: 16 });
    window.harness.step();
    // Nothing is drawn for a while: the hub comes to a halt instead of this memory growing.
    let mut before = u64::MAX;
    while sent.load(Ordering::Relaxed) != before {
        before = sent.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(before < READINGS.unsigned_abs(), "the hub was never held back");
    // A person goes on working meanwhile.
    window.until("half of it", |w| w.model().counters.readings >= READINGS.unsigned_abs() / 2);
    window.harness.state_mut().act(Action::Pause);
    window.until("all of it", |w| w.model().counters.readings >= READINGS.unsigned_abs());
    let model = window.model();
    assert!(model.series.bytes() <= 16_000_000);
    assert_eq!(
        model.latest(SeriesId(11)).unwrap().0,
        NOW.plus_micros((READINGS - 1) * 1_000 - 1_000_000_000)
    );
    assert!(window.steps > 10, "drawn {} times", window.steps);
    window.end();
}
