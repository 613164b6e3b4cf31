//! Numbers that a seed repeats.

/// A source of numbers that a seed repeats (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends and is not for loops")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Another source, which does not depend on how far this one has come but on `place`.
    pub fn fork(&self, place: u64) -> Self {
        let mut forked = Self(self.0 ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        forked.next();
        forked
    }
}
