//! The life of commands: one task that takes them in, hands them to devices, and keeps every transition (I-14).
//!
//! Each transition is stored before anyone is told, the device included: a command is `sent` in the database before it
//! is written to the socket, so that a crash in between leaves it open, to be handed over again under the same id.
//! A device that comes back gets everything of its own that is still open, oldest first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::command::CommandState;
use protocol::declare::check_args;
use protocol::device::{CommandRequest, CommandUpdate, ErrorMessage};
use protocol::viewer::{CommandInfo, SendCommand, Transition};
use protocol::{CommandId, DeviceId, ErrorCode, Timestamp, limits};
use serde_json::{Map, Value as Json};
use store::{CommandChange, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::clock;
use crate::directory::{Directory, SessionSender, ToSession};
use crate::ingest::Ingest;

/// Requests that wait for the task. From sessions to the task; when full, sessions wait.
const QUEUE: usize = 1_024;
/// Events that a viewer may lag behind before it is told to ask for the commands anew.
const EVENTS_QUEUE: usize = 1_024;
/// How long after a change that could not be stored what is due is tried again.
const RETRY: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<Result<T, ErrorMessage>>;

enum Request {
    Issue(Box<SendCommand>, String, Reply<CommandInfo>),
    Cancel(CommandId, String, Reply<CommandInfo>),
    Update(DeviceId, Box<CommandUpdate>, Reply<()>),
    Connected(DeviceId, SessionSender),
    Disconnected(DeviceId),
}

/// The way to the task. Cheap to clone; the task ends when every one is dropped.
#[derive(Clone)]
pub struct Commands {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Arc<CommandInfo>>,
}

fn error(code: ErrorCode, message: impl Into<String>) -> ErrorMessage {
    ErrorMessage { id: None, code, message: message.into() }
}

impl Commands {
    /// Starts the task with the commands that were open when the hub last stopped.
    pub fn start(
        open: Vec<CommandInfo>,
        directory: Arc<Directory>,
        ingest: Ingest,
    ) -> (Self, impl Future<Output = ()>) {
        let (requests, queue) = mpsc::channel(QUEUE);
        let events = broadcast::channel(EVENTS_QUEUE).0;
        let open = open.into_iter().map(|command| (command.id.clone(), command)).collect();
        let task = Task { open, order: 0, directory, ingest, events: events.clone(), retry_at: None };
        (Self { requests, events }, task.run(queue))
    }

    /// Every change of a command from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<CommandInfo>> {
        self.events.subscribe()
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ErrorMessage> {
        let (reply, answer) = oneshot::channel();
        let stopping = || error(ErrorCode::Internal, "the hub is stopping");
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Takes a command in, on behalf of `by`. When this returns, it is stored.
    pub async fn issue(&self, command: SendCommand, by: String) -> Result<CommandInfo, ErrorMessage> {
        self.ask(|reply| Request::Issue(Box::new(command), by, reply)).await
    }

    /// Takes a command back, or asks the device to stop it.
    pub async fn cancel(&self, id: CommandId, by: String) -> Result<CommandInfo, ErrorMessage> {
        self.ask(|reply| Request::Cancel(id, by, reply)).await
    }

    /// A device said what became of a command. When this returns, it is stored.
    pub async fn update(&self, device: DeviceId, update: CommandUpdate) -> Result<(), ErrorMessage> {
        self.ask(|reply| Request::Update(device, Box::new(update), reply)).await
    }

    /// A device is connected and welcomed: it gets what is open.
    pub async fn connected(&self, device: DeviceId, session: SessionSender) {
        drop(self.requests.send(Request::Connected(device, session)).await);
    }

    /// A device's present session has ended.
    pub async fn disconnected(&self, device: DeviceId) {
        drop(self.requests.send(Request::Disconnected(device)).await);
    }
}

struct Task {
    open: HashMap<CommandId, CommandInfo>,
    order: u32,
    directory: Arc<Directory>,
    ingest: Ingest,
    events: broadcast::Sender<Arc<CommandInfo>>,
    /// A change was not stored: what is due is tried again then, and not before.
    retry_at: Option<Instant>,
}

fn issued_at(command: &CommandInfo) -> Timestamp {
    command.transitions.first().map_or(Timestamp(0), |t| t.at)
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        self.after_restart().await;
        loop {
            let next = self.next_expiry();
            let wait = match next {
                Some(at) => Duration::from_micros(at.micros_since(clock::now()).max(0) as u64),
                None => Duration::from_secs(3_600),
            };
            // At most a minute: the wait must not outlive a jump of the clock by more.
            let wait = match self.retry_at {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None => wait.min(Duration::from_secs(60)),
            };
            match tokio::time::timeout(wait, queue.recv()).await {
                Ok(Some(request)) => self.serve(request).await,
                Ok(None) => return,
                Err(_) => {
                    let again = self.retry_at.take().is_some();
                    self.expire().await;
                    if again {
                        self.deliver_queued().await;
                    }
                }
            }
        }
    }

    /// What was sent before the hub stopped may have arrived or not.
    async fn after_restart(&mut self) {
        let sent: Vec<CommandId> =
            self.open.values().filter(|c| c.state == CommandState::Sent).map(|c| c.id.clone()).collect();
        for id in sent {
            self.change(&id, Some(CommandState::Unknown), "hub", |_| {}).await;
        }
        self.expire().await;
    }

    fn next_expiry(&self) -> Option<Timestamp> {
        self.open.values().filter(|c| c.state == CommandState::Queued).map(|c| c.expires_at).min()
    }

    async fn expire(&mut self) {
        let now = clock::now();
        let expired: Vec<CommandId> = self
            .open
            .values()
            .filter(|c| c.state == CommandState::Queued && c.expires_at <= now)
            .map(|c| c.id.clone())
            .collect();
        for id in expired {
            let stored = self
                .change(&id, Some(CommandState::Expired), "hub", |change| {
                    change.error = Some("its time ran out before the device was there".into());
                })
                .await;
            if stored.is_none() {
                return;
            }
        }
    }

    /// Hands over what waits although its device is here, because it could not be stored before.
    async fn deliver_queued(&mut self) {
        let queued = |command: &CommandInfo| command.state == CommandState::Queued;
        let mut devices: Vec<DeviceId> =
            self.open.values().filter(|c| queued(c)).map(|c| c.device.clone()).collect();
        devices.sort();
        devices.dedup();
        for device in devices {
            let Some(session) = self.directory.session(&device) else { continue };
            for id in self.of_device(&device) {
                if self.retry_at.is_some() {
                    return;
                }
                if self.open.get(&id).is_some_and(queued) {
                    self.hand_over(&id, &session).await;
                }
            }
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Issue(command, by, reply) => {
                let answer = self.issue(*command, by).await;
                let deliver = answer.as_ref().ok().map(|c| (c.id.clone(), c.device.clone()));
                drop(reply.send(answer));
                if let Some((id, device)) = deliver
                    && let Some(session) = self.directory.session(&device)
                {
                    self.hand_over(&id, &session).await;
                }
            }
            Request::Cancel(id, by, reply) => drop(reply.send(self.cancel(&id, by).await)),
            Request::Update(device, update, reply) => drop(reply.send(self.update(&device, *update).await)),
            Request::Connected(device, session) => {
                self.expire().await;
                for id in self.of_device(&device) {
                    self.hand_over(&id, &session).await;
                }
            }
            Request::Disconnected(device) => {
                for id in self.of_device(&device) {
                    if self.open.get(&id).is_some_and(|c| c.state == CommandState::Sent) {
                        self.change(&id, Some(CommandState::Unknown), "hub", |_| {}).await;
                    }
                }
            }
        }
    }

    /// The open commands of a device in the order of their issue.
    fn of_device(&self, device: &DeviceId) -> Vec<CommandId> {
        let mut commands: Vec<&CommandInfo> = self.open.values().filter(|c| c.device == *device).collect();
        commands.sort_by(|a, b| (issued_at(a), &a.id).cmp(&(issued_at(b), &b.id)));
        commands.into_iter().map(|c| c.id.clone()).collect()
    }

    async fn issue(&mut self, request: SendCommand, by: String) -> Result<CommandInfo, ErrorMessage> {
        let device = self
            .directory
            .device(&request.device)
            .ok_or_else(|| error(ErrorCode::NotFound, format!("no device {}", request.device)))?;
        let Some(declared) = device.commands.iter().find(|c| c.name == request.name) else {
            let known: Vec<&str> = device.commands.iter().map(|c| c.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(error(
                ErrorCode::BadCommand,
                format!("{} does not take {}: it declared {known}", request.device, request.name),
            ));
        };
        let args: Map<String, Json> =
            check_args(declared, &request.args).map_err(|e| error(ErrorCode::BadCommand, e.to_string()))?;
        let lifetime = request.expires_in_ms.unwrap_or(limits::COMMAND_LIFETIME_DEFAULT_MILLIS);
        if lifetime == 0 || lifetime > limits::COMMAND_LIFETIME_MAX_MILLIS {
            return Err(error(
                ErrorCode::BadField,
                format!("expires_in_ms: {lifetime} is outside 1 to {}", limits::COMMAND_LIFETIME_MAX_MILLIS),
            ));
        }
        if self.open.values().filter(|c| c.device == request.device).count()
            >= limits::COMMANDS_OPEN_PER_DEVICE_MAX
        {
            return Err(error(
                ErrorCode::LimitReached,
                format!(
                    "{} has {} commands that have not ended: cancel some, or wait",
                    request.device,
                    limits::COMMANDS_OPEN_PER_DEVICE_MAX
                ),
            ));
        }
        let now = clock::now();
        let command = CommandInfo {
            id: self.new_id(now)?,
            device: request.device,
            name: request.name,
            args,
            state: CommandState::Queued,
            issued_by: by.clone(),
            expires_at: now.plus_micros(lifetime as i64 * 1_000),
            attempt: 0,
            progress: None,
            result: None,
            error: None,
            transitions: vec![Transition { state: CommandState::Queued, at: now, by }],
        };
        self.ingest.create_command(command.clone()).await.map_err(|e| store_error(&e))?;
        self.open.insert(command.id.clone(), command.clone());
        self.tell(&command);
        Ok(command)
    }

    /// Ids sort by time of issue: microseconds, a counter, and random bits so that no two hubs draw the same.
    fn new_id(&mut self, now: Timestamp) -> Result<CommandId, ErrorMessage> {
        let internal =
            |e: &dyn std::fmt::Display| error(ErrorCode::Internal, format!("no new command id: {e}"));
        let random = getrandom::u32().map_err(|e| internal(&e))?;
        self.order = self.order.wrapping_add(1);
        CommandId::new(&format!("c{:014x}-{:04x}-{random:08x}", now.micros(), self.order & 0xffff))
            .map_err(|e| internal(&e))
    }

    async fn hand_over(&mut self, id: &CommandId, session: &SessionSender) {
        let Some(command) = self.open.get(id) else { return };
        let attempt = command.attempt.saturating_add(1);
        let state = (command.state == CommandState::Queued).then_some(CommandState::Sent);
        let Some(command) = self.change(id, state, "hub", |change| change.attempt = Some(attempt)).await
        else {
            return;
        };
        let request = CommandRequest {
            id: command.id,
            name: command.name,
            args: command.args,
            attempt,
            expires_at: command.expires_at,
        };
        if session.try_send(ToSession::Command(Box::new(request))).is_err() {
            tracing::warn!(command = %id, device = %command.device, "the device's session takes no more commands");
            if state.is_some() {
                self.change(id, Some(CommandState::Unknown), "hub", |_| {}).await;
            }
        }
    }

    async fn cancel(&mut self, id: &CommandId, by: String) -> Result<CommandInfo, ErrorMessage> {
        let Some(command) = self.open.get(id) else {
            return Err(error(
                ErrorCode::NotFound,
                format!("no open command {id}: it has ended or never was"),
            ));
        };
        if command.state == CommandState::Queued {
            return match self.change(id, Some(CommandState::Cancelled), &by, |_| {}).await {
                Some(command) => Ok(command),
                None => Err(error(ErrorCode::Internal, "the cancellation could not be stored")),
            };
        }
        let command = command.clone();
        let sent = self
            .directory
            .session(&command.device)
            .is_some_and(|session| session.try_send(ToSession::Cancel(id.clone())).is_ok());
        if sent {
            return Ok(command);
        }
        Err(error(
            ErrorCode::WrongState,
            format!(
                "{id} is {} and {} is not connected: it cannot be asked to stop",
                command.state, command.device
            ),
        ))
    }

    async fn update(&mut self, device: &DeviceId, update: CommandUpdate) -> Result<(), ErrorMessage> {
        let Some(command) = self.open.get(&update.id) else {
            // It has ended: a device that repeats its answer is right to do so.
            return Ok(());
        };
        if command.device != *device {
            return Err(error(ErrorCode::NotFound, format!("no command {} for this device", update.id)));
        }
        let next = CommandState::from(update.state);
        let state = (command.state != next).then_some(next);
        if let Some(next) = state
            && !command.state.may_become(next)
        {
            return Err(error(
                ErrorCode::WrongState,
                format!("{} is {} and cannot become {next}", update.id, command.state),
            ));
        }
        let by = device.as_str().to_owned();
        let CommandUpdate { id, progress, result, error: problem, .. } = update;
        let stored = self
            .change(&id, state, &by, |change| {
                change.progress = progress;
                change.result = result;
                change.error = problem;
            })
            .await;
        match stored {
            Some(_) => Ok(()),
            None => Err(error(
                ErrorCode::Internal,
                format!("what became of {id} could not be stored: say it again"),
            )),
        }
    }

    /// Stores a change, then tells viewers. `None`: it could not be stored, and nobody was told.
    async fn change(
        &mut self,
        id: &CommandId,
        state: Option<CommandState>,
        by: &str,
        with: impl FnOnce(&mut CommandChange),
    ) -> Option<CommandInfo> {
        let mut change = CommandChange {
            id: id.clone(),
            state,
            at: clock::now(),
            by: by.to_owned(),
            attempt: None,
            progress: None,
            result: None,
            error: None,
        };
        with(&mut change);
        match self.ingest.update_command(change).await {
            Ok(command) => {
                if command.state.is_final() {
                    self.open.remove(id);
                } else {
                    self.open.insert(id.clone(), command.clone());
                }
                self.tell(&command);
                Some(command)
            }
            Err(error) => {
                tracing::error!(command = %id, %error, "a change of a command is not stored");
                self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
                None
            }
        }
    }

    fn tell(&self, command: &CommandInfo) {
        // No viewer is connected: nobody to tell.
        drop(self.events.send(Arc::new(command.clone())));
    }
}

fn store_error(problem: &StoreError) -> ErrorMessage {
    let code = if problem.is_request() { ErrorCode::BadField } else { ErrorCode::Internal };
    error(code, problem.to_string())
}
