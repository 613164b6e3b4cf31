//! What was sent and what was acknowledged, for each device and epoch.

use protocol::DeviceId;

use crate::content::Batch;

/// One epoch of a device.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    /// Its name on the wire.
    pub(crate) name: String,
    /// The number of its first batch in the life of the device.
    pub(crate) first: u64,
    /// Every batch up to this `seq` was acknowledged, by an ack or a welcome.
    pub(crate) acked: u64,
    /// Every batch up to this `seq` was sent, at least in part.
    pub(crate) sent: u64,
}

/// One device, over all its epochs. The last one is the one that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) device: u64,
    pub(crate) epochs: Vec<Epoch>,
    /// Batches sent once more although they were on their way or acknowledged.
    pub(crate) again: u64,
    /// How often the hub had no room for a batch.
    pub(crate) full: u64,
    /// How often the hub closed because its disk had failed.
    pub(crate) failed: u64,
    /// What the hub said that it may not say.
    pub(crate) problems: Vec<String>,
}

impl Account {
    pub(crate) fn new(device: u64) -> Self {
        let mut account =
            Self { device, epochs: Vec::new(), again: 0, full: 0, failed: 0, problems: Vec::new() };
        account.reboot();
        account
    }

    pub(crate) fn id(&self) -> DeviceId {
        DeviceId::new(&format!("pump-{}", self.device)).unwrap()
    }

    /// The device loses what was not acknowledged, and begins a new epoch.
    pub(crate) fn reboot(&mut self) {
        let first = self.epochs.last().map_or(0, |epoch| epoch.first + epoch.sent);
        let name = format!("e{}", self.epochs.len());
        self.epochs.push(Epoch { name, first, acked: 0, sent: 0 });
    }

    pub(crate) fn now(&mut self) -> &mut Epoch {
        self.epochs.last_mut().unwrap()
    }

    /// The batch with this `seq` in the present epoch. From now on it counts as sent.
    pub(crate) fn send(&mut self, seq: u64) -> Batch {
        let device = self.device;
        let epoch = self.now();
        let again = seq <= epoch.sent;
        epoch.sent = epoch.sent.max(seq);
        let batch = epoch.batch(device, seq);
        self.again += u64::from(again);
        batch
    }

    /// The hub said that everything up to `seq` is settled.
    pub(crate) fn acked(&mut self, seq: u64, by: &str) {
        let id = self.id();
        let epoch = self.now();
        if seq > epoch.sent {
            let (name, sent) = (&epoch.name, epoch.sent);
            let problem =
                format!("{id}, epoch {name}: {by} says {seq} is settled, but only {sent} were sent");
            self.problems.push(problem);
            return;
        }
        if by == "welcome" && seq < epoch.acked {
            let (name, acked) = (&epoch.name, epoch.acked);
            let problem =
                format!("{id}, epoch {name}: {acked} were acknowledged, the welcome knows only {seq}");
            self.problems.push(problem);
            return;
        }
        epoch.acked = epoch.acked.max(seq);
    }

    /// Readings sent and readings acknowledged, each counted once.
    pub(crate) fn readings(&self) -> (u64, u64) {
        let count = |epoch: &Epoch, to: u64| -> u64 {
            (1..=to).map(|seq| epoch.batch(self.device, seq).readings()).sum()
        };
        self.epochs
            .iter()
            .map(|epoch| (count(epoch, epoch.sent), count(epoch, epoch.acked)))
            .fold((0, 0), |(sent, acked), (s, a)| (sent + s, acked + a))
    }
}

impl Epoch {
    pub(crate) fn batch(&self, device: u64, seq: u64) -> Batch {
        Batch { device, number: self.first + seq - 1 }
    }
}
