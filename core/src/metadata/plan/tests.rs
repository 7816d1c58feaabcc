//! Every CreateTopics and CreatePartitions answer of Kafka 4.3.1, row by row, and ours beyond.

use PlanRefusalKind::{
    InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
    InvalidRequest, InvalidTopic, NoReassignmentInProgress, TopicAlreadyExists, UnknownTopic,
    UnknownTopicId,
};

use super::brokers::{plan_broker_changes, plan_broker_replacement};
use super::partitions::check_reassignment;
use super::*;
use crate::limits::TOPIC_PARTITIONS_MAX;
use crate::metadata::broker_config::BrokerScope;

const CONTEXT: PlanContext<'static> = PlanContext {
    brokers: &[0],
    partitions_max: 100_010,
    default_partitions: 4,
    default_replication_factor: 1,
    new_topic_id: TopicId([9; 16]),
    now: TimestampMs(77),
};

fn request(name: &str) -> CreateTopicRequest<'_> {
    CreateTopicRequest {
        name,
        partitions: 1,
        replication_factor: 1,
        assignments: &[],
        configs: &[],
    }
}

fn image(topics: &[(&str, u32)]) -> MetadataImage {
    let mut image = MetadataImage::default();
    for (index, (name, partitions)) in (1..).zip(topics) {
        let command = MetadataCommand::CreateTopic {
            name: (*name).to_owned(),
            id: TopicId([index; 16]),
            partitions: *partitions,
            configs: BTreeMap::new(),
            created_ms: TimestampMs(1),
        };
        image.apply(&command).unwrap();
    }
    image
}

type Refused<'a> = (PlanRefusalKind, Option<&'a str>);

fn refused<T>(result: &Result<T, PlanRefusal>) -> Option<Refused<'_>> {
    result.as_ref().err().map(|refusal| (refusal.kind, refusal.message.as_deref()))
}

#[test]
fn topics_are_refused_in_kafka_s_words() {
    let image = image(&[("exists", 1), ("c_b", 1)]);
    let config = |key, value| [(key, value)];
    let base = request("t");
    let sized = |partitions, replication_factor| CreateTopicRequest {
        partitions,
        replication_factor,
        ..base
    };
    let unknown = config("no.such.config", Some("1"));
    let number = config("retention.ms", Some("abc"));
    let range = config("segment.bytes", Some("1"));
    let word = config("cleanup.policy", Some("bogus"));
    let null = config("retention.ms", None);
    let configured = |configs| CreateTopicRequest { configs, ..base };
    let stranger = [(0, vec![99])];
    let mine = [(0, vec![0])];
    let gap = [(0, vec![0]), (2, vec![0])];
    let twice = [(0, vec![0]), (0, vec![0])];
    let repeated = [(0, vec![0, 0])];
    let empty = [(0, vec![])];
    let assigned = |assignments| CreateTopicRequest { assignments, ..sized(-1, -1) };
    let long = "z".repeat(250);
    let rf = "Unable to replicate the partition 3 time(s): The target replication factor of 3 \
              cannot be reached because only 1 broker(s) are registered or some brokers have all \
              their log directories cordoned.";
    let partitions = "Number of partitions was set to an invalid non-positive value.";
    let long_text = format!(
        "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
    );
    let cases: Vec<(CreateTopicRequest<'_>, PlanRefusalKind, &str)> = vec![
        (configured(&unknown), InvalidConfig, "Unknown topic config name: no.such.config"),
        (
            configured(&number),
            InvalidConfig,
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            configured(&range),
            InvalidConfig,
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            configured(&word),
            InvalidConfig,
            "Invalid value bogus for configuration cleanup.policy: String must be one of: \
             compact, delete",
        ),
        (
            configured(&null),
            InvalidConfig,
            "Null value not supported for topic configs: retention.ms",
        ),
        (sized(0, 1), InvalidPartitions, partitions),
        (sized(-2, 1), InvalidPartitions, partitions),
        (sized(1, 3), InvalidReplicationFactor, rf),
        (
            sized(1, 0),
            InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            sized(i32::MAX, 1),
            InvalidPartitions,
            "2147483647 partitions are more than this cluster allows.",
        ),
        (
            request("bad name!"),
            InvalidTopic,
            "Topic name is invalid: 'bad name!' contains one or more characters other than ASCII \
             alphanumerics, '.', '_' and '-'",
        ),
        (request(""), InvalidTopic, "Topic name is invalid: the empty string is not allowed"),
        (request(".."), InvalidTopic, "Topic name is invalid: '..' is not allowed"),
        (request(&long), InvalidTopic, &long_text),
        (
            request("__consumer_offsets"),
            TopicAlreadyExists,
            "Topic '__consumer_offsets' already exists.",
        ),
        (
            assigned(&stranger),
            InvalidReplicaAssignment,
            "The manual partition assignment includes broker 99, but no such broker is \
             registered.",
        ),
        (
            CreateTopicRequest { assignments: &mine, ..base },
            InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to \
             -1.",
        ),
        (
            CreateTopicRequest { assignments: &mine, ..sized(1, -1) },
            InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            assigned(&gap),
            InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned(&twice),
            InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            assigned(&repeated),
            InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 0 more than once.",
        ),
        (
            assigned(&empty),
            InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (request("exists"), TopicAlreadyExists, "Topic 'exists' already exists."),
        (request("c_b"), TopicAlreadyExists, "Topic 'c_b' already exists."),
        (request("c.b"), InvalidTopic, "Topic 'c.b' collides with existing topic: c_b"),
        (
            request("__consumer.offsets"),
            InvalidTopic,
            "Topic '__consumer.offsets' collides with existing topic: __consumer_offsets",
        ),
    ];
    for (request, kind, text) in cases {
        let planned = plan_create(&image, &request, &CONTEXT);
        assert_eq!(refused(&planned), Some((kind, Some(text))), "{request:?}");
    }
    let duplicate = PlanRefusal::duplicate_name();
    assert_eq!(duplicate.message.as_deref(), Some("Duplicate topic name."));
    assert_eq!(duplicate.kind, InvalidRequest);
    assert_eq!(duplicate_names(["a", "b", "a", "a"]), BTreeSet::from(["a"]));
}

#[test]
fn topics_are_planned_with_the_defaults() {
    let base = request("t");
    let two = [(1, vec![0]), (0, vec![0])];
    let configs = [("retention.ms", Some("5"))];
    let cases = [
        (base, 1),
        (CreateTopicRequest { partitions: -1, replication_factor: -1, ..base }, 4),
        (
            CreateTopicRequest {
                partitions: -1,
                replication_factor: -1,
                assignments: &two,
                ..base
            },
            2,
        ),
        (CreateTopicRequest { partitions: TOPIC_PARTITIONS_MAX as i32, ..base }, 100_000),
        (CreateTopicRequest { configs: &configs, ..base }, 1),
    ];
    for (request, expected) in cases {
        let expected = MetadataCommand::CreateTopic {
            name: "t".to_owned(),
            id: CONTEXT.new_topic_id,
            partitions: expected,
            configs: request
                .configs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.unwrap().to_owned()))
                .collect(),
            created_ms: CONTEXT.now,
        };
        assert_eq!(plan_create(&image(&[]), &request, &CONTEXT), Ok(expected));
    }
}

#[test]
fn only_the_broker_makes_its_own_topics() {
    let mut image = image(&[]);
    let request = request("__consumer_offsets");
    let command = plan_create_internal(&image, &request, &CONTEXT).unwrap();
    image.apply(&command).unwrap();
    let again = plan_create_internal(&image, &request, &CONTEXT);
    assert_eq!(again.unwrap_err().kind, TopicAlreadyExists);
    let deleted = plan_delete(&image, TopicRef::Name("__consumer_offsets"));
    assert_eq!(deleted.unwrap_err().kind, InvalidTopic);
}

#[test]
fn partitions_only_grow() {
    let image = image(&[("t", 3), ("__consumer_offsets", 50)]);
    let internal = "Topic '__consumer_offsets' is internal and cannot grow.";
    let fewer = "The topic t currently has 3 partition(s); 2 would not be an increase.";
    let negative = "The topic t currently has 3 partition(s); -1 would not be an increase.";
    let one_of_two = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were \
                      specified.";
    let stranger = "The manual partition assignment includes broker 7, but no such broker is \
                    registered.";
    let many = "100001 partitions are more than this cluster allows.";
    let no_room = "104 partitions beside 50 others are more than the 153 that this broker has room \
                   for; ask for fewer, or delete topics.";
    type Case<'a> = (&'a str, i32, Option<Vec<Vec<i32>>>, Option<Refused<'a>>);
    let cases: Vec<Case<'_>> = vec![
        ("t", 2, None, Some((InvalidPartitions, Some(fewer)))),
        ("t", 3, None, Some((InvalidPartitions, Some("Topic already has 3 partition(s).")))),
        ("t", -1, None, Some((InvalidPartitions, Some(negative)))),
        ("none", 5, None, Some((UnknownTopic, None))),
        ("__consumer_offsets", 51, None, Some((InvalidTopic, Some(internal)))),
        ("t", 100_001, None, Some((InvalidPartitions, Some(many)))),
        ("t", 104, None, Some((InvalidPartitions, Some(no_room)))),
        ("t", 103, None, None),
        ("t", 5, Some(vec![vec![0]]), Some((InvalidReplicaAssignment, Some(one_of_two)))),
        ("t", 4, Some(vec![vec![7]]), Some((InvalidReplicaAssignment, Some(stranger)))),
        ("t", 4, Some(vec![vec![0]]), None),
        ("t", 5, None, None),
    ];
    for (name, count, assignments, expected) in cases {
        let request = CreatePartitionsRequest { name, count, assignments: assignments.as_deref() };
        let planned = plan_partitions(&image, &request, (CONTEXT.brokers, 153));
        assert_eq!(refused(&planned), expected, "{name} {count}");
        if let Ok(command) = planned {
            let (id, new_count) = (TopicId([1; 16]), count as u32);
            assert_eq!(command, MetadataCommand::CreatePartitions { id, new_count });
        }
    }
}

#[test]
fn a_partition_stays_where_the_only_broker_is() {
    let image = image(&[("t", 3)]);
    let stranger = "The manual partition assignment includes broker 1, but no such broker is \
                    registered.";
    let twice = "The manual partition assignment includes the broker 0 more than once.";
    let empty = "The manual partition assignment includes an empty replica list.";
    let assignment = |text| Some((InvalidReplicaAssignment, Some(text)));
    let unknown = |text| Some((UnknownTopic, Some(text)));
    type Case<'a> = ((&'a str, i32), Option<&'a [i32]>, Option<Refused<'a>>);
    let cases: [Case<'_>; 9] = [
        (("t", 0), Some(&[0]), None),
        (("t", 0), Some(&[1]), assignment(stranger)),
        (("t", 0), Some(&[0, 1]), assignment(stranger)),
        (("t", 0), Some(&[0, 0]), assignment(twice)),
        (("t", 0), Some(&[]), assignment(empty)),
        (("t", 0), None, Some((NoReassignmentInProgress, None))),
        (("t", 3), Some(&[0]), unknown("Unable to find partition t:3.")),
        (("t", -1), None, unknown("Unable to find partition t:-1.")),
        (("none", 0), Some(&[0]), unknown("Unable to find a topic named none.")),
    ];
    for (at, replicas, expected) in cases {
        let checked = check_reassignment(&image, at, replicas, CONTEXT.brokers);
        assert_eq!(refused(&checked), expected, "{at:?} {replicas:?}");
    }
}

#[test]
fn deletes_name_a_known_topic() {
    let image = image(&[("t", 3)]);
    let id = TopicId([1; 16]);
    let cases = [
        (TopicRef::Name("none"), Some((UnknownTopic, None))),
        (TopicRef::Id(TopicId([5; 16])), Some((UnknownTopicId, None))),
        (TopicRef::Name("t"), None),
        (TopicRef::Id(id), None),
    ];
    for (topic, expected) in cases {
        let planned = plan_delete(&image, topic);
        assert_eq!(refused(&planned), expected, "{topic:?}");
        assert_eq!(planned.ok(), expected.is_none().then_some(MetadataCommand::DeleteTopic { id }));
    }
}

#[test]
fn configurations_change_key_by_key_or_as_a_whole() {
    let mut image = image(&[("t", 1)]);
    let changes = [("retention.ms", ConfigOp::Set("5")), ("segment.ms", ConfigOp::Set("6"))];
    let command = plan_config_changes(image.topic("t").unwrap(), &changes).unwrap();
    image.apply(&command).unwrap();
    assert_eq!(image.topic("t").unwrap().config.retention_ms, Some(5));

    let changes = [
        ("retention.ms", ConfigOp::Delete),
        ("no.such.config", ConfigOp::Delete),
        ("segment.ms", ConfigOp::Set("6")),
        ("cleanup.policy", ConfigOp::Append("compact")),
    ];
    let command = plan_config_changes(image.topic("t").unwrap(), &changes).unwrap();
    let expected = MetadataCommand::SetTopicConfigs {
        id: TopicId([1; 16]),
        set: BTreeMap::from([("cleanup.policy".to_owned(), "delete,compact".to_owned())]),
        delete: vec!["retention.ms".to_owned()],
    };
    assert_eq!(command, expected);
    image.apply(&command).unwrap();

    let topic = image.topic("t").unwrap();
    let command = plan_config_replacement(topic, &[("segment.ms", Some("7"))]).unwrap();
    let expected = MetadataCommand::SetTopicConfigs {
        id: TopicId([1; 16]),
        set: BTreeMap::from([("segment.ms".to_owned(), "7".to_owned())]),
        delete: vec!["cleanup.policy".to_owned()],
    };
    assert_eq!(command, expected);

    let cases = [
        (vec![("no.such.config", ConfigOp::Set("1"))], InvalidConfig),
        (vec![("segment.ms", ConfigOp::Set("0"))], InvalidConfig),
        (vec![("segment.ms", ConfigOp::Append("0"))], InvalidConfig),
        (vec![("segment.ms", ConfigOp::Delete); 2], InvalidRequest),
    ];
    for (changes, expected) in cases {
        let planned = plan_config_changes(topic, &changes);
        assert_eq!(planned.unwrap_err().kind, expected, "{changes:?}");
    }
    assert_eq!(plan_config_replacement(topic, &[("segment.ms", None)]).unwrap_err().kind, {
        InvalidConfig
    });
}

#[test]
fn a_broker_s_configuration_changes_key_by_key_or_as_a_whole() {
    let scope = BrokerScope::One(7);
    let mut image = image(&[]);
    let set = |set: &[(&str, &str)], delete: &[&str]| MetadataCommand::SetBrokerConfigs {
        scope,
        set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        delete: delete.iter().map(|key| (*key).to_owned()).collect(),
    };
    let (segment, retention) = ("log.segment.bytes", "log.retention.ms");
    let changes = [
        (segment, ConfigOp::Set("2097152")),
        (retention, ConfigOp::Set("6")),
        ("log.cleanup.policy", ConfigOp::Append("compact")),
        ("num.partitions", ConfigOp::Delete),
    ];
    let command = plan_broker_changes(&image, scope, &changes).unwrap();
    let policy = ("log.cleanup.policy", "delete,compact");
    assert_eq!(command, set(&[(segment, "2097152"), (retention, "6"), policy], &[]));
    image.apply(&command).unwrap();

    let configs = [(retention, Some("7")), (segment, Some("2097152"))];
    let command = plan_broker_replacement(&image, scope, &configs).unwrap();
    assert_eq!(command, set(&[(retention, "7")], &["log.cleanup.policy"]));

    let resource = "Invalid config value for resource ConfigResource(type=BROKER, name='7'): ";
    let not_dynamic = |key: &str| format!("Cannot update these configs dynamically: [{key}]");
    let value = "Invalid value x for configuration log.retention.ms: Not a number of type LONG";
    let cases = [
        (vec![("num.partitions", ConfigOp::Set("1"))], not_dynamic("num.partitions")),
        (vec![("retention.ms", ConfigOp::Set("1"))], not_dynamic("retention.ms")),
        (vec![(retention, ConfigOp::Set("x"))], value.to_owned()),
    ];
    for (changes, expected) in cases {
        let refusal = plan_broker_changes(&image, scope, &changes).unwrap_err();
        assert_eq!(refusal.kind, InvalidRequest);
        assert_eq!(refusal.message, Some(format!("{resource}{expected}")));
    }
    let cases = [
        (vec![(retention, ConfigOp::Append("1"))], InvalidConfig),
        (vec![(retention, ConfigOp::Delete); 2], InvalidRequest),
    ];
    for (changes, expected) in cases {
        let refusal = plan_broker_changes(&image, scope, &changes).unwrap_err();
        assert_eq!(refusal.kind, expected, "{changes:?}");
    }
    let refusal = plan_broker_replacement(&image, scope, &[(retention, None)]).unwrap_err();
    assert_eq!(refusal.kind, InvalidRequest);
}

#[test]
fn producer_id_blocks_never_overlap() {
    let mut image = image(&[]);
    for block in 0..5 {
        assert_eq!(image.producer_id_end(), ProducerId(block * PRODUCER_ID_BLOCK));
        let command = plan_producer_ids(&image).unwrap();
        image.apply(&command).unwrap();
    }
    image.apply(&MetadataCommand::AllocateProducerIds { end: ProducerId(i64::MAX) }).unwrap();
    assert_eq!(plan_producer_ids(&image), None);
}
