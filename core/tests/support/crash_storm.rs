//! A node that is cut off or killed at random moments, and whose directory is verified each time.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rivven_core::storage::verify::{VerifyError, verify};
use rivven_io::Env;
use rivven_io::sim::{SimNode, World};

/// Where the storage of these nodes lies.
pub(crate) const DATA_DIR: &str = "/data";
const LIVES: u32 = 8;

/// The seeds to be run: SIM_SEEDS from SIM_SEED on, or so many from 0 on.
pub(crate) fn seeds(count: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|n: String| n.parse().ok());
    let first = number("SIM_SEED").unwrap_or(0);
    first..first + number("SIM_SEEDS").unwrap_or(count)
}

/// Lives of the node, each `least_ms` long or up to 900 ms longer.
pub(crate) async fn live_and_die<F>(
    (world, node): (&World, &SimNode),
    (seed, least_ms): (u64, u64),
    life: impl Fn(Env, u32) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    for round in 0..LIVES {
        let lived = life(node.env(), round);
        node.spawn_main(async move {
            lived.await;
            0
        });
        let more = (seed * 7919 + u64::from(round) * 104_729) % 900;
        world.sleep(Duration::from_millis(least_ms + more)).await;
        if let Some(panic) = world.take_panics().first() {
            panic!("seed {seed} round {round}: {panic:?}");
        }
        if (seed + u64::from(round)) % 3 == 0 {
            node.kill();
        } else {
            node.power_cut();
        }
        node.restart();
        let verified = node.spawn(is_whole(node.env()));
        verified.await.unwrap_or_else(|_| panic!("seed {seed} round {round}: damage"));
    }
}

/// What a crash left behind is whole, as `rivven log verify` sees it.
async fn is_whole(env: Env) {
    match verify(&env, Path::new(DATA_DIR), &mut |_| {}).await {
        Ok(report) => assert!(report.ok, "{:?}", report.findings),
        Err(VerifyError::Missing(_)) => {}
        Err(error) => panic!("{error}"),
    }
}
