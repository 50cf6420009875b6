//! Moments and places that nobody chose, and that come again with the same seed.

/// Marsaglia's xorshift generator of 64 bits.
pub struct Random(u64);

impl Random {
    /// From this seed, which must not be 0.
    ///
    /// # Panics
    /// If it is.
    pub fn new(seed: u64) -> Self {
        assert_ne!(seed, 0, "a generator of zeroes");
        Self(seed)
    }

    /// From `KTAPE_SEED`, else from the clock; says which.
    ///
    /// # Panics
    /// If `KTAPE_SEED` is no number above 0.
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

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
