//! The life of commands: one task that takes them in, hands them to devices, and keeps every transition (I-14).
//!
//! What follows what is decided by `protocol::desk`, one for each device that has open commands. Whatever has queued is
//! decided together, stored in one transaction, and only then told: to viewers, to whoever asked, and to devices. A command is
//! `sent` in the database before it is written to the socket, so that a crash in between leaves it open, to be handed over
//! again under the same id. What could not be stored did not happen, and is tried again.

mod groups;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use protocol::command::CommandState;
use protocol::declare::check_args;
use protocol::desk::{Actor, Desk, Refused, Step, Timing};
use protocol::device::{CommandUpdate, ErrorMessage};
use protocol::viewer::{CommandInfo, DeviceInfo, GroupInfo, SendCommand, Transition};
use protocol::{CommandId, DeviceId, ErrorCode, GroupId, MetricName, NameError, Timestamp, limits as wire};
use serde_json::{Map, Value as Json};
use store::{GroupChange, OpenGroup, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::clock;
use crate::config::Config;
use crate::directory::{Directory, SessionId, SessionSender, ToSession};
use crate::ingest::Ingest;
use crate::limits::{Limit, Limits};
use crate::metrics::Metrics;
use groups::Groups;
pub(crate) use groups::{Chosen, NewGroup, already_retried};

/// Requests that are decided and stored together. Chosen: a few milliseconds of work.
const TOGETHER: usize = 512;
/// How long after changes that could not be stored they are tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) type Answer<T> = Result<T, ErrorMessage>;
type Reply<T> = oneshot::Sender<Answer<T>>;

enum Request {
    Issue(Box<SendCommand>, Actor, Reply<Arc<CommandInfo>>),
    Cancel(CommandId, Actor, Reply<Arc<CommandInfo>>),
    Update(DeviceId, Box<CommandUpdate>, Actor, Reply<()>),
    Connected(DeviceId, SessionId, SessionSender),
    Disconnected(DeviceId, SessionId),
    /// What a device said late of a command is stored.
    Resolved(Box<CommandInfo>),
    NewGroup(Box<NewGroup>, Actor, Reply<GroupInfo>),
    CancelGroup(GroupId, bool, Actor, Reply<GroupInfo>),
}

/// What has changed, for every viewer.
#[derive(Debug, Clone)]
pub enum Event {
    /// A command.
    Command(Arc<CommandInfo>),
    /// A group of commands.
    Group(Arc<GroupInfo>),
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For devices that do not answer.
    pub timing: Timing,
    /// For the next word about a command that declares no `timeout`, in microseconds.
    pub end: i64,
}

/// The way to the task. Cheap to clone; the task ends when every one is dropped.
#[derive(Clone)]
pub struct Commands {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Event>,
    metrics: Arc<Metrics>,
}

pub(crate) fn error(code: ErrorCode, message: impl Into<String>) -> ErrorMessage {
    ErrorMessage { id: None, code, message: message.into() }
}

fn stopping() -> ErrorMessage {
    error(ErrorCode::Internal, "the hub is stopping")
}

/// The answer to what was handed in, once it is stored or refused.
pub struct Pending<T>(oneshot::Receiver<Answer<T>>);

impl<T> Future for Pending<T> {
    type Output = Answer<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer<T>> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(stopping())))
    }
}

impl Commands {
    /// Starts the task with the commands and the groups that were open when the hub last stopped, in the order of issue.
    pub fn start(
        open: Vec<CommandInfo>,
        groups: Vec<OpenGroup>,
        config: &Config,
        directory: Arc<Directory>,
        ingest: Ingest,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (requests, queue) = mpsc::channel(config.limits.count(Limit::CommandRequests));
        let events = broadcast::channel(config.limits.count(Limit::CommandsBehind)).0;
        let (late, late_queue) = mpsc::channel(config.limits.count(Limit::LateWordsWaiting));
        let listener = hear_all_late(late_queue, ingest.clone(), requests.downgrade());
        let task = Task {
            waits: config.commands,
            limits: config.limits.clone(),
            metrics: Arc::clone(&metrics),
            desks: HashMap::new(),
            owners: HashMap::new(),
            due: BTreeSet::new(),
            devices: HashMap::new(),
            links: HashMap::new(),
            unsettled: HashSet::new(),
            retry_at: None,
            issued_at: Timestamp(0),
            order: 0,
            round: Round::default(),
            directory,
            ingest,
            events: events.clone(),
            groups: Groups::restore(groups),
            late,
        };
        let work = async {
            // The listener ends with the task.
            tokio::join!(task.run(open, queue), listener);
        };
        (Self { requests, events, metrics }, work)
    }

    /// Every change of a command or a group from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Hands a request in. What is handed in first is decided first.
    async fn hand_in<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Pending<T> {
        let (reply, answer) = oneshot::channel();
        if self.requests.capacity() == 0 {
            self.metrics.reached(Limit::CommandRequests);
        }
        // The hub is stopping: the answer says so.
        drop(self.requests.send(request(reply)).await);
        Pending(answer)
    }

    /// Takes a command in, on behalf of `actor`. When the answer comes, it is stored.
    pub async fn begin_issue(&self, command: SendCommand, actor: Actor) -> Pending<Arc<CommandInfo>> {
        self.hand_in(|reply| Request::Issue(Box::new(command), actor, reply)).await
    }

    /// The same, and waits for the answer.
    pub async fn issue(&self, command: SendCommand, actor: Actor) -> Answer<Arc<CommandInfo>> {
        self.begin_issue(command, actor).await.await
    }

    /// Takes a command back, or asks the device to stop it. When the answer comes, it is stored.
    pub async fn begin_cancel(&self, id: CommandId, actor: Actor) -> Pending<Arc<CommandInfo>> {
        self.hand_in(|reply| Request::Cancel(id, actor, reply)).await
    }

    /// The same, and waits for the answer.
    pub async fn cancel(&self, id: CommandId, actor: Actor) -> Answer<Arc<CommandInfo>> {
        self.begin_cancel(id, actor).await.await
    }

    /// Takes a group in. When the answer comes, it is stored; its commands follow.
    pub(crate) async fn new_group(&self, group: NewGroup, actor: Actor) -> Answer<GroupInfo> {
        self.hand_in(|reply| Request::NewGroup(Box::new(group), actor, reply)).await.await
    }

    /// Begins no more of a group; if `begun`, asks the devices that have begun to stop. When the answer comes, it is stored.
    pub async fn cancel_group(&self, id: GroupId, begun: bool, actor: Actor) -> Answer<GroupInfo> {
        self.hand_in(|reply| Request::CancelGroup(id, begun, actor, reply)).await.await
    }

    /// A device said what became of a command. When the answer comes, it is stored.
    pub async fn update(&self, device: DeviceId, update: CommandUpdate, actor: Actor) -> Pending<()> {
        self.hand_in(|reply| Request::Update(device, Box::new(update), actor, reply)).await
    }

    /// A device is connected and welcomed: it gets what is open.
    pub async fn connected(&self, device: DeviceId, id: SessionId, session: SessionSender) {
        drop(self.requests.send(Request::Connected(device, id, session)).await);
    }

    /// A session of a device has ended.
    pub async fn disconnected(&self, device: DeviceId, id: SessionId) {
        drop(self.requests.send(Request::Disconnected(device, id)).await);
    }
}

/// What is answered once a round is stored.
enum Told {
    Command(Reply<Arc<CommandInfo>>, Arc<CommandInfo>),
    Update(Reply<()>, CommandId),
    Group(Reply<GroupInfo>, GroupId),
    /// It is looked up once it is known how the command ended.
    Late(Late),
}

/// What came of a device's word about a command.
enum Updated {
    /// It is a part of this round.
    Decided,
    /// The command is not open.
    Ended(CommandUpdate),
}

/// A device's word about a command that has ended.
struct Late {
    device: DeviceId,
    update: CommandUpdate,
    actor: Actor,
    reply: Reply<()>,
}

/// Stores what is news among such words, one after another, as they came.
async fn hear_all_late(mut queue: mpsc::Receiver<Late>, ingest: Ingest, requests: mpsc::WeakSender<Request>) {
    while let Some(Late { device, update, actor, reply }) = queue.recv().await {
        let id = update.id.clone();
        let answer = match ingest.answered_late(device, update, actor).await {
            Ok(None) => Ok(()),
            Ok(Some(info)) => {
                // The hub is stopping: viewers will see it when they ask.
                if let Some(requests) = requests.upgrade() {
                    drop(requests.send(Request::Resolved(Box::new(info))).await);
                }
                Ok(())
            }
            Err(problem) => {
                tracing::warn!(command = %id, error = %problem, "a late answer is not stored");
                Err(not_stored(&id))
            }
        };
        drop(reply.send(answer));
    }
}

/// What is decided together: nothing of it is told before it is stored.
#[derive(Default)]
struct Round {
    steps: Vec<(DeviceId, Vec<Step>)>,
    groups: Vec<GroupChange>,
    told: Vec<Told>,
    /// The desks as they were before.
    before: HashMap<DeviceId, Option<Desk>>,
}

struct Task {
    waits: Waits,
    limits: Limits,
    metrics: Arc<Metrics>,
    /// Of each device that has open commands.
    desks: HashMap<DeviceId, Desk>,
    /// Whose each open command is.
    owners: HashMap<CommandId, DeviceId>,
    /// When each desk has something to do next.
    due: BTreeSet<(Timestamp, DeviceId)>,
    /// The same, by device.
    devices: HashMap<DeviceId, Timestamp>,
    /// The present session of each connected device.
    links: HashMap<DeviceId, (SessionId, SessionSender)>,
    /// Desks that went back to what they were, because it could not be stored: whether the device is connected may have
    /// changed since.
    unsettled: HashSet<DeviceId>,
    retry_at: Option<Instant>,
    /// When the last command was issued: two never have the same time.
    issued_at: Timestamp,
    order: u32,
    round: Round,
    directory: Arc<Directory>,
    ingest: Ingest,
    events: broadcast::Sender<Event>,
    groups: Groups,
    late: mpsc::Sender<Late>,
}

impl Task {
    /// The refusal of a request that reached a limit.
    fn limited(&self, limit: Limit, found: impl Into<String>) -> ErrorMessage {
        self.metrics.reached(limit);
        error(ErrorCode::LimitReached, self.limits.refusal(limit, found).to_string())
    }

    async fn run(mut self, open: Vec<CommandInfo>, mut queue: mpsc::Receiver<Request>) {
        self.restore(open.clone());
        self.finish_round().await;
        // What was open is not forgotten because what became of it could not be stored.
        while self.retry_at.take().is_some() && !queue.is_closed() {
            tokio::time::sleep(RETRY).await;
            self.restore(open.clone());
            self.finish_round().await;
        }
        drop(open);
        let mut requests = Vec::with_capacity(TOGETHER);
        loop {
            let received = tokio::time::timeout(self.wait(), queue.recv_many(&mut requests, TOGETHER)).await;
            if received == Ok(0) {
                return;
            }
            if self.retry_at.is_some_and(|at| at <= Instant::now()) {
                self.retry_at = None;
                for device in std::mem::take(&mut self.unsettled) {
                    self.unsettled.insert(device.clone());
                    self.touch(&device, |_, _, _| ());
                }
            }
            for request in requests.drain(..) {
                self.serve(request);
            }
            if self.retry_at.is_none() {
                self.poll();
                self.decide_groups();
            }
            self.finish_round().await;
            self.tell_groups();
        }
    }

    /// How long nothing has to be done.
    fn wait(&self) -> Duration {
        if let Some(at) = self.retry_at {
            return at.saturating_duration_since(Instant::now());
        }
        // At most a minute: the wait must not outlive a jump of the clock by more.
        let longest = Duration::from_mins(1);
        let groups = self.groups.due().map_or(longest, |at| at.saturating_duration_since(Instant::now()));
        self.due.first().map_or(groups, |(at, _)| {
            let micros = at.micros_since(clock::now()).max(0);
            Duration::from_micros(u64::try_from(micros).unwrap_or(0)).min(groups)
        })
    }

    fn restore(&mut self, open: Vec<CommandInfo>) {
        let now = clock::now();
        for info in open {
            let patience = self.patience(self.directory.device(&info.device).as_deref(), &info.name);
            let device = info.device.clone();
            self.owners.insert(info.id.clone(), device.clone());
            self.touch(&device, |desk, _, steps| desk.restore(info, patience, now, steps));
        }
    }

    /// How long a connected device may be silent about a command that it has, in microseconds.
    fn patience(&self, device: Option<&DeviceInfo>, name: &MetricName) -> i64 {
        let declared = device.and_then(|device| device.commands.iter().find(|command| command.name == *name));
        match declared.and_then(|command| command.timeout) {
            // It takes as long as it says, and its answer some time to come.
            Some(seconds) => ((seconds * 1e6) as i64).saturating_add(self.waits.timing.answer),
            None => self.waits.end,
        }
    }

    /// Lets a desk decide something, as a part of this round.
    fn touch<T>(
        &mut self,
        device: &DeviceId,
        work: impl FnOnce(&mut Desk, Timestamp, &mut Vec<Step>) -> T,
    ) -> T {
        let now = clock::now();
        if !self.round.before.contains_key(device) {
            self.round.before.insert(device.clone(), self.desks.get(device).cloned());
        }
        let mut steps = Vec::new();
        let connected = self.links.contains_key(device);
        let desk = self.desks.entry(device.clone()).or_insert_with(|| {
            let mut desk = Desk::new(self.waits.timing);
            if connected {
                desk.connected(now, &mut Vec::new());
            }
            desk
        });
        if self.unsettled.remove(device) {
            if connected {
                desk.connected(now, &mut steps);
            } else {
                desk.disconnected(now, &mut steps);
            }
            desk.poll(now, &mut steps);
        }
        let result = work(desk, now, &mut steps);
        let due = desk.due();
        if desk.is_empty() {
            self.desks.remove(device);
        }
        self.schedule(device, due);
        for step in &steps {
            match step {
                Step::Changed(info) if info.state.is_final() => drop(self.owners.remove(&info.id)),
                // Every command that is taken in enters a state first.
                Step::Changed(info) if info.state == CommandState::Queued => {
                    self.owners.insert(info.id.clone(), device.clone());
                }
                Step::Changed(_) | Step::Deliver(_) | Step::Stop(_) => {}
            }
        }
        self.round.steps.push((device.clone(), steps));
        result
    }

    fn schedule(&mut self, device: &DeviceId, due: Option<Timestamp>) {
        if let Some(before) = self.devices.remove(device) {
            self.due.remove(&(before, device.clone()));
        }
        if let Some(at) = due {
            self.devices.insert(device.clone(), at);
            self.due.insert((at, device.clone()));
        }
    }

    /// Does what is due.
    fn poll(&mut self) {
        let now = clock::now();
        let due: Vec<DeviceId> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, device)| device.clone()).collect();
        for device in due {
            self.touch(&device, Desk::poll);
        }
    }

    /// Stores what was decided, then tells; as long as telling decides something more.
    async fn finish_round(&mut self) {
        loop {
            let Round { steps, groups, told, before } = std::mem::take(&mut self.round);
            let mut latest: HashMap<&CommandId, usize> = HashMap::new();
            let mut changed: Vec<Arc<CommandInfo>> = Vec::new();
            for step in steps.iter().flat_map(|(_, steps)| steps) {
                if let Step::Changed(info) = step {
                    match latest.get(&info.id) {
                        Some(place) => changed[*place] = Arc::clone(info),
                        None => {
                            latest.insert(&info.id, changed.len());
                            changed.push(Arc::clone(info));
                        }
                    }
                }
            }
            if !(groups.is_empty() && changed.is_empty())
                && let Err(problem) = self.ingest.save_commands(groups.clone(), changed).await
            {
                return self.go_back(told, before, &problem);
            }
            for change in groups {
                if let Some(ended) = self.groups.changed(change) {
                    self.tell_group(ended);
                }
            }
            for (device, steps) in steps {
                for step in steps {
                    self.take(&device, step);
                }
            }
            for told in told {
                match told {
                    Told::Command(reply, info) => drop(reply.send(Ok(info))),
                    Told::Update(reply, _) => drop(reply.send(Ok(()))),
                    Told::Late(late) => self.hear_late(late),
                    Told::Group(reply, id) => drop(reply.send(self.groups.get(&id).ok_or_else(stopping))),
                }
            }
            if self.round.steps.is_empty() {
                return;
            }
        }
    }

    /// Takes a step to the outside. It is stored.
    fn take(&mut self, device: &DeviceId, step: Step) {
        let (id, message) = match step {
            Step::Changed(info) => {
                self.groups.stored(&info);
                // No viewer is connected: nobody to tell.
                return drop(self.events.send(Event::Command(info)));
            }
            Step::Deliver(request) => (Some(request.id.clone()), ToSession::Command(request)),
            Step::Stop(cancel) => (None, ToSession::Cancel(cancel)),
        };
        let taken = self.links.get(device).is_some_and(|(_, session)| session.put(message));
        if !taken && let Some(id) = id {
            tracing::warn!(command = %id, %device, "the device's session takes no more commands");
            self.touch(device, |desk, now, steps| desk.undelivered(&id, now, steps));
        }
    }

    /// Nothing was stored, so that nothing has happened.
    fn go_back(&mut self, told: Vec<Told>, before: HashMap<DeviceId, Option<Desk>>, problem: &StoreError) {
        tracing::error!(error = %problem, devices = before.len(), "changes of commands are not stored");
        for (device, desk) in before {
            self.schedule(&device, desk.as_ref().and_then(Desk::due));
            for id in self.desks.get(&device).into_iter().flat_map(Desk::ids) {
                self.owners.remove(id);
            }
            for id in desk.as_ref().into_iter().flat_map(Desk::ids) {
                self.owners.insert(id.clone(), device.clone());
            }
            match desk {
                Some(desk) => {
                    self.desks.insert(device.clone(), desk);
                    self.unsettled.insert(device);
                }
                None => drop(self.desks.remove(&device)),
            }
        }
        self.retry_at = Some(Instant::now() + RETRY);
        for told in told {
            match told {
                Told::Command(reply, _) => drop(reply.send(Err(store_error(problem)))),
                Told::Group(reply, _) => drop(reply.send(Err(store_error(problem)))),
                Told::Late(Late { update, reply, .. }) => drop(reply.send(Err(not_stored(&update.id)))),
                Told::Update(reply, id) => {
                    drop(reply.send(Err(not_stored(&id))));
                }
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Issue(command, actor, reply) => match self.issue(*command, actor, None) {
                Ok(info) => self.round.told.push(Told::Command(reply, info)),
                Err(problem) => drop(reply.send(Err(problem))),
            },
            Request::Cancel(id, actor, reply) => match self.cancel(&id, &actor) {
                Ok(info) => self.round.told.push(Told::Command(reply, info)),
                Err(problem) => drop(reply.send(Err(problem))),
            },
            Request::Update(device, update, actor, reply) => {
                let id = update.id.clone();
                match self.update(&device, *update, &actor) {
                    Ok(Updated::Decided) => self.round.told.push(Told::Update(reply, id)),
                    Ok(Updated::Ended(update)) => {
                        self.round.told.push(Told::Late(Late { device, update, actor, reply }));
                    }
                    Err(problem) => drop(reply.send(Err(problem))),
                }
            }
            Request::Connected(device, id, session) => {
                self.links.insert(device.clone(), (id, session));
                if self.desks.contains_key(&device) {
                    self.touch(&device, Desk::connected);
                }
            }
            Request::Disconnected(device, id) => {
                // A newer session may have come first: then it is the one that counts.
                if self.links.get(&device).is_some_and(|(present, _)| *present == id) {
                    self.links.remove(&device);
                    if self.desks.contains_key(&device) {
                        self.touch(&device, Desk::disconnected);
                    }
                }
            }
            Request::Resolved(info) => {
                self.groups.resolved(&info);
                // No viewer is connected: nobody to tell.
                drop(self.events.send(Event::Command(info.into())));
            }
            Request::NewGroup(group, actor, reply) => self.new_group(*group, actor, reply),
            Request::CancelGroup(id, begun, actor, reply) => self.cancel_group(id, begun, &actor, reply),
        }
    }

    fn issue(
        &mut self,
        request: SendCommand,
        actor: Actor,
        group: Option<GroupId>,
    ) -> Answer<Arc<CommandInfo>> {
        let device = self
            .directory
            .device(&request.device)
            .ok_or_else(|| error(ErrorCode::NotFound, format!("no device {}", request.device)))?;
        let declared = device.commands.iter().find(|command| command.name == request.name);
        let refused = |refusal: &ErrorMessage| self.metrics.reached_in(&refusal.message);
        let args = check_request(&self.limits, &device, &request.name, &request.args, request.force)
            .inspect_err(refused)?;
        let lifetime = lifetime(&self.limits, request.expires_in_ms).inspect_err(refused)?;
        let open = self.desks.get(&request.device).map_or(0, Desk::len);
        if open >= self.limits.count(Limit::CommandsOpenPerDevice) {
            let found = format!("{} has {open} commands that have not ended", request.device);
            return Err(self.limited(Limit::CommandsOpenPerDevice, found));
        }
        let now = self.next_issue();
        let delivery =
            request.delivery.unwrap_or_else(|| declared.map(|command| command.delivery).unwrap_or_default());
        let patience = self.patience(Some(&device), &request.name);
        let Actor { by, address } = actor;
        let info = CommandInfo {
            id: self.new_id('c', now)?,
            device: request.device,
            name: request.name,
            args,
            state: CommandState::Queued,
            issued_by: by.clone(),
            expires_at: now.plus_micros(lifetime),
            attempt: 0,
            progress: None,
            result: None,
            error: None,
            code: None,
            delivery,
            forced: declared.is_none(),
            cancel: None,
            group,
            transitions: vec![Transition { state: CommandState::Queued, at: now, by, address }],
        };
        let device = info.device.clone();
        // What is answered is what was issued: the states that follow are told as they come.
        let issued = Arc::new(info.clone());
        self.touch(&device, |desk, now, steps| desk.issue(info, patience, now, steps));
        Ok(issued)
    }

    /// The time of what is issued now: two never have the same.
    fn next_issue(&mut self) -> Timestamp {
        self.issued_at = clock::now().max(self.issued_at.plus_micros(1));
        self.issued_at
    }

    /// Ids sort by time of issue: microseconds, a counter, and random bits so that no two hubs draw the same.
    fn new_id<T: FromStr<Err = NameError>>(&mut self, letter: char, now: Timestamp) -> Answer<T> {
        let internal = |e: &dyn std::fmt::Display| error(ErrorCode::Internal, format!("no new id: {e}"));
        let random = getrandom::u32().map_err(|e| internal(&e))?;
        self.order = self.order.wrapping_add(1);
        let id = format!("{letter}{:014x}-{:04x}-{random:08x}", now.micros(), self.order & 0xffff);
        id.parse().map_err(|e| internal(&e))
    }

    fn cancel(&mut self, id: &CommandId, actor: &Actor) -> Answer<Arc<CommandInfo>> {
        let cancelled = self.owners.get(id).cloned().and_then(|device| {
            self.touch(&device, |desk, now, steps| desk.cancel(id, actor, now, steps)).ok()
        });
        cancelled.ok_or_else(|| {
            error(ErrorCode::NotFound, format!("no open command {id}: it has ended or never was"))
        })
    }

    /// A device speaks of a command that has ended. It is right to repeat its answer; and should nobody know yet how it ended,
    /// this is how.
    fn hear_late(&self, late: Late) {
        if let Err(full) = self.late.try_send(late) {
            let Late { update, reply, .. } = full.into_inner();
            self.metrics.reached(Limit::LateWordsWaiting);
            let found = format!("what became of {} is not stored", update.id);
            let refusal = self.limits.refusal(Limit::LateWordsWaiting, found);
            drop(reply.send(Err(error(ErrorCode::LimitReached, refusal.to_string()))));
        }
    }

    fn update(&mut self, device: &DeviceId, update: CommandUpdate, actor: &Actor) -> Answer<Updated> {
        let id = update.id.clone();
        match self.owners.get(&id) {
            Some(owner) if owner == device => {}
            Some(_) => return Err(error(ErrorCode::NotFound, format!("no command {id} for this device"))),
            None => return Ok(Updated::Ended(update)),
        }
        match self.touch(device, |desk, now, steps| desk.update(update, actor, now, steps)) {
            Ok(()) | Err(Refused::NotOpen) => Ok(Updated::Decided),
            Err(Refused::WrongState { from, to }) => {
                Err(error(ErrorCode::WrongState, format!("{id} is {from} and cannot become {to}")))
            }
        }
    }
}

fn not_stored(id: &CommandId) -> ErrorMessage {
    error(ErrorCode::Internal, format!("what became of {id} could not be stored: say it again"))
}

/// Sees that a device takes a command. Returns its arguments with defaults filled in.
pub(crate) fn check_request(
    limits: &Limits,
    device: &DeviceInfo,
    name: &MetricName,
    args: &Map<String, Json>,
    force: bool,
) -> Answer<Map<String, Json>> {
    let args = match device.commands.iter().find(|command| command.name == *name) {
        Some(declared) => {
            check_args(declared, args).map_err(|e| error(ErrorCode::BadCommand, e.to_string()))?
        }
        None if force => args.clone(),
        None => {
            let known: Vec<&str> = device.commands.iter().map(|c| c.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let problem = format!("{} does not take {name}: it declared {known}", device.id);
            return Err(error(ErrorCode::BadCommand, problem));
        }
    };
    check_size(limits, &args)?;
    Ok(args)
}

/// How long a command may wait for its delivery, in microseconds.
pub(crate) fn lifetime(limits: &Limits, expires_in_ms: Option<u64>) -> Answer<i64> {
    let most = limits.get(Limit::CommandLifetimeSeconds).saturating_mul(1_000);
    let millis = expires_in_ms.unwrap_or(wire::COMMAND_LIFETIME_DEFAULT_MILLIS.min(most));
    if millis == 0 {
        return Err(error(ErrorCode::BadField, "expires_in_ms: 0 is no time: it must be 1 at least"));
    }
    if millis > most {
        let refusal = limits.refusal(Limit::CommandLifetimeSeconds, format!("expires_in_ms: {millis}"));
        return Err(error(ErrorCode::BadField, refusal.to_string()));
    }
    Ok(i64::try_from(millis).unwrap_or(i64::MAX / 1_000) * 1_000)
}

fn check_size(limits: &Limits, args: &Map<String, Json>) -> Answer<()> {
    let bytes = serde_json::to_string(args).map_or(usize::MAX, |text| text.len());
    if bytes > limits.count(Limit::CommandPayloadBytes) {
        let refusal = limits.refusal(Limit::CommandPayloadBytes, format!("args: {bytes} bytes of JSON"));
        return Err(error(ErrorCode::BadField, refusal.to_string()));
    }
    Ok(())
}

fn store_error(problem: &StoreError) -> ErrorMessage {
    let code = if problem.is_request() { ErrorCode::BadField } else { ErrorCode::Internal };
    error(code, problem.to_string())
}
