//! Names of kernel functions and devices, as numbers.

use rustc_hash::FxHashMap;

/// Most names to keep, since a file may have any number.
const MOST: usize = 65_536;

/// Names and their numbers; 0 is no name.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: FxHashMap<Vec<u8>, u32>,
    names: Vec<Vec<u8>>,
}

impl Names {
    /// The number of a name.
    pub(super) fn number(&mut self, name: &[u8]) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= MOST {
            return 0;
        }
        self.names.push(name.to_vec());
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_vec(), number);
        number
    }

    /// The name with this number.
    pub(super) fn name(&self, number: u32) -> &[u8] {
        let at = (number as usize).checked_sub(1);
        at.and_then(|at| self.names.get(at)).map_or(&[], Vec::as_slice)
    }
}
