//! Random commands with every check after each, replays from any point, snapshots.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::metadata::command::DecodeError;

const NAMES: [&str; 7] = ["a", "b", "a_b", "a.b", "x.y_z", "x_y.z", "__consumer_offsets"];

fn id(number: u8) -> TopicId {
    TopicId([number; 16])
}

fn create(name: &str, number: u8, partitions: u32) -> MetadataCommand {
    MetadataCommand::CreateTopic {
        name: name.to_owned(),
        id: id(number),
        partitions,
        configs: BTreeMap::new(),
        created_ms: TimestampMs(1),
    }
}

fn configs() -> impl Strategy<Value = BTreeMap<String, String>> {
    const KEYS: [&str; 3] = ["retention.ms", "segment.ms", "from.the.future"];
    let key = prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
    proptest::collection::btree_map(key, "[1-9]", 0..3)
}

fn broker_configs() -> impl Strategy<Value = BTreeMap<String, String>> {
    const KEYS: [&str; 3] = ["log.retention.ms", "log.roll.ms", "from.the.future"];
    let key = prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
    proptest::collection::btree_map(key, "[1-9]", 0..3)
}

fn broker_scope() -> impl Strategy<Value = BrokerScope> {
    prop::sample::select(&[BrokerScope::Every, BrokerScope::One(0), BrokerScope::One(7)][..])
}

fn command() -> impl Strategy<Value = MetadataCommand> {
    let name = prop::sample::select(&NAMES[..]);
    prop_oneof![
        3 => (name, 0u8..30, 0u32..5, configs()).prop_map(|(name, number, partitions, configs)| {
            let mut command = create(name, number, partitions);
            if let MetadataCommand::CreateTopic { configs: empty, .. } = &mut command {
                *empty = configs;
            }
            command
        }),
        1 => (0u8..30).prop_map(|number| MetadataCommand::DeleteTopic { id: id(number) }),
        1 => (0u8..30, 0u32..9).prop_map(|(number, new_count)| {
            MetadataCommand::CreatePartitions { id: id(number), new_count }
        }),
        1 => (0u8..30, configs(), configs()).prop_map(|(number, set, delete)| {
            let delete = delete.into_keys().collect();
            MetadataCommand::SetTopicConfigs { id: id(number), set, delete }
        }),
        1 => (broker_scope(), broker_configs(), broker_configs()).prop_map(|(scope, set, delete)| {
            let delete = delete.into_keys().collect();
            MetadataCommand::SetBrokerConfigs { scope, set, delete }
        }),
        1 => (0i64..9000).prop_map(|end| {
            MetadataCommand::AllocateProducerIds { end: ProducerId(end) }
        }),
    ]
}

proptest! {
    #[test]
    fn random_commands_keep_every_promise(commands in vec(command(), 1..80), from: usize) {
        let mut image = MetadataImage::default().of_node(7);
        let mut accepted = Vec::new();
        let mut used = std::collections::BTreeSet::new();
        for command in commands {
            // Ids are random numbers in production: none ever comes back.
            if let MetadataCommand::CreateTopic { id, .. } = &command
                && image.topic_by_id(*id).is_none()
                && !used.insert(*id)
            {
                continue;
            }
            let before = image.clone();
            let result = image.apply(&command);
            image.check_all();
            if result.is_err() {
                prop_assert_eq!(&image, &before);
            } else {
                let mut again = image.clone();
                prop_assert_eq!(again.apply(&command), Ok(()));
                prop_assert_eq!(&again, &image);
                accepted.push(command);
            }
        }
        let bytes = image.snapshot();
        let restored = MetadataImage::restore(&bytes).map(|image| image.of_node(7));
        prop_assert_eq!(restored, Ok(image.clone()));
        for end in 0..bytes.len() {
            prop_assert!(MetadataImage::restore(&bytes[..end]).is_err());
        }
        let mut replayed = image.clone();
        for command in &accepted[from % (accepted.len() + 1)..] {
            let _ = replayed.apply(command);
            replayed.check_all();
        }
        prop_assert_eq!(replayed.state_hash(), image.state_hash());
        prop_assert_eq!(replayed, image);
    }

    #[test]
    fn random_snapshots_never_panic(mut bytes in vec(any::<u8>(), 0..100)) {
        let _ = MetadataImage::restore(&bytes);
        bytes.insert(0, 1);
        for version in [1, 2] {
            bytes[0] = version;
            if let Ok(image) = MetadataImage::restore(&bytes) {
                image.check_all();
            }
        }
    }
}

#[test]
fn commands_are_refused_for_their_reason() {
    let mut image = MetadataImage::default();
    image.apply(&create("a_b", 1, 4)).unwrap();
    let grow = |number, new_count| MetadataCommand::CreatePartitions { id: id(number), new_count };
    let unknown = ApplyError::UnknownTopic { id: id(9) };
    let set =
        MetadataCommand::SetTopicConfigs { id: id(9), set: BTreeMap::new(), delete: Vec::new() };
    let partitions = |number, partitions| ApplyError::Partitions { id: id(number), partitions };
    let cases = [
        (create("", 2, 1), ApplyError::Name(InvalidTopicName::Empty)),
        (create("a_b", 2, 1), ApplyError::NameTaken { name: "a_b".to_owned(), existing: id(1) }),
        (create("a.b", 2, 1), {
            ApplyError::NameCollides { name: "a.b".to_owned(), existing: "a_b".into() }
        }),
        (create("c", 1, 1), ApplyError::IdTaken { id: id(1), name: "c".to_owned() }),
        (create("c", 0, 1), ApplyError::IdTaken { id: id(0), name: "c".to_owned() }),
        (create("c", 2, 0), partitions(2, 0)),
        (create("c", 2, TOPIC_PARTITIONS_MAX + 1), partitions(2, TOPIC_PARTITIONS_MAX + 1)),
        (grow(1, TOPIC_PARTITIONS_MAX + 1), partitions(1, TOPIC_PARTITIONS_MAX + 1)),
        (grow(9, 5), unknown.clone()),
        (set, unknown),
    ];
    let before = image.clone();
    for (command, expected) in cases {
        assert_eq!(image.apply(&command), Err(expected), "{command:?}");
        assert_eq!(image, before);
    }
}

#[test]
fn partitions_of_all_topics_are_bounded() {
    let mut image = MetadataImage::default();
    let topics = CLUSTER_PARTITIONS_MAX / u64::from(TOPIC_PARTITIONS_MAX);
    for number in 1..=topics as u8 {
        image.apply(&create(&format!("t{number}"), number, TOPIC_PARTITIONS_MAX)).unwrap();
    }
    assert!(image.apply(&create("one.more", 200, 1)).is_err());
    image.apply(&MetadataCommand::DeleteTopic { id: id(1) }).unwrap();
    image.apply(&create("one.more", 200, 1)).unwrap();
    image.check_all();
}

#[test]
fn topics_are_found_and_ordered() {
    let mut image = MetadataImage::default();
    for (name, number) in [("b", 1), ("__transaction_state", 2), ("a", 3)] {
        image.apply(&create(name, number, u32::from(number))).unwrap();
    }
    let names: Vec<&str> = image.topics().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["__transaction_state", "a", "b"]);
    assert_eq!(image.topic("a").map(|topic| topic.id), Some(id(3)));
    assert_eq!(image.topic_by_id(id(1)).map(|topic| &*topic.name), Some("b"));
    assert!(image.topic("c").is_none() && image.topic_by_id(id(9)).is_none());
    assert!(image.topic("__transaction_state").unwrap().is_internal());
    assert_eq!(image.partitions(), 6);
}

#[test]
fn recreated_topic_is_another() {
    let mut image = MetadataImage::default();
    image.apply(&create("a", 1, 1)).unwrap();
    let first = image.state_hash();
    image.apply(&MetadataCommand::DeleteTopic { id: id(1) }).unwrap();
    image.apply(&create("a", 2, 1)).unwrap();
    assert_ne!(image.state_hash(), first);
    assert!(image.topic_by_id(id(1)).is_none());
}

#[test]
fn snapshot_has_its_drawn_bytes() {
    let mut image = MetadataImage::default();
    image.apply(&create("t", 7, 2)).unwrap();
    image.apply(&MetadataCommand::AllocateProducerIds { end: ProducerId(1000) }).unwrap();
    let topic = [&[1, b't'][..], &[7; 16], &[2, 0, 2]].concat();
    let of_version_1 = [&[1, 0xd0, 15, 1][..], &topic].concat();
    assert_eq!(MetadataImage::restore(&of_version_1), Ok(image.clone()));
    assert_eq!(image.snapshot(), [&[2, 0xd0, 15, 0, 1][..], &topic].concat());
    let set = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let scopes = [BrokerScope::One(5), BrokerScope::Every];
    for scope in scopes {
        let (set, delete) = (set.clone(), Vec::new());
        image.apply(&MetadataCommand::SetBrokerConfigs { scope, set, delete }).unwrap();
    }
    let brokers = [2, 0, 1, 1, b'a', 1, b'1', 1, 10, 1, 1, b'a', 1, b'1'];
    let expected = [&[2, 0xd0, 15][..], &brokers, &[1], &topic].concat();
    assert_eq!(image.snapshot(), expected);
    assert_eq!(MetadataImage::restore(&expected), Ok(image));
    let two = [&[1, 0, 2][..], &topic, &topic].concat();
    assert!(matches!(MetadataImage::restore(&two), Err(DecodeError::Malformed { .. })));
    assert!(matches!(MetadataImage::restore(&[1, 1, 0]), Err(DecodeError::Malformed { .. })));
}

#[test]
fn brokers_configurations_are_the_defaults_of_topics() {
    use BrokerScope::{Every, One};
    let mut image = MetadataImage::default().of_node(7);
    image.apply(&create("plain", 1, 1)).unwrap();
    let mut own = create("own", 2, 1);
    if let MetadataCommand::CreateTopic { configs, .. } = &mut own {
        configs.insert("retention.ms".to_owned(), "1".to_owned());
    }
    image.apply(&own).unwrap();
    let week = 7 * 24 * 3_600_000;
    // What is done to log.retention.ms, and then the retention of `plain`.
    let steps = [
        (Every, Some("5"), 5),
        (One(7), Some("6"), 6),
        (One(8), Some("9"), 6),
        (Every, Some("4"), 6),
        (One(7), Some("not a number"), 4),
        (One(7), None, 4),
        (Every, None, week),
    ];
    for (scope, value, expected) in steps {
        let key = "log.retention.ms".to_owned();
        let (mut set, mut delete) = (BTreeMap::new(), Vec::new());
        match value {
            Some(value) => drop(set.insert(key, value.to_owned())),
            None => delete.push(key),
        }
        image.apply(&MetadataCommand::SetBrokerConfigs { scope, set, delete }).unwrap();
        image.check_all();
        let retention = |name: &str| image.topic(name).unwrap().config.retention_ms;
        assert_eq!(retention("plain"), Some(expected), "{scope:?} {value:?}");
        assert_eq!(retention("own"), Some(1), "what a topic overrides counts more");
    }
    let elsewhere = image.clone().of_node(8);
    assert_eq!(elsewhere.topic("plain").unwrap().config.retention_ms, Some(9));
    assert_eq!(elsewhere.state_hash(), image.state_hash(), "nodes agree on the metadata");
    image.apply(&create("late", 3, 1)).unwrap();
    assert_eq!(image.of_node(8).topic("late").unwrap().config.retention_ms, Some(9));
}
