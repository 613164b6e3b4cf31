//! What strangers may take of the hub before it knows them: connections at once, and wrong guesses, counted per address.
//!
//! Only strangers are counted. Whoever has shown a credential is taken off the count, and a credential that is good is let in
//! whatever others did from the same address: so nobody can lock a device out, neither from elsewhere nor from beside it.
//! A token has 256 bits of chance, so letting the right one in gives a guesser nothing; codes of claims have fewer, and those
//! wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Limit, Limits};

/// What one address may take before it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Connections that have shown no credential yet.
    pub strangers_per_address: u32,
    /// Whether those of this machine are counted, too: only where the limit is set, because a proxy here makes all peers
    /// come from here.
    pub count_this_machine: bool,
    /// Wrong credentials in a minute; so many may also come at once.
    pub failures_per_minute: u32,
    /// Addresses that are known at once. Beyond, those that have done nothing lately are forgotten; if there are none, all
    /// that are new share one count.
    pub addresses_known: usize,
}

impl From<&Limits> for GateLimits {
    fn from(limits: &Limits) -> Self {
        let count = |limit| u32::try_from(limits.get(limit)).unwrap_or(u32::MAX);
        Self {
            strangers_per_address: count(Limit::StrangersPerAddress),
            count_this_machine: limits.is_set(Limit::StrangersPerAddress),
            failures_per_minute: count(Limit::FailuresPerMinute),
            addresses_known: limits.count(Limit::AddressesKnown),
        }
    }
}

/// An address, as far as one peer can choose it: of IPv6 the first 64 bits, because a host has all the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    One(IpAddr),
    /// All for which there is no room.
    Rest,
}

fn source(address: IpAddr) -> Source {
    Source::One(match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip @ IpAddr::V4(_) => ip,
    })
}

#[derive(Debug)]
struct Visits {
    strangers: u32,
    /// Wrong credentials that are not forgotten yet.
    failures: f64,
    /// When that was so.
    at: Instant,
}

/// The counts of all addresses.
#[derive(Debug)]
pub struct Gate {
    limits: GateLimits,
    visits: Mutex<HashMap<Source, Visits>>,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyStrangers {
    /// The limit that is reached.
    pub limit: u32,
}

/// Whoever guessed wrong too often, and until when no more guesses are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyFailures {
    /// The limit that is reached.
    pub limit: u32,
    /// When to try again.
    pub retry_after: Duration,
}

impl Gate {
    /// Nobody is here yet.
    pub fn new(limits: GateLimits) -> Self {
        Self { limits, visits: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Visits>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection begins. It counts until it is known, or gone.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Stranger, TooManyStrangers> {
        let mut all = self.lock();
        let source = self.place(&mut all, address);
        let visits = all.entry(source).or_insert_with(Visits::new);
        let counts = self.limits.count_this_machine || !address.to_canonical().is_loopback();
        if counts && visits.strangers >= self.limits.strangers_per_address {
            return Err(TooManyStrangers { limit: self.limits.strangers_per_address });
        }
        visits.strangers += 1;
        Ok(Stranger { gate: Arc::clone(self), source, counts: AtomicBool::new(true) })
    }

    /// A credential was wrong. An error if that was one too many: say so instead of what was wrong.
    pub fn failed(&self, address: IpAddr) -> Result<(), TooManyFailures> {
        let mut all = self.lock();
        let source = self.place(&mut all, address);
        let visits = all.entry(source).or_insert_with(Visits::new);
        visits.forget(self.limits);
        // One above the limit, so that whoever goes on waits as long as whoever stops.
        let most = f64::from(self.limits.failures_per_minute);
        visits.failures = (visits.failures + 1.0).min(most + 1.0);
        if visits.failures > most { Err(self.wait(visits)) } else { Ok(()) }
    }

    /// Whether a guess may be made at all: for what is short enough to be guessed.
    pub fn may_guess(&self, address: IpAddr) -> Result<(), TooManyFailures> {
        let mut all = self.lock();
        let source = self.place(&mut all, address);
        let Some(visits) = all.get_mut(&source) else { return Ok(()) };
        visits.forget(self.limits);
        if visits.failures + 1.0 > f64::from(self.limits.failures_per_minute) {
            return Err(self.wait(visits));
        }
        Ok(())
    }

    /// How many connections are strangers', of all addresses.
    pub fn strangers(&self) -> u64 {
        self.lock().values().map(|visits| u64::from(visits.strangers)).sum()
    }

    fn wait(&self, visits: &Visits) -> TooManyFailures {
        let limit = self.limits.failures_per_minute;
        let over = (visits.failures + 1.0 - f64::from(limit)).max(0.0);
        let seconds = (over * 60.0 / f64::from(limit)).ceil().max(1.0);
        TooManyFailures { limit, retry_after: Duration::from_secs(seconds as u64) }
    }

    fn place(&self, all: &mut HashMap<Source, Visits>, address: IpAddr) -> Source {
        let wanted = source(address);
        if all.len() < self.limits.addresses_known || all.contains_key(&wanted) {
            return wanted;
        }
        all.retain(|_, visits| {
            visits.forget(self.limits);
            visits.strangers > 0 || visits.failures > 0.0
        });
        if all.len() < self.limits.addresses_known { wanted } else { Source::Rest }
    }

    fn leave(&self, source: Source) {
        let mut all = self.lock();
        if let Some(visits) = all.get_mut(&source) {
            visits.strangers = visits.strangers.saturating_sub(1);
            visits.forget(self.limits);
            if visits.strangers == 0 && visits.failures <= 0.0 {
                all.remove(&source);
            }
        }
    }
}

impl Visits {
    fn new() -> Self {
        Self { strangers: 0, failures: 0.0, at: Instant::now() }
    }

    fn forget(&mut self, limits: GateLimits) {
        let now = Instant::now();
        let forgotten =
            now.duration_since(self.at).as_secs_f64() * f64::from(limits.failures_per_minute) / 60.0;
        self.failures = (self.failures - forgotten).max(0.0);
        self.at = now;
    }
}

/// A connection that counts as a stranger's.
#[derive(Debug)]
pub struct Stranger {
    gate: Arc<Gate>,
    source: Source,
    counts: AtomicBool,
}

impl Stranger {
    /// It has shown a credential that is good.
    pub fn is_known(&self) {
        if self.counts.swap(false, Ordering::Relaxed) {
            self.gate.leave(self.source);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_known();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(strangers: u32, failures: u32) -> Arc<Gate> {
        Arc::new(Gate::new(GateLimits {
            strangers_per_address: strangers,
            count_this_machine: false,
            failures_per_minute: failures,
            addresses_known: 50_000,
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_counted_until_they_are_known_or_gone() {
        let gate = gate(2, 10);
        let first = gate.enter(ip("10.0.0.1")).unwrap();
        let second = gate.enter(ip("10.0.0.1")).unwrap();
        assert_eq!(gate.enter(ip("10.0.0.1")).unwrap_err().limit, 2);
        drop(gate.enter(ip("10.0.0.2")).unwrap());
        first.is_known();
        first.is_known();
        let third = gate.enter(ip("::ffff:10.0.0.1")).unwrap();
        assert!(gate.enter(ip("10.0.0.1")).is_err(), "an address is the same in IPv6");
        drop((first, second, third));
        assert_eq!(gate.strangers(), 0);
        assert!(gate.lock().is_empty(), "nothing is kept of who is gone");
        let local: Vec<Stranger> = (0..9).map(|_| gate.enter(ip("127.0.0.1")).unwrap()).collect();
        drop(local);
        let home = gate.enter(ip("2001:db8::1")).unwrap();
        let other = gate.enter(ip("2001:db8::2:3:4:5")).unwrap();
        assert!(gate.enter(ip("2001:db8::9")).is_err(), "a network of IPv6 is one address");
        assert!(gate.enter(ip("2001:db8:0:1::9")).is_ok());
        drop((home, other));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_credentials_are_refused_once_they_are_too_many_and_forgotten_in_time() {
        let gate = gate(10, 6);
        for _ in 0..6 {
            assert_eq!(gate.failed(ip("10.0.0.1")), Ok(()));
        }
        let refused = gate.failed(ip("10.0.0.1")).unwrap_err();
        assert_eq!((refused.limit, refused.retry_after), (6, Duration::from_secs(20)));
        assert!(gate.may_guess(ip("10.0.0.1")).is_err());
        assert!(gate.may_guess(ip("10.0.0.2")).is_ok() && gate.failed(ip("10.0.0.2")).is_ok());
        for _ in 0..1_000 {
            assert!(gate.failed(ip("10.0.0.1")).is_err());
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(
            gate.may_guess(ip("10.0.0.1")),
            Ok(()),
            "as was said, however often it was tried meanwhile"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_without_number_take_bounded_memory() {
        let gate = gate(10, 6);
        for n in 0..51_000_u32 {
            assert!(gate.failed(IpAddr::from(n.to_be_bytes())).is_ok() || n >= 6);
        }
        assert!(gate.lock().len() <= 50_001);
        assert!(gate.failed(ip("200.0.0.1")).is_err(), "those without a place share one");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(gate.failed(ip("200.0.0.1")).is_ok());
        assert!(gate.lock().len() < 10);
    }
}
