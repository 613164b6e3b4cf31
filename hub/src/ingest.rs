//! The writing thread: group commit, and the word to each session when its batches are on disk (I-1, I-3).
//!
//! Whatever has queued since the last commit goes into the next one, so a commit grows with the load and a batch waits
//! for little more than one fsync. After a commit, in this order: viewers are told, then sessions are woken, once each.
//! Everything else that writes (hello, commands, credentials) goes through the same queue; in order, but for commands, which
//! come first.
//!
//! Between commits it seals, merges and lets old readings go, a slice of some milliseconds at a time; when it is idle, slice after slice.
//!
//! Limits: as many requests and readings wait as `ingest_requests` and `ingest_readings` say; a session that wants to add more waits itself,
//! and so its device is not read. A disk that is full refuses for now; a disk that fails stops the hub.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use protocol::desk::{self, Actor};
use protocol::device::{CommandUpdate, Hello};
use protocol::inbox::Ticket;
use protocol::viewer::CommandInfo;
use protocol::{DeviceId, Timestamp};
use store::{
    AuditEntry, Batch, BatchContent, Checkpointer, Claim, ConnectionNote, Credential, CredentialKey,
    CredentialRole, DeviceKey, GroupChange, NewClaim, Outcome, Registered, StoreError, StreamKey, Writer,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::auth::{self, AuthError, Token};
use crate::claims::Code;
use crate::clock;
use crate::limits::{Limit, Limits};
use crate::live::{Commit, Live};
use crate::metrics::Metrics;
use crate::queue::{self, Receiver, Sender};
use crate::retention::Turns;
use crate::tls::Identity;

/// How long a commit may wait for more batches. Measured: longer waits save computing and cost throughput.
const GATHER: Duration = Duration::from_micros(300);
/// Slices that each reading is a part of: gathered, written, deleted, and merged later.
const SLICES_PER_READING: u64 = 4;
/// Hot readings from which on sealing is behind, and does a multiple of that until it is not. Chosen: below what the
/// writer remembers, so that sealing need not read.
const HOT_BEHIND: u64 = 900_000;
/// How long a slice of sealing or merging should take: so long a batch may wait that comes just after its start.
const SLICE: Duration = Duration::from_millis(8);
/// Readings in a slice: what takes about [`SLICE`], within these bounds.
const ROWS_PER_SLICE: std::ops::RangeInclusive<usize> = 4_000..=20_000;
/// Notes about connections that are written at once at most: some milliseconds.
pub(crate) const NOTES_MAX: usize = 1_000;
/// How often it is looked whether there is something to seal or to merge.
const CARE_INTERVAL: Duration = Duration::from_secs(1);
/// And after so many readings: a hub that takes two million a second may not wait so long.
const CARE_READINGS: usize = 50_000;

/// What became of a batch that a session handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is settled: an ack may say so.
    Settled,
    /// The batch before it is missing: it must come again.
    OutOfOrder,
    /// No room on the disk: it must come again later.
    StorageFull,
    /// It could not be stored for another reason; the log has it. It must come again later.
    Failed,
}

/// Where the writing thread leaves word for one session.
#[derive(Debug, Default)]
pub struct Completions {
    done: Mutex<Vec<(Ticket, Fate, Instant)>>,
    /// Whether `done` holds any: asked with every message, without its lock.
    any: AtomicBool,
    session: AtomicWaker,
}

impl Completions {
    /// Waits until there is word.
    pub fn wait(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| {
            if self.any.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            self.session.register(context.waker());
            // Word may have come before it was registered.
            if self.any.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Takes all there is, in order, each with when its batch was read. `into` keeps its memory from call to call.
    pub fn take(&self, into: &mut Vec<(Ticket, Fate, Instant)>) {
        into.clear();
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(false, Ordering::Release);
        std::mem::swap(into, &mut *done);
    }

    fn put(&self, ticket: Ticket, fate: Fate, taken: Instant) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push((ticket, fate, taken));
        self.any.store(true, Ordering::Release);
    }
}

/// When a batch came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When its last byte was read.
    pub read: Instant,
    /// When its last reading was measured, by the hub's clock, as far as that is known.
    pub measured: Option<Timestamp>,
}

struct BatchRequest {
    batch: Batch,
    ticket: Ticket,
    completions: Arc<Completions>,
    arrival: Arrival,
    /// Given back when the batch has left the queue.
    room: Option<OwnedSemaphorePermit>,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// A token that was made, with the device that it is for.
type NewToken = (CredentialKey, Option<DeviceKey>, Token);
/// A claim that was used, with its device and the device's new token.
type Claimed = (DeviceKey, Claim, Token);

enum Request {
    Batch(BatchRequest),
    Register(Box<Hello>, Timestamp, Reply<Registered>),
    Connection(ConnectionNote),
    SaveCommands(Vec<GroupChange>, Vec<Arc<CommandInfo>>, Reply<()>),
    AnsweredLate(DeviceId, Box<CommandUpdate>, Actor, Reply<Option<CommandInfo>>),
    AddDevice(DeviceId, Actor, Timestamp, oneshot::Sender<Result<(DeviceKey, Token), AuthError>>),
    AddToken(CredentialRole, String, Actor, Timestamp, oneshot::Sender<Result<NewToken, AuthError>>),
    AddCertificate(Identity, Actor, Timestamp, Reply<(CredentialKey, DeviceKey)>),
    RevokeToken(CredentialKey, Actor, Timestamp, Reply<Credential>),
    AddClaim(NewClaim, Actor, Reply<i64>),
    UseClaim(Code, String, Timestamp, oneshot::Sender<Result<Option<Claimed>, AuthError>>),
    EndClaim(i64, Actor, Timestamp, Reply<Claim>),
    Audit(Vec<AuditEntry>, Reply<()>),
}

/// The way to the writing thread. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    requests: Sender<Request>,
    rows: Arc<Semaphore>,
    rows_max: usize,
    metrics: Arc<Metrics>,
}

/// The hub is stopping: nothing is written any more.
fn stopping() -> StoreError {
    StoreError::Busy("the hub is stopping".into())
}

impl Ingest {
    /// Starts the writing thread, and the one that makes its checkpoints. They end, after a last commit and a
    /// checkpoint, when every `Ingest` is dropped. The writing thread cancels `failed` when the disk has failed and nothing can be acknowledged any more.
    pub fn start(
        writer: Writer,
        checkpointer: Checkpointer,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        failed: CancellationToken,
        limits: &Limits,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (requests, queue) = queue::queue(limits.count(Limit::IngestRequests));
        let counts = Arc::clone(&metrics);
        let rows_max = limits.count(Limit::IngestReadings);
        let limits = limits.clone();
        let copying = thread::Builder::new().name("checkpoint".into()).spawn(move || checkpointer.run())?;
        let thread = thread::Builder::new().name("ingest".into()).spawn(move || {
            Worker::new(writer, live, metrics, &limits, failed).run(&queue, copying);
        })?;
        let rows = Arc::new(Semaphore::new(rows_max));
        Ok((Self { requests, rows, rows_max, metrics: counts }, thread))
    }

    /// The same without a thread: nothing is written but by [`ByHand::work`].
    pub fn by_hand(
        writer: Writer,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        failed: CancellationToken,
        limits: &Limits,
    ) -> (Self, ByHand) {
        let (requests, queue) = queue::queue(limits.count(Limit::IngestRequests));
        let worker = Worker::new(writer, live, Arc::clone(&metrics), limits, failed);
        let worker = Worker { gather: Duration::ZERO, ..worker };
        let rows_max = limits.count(Limit::IngestReadings);
        let rows = Arc::new(Semaphore::new(rows_max));
        (Self { requests, rows, rows_max, metrics }, ByHand { worker, queue })
    }

    /// Hands a batch in. Waits while the queue is full. The answer comes through `completions`.
    pub async fn submit(
        &self,
        stream: StreamKey,
        ticket: Ticket,
        content: BatchContent,
        arrival: Arrival,
        completions: &Arc<Completions>,
    ) -> Result<(), StoreError> {
        let rows = match &content {
            BatchContent::Readings(rows) => rows.len(),
            BatchContent::Refused | BatchContent::Skipped => 0,
        };
        let room = match u32::try_from(rows) {
            Ok(0) | Err(_) => None,
            Ok(rows) => {
                if self.rows.available_permits() < rows as usize {
                    self.metrics.reached(Limit::IngestReadings);
                }
                Some(Arc::clone(&self.rows).acquire_many_owned(rows).await.map_err(|_| stopping())?)
            }
        };
        let batch = Batch { stream, after: ticket.after, seq: ticket.seq, content };
        let request = BatchRequest { batch, ticket, completions: Arc::clone(completions), arrival, room };
        if self.requests.is_full() {
            self.metrics.reached(Limit::IngestRequests);
        }
        self.requests.send(Request::Batch(request)).await.map_err(|_| stopping())
    }

    /// Requests and readings that wait.
    pub fn waiting(&self) -> (usize, usize) {
        (self.requests.waiting(), self.rows_max - self.rows.available_permits().min(self.rows_max))
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Makes a device, its series and its stream known.
    pub async fn register(&self, hello: Hello, now: Timestamp) -> Result<Registered, StoreError> {
        self.ask(|reply| Request::Register(Box::new(hello), now, reply)).await
    }

    /// Writes down what has happened to a connection. Does not wait for the disk.
    pub async fn note(&self, note: ConnectionNote) {
        // The hub is stopping: the history of connections lacks it, nothing else.
        drop(self.requests.send(Request::Connection(note)).await);
    }

    /// Stores commands as they are now and what has changed of groups, all of it or nothing.
    pub async fn save_commands(
        &self,
        groups: Vec<GroupChange>,
        commands: Vec<Arc<CommandInfo>>,
    ) -> Result<(), StoreError> {
        self.ask(|reply| Request::SaveCommands(groups, commands, reply)).await
    }

    /// Makes a token, and its device where it is one's.
    pub async fn add_token(
        &self,
        role: CredentialRole,
        label: String,
        actor: Actor,
        now: Timestamp,
    ) -> Result<NewToken, AuthError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::AddToken(role, label, actor, now, reply);
        self.requests.send(request).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Stores the certificate of a device, see [`auth::add_certificate`].
    pub async fn add_certificate(
        &self,
        identity: Identity,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(CredentialKey, DeviceKey), StoreError> {
        self.ask(|reply| Request::AddCertificate(identity, actor, now, reply)).await
    }

    /// Makes a token open nothing any more.
    pub async fn revoke_token(
        &self,
        key: CredentialKey,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Credential, StoreError> {
        self.ask(|reply| Request::RevokeToken(key, actor, now, reply)).await
    }

    /// Stores a claim. Returns its number.
    pub async fn add_claim(&self, claim: NewClaim, actor: Actor) -> Result<i64, StoreError> {
        self.ask(|reply| Request::AddClaim(claim, actor, reply)).await
    }

    /// Uses a claim: its device gets a token. `None`: the code is good for nothing.
    pub async fn use_claim(
        &self,
        code: Code,
        address: String,
        now: Timestamp,
    ) -> Result<Option<Claimed>, AuthError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::UseClaim(code, address, now, reply);
        self.requests.send(request).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Makes a claim good for nothing.
    pub async fn end_claim(&self, key: i64, actor: Actor, now: Timestamp) -> Result<Claim, StoreError> {
        self.ask(|reply| Request::EndClaim(key, actor, now, reply)).await
    }

    /// Adds to the audit trail.
    pub async fn audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Audit(entries, reply)).await
    }

    /// Stores what a device says of a command for which nobody waits any more, if its end was not known. Returns the command
    /// as it has become.
    pub async fn answered_late(
        &self,
        device: DeviceId,
        update: CommandUpdate,
        actor: Actor,
    ) -> Result<Option<CommandInfo>, StoreError> {
        self.ask(|reply| Request::AnsweredLate(device, Box::new(update), actor, reply)).await
    }

    /// Makes a device and a token for it.
    pub async fn add_device(
        &self,
        id: DeviceId,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(DeviceKey, Token), AuthError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::AddDevice(id, actor, now, reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

/// The work of the writing thread without the thread, for simulations: done when whoever holds it says so.
pub struct ByHand {
    worker: Worker,
    queue: Receiver<Request>,
}

impl ByHand {
    /// Does what is next: a commit, another request, or some care. Returns whether there was anything to do.
    pub fn work(&mut self) -> bool {
        self.queue.take(&mut self.worker.taken);
        self.worker.turn(&self.queue)
    }
}

struct Worker {
    writer: Writer,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    /// Readings from which on a commit takes no further batch. Larger ones gain nothing and make everyone wait.
    rows_per_commit: usize,
    /// Connections that are remembered of each device.
    connections_kept: usize,
    failed: CancellationToken,
    /// Requests that were taken from the queue, in order.
    taken: VecDeque<Request>,
    /// The requests of the commit that is being made.
    waiting: Vec<(Ticket, Arc<Completions>, Arrival)>,
    /// Batches in the commit before.
    crowd: usize,
    /// How long a commit may wait for those.
    gather: Duration,
    /// Whether there may be something to seal or to merge.
    caring: bool,
    /// When that was last assumed without being told.
    cared: Instant,
    /// Readings committed since then.
    uncared: usize,
    /// Readings in the next slice of sealing or merging.
    slice: usize,
    /// Readings that were not sealed after the last slice.
    hot: u64,
    retention: Turns,
    /// What has happened to connections and is not written down yet, and since when.
    notes: Vec<ConnectionNote>,
    noted: Instant,
}

impl Worker {
    fn new(
        writer: Writer,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        limits: &Limits,
        failed: CancellationToken,
    ) -> Self {
        Self {
            writer,
            live,
            metrics,
            rows_per_commit: limits.count(Limit::ReadingsPerCommit),
            connections_kept: limits.count(Limit::ConnectionsKept),
            failed,
            taken: VecDeque::new(),
            waiting: Vec::new(),
            crowd: 0,
            gather: GATHER,
            caring: true,
            cared: Instant::now(),
            uncared: 0,
            slice: 10_000,
            hot: 0,
            retention: Turns::new(),
            notes: Vec::new(),
            noted: Instant::now(),
        }
    }

    /// Does what is next. Returns whether there was anything to do.
    fn turn(&mut self, queue: &Receiver<Request>) -> bool {
        if self.cared.elapsed() >= CARE_INTERVAL || self.uncared >= CARE_READINGS {
            self.cared = Instant::now();
            self.uncared = 0;
            self.caring = true;
        }
        self.serve_commands();
        if !self.notes.is_empty() && self.noted.elapsed() > CARE_INTERVAL {
            self.write_notes();
        }
        match self.taken.front() {
            Some(Request::Batch(_)) => {
                self.gather(queue);
                self.serve_commands();
                let readings = self.commit();
                for _ in 0..self.slices(readings) {
                    if !self.caring {
                        break;
                    }
                    self.care(false);
                    queue.take(&mut self.taken);
                    self.serve_commands();
                }
            }
            Some(_) => {
                if let Some(request) = self.taken.pop_front() {
                    self.serve(request);
                }
            }
            None if !self.notes.is_empty() => self.write_notes(),
            None if self.caring => self.care(true),
            None => return false,
        }
        true
    }

    fn run(mut self, queue: &Receiver<Request>, copying: thread::JoinHandle<()>) {
        while queue.take(&mut self.taken) || !self.taken.is_empty() {
            if !self.turn(queue) {
                queue.wait(1, CARE_INTERVAL);
            }
        }
        self.write_notes();
        self.writer.checkpoint_alone();
        drop(copying.join());
        if let Err(error) = self.writer.checkpoint() {
            tracing::warn!(%error, "the write-ahead log stays: it is read at the next start");
        }
    }

    fn add_token(
        &mut self,
        role: CredentialRole,
        label: String,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<NewToken, AuthError> {
        let device = match role.device() {
            Some(id) => Some(self.writer.create_device(id, at)?),
            None => None,
        };
        let (key, token) = auth::add_token(&mut self.writer, role, label, actor, at)?;
        Ok((key, device, token))
    }

    fn answered_late(
        &mut self,
        device: &DeviceId,
        update: CommandUpdate,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<CommandInfo>, StoreError> {
        let known = self.writer.command(&update.id)?.filter(|command| command.device == *device);
        let resolved = known.and_then(|command| desk::answered_late(&command, update, actor, now));
        if let Some(command) = &resolved {
            self.writer.save_commands(&[], &[command])?;
        }
        Ok(resolved)
    }

    /// Stores the commands that wait, before anything else: somebody looks at the screen, and no batch depends on them.
    /// There is one such request at most, as the task that sends them waits for the answer.
    fn serve_commands(&mut self) {
        let place = self.taken.iter().position(|request| matches!(request, Request::SaveCommands(..)));
        if let Some(request) = place.and_then(|place| self.taken.remove(place)) {
            self.serve(request);
        }
    }

    /// Waits a moment for the batches that are sure to come: as many devices as were acknowledged a moment ago are about
    /// to send their next. A commit costs much the same for one batch and for fifty.
    fn gather(&mut self, queue: &Receiver<Request>) {
        if self.taken.len() < self.crowd {
            queue.wait(self.crowd - self.taken.len(), self.gather);
            queue.take(&mut self.taken);
        }
    }

    /// Commits the batches that wait, and tells their sessions. Returns how many readings they hold.
    fn commit(&mut self) -> usize {
        let mut batches = Vec::new();
        let mut rooms = Vec::new();
        let mut rows = 0;
        while rows < self.rows_per_commit {
            let request = match self.taken.pop_front() {
                Some(Request::Batch(request)) => request,
                Some(other) => {
                    self.taken.push_front(other);
                    break;
                }
                None => break,
            };
            let BatchRequest { batch, ticket, completions, arrival, room } = request;
            if let BatchContent::Readings(readings) = &batch.content {
                rows += readings.len();
            }
            batches.push(batch);
            rooms.push(room);
            self.waiting.push((ticket, completions, arrival));
        }
        if rows >= self.rows_per_commit {
            self.metrics.reached(Limit::ReadingsPerCommit);
        }
        self.crowd = batches.len();
        self.uncared += rows;
        let start = Instant::now();
        for (_, _, arrival) in &self.waiting {
            self.metrics.ingest.note(start.duration_since(arrival.read));
        }
        let appended = self.writer.append(&batches, clock::now());
        self.metrics.commit.note(start.elapsed());
        self.metrics.storage_full.store(matches!(appended, Err(StoreError::Full)), Ordering::Relaxed);
        match appended {
            Ok(appended) => {
                self.metrics.commits.add(1);
                let stored = batches
                    .into_iter()
                    .zip(&appended.outcomes)
                    .zip(&self.waiting)
                    .filter(|((_, outcome), _)| **outcome == Outcome::Settled)
                    .filter_map(|((batch, _), (_, _, arrival))| match batch.content {
                        BatchContent::Readings(rows) if !rows.is_empty() => Some((rows, *arrival)),
                        BatchContent::Readings(_) | BatchContent::Refused | BatchContent::Skipped => None,
                    })
                    .collect();
                self.metrics.readings.add((appended.last.0 - appended.first.0 + 1).max(0).cast_unsigned());
                if appended.last >= appended.first {
                    self.live.publish(Commit {
                        first: appended.first,
                        last: appended.last,
                        batches: stored,
                        made: Instant::now(),
                        at: clock::now(),
                    });
                }
                for ((ticket, completions, arrival), outcome) in self.waiting.iter().zip(&appended.outcomes) {
                    completions.put(
                        *ticket,
                        match outcome {
                            Outcome::Settled | Outcome::Duplicate => Fate::Settled,
                            Outcome::OutOfOrder => Fate::OutOfOrder,
                        },
                        arrival.read,
                    );
                }
            }
            Err(error) => {
                let fate = match &error {
                    StoreError::Full => Fate::StorageFull,
                    _ => Fate::Failed,
                };
                self.metrics.failed_commits.add(1);
                tracing::error!(%error, batches = batches.len(), readings = rows, "nothing was stored of a commit");
                self.note_failure(&error);
                for (ticket, completions, arrival) in &self.waiting {
                    completions.put(*ticket, fate, arrival.read);
                }
            }
        }
        drop(rooms);
        for (_, completions, _) in self.waiting.drain(..) {
            completions.session.wake();
        }
        rows
    }

    /// Slices of sealing and merging after a commit, so that they keep up with whatever comes.
    const fn slices(&self, committed: usize) -> u64 {
        let work = committed as u64 * SLICES_PER_READING * (1 + self.hot / HOT_BEHIND);
        1 + work / self.slice as u64
    }

    /// One slice of sealing, and where there is nothing to seal, one of merging; and when it is its turn, one of retention.
    /// `idle`: no request waits.
    fn care(&mut self, idle: bool) {
        let start = Instant::now();
        let more = match self.writer.seal(self.slice) {
            Ok(sealed) => {
                self.hot = sealed.hot;
                if sealed.more { Ok(true) } else { self.writer.merge(self.slice).map(|merged| merged.more) }
            }
            Err(error) => Err(error),
        };
        let wanted = if start.elapsed() > SLICE { self.slice * 3 / 4 } else { self.slice * 9 / 8 };
        self.slice = wanted.clamp(*ROWS_PER_SLICE.start(), *ROWS_PER_SLICE.end());
        let more = more.and_then(|busy| Ok(self.retention.slice(&mut self.writer, busy, idle)? || busy));
        self.caring = more.unwrap_or_else(|error| {
            tracing::error!(%error, "sealing stops for now: the readings stay where they are");
            self.note_failure(&error);
            false
        });
    }

    /// Writes down what has happened to connections: many at once, because a storm of them must not hold up readings.
    fn write_notes(&mut self) {
        match self.writer.note_connections(&self.notes, self.connections_kept) {
            Ok(0) => {}
            Ok(_) => self.metrics.reached(Limit::ConnectionsKept),
            Err(error) => {
                tracing::warn!(%error, connections = self.notes.len(), "the history of connections has a hole");
                self.note_failure(&error);
            }
        }
        self.notes.clear();
    }

    fn note_failure(&self, error: &StoreError) {
        if error.is_fatal() {
            self.failed.cancel();
        }
    }

    /// Serves a request that is not a batch. Whoever asked may be gone: then the answer is dropped.
    fn serve(&mut self, request: Request) {
        let now = clock::now();
        match request {
            Request::Batch(_) => {}
            Request::Register(hello, now, reply) => {
                let answer = self.writer.register(&hello, now);
                self.answer(reply, answer);
            }
            Request::Connection(note) => {
                if self.notes.is_empty() {
                    self.noted = Instant::now();
                }
                self.notes.push(note);
                if self.notes.len() >= NOTES_MAX {
                    self.write_notes();
                }
            }
            Request::SaveCommands(groups, commands, reply) => {
                let answer = self.writer.save_commands(&groups, &commands);
                self.answer(reply, answer);
            }
            Request::AddToken(role, label, actor, at, reply) => {
                let answer = self.add_token(role, label, &actor, at.max(now));
                if let Err(AuthError::Store(error)) = &answer {
                    self.note_failure(error);
                }
                drop(reply.send(answer));
            }
            Request::AddClaim(claim, actor, reply) => {
                let answer = self.writer.add_claim(&claim, &actor);
                self.answer(reply, answer);
            }
            Request::UseClaim(code, address, at, reply) => {
                let answer = auth::use_claim(&mut self.writer, &code, &address, at);
                if let Err(AuthError::Store(error)) = &answer {
                    self.note_failure(error);
                }
                drop(reply.send(answer));
            }
            Request::EndClaim(key, actor, at, reply) => {
                let answer = self.writer.end_claim(key, &actor, at);
                self.answer(reply, answer);
            }
            Request::Audit(entries, reply) => {
                let answer = self.writer.audit(&entries);
                self.answer(reply, answer);
            }
            Request::AddCertificate(identity, actor, at, reply) => {
                let answer = auth::add_certificate(&mut self.writer, &identity, &actor, at.max(now));
                self.answer(reply, answer);
            }
            Request::RevokeToken(key, actor, at, reply) => {
                let answer = self.writer.revoke_credential(key, &actor, at.max(now));
                self.answer(reply, answer);
            }
            Request::AnsweredLate(device, update, actor, reply) => {
                let answer = self.answered_late(&device, *update, &actor, now);
                self.answer(reply, answer);
            }
            Request::AddDevice(id, actor, at, reply) => {
                let answer = auth::add_device(&mut self.writer, &id, &actor, at.max(now));
                if let Err(AuthError::Store(error)) = &answer {
                    self.note_failure(error);
                }
                drop(reply.send(answer));
            }
        }
    }

    fn answer<T>(&self, reply: Reply<T>, answer: Result<T, StoreError>) {
        if let Err(error) = &answer {
            self.note_failure(error);
        }
        drop(reply.send(answer));
    }
}
