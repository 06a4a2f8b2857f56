//! Ids that were delivered, the last so many.

use std::collections::{HashSet, VecDeque};

/// A bounded set of 128-bit keys; the oldest is forgotten first. About 52 bytes a key when full.
#[derive(Debug)]
pub(crate) struct Remembered {
    bound: usize,
    keys: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Remembered {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            bound,
            keys: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn contains(&self, key: u128) -> bool {
        self.keys.contains(&key)
    }

    pub(crate) fn insert(&mut self, key: u128) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Remembered;

    #[test]
    fn the_oldest_is_forgotten_beyond_the_bound() {
        let mut remembered = Remembered::new(2);
        for key in [1, 2, 2, 1, 3] {
            remembered.insert(key);
        }
        assert!(!remembered.contains(1));
        assert!(remembered.contains(2) && remembered.contains(3));
    }
}
