//! Reproducible random numbers.

/// Marsaglia's 64-bit xorshift generator.
pub struct Random(u64);

impl Random {
    /// Creates a generator.
    ///
    /// # Panics
    /// If `seed` is 0.
    pub fn new(seed: u64) -> Self {
        assert_ne!(seed, 0, "a seed of 0 generates only zeroes");
        Self(seed)
    }

    /// Creates a generator with the seed `KTAPE_SEED`, else from the clock, and prints the seed.
    ///
    /// # Panics
    /// If `KTAPE_SEED` is not a number above 0.
    pub fn seeded() -> Self {
        let seed = match std::env::var("KTAPE_SEED") {
            Ok(text) => text.parse().expect("KTAPE_SEED is a number"),
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(1, |now| now.as_nanos() as u64)
            }
        };
        eprintln!("KTAPE_SEED={seed}");
        Self::new(seed)
    }

    /// The next number, at least 0 and below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
