//! Runs the body of a fuzz target over its seeds, and over changes of them that a number repeats.

use std::path::Path;

/// A source of numbers that a seed repeats (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Runs `body` over every file of a folder of the workspace, then over `changes` changed ones. A panic names the bytes.
pub(crate) fn replay(seeds: &str, changes: usize, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(seeds);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    let mut chance = Chance(seeds.len() as u64);
    let changed = (0..changes).map(|_| change(&seeds, &mut chance));
    for bytes in seeds.iter().cloned().chain(changed.collect::<Vec<_>>()) {
        let panics = std::panic::catch_unwind(|| body(&bytes)).is_err();
        assert!(!panics, "the target of {} panics on \"{}\"", folder.display(), bytes.escape_ascii());
    }
}

fn change(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"-1",
        b"null",
        b"1e999",
        b"9223372036854775807",
        b"[]",
        b"{}",
        b"\"\"",
        b"\\u0000",
        b"\xFF",
        b"\0\0\0\0",
    ];
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(6) {
        let place = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 if place < bytes.len() => bytes[place] ^= 1 << chance.below(8),
            1 if place < bytes.len() => bytes[place] = chance.next() as u8,
            2 => bytes.truncate(place),
            3 => drop(bytes.splice(place..place, WORDS[chance.below(WORDS.len())].iter().copied())),
            4 => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len() + 1);
                bytes.truncate(place);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => drop(bytes.drain(place..(place + chance.below(9)).min(bytes.len()))),
        }
    }
    bytes
}
