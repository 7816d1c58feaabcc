//! The two worlds that the suite runs in, and a few ways to look at them.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rivven_io::Env;
use rivven_io::disk::{Create, File, OpenOptions};
use rivven_io::net::Stream;

/// Seeds of the simulated world that each claim is tried with.
#[cfg(feature = "sim")]
pub(crate) const SEEDS: u64 = 12;

/// What a claim may use: a node's handles, a directory whose name is durable, the node's address.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) ip: IpAddr,
}

/// One machine, real or simulated.
pub(crate) trait World {
    /// Runs a task on the machine to its end.
    fn run<F, Fut>(&self, body: F) -> Fut::Output
    where
        F: FnOnce(Place) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static;

    /// Cuts the power and starts again, if the world can.
    fn power_cut(&self);
}

/// This machine, with a directory of its own.
pub(crate) struct RealWorld {
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
}

impl RealWorld {
    pub(crate) fn new() -> RealWorld {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        RealWorld { runtime, dir: tempfile::tempdir().unwrap() }
    }
}

impl World for RealWorld {
    fn run<F, Fut>(&self, body: F) -> Fut::Output
    where
        F: FnOnce(Place) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let _entered = self.runtime.enter();
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let place = Place { env: Env::real(), dir: self.dir.path().to_owned(), ip };
        let body = self.runtime.spawn(body(place));
        self.runtime.block_on(body).unwrap()
    }

    /// The machine that runs the tests stays on: what a cut could take is there.
    fn power_cut(&self) {}
}

/// A simulated machine. In every second seed its reads and writes are often short.
#[cfg(feature = "sim")]
pub(crate) struct SimWorld {
    pub(crate) world: rivven_io::sim::World,
}

#[cfg(feature = "sim")]
impl SimWorld {
    pub(crate) fn new(seed: u64) -> SimWorld {
        let world = rivven_io::sim::World::new(seed);
        let disk = world.node(1).disk();
        let mut faults = disk.faults();
        if seed % 2 == 1 {
            (faults.short_read, faults.short_write) = (0.4, 0.4);
        }
        disk.set_faults(faults);
        let env = world.node(1).env();
        world.run(async {
            env.disk.create_dir_all("/data".as_ref()).await.unwrap();
            env.disk.sync_dir("/".as_ref()).await.unwrap();
        });
        SimWorld { world }
    }
}

#[cfg(feature = "sim")]
impl World for SimWorld {
    fn run<F, Fut>(&self, body: F) -> Fut::Output
    where
        F: FnOnce(Place) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let node = self.world.node(1);
        let place = Place { env: node.env(), dir: PathBuf::from("/data"), ip: node.ip() };
        let body = node.spawn(body(place));
        self.world.run(body).unwrap()
    }

    fn power_cut(&self) {
        let node = self.world.node(1);
        node.power_cut();
        node.restart();
    }
}

impl Place {
    /// Creates the file `name` with `content`, synced or not.
    pub(crate) async fn write_file(&self, name: &str, content: &[u8], sync: bool) -> File {
        let path = self.dir.join(name);
        let file = self.env.disk.open(&path, OpenOptions::write(Create::New)).await.unwrap();
        file.write_all_at(0, vec![Bytes::copy_from_slice(content)]).await.unwrap();
        if sync {
            file.sync_data().await.unwrap();
        }
        file
    }

    /// The content of file `name`, `None` if there is none.
    pub(crate) async fn content(&self, name: &str) -> Option<Bytes> {
        self.env.read_file(&self.dir.join(name), 1 << 30).await.unwrap()
    }

    /// Two ends of a connection: the one that connected, and the one that was accepted.
    pub(crate) async fn connected(&self) -> (Stream, Stream) {
        let listener = self.env.net.listen(self.any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(self.env.net.connect(addr), listener.accept());
        (near.unwrap(), far.unwrap())
    }

    pub(crate) fn any_port(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 0)
    }
}

/// `len` bytes that show when one is out of its place.
pub(crate) fn pattern(len: usize) -> Bytes {
    let byte = |at: usize| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap();
    (0..len).map(byte).collect()
}

/// Polls `future` once and drops it if it is not ready.
pub(crate) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
