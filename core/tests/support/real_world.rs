//! Runs a test on the machine's clock, disk and threads.

use std::future::Future;

use rivven_io::Env;

pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Env) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { test(Env::real()).await });
}
