//! Claims about randomness.

use std::collections::BTreeSet;

use crate::world::World;

pub(crate) fn draws_differ(world: &impl World) {
    world.run(async move |place| {
        let rng = &place.env.rng;
        let numbers: BTreeSet<u64> = (0..1000).map(|_| rng.u64()).collect();
        let ids: BTreeSet<[u8; 16]> = (0..1000).map(|_| rng.bytes16()).collect();
        assert_eq!((numbers.len(), ids.len()), (1000, 1000));
        // Each bit is set about as often as not: 500 ± 150 is ten standard deviations.
        for bit in 0..64 {
            let set = numbers.iter().filter(|number| *number >> bit & 1 == 1).count();
            assert!((350..650).contains(&set), "bit {bit} is set {set} times");
        }
    });
}

pub(crate) fn fill_reaches_every_byte(world: &impl World) {
    world.run(async move |place| {
        for len in [0, 1, 7, 8, 9, 255, 1000] {
            let mut seen = vec![0_u8; len];
            // A byte that stays zero in 40 fills would be one in 256^40.
            for _ in 0..40 {
                let mut bytes = vec![0; len];
                place.env.rng.fill(&mut bytes);
                for (all, byte) in seen.iter_mut().zip(bytes) {
                    *all |= byte;
                }
            }
            assert!(seen.iter().all(|byte| *byte != 0), "length {len}");
        }
    });
}
