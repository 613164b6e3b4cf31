//! Which faults are played, and when: rates and schedules from flags, drawn from the seed.

use std::time::Duration;

use serde::Serialize;

use crate::parts::Random;

/// An outage: every device is offline from `at` for `length`, counted from the start of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it begins.
    pub at: Duration,
    /// How long it takes.
    pub length: Duration,
}

/// What is played with a command. All but `reject` take some time, and tell their progress until something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandFault {
    /// Takes its time, and succeeds.
    Slow,
    /// Goes wrong on the way, with a code and a text.
    Fail,
    /// Is not tried, with a code and a text.
    Reject,
    /// The connection breaks on the way.
    Disconnect,
    /// The device loses its power on the way, and comes back with what its memory has.
    PowerCut,
    /// The connection is gone from its beginning until long after its end.
    Late,
    /// The device is connected and says its end long after it.
    Overdue,
    /// Its end is said twice.
    Twice,
    /// It is done, and nothing is said of it.
    Mute,
}

impl CommandFault {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Slow,
        Self::Fail,
        Self::Reject,
        Self::Disconnect,
        Self::PowerCut,
        Self::Late,
        Self::Overdue,
        Self::Twice,
        Self::Mute,
    ];

    /// As on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Fail => "fail",
            Self::Reject => "reject",
            Self::Disconnect => "disconnect",
            Self::PowerCut => "power-cut",
            Self::Late => "late",
            Self::Overdue => "overdue",
            Self::Twice => "twice",
            Self::Mute => "mute",
        }
    }

    /// Reads what [`CommandFault::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == text)
    }
}

/// The faults that are wanted. Rates are per device and minute.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan {
    /// Connections that break.
    pub disconnects: f64,
    /// Devices that fall silent and keep their connection.
    pub silences: f64,
    /// How long a silence takes.
    pub silence: Duration,
    /// Reboots that forget the outbox and draw a new epoch.
    pub reboots: f64,
    /// Share of batches written twice, 0 to 1.
    pub duplicates: f64,
    /// Largest error of a device's clock, either way.
    pub clock_skew: Duration,
    /// Outages of the whole fleet.
    pub outages: Vec<Outage>,
    /// What is played with commands, and with which share of them, 0 to 1; with the others nothing is.
    pub commands: Vec<(CommandFault, f64)>,
    /// The longest that a command takes with which something is played.
    pub command_time: Duration,
    /// How long after the end of a command it is said, where it is said late.
    pub late: Duration,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            disconnects: 0.0,
            silences: 0.0,
            silence: Duration::from_secs(40),
            reboots: 0.0,
            duplicates: 0.0,
            clock_skew: Duration::ZERO,
            outages: Vec::new(),
            commands: Vec::new(),
            command_time: Duration::from_secs(2),
            late: Duration::from_secs(15),
        }
    }
}

/// With how many commands each was played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CommandFaultCounts {
    /// Slow ones.
    pub slow: u64,
    /// Such as go wrong.
    pub fail: u64,
    /// Such as are not tried.
    pub reject: u64,
    /// Connections that break on the way.
    pub disconnect: u64,
    /// Losses of power on the way.
    pub power_cut: u64,
    /// Such as end while the connection is gone.
    pub late: u64,
    /// Ends that are said long after.
    pub overdue: u64,
    /// Ends that are said twice.
    pub twice: u64,
    /// Such of which nothing is said.
    pub mute: u64,
}

impl CommandFaultCounts {
    /// The number of one.
    pub const fn of(&mut self, fault: CommandFault) -> &mut u64 {
        match fault {
            CommandFault::Slow => &mut self.slow,
            CommandFault::Fail => &mut self.fail,
            CommandFault::Reject => &mut self.reject,
            CommandFault::Disconnect => &mut self.disconnect,
            CommandFault::PowerCut => &mut self.power_cut,
            CommandFault::Late => &mut self.late,
            CommandFault::Overdue => &mut self.overdue,
            CommandFault::Twice => &mut self.twice,
            CommandFault::Mute => &mut self.mute,
        }
    }
}

/// How many of each were played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// Connections broken.
    pub disconnects: u64,
    /// Silences.
    pub silences: u64,
    /// Reboots.
    pub reboots: u64,
    /// Batches written twice.
    pub duplicates: u64,
    /// Outages, one for each device and each time.
    pub outages: u64,
    /// Devices whose clock is wrong.
    pub skewed_clocks: u64,
    /// Commands with which something was played.
    pub commands: CommandFaultCounts,
}

impl FaultCounts {
    /// Adds those of another device.
    pub fn add(&mut self, other: &Self) {
        self.disconnects += other.disconnects;
        self.silences += other.silences;
        self.reboots += other.reboots;
        self.duplicates += other.duplicates;
        self.outages += other.outages;
        self.skewed_clocks += other.skewed_clocks;
        let mut played = other.commands;
        for fault in CommandFault::ALL {
            *self.commands.of(fault) += *played.of(fault);
        }
    }
}

/// A fault that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Break the connection.
    Disconnect,
    /// Fall silent.
    Silence(Duration),
    /// Reboot.
    Reboot,
    /// Stay offline.
    Outage(Duration),
}

/// When the faults of one device are due, in time since the start of the fleet.
#[derive(Debug)]
pub struct Schedule {
    random: Random,
    /// Draws for commands, so that those leave the other faults as they are.
    commands: Random,
    plan: FaultPlan,
    disconnect_at: Option<Duration>,
    silence_at: Option<Duration>,
    reboot_at: Option<Duration>,
    /// Outages still to come, the next one last.
    outages: Vec<Outage>,
}

impl Schedule {
    /// Draws the first of each.
    pub fn new(plan: &FaultPlan, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let commands = Random::new(seed.rotate_left(32));
        let mut outages = plan.outages.clone();
        outages.sort_by_key(|outage| std::cmp::Reverse(outage.at));
        Self {
            disconnect_at: after(Duration::ZERO, plan.disconnects, &mut random),
            silence_at: after(Duration::ZERO, plan.silences, &mut random),
            reboot_at: after(Duration::ZERO, plan.reboots, &mut random),
            outages,
            plan: plan.clone(),
            commands,
            random,
        }
    }

    /// The next fault that is due at `now`, if there is one.
    pub fn poll(&mut self, now: Duration) -> Option<Due> {
        if let Some(outage) = self.outages.pop_if(|outage| outage.at <= now) {
            return Some(Due::Outage((outage.at + outage.length).saturating_sub(now)));
        }
        if self.reboot_at.is_some_and(|at| at <= now) {
            self.reboot_at = after(now, self.plan.reboots, &mut self.random);
            return Some(Due::Reboot);
        }
        if self.silence_at.is_some_and(|at| at <= now) {
            self.silence_at = after(now + self.plan.silence, self.plan.silences, &mut self.random);
            return Some(Due::Silence(self.plan.silence));
        }
        if self.disconnect_at.is_some_and(|at| at <= now) {
            self.disconnect_at = after(now, self.plan.disconnects, &mut self.random);
            return Some(Due::Disconnect);
        }
        None
    }

    /// When the next fault is due, counted as for [`Schedule::poll`]; `None` if none ever is.
    pub fn next(&self) -> Option<Duration> {
        let outage = self.outages.last().map(|outage| outage.at);
        [outage, self.reboot_at, self.silence_at, self.disconnect_at].into_iter().flatten().min()
    }

    /// What is played with the next command, and how long that takes.
    pub fn command(&mut self) -> Option<(CommandFault, Duration)> {
        if self.plan.commands.is_empty() {
            return None;
        }
        let (mut chance, share) = (self.commands.unit(), self.commands.between(0.3, 1.0));
        for (fault, of_all) in &self.plan.commands {
            if chance < *of_all {
                return Some((*fault, self.plan.command_time.mul_f64(share)));
            }
            chance -= of_all;
        }
        None
    }

    /// How long after its end a command is said to have ended, where that is late.
    pub const fn late(&self) -> Duration {
        self.plan.late
    }

    /// Whether the next batch is written twice.
    pub fn duplicate(&mut self) -> bool {
        self.plan.duplicates > 0.0 && self.random.unit() < self.plan.duplicates
    }

    /// The error of this device's clock, in microseconds.
    pub fn clock_error(&mut self) -> i64 {
        let most = self.plan.clock_skew.as_micros() as f64;
        self.random.between(-most, most) as i64
    }
}

/// When a fault of this rate happens next after `now`.
fn after(now: Duration, per_minute: f64, random: &mut Random) -> Option<Duration> {
    (per_minute > 0.0).then(|| {
        let wait = -(1.0 - random.unit()).ln() * 60.0 / per_minute;
        now + Duration::from_secs_f64(wait.min(1e9))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(plan: &FaultPlan, seed: u64) -> Vec<Due> {
        let mut schedule = Schedule::new(plan, seed);
        let mut due = Vec::new();
        for second in 0..3_600 {
            while let Some(fault) = schedule.poll(Duration::from_secs(second)) {
                due.push(fault);
            }
            assert!(schedule.next().is_none_or(|next| next > Duration::from_secs(second)));
        }
        due
    }

    #[test]
    fn rates_are_kept_and_a_seed_repeats_them() {
        let plan = FaultPlan { disconnects: 6.0, reboots: 1.0, ..FaultPlan::default() };
        let due = count(&plan, 3);
        let disconnects = due.iter().filter(|due| **due == Due::Disconnect).count();
        let reboots = due.iter().filter(|due| **due == Due::Reboot).count();
        assert!((300..420).contains(&disconnects), "{disconnects} in an hour at 6 a minute");
        assert!((35..90).contains(&reboots), "{reboots} in an hour at 1 a minute");
        assert_eq!(due, count(&plan, 3));
        assert_ne!(due, count(&plan, 4));
        assert_eq!(count(&FaultPlan::default(), 3), []);
    }

    #[test]
    fn commands_get_their_shares_and_a_seed_repeats_them() {
        let plan = FaultPlan {
            commands: vec![(CommandFault::Fail, 0.2), (CommandFault::Late, 0.5)],
            ..FaultPlan::default()
        };
        let draw = |seed| {
            let mut schedule = Schedule::new(&plan, seed);
            (0..1_000).map(|_| schedule.command()).collect::<Vec<_>>()
        };
        let drawn = draw(3);
        let count = |wanted| drawn.iter().filter(|played| played.map(|p| p.0) == wanted).count();
        assert!((150..250).contains(&count(Some(CommandFault::Fail))));
        assert!((430..570).contains(&count(Some(CommandFault::Late))));
        assert!((230..370).contains(&count(None)));
        assert!(drawn.iter().flatten().all(|(_, time)| *time <= plan.command_time && !time.is_zero()));
        assert_eq!(drawn, draw(3));
        assert_ne!(drawn, draw(4));
        for fault in CommandFault::ALL {
            assert_eq!(CommandFault::parse(fault.as_str()), Some(fault));
        }
    }

    #[test]
    fn outages_come_in_order_and_end_when_they_should() {
        let outage = |at, length| Outage { at: Duration::from_secs(at), length: Duration::from_secs(length) };
        let plan = FaultPlan { outages: vec![outage(50, 5), outage(10, 20)], ..FaultPlan::default() };
        let mut schedule = Schedule::new(&plan, 0);
        assert_eq!(schedule.poll(Duration::from_secs(9)), None);
        assert_eq!(schedule.poll(Duration::from_secs(12)), Some(Due::Outage(Duration::from_secs(18))));
        assert_eq!(schedule.poll(Duration::from_secs(12)), None);
        assert_eq!(schedule.poll(Duration::from_secs(50)), Some(Due::Outage(Duration::from_secs(5))));
    }
}
