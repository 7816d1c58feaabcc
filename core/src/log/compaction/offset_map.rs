//! The last offset of each key, in bounded memory: keys count by a hash of 128 bits, of which
//! nobody outside knows the seed, so that no two keys that anyone will write share one.

use std::hash::{DefaultHasher, Hasher};

use crate::ids::Offset;

/// Bytes of one slot.
const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
/// Of so many slots one stays free, so that a search ends soon.
const FREE_SHARE: u64 = 4;
/// Offset of a free slot.
const FREE: i64 = -1;

/// From keys to the offset where each stands last.
#[derive(Clone, Debug)]
pub struct OffsetMap {
    slots: Vec<Slot>,
    used: u64,
    used_max: u64,
    seed: [u64; 2],
    end: Offset,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    offset: i64,
}

impl OffsetMap {
    /// Room for `keys`, but at most `bytes_max`, and at least one key. Records before `from` are
    /// not compared.
    #[must_use]
    pub fn new((keys, bytes_max): (u64, u64), from: Offset, seed: [u64; 2]) -> OffsetMap {
        let wanted = keys.saturating_mul(FREE_SHARE).div_ceil(FREE_SHARE - 1).saturating_add(1);
        let count = wanted.min(bytes_max / SLOT_BYTES).max(2);
        let slots = vec![Slot { hash: [0; 2], offset: FREE }; usize::try_from(count).unwrap_or(2)];
        let used_max = (count - count.div_ceil(FREE_SHARE)).max(1);
        OffsetMap { slots, used: 0, used_max, seed, end: from }
    }

    /// Notes that `key` stands at `offset`, which is behind all that was noted; whether there was
    /// room.
    #[must_use]
    pub fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        assert!(offset >= self.end, "offsets rise: {offset} after {}", self.end);
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.slots[at].offset == FREE {
            if self.used == self.used_max {
                return false;
            }
            self.used += 1;
        }
        self.slots[at] = Slot { hash, offset: offset.0 };
        self.end = offset.plus(1);
        true
    }

    /// Notes that everything before `end` was looked at.
    pub fn pass(&mut self, end: Offset) {
        self.end = self.end.max(end);
    }

    /// The offset behind everything that was looked at: what follows is not judged.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Whether `key` was noted at a later offset.
    #[must_use]
    pub fn supersedes(&self, key: &[u8], offset: Offset) -> bool {
        let slot = self.slots[self.find(self.hash(key))];
        assert!(slot.offset < self.end.0, "what was noted was looked at");
        slot.offset > offset.0
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let hash = self.seed.map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        });
        if rivven_io::planted!("B30") { [hash[0] % 8, 0] } else { hash }
    }

    /// The slot that has the hash, or the free one that would take it.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        let first = (u128::from(hash[0]) * count as u128) >> 64;
        let mut at = usize::try_from(first).expect("below the number of slots");
        while self.slots[at].offset != FREE && self.slots[at].hash != hash {
            at = (at + 1) % count;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_map_knows_the_last_offset_of_each_key_until_it_is_full(
            keys in prop::collection::vec(0_u8..60, 1..200),
            slots in 0_u64..80,
            seed: [u64; 2],
        ) {
            let mut map = OffsetMap::new((1000, slots * SLOT_BYTES), Offset(5), seed);
            let mut model = BTreeMap::new();
            let mut is_full = false;
            for (offset, key) in (5..).zip(&keys) {
                if !map.note(&[*key], Offset(offset)) {
                    is_full = true;
                    break;
                }
                model.insert(*key, offset);
                prop_assert_eq!(map.end(), Offset(offset + 1));
            }
            prop_assert!(!model.is_empty(), "one key always finds room");
            prop_assert!(is_full || map.end().0 == 5 + keys.len() as i64);
            prop_assert!(!is_full || model.len() as u64 + 1 >= slots.max(2) * 3 / 4);
            for key in 0..60 {
                let last = model.get(&key).copied().unwrap_or(-1);
                for offset in [0, last - 1, last, last + 1, 300] {
                    prop_assert_eq!(map.supersedes(&[key], Offset(offset)), last > offset);
                }
            }
        }
    }

    #[test]
    fn memory_is_what_was_asked_for_and_what_the_keys_need() {
        for (keys, bytes_max, slots) in [(3, 1 << 20, 5), (1 << 40, 24_000, 1000), (0, 0, 2)] {
            let map = OffsetMap::new((keys, bytes_max), Offset::ZERO, [1, 2]);
            assert_eq!(map.slots.len(), slots, "{keys} keys in {bytes_max} bytes");
        }
        let mut map = OffsetMap::new((3, 1 << 20), Offset::ZERO, [1, 2]);
        assert!((0..3).all(|offset| map.note(&[offset], Offset(offset.into()))), "three keys fit");
    }
}
