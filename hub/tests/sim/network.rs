//! The network: bytes in both directions, late, in slices, held up or cut off. Runs on the clients' runtime.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Dialer, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::either::Either;

use crate::chance::Chance;

/// What either end's system holds.
const BUFFER: usize = 16 * 1024;
/// How often somebody who is held up looks whether it goes on.
const LOOK: Duration = Duration::from_millis(20);

/// How the way between one host and the hub is.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Bytes wait until then; none is lost.
    stalled_until: Instant,
    /// Nothing can be dialled until then.
    down_until: Instant,
    /// Goes up when everything that is open is cut.
    cuts: u64,
}

struct State {
    /// Whether the hub listens.
    listens: bool,
    ways: Vec<Way>,
    /// Connections that the hub has not taken yet.
    arrivals: Vec<(DuplexStream, SocketAddr)>,
    connections: u64,
}

/// The network, as everybody sees it.
#[derive(Clone)]
pub(crate) struct Network {
    seed: u64,
    state: Arc<Mutex<State>>,
    /// Cuts of hosts, by their number; the last is that of the hub, which is everybody's.
    cuts: Arc<watch::Sender<Vec<u64>>>,
}

impl Network {
    pub(crate) fn new(seed: u64, hosts: usize) -> Self {
        let now = Instant::now();
        let way = Way { stalled_until: now, down_until: now, cuts: 0 };
        let state = State { listens: false, ways: vec![way; hosts], arrivals: Vec::new(), connections: 0 };
        let cuts = Arc::new(watch::channel(vec![0; hosts + 1]).0);
        Self { seed, state: Arc::new(Mutex::new(state)), cuts }
    }

    /// The way of a host to the hub.
    pub(crate) fn dialer(&self, host: usize) -> Dialer {
        let network = self.clone();
        Dialer::new(move || {
            let network = network.clone();
            async move { network.dial(host).await }
        })
    }

    async fn dial(&self, host: usize) -> std::io::Result<Transport> {
        let mut chance = {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            Chance::new(self.seed, 1_000 + state.connections)
        };
        // A packet there and one back.
        sleep(Duration::from_millis(chance.between(1, 60))).await;
        loop {
            let (down, stalled) = {
                let state = self.state.lock().unwrap();
                (
                    state.ways[host].down_until > Instant::now(),
                    state.ways[host].stalled_until > Instant::now(),
                )
            };
            if !down && !stalled {
                break;
            }
            // Packets are lost: whoever dials finds out by a deadline of its own.
            sleep(LOOK).await;
        }
        let (ours, near) = duplex(BUFFER);
        let (far, theirs) = duplex(BUFFER);
        let cut = self.cuts.subscribe();
        {
            let mut state = self.state.lock().unwrap();
            if !state.listens {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let [_, _, a, b] = (state.connections as u32).to_be_bytes();
            let address = SocketAddr::from(([10, host as u8 + 1, a, b], 40_000));
            state.arrivals.push((theirs, address));
        }
        let (network, seed) = (self.clone(), chance.between(0, u64::MAX));
        tokio::spawn(async move { network.carry(host, near, far, cut, seed).await });
        Ok(Either::Right(Either::Right(ours)))
    }

    /// Carries both directions until one end is gone, or the connection is cut.
    async fn carry(
        &self,
        host: usize,
        near: DuplexStream,
        far: DuplexStream,
        mut cut: watch::Receiver<Vec<u64>>,
        seed: u64,
    ) {
        let before = cut.borrow_and_update().clone();
        let hub = before.len() - 1;
        let (from_near, to_near) = split(near);
        let (from_far, to_far) = split(far);
        let there = self.pump(host, from_near, to_far, Chance::new(seed, 1));
        let back = self.pump(host, from_far, to_near, Chance::new(seed, 2));
        let is_cut = cut.wait_for(|now| now[host] != before[host] || now[hub] != before[hub]);
        tokio::select! {
            biased;
            _ = is_cut => {}
            _ = async { tokio::join!(there, back) } => {}
        }
        // Both ends go, with all that was on the way.
    }

    async fn pump(
        &self,
        host: usize,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        mut chance: Chance,
    ) {
        // Some lines are slow, and some carry small packets.
        let latency = chance.between(1, 30);
        let slice = if chance.one_in(4) { 300 } else { 1_400 };
        let mut packet = vec![0; slice];
        loop {
            let Ok(length) = from.read(&mut packet).await else { return };
            if length == 0 {
                drop(to.shutdown().await);
                return;
            }
            // One packet of a stream is not before the one ahead of it; those that come together go together.
            let late = if chance.one_in(8) { chance.between(0, 3 * latency) } else { 0 };
            if chance.one_in(3) {
                sleep_until(Instant::now() + Duration::from_millis(latency / 2 + late)).await;
            }
            while self.state.lock().unwrap().ways[host].stalled_until > Instant::now() {
                sleep(LOOK).await;
            }
            if to.write_all(&packet[..length]).await.is_err() {
                return;
            }
        }
    }

    /// What the hub is to take now.
    pub(crate) fn arrivals(&self) -> Vec<(DuplexStream, SocketAddr)> {
        std::mem::take(&mut self.state.lock().unwrap().arrivals)
    }

    /// The hub listens from now on, or is gone with everything that was open.
    pub(crate) fn hub_listens(&self, listens: bool) {
        let mut state = self.state.lock().unwrap();
        state.listens = listens;
        state.arrivals.clear();
        drop(state);
        if !listens {
            self.cuts.send_modify(|cuts| *cuts.last_mut().unwrap() += 1);
        }
    }

    /// What is open of a host is cut, and it can dial nothing for a while.
    pub(crate) fn cut(&self, host: usize, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.ways[host].down_until = Instant::now() + time;
        state.ways[host].cuts += 1;
        drop(state);
        self.cuts.send_modify(|cuts| cuts[host] += 1);
    }

    /// Nothing goes through for a while, and nobody is told.
    pub(crate) fn stall(&self, host: usize, time: Duration) {
        self.state.lock().unwrap().ways[host].stalled_until = Instant::now() + time;
    }

    /// Everything goes through.
    pub(crate) fn heal(&self) {
        let now = Instant::now();
        for way in &mut self.state.lock().unwrap().ways {
            way.stalled_until = now;
            way.down_until = now;
        }
    }
}
