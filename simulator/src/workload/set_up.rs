//! Creates the topics of a run before anything else happens.

use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;

use super::{ClientContext, TopicParams};
use crate::client::connection::ConnectionConfig;
use crate::client::{Client, ClientConfig, Trouble};

/// The client number of the one that sets up.
const SET_UP_CLIENT: u32 = 1_000_003;

/// The client `number` as the parameters of the run make it.
pub(crate) fn client_of(context: &ClientContext, number: u32, timeout: Duration) -> Client {
    let by_id = context.topics.iter().any(|topic| topic.churn);
    let connection = ConnectionConfig {
        client_id: format!("client-{number}"),
        connect_timeout: timeout.min(Duration::from_secs(5)),
        request_timeout: timeout,
        by_id,
    };
    let config = ClientConfig { number, broker: context.broker, connection };
    Client::new(context.env.clone(), context.history.clone(), config)
}

pub(crate) async fn create_all(context: &ClientContext, within: Duration) -> Result<(), String> {
    let mut client = client_of(context, SET_UP_CLIENT, Duration::from_secs(10));
    let deadline = context.env.clock.now().after(within);
    for topic in context.topics.iter() {
        let mut last = String::new();
        while !exists(&mut client, topic, &mut last).await {
            if context.env.clock.now() >= deadline {
                return Err(format!("topic {} could not be created: {last}", topic.name));
            }
            client.back_off().await;
        }
    }
    Ok(())
}

async fn exists(client: &mut Client, topic: &TopicParams, last: &mut String) -> bool {
    match client.create_topic(topic).await {
        Ok(_) => {}
        Err(Trouble::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. }) => {}
        Err(trouble) => {
            *last = trouble.to_string();
            return false;
        }
    }
    match client.topics().await {
        Ok(topics) => topics.iter().any(|known| known.name == topic.name),
        Err(trouble) => {
            *last = trouble.to_string();
            false
        }
    }
}
