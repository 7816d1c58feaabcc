//! One node's view of the world: every handle that code above this layer may use.

use std::path::Path;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::net::Net;
use crate::rng::Rng;
use crate::task::Tasks;

/// The handles of one node (in the simulator: of one incarnation of it). Cloning is cheap and
/// gives handles to the same node.
#[derive(Clone)]
pub struct Env {
    pub disk: Disk,
    pub net: Net,
    pub clock: Clock,
    pub rng: Rng,
    pub tasks: Tasks,
}

impl Env {
    /// The real machine. Must be called inside a tokio runtime, on which `tasks` spawns.
    #[must_use]
    pub fn real() -> Env {
        Env {
            disk: Disk::Real(crate::real::disk::RealDisk),
            net: Net::Real(crate::real::net::RealNet::current()),
            clock: Clock::Real(crate::real::clock::RealClock),
            rng: Rng::Real(crate::real::rng::RealRng),
            tasks: Tasks::Real(crate::real::task::RealTasks::current()),
        }
    }

    /// Lets this process hold as many files and sockets open as its starter allows; how many that
    /// are. A start from a shell has a soft limit of 1024, which a thousand clients use up.
    #[must_use]
    pub fn raise_open_files_limit() -> u64 {
        crate::real::open_files::raise_limit()
    }

    /// Whether the simulator wants the rare path at `site` to be taken now; always `false` in the
    /// real world. A site is active in a quarter of all seeds, and then fires one time in four.
    #[must_use]
    pub fn buggify(&self, site: &'static str) -> bool {
        #[cfg(feature = "sim")]
        if let Disk::Sim(disk) = &self.disk {
            return disk.buggify(site);
        }
        let _ = site;
        false
    }

    /// Reads a whole file of at most `bytes_max` bytes, `None` if there is no such file.
    ///
    /// # Errors
    /// `InvalidData` if the file is longer than `bytes_max`; else the disk's error.
    pub async fn read_file(
        &self,
        path: &Path,
        bytes_max: u64,
    ) -> std::io::Result<Option<bytes::Bytes>> {
        let file = match self.disk.open(path, crate::disk::OpenOptions::read()).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.len().await?;
        if len > bytes_max {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("{} has {len} bytes, the limit is {bytes_max}", path.display()),
            ));
        }
        let len = usize::try_from(len).expect("a file within a memory bound fits usize");
        Ok(Some(file.read_full_at(0, len).await?.freeze()))
    }
}
