//! What a program on the released `rivven-client` 0.0.22 does against a broker: `released HOST:PORT
//! [PINGS]` prints a line for each check, and with PINGS the times of so many round trips.

use std::time::{Duration, Instant};

use rivven_client::{Client, Consumer, ConsumerConfig, PipelineConfig, PipelinedClient, Producer, ProducerConfig};

type Outcome = Result<bool, Box<dyn std::error::Error>>;

async fn topics(client: &mut Client, topic: &str) -> Outcome {
    let partitions = client.create_topic(topic, Some(3)).await?;
    let listed = client.list_topics().await?;
    let (name, count) = client.get_metadata(topic).await?;
    let again = client.create_topic(topic, Some(3)).await.is_err();
    Ok(partitions == 3 && listed.iter().any(|one| one == topic) && name == topic && count == 3 && again)
}

async fn records(client: &mut Client, topic: &str) -> Outcome {
    for i in 0..100u64 {
        let offset = client.publish_to_partition(topic, 1, None::<&str>, format!("value {i}")).await?;
        if offset != i {
            return Ok(false);
        }
    }
    let read = client.consume(topic, 1, 0, 1000).await?;
    let whole = read.iter().enumerate().all(|(i, message)| {
        message.offset == i as u64 && message.partition == 1 && message.value == format!("value {i}")
    });
    let middle = client.consume(topic, 1, 50, 10).await?;
    let bounds = client.get_offset_bounds(topic, 1).await?;
    Ok(whole && read.len() == 100 && middle.len() == 10 && middle[0].offset == 50 && bounds == (0, 100))
}

async fn keys(client: &mut Client, topic: &str) -> Outcome {
    client.publish_with_key(topic, Some("k"), "v").await?;
    client.publish_with_key(topic, Some("k"), "w").await?;
    let mut with_key = 0;
    for partition in 0..3 {
        let read = client.consume(topic, partition, 0, 1000).await?;
        let keyed = read.iter().filter(|message| message.key.as_deref() == Some(b"k")).count();
        if keyed > 0 && keyed != 2 {
            return Ok(false);
        }
        with_key += keyed;
    }
    Ok(with_key == 2)
}

async fn automatic(client: &mut Client, topic: &str) -> Outcome {
    let name = format!("{topic}-auto");
    client.publish(&name, "v").await?;
    Ok(client.get_metadata(&name).await?.1 > 0)
}

async fn long_poll(client: &mut Client, address: &str, topic: &str) -> Outcome {
    let end = client.get_offset_bounds(topic, 2).await?.1;
    let mut writer = Client::connect(address).await?;
    let topic_name = topic.to_owned();
    let write = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        writer.publish_to_partition(&topic_name, 2, None::<&str>, "late").await.is_ok()
    });
    let begun = Instant::now();
    let read = client.consume_long_poll(topic, 2, end, 10, None, 10_000).await?;
    let took = begun.elapsed();
    Ok(write.await? && read.len() == 1 && took < Duration::from_secs(5))
}

async fn errors(client: &mut Client, topic: &str) -> Outcome {
    let beyond = client.consume(topic, 0, 1 << 40, 1).await.err().map(|error| error.to_string());
    let unknown = client.consume("never-made", 0, 0, 1).await.err().map(|error| error.to_string());
    let starts = |error: Option<String>, word: &str| error.is_some_and(|text| text.contains(word));
    Ok(starts(beyond, "OFFSET_OUT_OF_RANGE") && starts(unknown, "UNKNOWN_TOPIC"))
}

async fn idempotent(client: &mut Client, topic: &str) -> Outcome {
    let mut producer = client.init_producer_id(None).await?;
    let name = format!("{topic}-once");
    client.create_topic(&name, Some(1)).await?;
    for i in 0..5 {
        let (offset, _, duplicate) =
            client.publish_idempotent(&name, None::<&str>, "v", &mut producer).await?;
        if offset != i || duplicate {
            return Ok(false);
        }
    }
    Ok(client.consume(&name, 0, 0, 100).await?.len() == 5)
}

async fn administration(client: &mut Client, topic: &str) -> Outcome {
    client.alter_topic_config(topic, &[("retention.ms", Some("123456"))]).await?;
    let configs = client.describe_topic_configs(&[topic]).await?;
    let altered = configs[topic]["retention.ms"] == "123456";
    let grown = client.create_partitions(topic, 5).await?;
    let deleted = client.delete_records(topic, &[(1, 10)]).await?;
    let bounds = client.get_offset_bounds(topic, 1).await?;
    let first = client.get_offset_for_timestamp(topic, 1, 0).await?;
    Ok(altered && grown == 5 && deleted[0].low_watermark == 10 && bounds.0 == 10 && first == Some(10))
}

async fn pipelined(address: &str, topic: &str) -> Outcome {
    let client = PipelinedClient::connect(address, PipelineConfig::high_throughput()).await?;
    let name = format!("{topic}-pipe");
    let sends = (0..500).map(|i| client.publish(name.clone(), format!("v{i}")));
    let mut sent = 0;
    for send in sends.collect::<Vec<_>>() {
        sent += usize::from(send.await.is_ok());
    }
    client.close().await;
    Ok(sent == 500)
}

async fn producer(client: &mut Client, address: &str, topic: &str) -> Outcome {
    let name = format!("{topic}-producer");
    client.create_topic(&name, Some(1)).await?;
    let config = ProducerConfig::builder().bootstrap_servers(vec![address.to_owned()]).build()?;
    let producer = Producer::new(config).await?;
    for i in 0..200 {
        producer.send(name.clone(), format!("v{i}")).await?;
    }
    producer.flush().await?;
    producer.close().await;
    let read = client.consume(&name, 0, 0, 1000).await?;
    Ok(read.len() == 200 && read.iter().enumerate().all(|(i, message)| message.value == format!("v{i}")))
}

/// Reads everything as a member of a group, in two lives.
async fn group(client: &mut Client, address: &str, topic: &str) -> Outcome {
    let (name, group) = (format!("{topic}-grouped"), format!("{topic}-group"));
    client.create_topic(&name, Some(2)).await?;
    let mut read = 0;
    for life in 1..=2 {
        for i in 0..50 {
            client.publish_to_partition(&name, i % 2, None::<&str>, format!("v{i}")).await?;
        }
        let config = ConsumerConfig::builder()
            .bootstrap_server(address)
            .group_id(&group)
            .topic(&name)
            .enable_auto_commit(false)
            .build();
        let mut consumer = Consumer::new(config).await?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while read < 50 * life && Instant::now() < deadline {
            read += consumer.poll().await?.len();
        }
        consumer.commit().await?;
        consumer.close().await?;
    }
    let offsets = client.describe_group(&group).await?;
    let listed = client.list_groups().await?.contains(&group);
    let committed = client.get_offset(&group, &name, 0).await?;
    client.delete_group(&group).await?;
    let gone = !client.list_groups().await?.contains(&group);
    Ok(read == 100 && listed && gone && committed == Some(50) && offsets[&name][&1] == 50)
}

async fn deletion(client: &mut Client, topic: &str) -> Outcome {
    client.delete_topic(topic).await?;
    let gone = !client.list_topics().await?.iter().any(|one| one == topic);
    client.create_topic(topic, Some(3)).await?;
    Ok(gone && client.consume(topic, 1, 0, 10).await?.is_empty())
}

async fn pings(client: &mut Client, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        client.ping().await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("ping p50 {:?} p99 {:?} max {:?}", at(0.5), at(0.99), at(1.0));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("HOST:PORT is missing")?;
    let mut client = Client::connect(&address).await?;
    if let Some(count) = arguments.next() {
        return pings(&mut client, count.parse()?).await;
    }
    let topic = format!("released-{}", std::process::id());
    let client = &mut client;
    let say = |name: &str, outcome: Outcome| match outcome {
        Ok(true) => println!("client {name}\tPASSED"),
        Ok(false) => println!("client {name}\tFAILED"),
        Err(error) => println!("client {name}\tFAILED\t{error}"),
    };
    say("ping", client.ping().await.map(|()| true).map_err(Into::into));
    say("create, list, describe", topics(client, &topic).await);
    say("publish and consume", records(client, &topic).await);
    say("keys", keys(client, &topic).await);
    say("a topic made by its first record", automatic(client, &topic).await);
    say("long poll", long_poll(client, &address, &topic).await);
    say("errors in words", errors(client, &topic).await);
    say("idempotent producer", idempotent(client, &topic).await);
    say("administration", administration(client, &topic).await);
    say("pipelined publish", pipelined(&address, &topic).await);
    say("batching producer", producer(client, &address, &topic).await);
    say("consumer group", group(client, &address, &topic).await);
    say("delete and create again", deletion(client, &topic).await);
    Ok(())
}
