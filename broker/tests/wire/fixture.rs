//! A broker in a folder of its own, on free ports.

use std::net::SocketAddr;

use rivven_broker::config::Config;
use rivven_broker::lifecycle::Broker;
use rivven_io::Env;
use tempfile::TempDir;

use crate::client::Client;

pub(crate) const NODE_ID: i32 = 0;

pub(crate) struct Fixture {
    pub(crate) env: Env,
    pub(crate) broker: Broker,
    folder: TempDir,
    config: Config,
}

/// Port 0 of the loopback address.
fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Fixture {
    pub(crate) async fn start() -> Fixture {
        Fixture::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Fixture {
        let folder = TempDir::new().unwrap();
        let mut config = Config {
            data_dir: folder.path().join("data"),
            bind: vec![any_port()],
            api_bind: any_port(),
            node_id: NODE_ID,
            default_partitions: 4,
            ..Config::default()
        };
        change(&mut config);
        let env = Env::real();
        let broker = Broker::start(env.clone(), config.clone()).await.unwrap();
        Fixture { env, broker, folder, config }
    }

    /// Stops the broker and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Fixture {
        let Fixture { env, broker, folder, config } = self;
        broker.shutdown().await.unwrap();
        let broker = Broker::start(env.clone(), config.clone()).await.unwrap();
        Fixture { env, broker, folder, config }
    }

    pub(crate) async fn stop(self) {
        self.broker.shutdown().await.unwrap();
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.env, self.broker.kafka_addrs()[0]).await
    }
}
