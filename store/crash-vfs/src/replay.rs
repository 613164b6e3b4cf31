//! What a disk may hold if the power fails now.

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::disk::{Disk, Event, FileNumber, Trace};

/// Bytes that reach the disk as a whole or not at all.
const SECTOR: u64 = 512;

/// A file: what is on the disk, and what was done to it since.
#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    since: Vec<Change>,
    /// What a process reads.
    seen: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => put(bytes, *at, data),
            Self::Truncate(length) => bytes.resize(*length as usize, 0),
        }
    }

    fn length_after(&self, length: u64) -> u64 {
        match self {
            Self::Write(at, data) => length.max(at + data.len() as u64),
            Self::Truncate(to) => *to,
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let (at, end) = (at as usize, at as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

/// Splits a write at the borders of sectors.
fn sectors(at: u64, data: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (at, data);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min((SECTOR - at % SECTOR) as usize));
        pieces.push((at, piece));
        at += piece.len() as u64;
        rest = after;
    }
    pieces
}

/// What a name means: on the disk, and what it was made to mean since.
#[derive(Debug, Clone, Default)]
struct Name {
    durable: Option<FileNumber>,
    since: Vec<Option<FileNumber>>,
}

/// Goes through a [`Trace`] and tells what the disk may hold at each place.
#[derive(Debug, Clone)]
pub struct Replay {
    trace: Trace,
    place: usize,
    files: Vec<File>,
    names: BTreeMap<String, Name>,
}

impl Replay {
    /// Begins before anything happened.
    pub fn new(trace: Trace) -> Self {
        let mut files = vec![File::default(); trace.roles.len()];
        let mut names = BTreeMap::new();
        for (number, (name, bytes)) in trace.before.iter().enumerate() {
            files[number] = File { durable: bytes.clone(), since: Vec::new(), seen: bytes.clone() };
            names.insert(name.clone(), Name { durable: Some(number), since: Vec::new() });
        }
        Self { trace, place: 0, files, names }
    }

    /// How many events lie behind.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Lets events happen until `place` of them lie behind.
    pub fn advance(&mut self, place: usize) {
        while self.place < place {
            let event = &self.trace.events[self.place];
            match event {
                Event::Create(name, file) => {
                    self.names.entry(name.clone()).or_default().since.push(Some(*file));
                }
                Event::Delete(name) => self.names.entry(name.clone()).or_default().since.push(None),
                Event::Write(file, at, data) => {
                    self.files[*file].change(Change::Write(*at, data.clone()));
                }
                Event::Truncate(file, length) => self.files[*file].change(Change::Truncate(*length)),
                Event::Sync(file) => {
                    let file = &mut self.files[*file];
                    for change in std::mem::take(&mut file.since) {
                        change.apply(&mut file.durable);
                    }
                }
                Event::SyncFailed(file) => self.files[*file].since.clear(),
                Event::SyncFolder => {
                    for name in self.names.values_mut() {
                        if let Some(last) = name.since.pop() {
                            name.durable = last;
                            name.since.clear();
                        }
                    }
                }
            }
            self.place += 1;
        }
    }

    /// What the disk holds if the power fails now: one of the many possibilities.
    pub fn cut(&self, chance: &mut Chance) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for (name, meaning) in &self.names {
            let place = chance.below(meaning.since.len() as u64 + 1) as usize;
            let file = if place == 0 { meaning.durable } else { meaning.since[place - 1] };
            if let Some(file) = file {
                found.push((name.clone(), self.files[file].image(chance)));
            }
        }
        found
    }

    /// The folder as the next process finds it if this one is killed now. What was not synced still is not.
    pub fn kill(&self) -> std::io::Result<Disk> {
        let mut trace = self.trace.clone();
        trace.events.truncate(self.place);
        let mut found = Vec::new();
        for (name, meaning) in &self.names {
            if let Some(file) = meaning.since.last().copied().unwrap_or(meaning.durable) {
                found.push((name.clone(), self.files[file].seen.clone()));
            }
        }
        Disk::build(trace, Some(found))
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.since.push(change);
    }

    fn image(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if self.since.is_empty() {
            return bytes;
        }
        match chance.below(8) {
            0 => {}
            1 => self.since.iter().for_each(|change| change.apply(&mut bytes)),
            2 | 3 => self.first_of(chance, &mut bytes),
            4 | 5 => self.each_sector_by_itself(chance, &mut bytes),
            _ => self.some_in_any_order(chance, &mut bytes),
        }
        bytes
    }

    /// The first of the changes arrived, and some sectors of the next.
    fn first_of(&self, chance: &mut Chance, bytes: &mut Vec<u8>) {
        let whole = chance.below(self.since.len() as u64 + 1) as usize;
        self.since[..whole].iter().for_each(|change| change.apply(bytes));
        if let Some(Change::Write(at, data)) = self.since.get(whole) {
            for (at, piece) in sectors(*at, data) {
                if chance.one_in(2) {
                    put(bytes, at, piece);
                }
            }
        }
    }

    /// Each sector holds what it held at some time since the last sync.
    fn each_sector_by_itself(&self, chance: &mut Chance, bytes: &mut Vec<u8>) {
        let mut histories: BTreeMap<u64, Vec<(u64, &[u8])>> = BTreeMap::new();
        for (at, piece) in self.pieces() {
            histories.entry(at / SECTOR).or_default().push((at, piece));
        }
        for history in histories.into_values() {
            let arrived = chance.below(history.len() as u64 + 1) as usize;
            for (at, piece) in &history[..arrived] {
                self.put_with_rubbish(bytes, *at, piece, chance);
            }
        }
        self.give_a_length(chance, bytes);
    }

    /// Some sectors of some writes arrived, in any order.
    fn some_in_any_order(&self, chance: &mut Chance, bytes: &mut Vec<u8>) {
        let one_in = 1 + chance.below(6);
        let lost = chance.one_in(2);
        let mut pieces = self.pieces();
        pieces.retain(|_| chance.one_in(one_in) != lost);
        for place in (1..pieces.len()).rev() {
            pieces.swap(place, chance.below(place as u64 + 1) as usize);
        }
        for (at, piece) in pieces {
            self.put_with_rubbish(bytes, at, piece, chance);
        }
        self.give_a_length(chance, bytes);
    }

    fn pieces(&self) -> Vec<(u64, &[u8])> {
        let mut pieces = Vec::new();
        for change in &self.since {
            if let Change::Write(at, data) = change {
                pieces.extend(sectors(*at, data));
            }
        }
        pieces
    }

    fn put_with_rubbish(&self, bytes: &mut Vec<u8>, at: u64, piece: &[u8], chance: &mut Chance) {
        extend(bytes, at, chance);
        put(bytes, at, piece);
    }

    /// Gives it a length that it had since the last sync.
    fn give_a_length(&self, chance: &mut Chance, bytes: &mut Vec<u8>) {
        let time = chance.below(self.since.len() as u64 + 1) as usize;
        let length = self.since[..time]
            .iter()
            .fold(self.durable.len() as u64, |length, change| change.length_after(length));
        extend(bytes, length, chance);
        bytes.truncate(length as usize);
    }
}

/// Makes the bytes as many as `length`, if they are fewer: of zeros, or of rubbish.
fn extend(bytes: &mut Vec<u8>, length: u64, chance: &mut Chance) {
    let length = length as usize;
    if bytes.len() < length && chance.one_in(2) {
        bytes.reserve(length - bytes.len());
        while bytes.len() < length {
            bytes.push(chance.next() as u8);
        }
    } else if bytes.len() < length {
        bytes.resize(length, 0);
    }
}
