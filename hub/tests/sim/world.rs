//! One seed: what happens when, and what must be so all the while.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use client::device::Fault;
use protocol::command::CommandState;
use protocol::{CommandId, DeviceId, SeriesId, Timestamp, Value, local};
use store::{CommandFilter, Reader};

use crate::TICK;
use crate::chance::Chance;
use crate::device::{Device, Pace, time};
use crate::host::{Host, runtime};
use crate::network::Network;
use crate::viewer::Viewer;

const DEVICES: usize = 4;
const VIEWERS: usize = 2;
/// Things go wrong for so long.
const STORMY: Duration = Duration::from_secs(20);
/// Then nothing stands still for longer than this until everything is drained. Chosen: the longest heartbeats, deadlines and
/// waits that follow each other.
const STILL: Duration = Duration::from_secs(60);
/// And it is drained within this; some lines are slow.
const DRAINED: Duration = Duration::from_secs(600);
/// An orderly stop takes at most this.
const STOPPED: Duration = Duration::from_secs(10);

/// What happened, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    pub(crate) cuts: u64,
    pub(crate) stalls: u64,
    pub(crate) readings: u64,
    pub(crate) omitted: u64,
    pub(crate) resumed: u64,
    pub(crate) resent: u64,
    pub(crate) executed: u64,
    pub(crate) commits: u64,
    seconds: u64,
}

impl Story {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.stops += other.stops;
        self.cuts += other.cuts;
        self.stalls += other.stalls;
        self.readings += other.readings;
        self.omitted += other.omitted;
        self.resumed += other.resumed;
        self.resent += other.resent;
        self.executed += other.executed;
        self.commits += other.commits;
        self.seconds += other.seconds;
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s of their time, {} kills, {} stops, {} cuts, {} stalls; {} readings in {} commits, {} batches sent again, {} left out for viewers, {} subscriptions resumed, {} commands done",
            self.seconds,
            self.kills,
            self.stops,
            self.cuts,
            self.stalls,
            self.readings,
            self.commits,
            self.resent,
            self.omitted,
            self.resumed,
            self.executed
        )
    }
}

/// What can go wrong.
#[derive(Debug)]
enum Trouble {
    Kill { down: u64 },
    Stop { down: u64 },
    Cut { host: usize, time: u64 },
    Stall { host: usize, time: u64 },
    SlowDisk { time: u64 },
    Play { device: usize, fault: Fault },
    StuckViewer { viewer: usize, time: u64 },
    Command { device: usize },
}

fn plan(chance: &mut Chance) -> Vec<(u64, Trouble)> {
    let mut plan = Vec::new();
    for _ in 0..chance.between(8, 24) {
        let host = chance.between(0, (DEVICES + VIEWERS - 1) as u64) as usize;
        let device = chance.between(0, DEVICES as u64 - 1) as usize;
        let viewer = chance.between(0, VIEWERS as u64 - 1) as usize;
        let trouble = match chance.between(0, 15) {
            0 | 1 => Trouble::Kill { down: chance.between(0, 3_000) },
            2 => Trouble::Stop { down: chance.between(0, 3_000) },
            3 | 4 => Trouble::Cut { host, time: chance.between(0, 6_000) },
            5 | 6 => Trouble::Stall { host, time: chance.between(100, 14_000) },
            7 => Trouble::SlowDisk { time: chance.between(100, 4_000) },
            8 => Trouble::Play { device, fault: Fault::Duplicate(chance.between(1, 20) as u32) },
            9 => Trouble::Play { device, fault: Fault::Disconnect },
            10 => {
                let time = Duration::from_millis(chance.between(100, 9_000));
                Trouble::Play { device, fault: Fault::Silence(time) }
            }
            11 => Trouble::StuckViewer { viewer, time: chance.between(500, 20_000) },
            _ => Trouble::Command { device },
        };
        plan.push((chance.between(0, STORMY.as_millis() as u64), trouble));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

struct World {
    seed: u64,
    aloud: bool,
    now: Duration,
    clients: tokio::runtime::Runtime,
    network: Network,
    host: Host,
    devices: Vec<Device>,
    viewers: Vec<Viewer>,
    disk: Chance,
    /// The disk is busy until then.
    disk_until: Duration,
    slow_until: Duration,
    /// The hub starts again then.
    start_at: Option<Duration>,
    /// The hub is to have stopped by then, and then stays down for this.
    stopping: Option<(Duration, Duration)>,
    story: Story,
}

/// Lives through a seed. Fails where something is not as it must be.
pub(crate) fn run(seed: u64, aloud: bool) -> Story {
    let clients = runtime();
    let mut host = Host::new();
    host.start();
    let (fleet, operator) = (host.token(local::FLEET_TOKEN_FILE), host.token(local::OPERATOR_TOKEN_FILE));
    let mut chance = Chance::new(seed, 0);
    let mut plan = plan(&mut chance);
    let busy = chance.between(0, 2 * DEVICES as u64) as usize;
    let flood = chance.one_in(25);
    let pace = |n| match (n == busy, n == 0 && flood) {
        (_, true) => Pace::Flood,
        (true, false) => Pace::Busy,
        (false, false) => Pace::Calm,
    };
    let (network, devices, viewers) = clients.block_on(async {
        let network = Network::new(seed, DEVICES + VIEWERS);
        network.hub_listens(true);
        let viewers: Vec<_> =
            (0..VIEWERS).map(|n| Viewer::start(seed, DEVICES + n, &network, &operator)).collect();
        let devices: Vec<_> =
            (0..DEVICES).map(|n| Device::start(seed, n, &network, &fleet, pace(n))).collect();
        (network, devices, viewers)
    });
    let mut world = World {
        seed,
        aloud,
        now: Duration::ZERO,
        clients,
        network,
        host,
        devices,
        viewers,
        disk: Chance::new(seed, 1),
        disk_until: Duration::ZERO,
        slow_until: Duration::ZERO,
        start_at: None,
        stopping: None,
        story: Story::default(),
    };
    if flood {
        plan.insert(0, (500, Trouble::StuckViewer { viewer: VIEWERS - 1, time: 15_000 }));
    }
    for (at, trouble) in plan {
        while world.now < Duration::from_millis(at) {
            world.tick();
        }
        world.make(trouble);
    }
    while world.now < STORMY {
        world.tick();
    }
    world.heal();
    world.story
}

impl World {
    fn say(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{:>8} ms  {}", self.now.as_millis(), what());
        }
    }

    /// Both sides have a turn.
    fn tick(&mut self) {
        if self.start_at.is_some_and(|at| at <= self.now) {
            self.start_at = None;
            self.say(|| "the hub starts".into());
            self.host.start();
            self.network.hub_listens(true);
        }
        let disk = self.disk_until <= self.now;
        if self.host.tick(&self.network, disk) {
            self.story.commits += 1;
            let most = if self.slow_until > self.now { 800 } else { 20 };
            self.disk_until = self.now + Duration::from_millis(self.disk.between(0, most));
        }
        if let Some((by, down)) = self.stopping {
            if self.host.has_stopped() {
                self.stopping = None;
                self.gone(down);
            } else {
                assert!(self.now < by, "seed {}: an orderly stop takes too long (I-15)", self.seed);
            }
        }
        self.clients.block_on(async { tokio::time::sleep(TICK).await });
        self.now += TICK;
    }

    /// The hub goes now. What it had in memory is lost; then it is compared what it has told with what it has.
    fn gone(&mut self, down: Duration) {
        self.network.hub_listens(false);
        self.host.kill();
        self.start_at = Some(self.now + down);
        self.compare();
    }

    fn make(&mut self, trouble: Trouble) {
        self.say(|| format!("{trouble:?}"));
        let millis = Duration::from_millis;
        let up = self.host.is_up() && self.stopping.is_none();
        match trouble {
            Trouble::Kill { down } if self.host.is_up() => {
                self.story.kills += 1;
                self.stopping = None;
                self.gone(millis(down));
            }
            Trouble::Stop { down } if up => {
                self.story.stops += 1;
                self.host.stop();
                self.stopping = Some((self.now + STOPPED, millis(down)));
            }
            Trouble::Kill { .. } | Trouble::Stop { .. } => {}
            Trouble::Cut { host, time } => {
                self.story.cuts += 1;
                self.clients.block_on(async { self.network.cut(host, millis(time)) });
            }
            Trouble::Stall { host, time } => {
                self.story.stalls += 1;
                self.clients.block_on(async { self.network.stall(host, millis(time)) });
            }
            Trouble::SlowDisk { time } => self.slow_until = self.now + millis(time),
            Trouble::Play { device, fault } => {
                self.clients.block_on(async { self.devices[device].play(fault) });
            }
            Trouble::StuckViewer { viewer, time } => {
                self.clients.block_on(async { self.viewers[viewer].stuck(millis(time)) });
            }
            Trouble::Command { device } => {
                let name = self.devices[device].name.clone();
                self.viewers[0].send(&name);
            }
        }
    }

    /// Compares what was told with what is on disk, while no hub runs or one that has nothing to do.
    fn compare(&self) -> Stored {
        let stored = self.host.read(Stored::read);
        for device in &self.devices {
            let id: DeviceId = device.name.parse().unwrap();
            let has = stored.of(&id);
            let (acked, made) = (device.acked(), device.made());
            self.say(|| format!("{id}: {acked} acknowledged, {has} stored, {made} made"));
            assert!(
                acked <= has,
                "seed {}: I-1: {id}: {acked} were acknowledged, {has} are stored",
                self.seed
            );
            assert!(has <= made, "seed {}: I-2: {id}: {made} were made, {has} are stored", self.seed);
        }
        for (n, viewer) in self.viewers.iter().enumerate() {
            let told = viewer.told.lock().unwrap();
            assert!(told.problems.is_empty(), "seed {}: viewer {n}: {:?}", self.seed, told.problems);
            for (series, readings) in &told.readings {
                let has = stored.series.get(series).copied().unwrap_or_default();
                let last = readings.last_key_value().map_or(0, |(number, _)| *number);
                assert!(
                    last <= has,
                    "seed {}: I-3: viewer {n} was told of {last} of {series:?}, {has} are stored",
                    self.seed
                );
            }
        }
        stored
    }

    /// Nothing goes wrong any more: all that was measured arrives, all that is stored is told, every command ends.
    fn heal(&mut self) {
        self.say(|| "everything heals".into());
        self.clients.block_on(async { self.network.heal() });
        self.slow_until = self.now;
        for device in &self.devices {
            device.shared.lock().unwrap().quiet = true;
        }
        self.clients.block_on(async { self.viewers.iter().for_each(|viewer| viewer.stuck(Duration::ZERO)) });
        let end = self.now + DRAINED;
        let mut moved = (self.moved(), self.now);
        loop {
            // Asking the database costs more than some turns.
            for _ in 0..50 {
                self.tick();
            }
            let drained = self.devices.iter().all(Device::is_drained) && self.host.is_up();
            let missing = if drained { self.missing() } else { Some("the devices have not drained".into()) };
            match missing {
                None => break,
                Some(missing) => {
                    let now = self.moved();
                    if now != moved.0 {
                        moved = (now, self.now);
                    }
                    let goes_on = self.now < end && self.now < moved.1 + STILL;
                    assert!(goes_on, "seed {}: {missing}: {:?}", self.seed, self.state());
                }
            }
        }
        let stored = self.compare();
        for device in &self.devices {
            let id: DeviceId = device.name.parse().unwrap();
            assert_eq!(stored.of(&id), device.made(), "seed {}: {id}", self.seed);
            self.story.resent += device.handle.status().counts.batches_resent;
            let counts = device.handle.status().counts;
            assert_eq!((counts.refused, counts.lost), (0, 0), "seed {}: {id}", self.seed);
        }
        for viewer in &self.viewers {
            let told = viewer.told.lock().unwrap();
            self.story.omitted += told.omitted;
            self.story.resumed += u64::from(told.resumed);
        }
        self.story.readings = stored.series.values().sum();
        self.commands();
        self.story.seconds = self.now.as_secs();
        self.say(|| self.story.to_string());
    }

    /// What grows while it drains.
    fn moved(&self) -> u64 {
        let acked: u64 = self.devices.iter().map(Device::acked).sum();
        let told = self.viewers.iter().map(|viewer| viewer.told.lock().unwrap().position.0 as u64);
        acked + told.sum::<u64>()
    }

    /// How it stands, for a failure.
    fn state(&self) -> Vec<String> {
        let devices =
            self.devices.iter().map(|device| format!("{}: {:?}", device.name, device.handle.status()));
        let viewers = self.viewers.iter().enumerate().map(|(n, viewer)| {
            let told = viewer.told.lock().unwrap();
            format!(
                "viewer {n}: {} told, {} left out, from {:?} to {:?}: {:?} {:?}",
                told.new,
                told.omitted,
                told.from,
                told.position,
                told.problems.first(),
                told.log
            )
        });
        devices.chain(viewers).collect()
    }

    /// What has not arrived yet, while all devices have drained.
    fn missing(&self) -> Option<String> {
        let (total, open) = self.host.read(|reader| {
            let stats = reader.stats().unwrap();
            (stats.readings, open(reader))
        });
        for (n, viewer) in self.viewers.iter().enumerate() {
            let told = viewer.told.lock().unwrap();
            let Some(from) = told.from else { return Some(format!("viewer {n} has no subscription")) };
            let expected = total.saturating_sub(from.0 as u64);
            // I-4: every reading since then, or a notice that it was left out.
            if told.new + told.omitted != expected {
                return Some(format!(
                    "I-4: viewer {n}: {} told and {} left out of {expected}",
                    told.new, told.omitted
                ));
            }
        }
        (open > 0).then(|| format!("{open} commands have not ended"))
    }

    /// Each was done at most once, and its end says what is so.
    fn commands(&mut self) {
        let mut done: BTreeMap<CommandId, u32> = BTreeMap::new();
        for device in &self.devices {
            done.extend(device.shared.lock().unwrap().done.clone());
        }
        let all = self.host.read(|reader| reader.commands(&CommandFilter::default(), 1_000).unwrap());
        for command in all {
            let times = done.remove(&command.id).unwrap_or_default();
            assert!(times <= 1, "seed {}: {} was done {times} times", self.seed, command.id);
            let (seed, id, state) = (self.seed, &command.id, command.state);
            match state {
                CommandState::Succeeded => assert_eq!(times, 1, "seed {seed}: {id} was not done"),
                CommandState::Expired | CommandState::Cancelled | CommandState::Rejected => {
                    assert_eq!(times, 0, "seed {seed}: {id} was done and is {state:?}");
                }
                other => assert_eq!(other, CommandState::Unresolved, "seed {seed}: {id}"),
            }
            self.story.executed += u64::from(times);
        }
        assert!(done.is_empty(), "seed {}: done and not known: {done:?}", self.seed);
    }
}

fn open(reader: &Reader) -> usize {
    let all = reader.commands(&CommandFilter::default(), 1_000).unwrap();
    all.iter().filter(|command| !command.state.is_final()).count()
}

/// What is in the database: how many readings each series has.
struct Stored {
    devices: BTreeMap<DeviceId, SeriesId>,
    series: BTreeMap<SeriesId, u64>,
}

impl Stored {
    /// Reads all of it. Of each device there must be the first readings, each once, as they were made (I-2).
    fn read(reader: &Reader) -> Self {
        let mut stored = Self { devices: BTreeMap::new(), series: BTreeMap::new() };
        for device in reader.devices().unwrap() {
            let series = device.info.metrics[0].series;
            let raw = reader.raw(series, Timestamp(0), Timestamp::END_READING, usize::MAX).unwrap();
            for (n, (at, value)) in raw.points.iter().enumerate() {
                let number = n as u64 + 1;
                assert_eq!((*at, value), (time(number), &Value::Number(number as f64)), "{}", device.info.id);
            }
            stored.series.insert(series, raw.points.len() as u64);
            stored.devices.insert(device.info.id, series);
        }
        let stats = reader.stats().unwrap();
        let all: u64 = stored.series.values().sum();
        assert_eq!((stats.readings, stats.conflicts), (all, 0), "I-2: none is stored twice");
        stored
    }

    fn of(&self, device: &DeviceId) -> u64 {
        self.devices.get(device).and_then(|series| self.series.get(series)).copied().unwrap_or_default()
    }
}
