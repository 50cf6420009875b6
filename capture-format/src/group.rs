//! Distinct values, and rows grouped by them.

/// Numbers distinct values in the order in which they are first seen.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    values: Vec<u64>,
    counts: Vec<u32>,
    /// A hash table of numbers plus one, 0 if free. Its length is a power of two.
    slots: Vec<u32>,
}

impl Distinct {
    /// Removes all values and makes room for approximately `expected` new ones.
    pub(crate) fn reset(&mut self, expected: usize) {
        self.values.clear();
        self.counts.clear();
        self.slots.clear();
        self.slots.resize((expected * 2).next_power_of_two().max(16), 0);
    }

    /// The number of a value; assigns one to a new value.
    #[inline]
    pub(crate) fn add(&mut self, value: u64) -> u32 {
        let mut i = self.place(value);
        let mask = self.slots.len() - 1;
        loop {
            match self.slots[i] {
                0 => break,
                n if self.values[n as usize - 1] == value => {
                    self.counts[n as usize - 1] += 1;
                    return n - 1;
                }
                _ => i = (i + 1) & mask,
            }
        }
        self.values.push(value);
        self.counts.push(1);
        self.slots[i] = self.values.len() as u32;
        if self.values.len() * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.values.len() as u32 - 1
    }

    #[inline]
    fn place(&self, value: u64) -> usize {
        let shift = 64 - self.slots.len().trailing_zeros();
        (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
    }

    fn grow(&mut self) {
        let len = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(len, 0);
        for n in 0..self.values.len() {
            let mut i = self.place(self.values[n]);
            while self.slots[i] != 0 {
                i = (i + 1) & (len - 1);
            }
            self.slots[i] = n as u32 + 1;
        }
    }

    pub(crate) fn values(&self) -> &[u64] {
        &self.values
    }

    pub(crate) fn counts(&self) -> &[u32] {
        &self.counts
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// For each number its rank in ascending order of the values, and the numbers in that order.
    pub(crate) fn ranks(&self) -> (Vec<u32>, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.values.len() as u32).collect();
        order.sort_unstable_by_key(|&n| self.values[n as usize]);
        let mut ranks = vec![0; order.len()];
        for (rank, &n) in order.iter().enumerate() {
            ranks[n as usize] = rank as u32;
        }
        (ranks, order)
    }
}

/// The rows of a table grouped by a key: groups in ascending order of the key, rows in ascending order within a group. Writer and
/// reader both derive it from the key column, so it is not stored.
#[derive(Debug)]
pub(crate) struct Groups {
    rows: Vec<u32>,
    ends: Vec<u32>,
}

impl Groups {
    pub(crate) fn new(keys: &[u64], distinct: &mut Distinct) -> Self {
        distinct.reset(keys.len().min(1024));
        let numbers: Vec<u32> = keys.iter().map(|&k| distinct.add(k)).collect();
        let (ranks, order) = distinct.ranks();
        let mut ends = Vec::with_capacity(order.len());
        let mut next = Vec::with_capacity(order.len());
        let mut end = 0;
        for &n in &order {
            next.push(end);
            end += distinct.counts()[n as usize];
            ends.push(end);
        }
        let mut rows = vec![0; keys.len()];
        for (row, &n) in numbers.iter().enumerate() {
            let place = &mut next[ranks[n as usize] as usize];
            rows[*place as usize] = row as u32;
            *place += 1;
        }
        Self { rows, ends }
    }

    /// All rows as one group.
    pub(crate) fn single(rows: usize) -> Self {
        let ends = if rows == 0 { Vec::new() } else { vec![rows as u32] };
        Self { rows: (0..rows as u32).collect(), ends }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.ends.len()).map(|i| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            &self.rows[start as usize..self.ends[i] as usize]
        })
    }
}

#[cfg(test)]
mod tests;
