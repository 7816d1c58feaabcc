//! Golden bytes of each API, written down by hand from Kafka's message definitions.

mod coordination;

use crate::ids::TopicId;
use bytes::{Bytes, BytesMut};

use super::*;
use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::message::Message;
use crate::kafka::codec::records::Records;

/// The body must be these bytes (hex, spaces between fields), and they must be the body.
fn assert_golden<M: Message + Debug + PartialEq>(message: &M, version: i16, hex: &str) {
    let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let golden: Vec<u8> = hex
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let mut body = BytesMut::new();
    message.encode(version, &mut body);
    assert_eq!(format!("{:02x?}", &body[..]), format!("{golden:02x?}"), "version {version}");
    assert_eq!(M::decode(Bytes::from(golden), version).as_ref(), Ok(message));
}

const TOPIC_ID: TopicId = TopicId([0x11; 16]);
const TOPIC_ID_HEX: &str = "11111111111111111111111111111111";

#[test]
fn produce_has_its_golden_bytes() {
    let partition_data =
        vec![produce::PartitionProduceData { index: 1, records: Some(Bytes::from_static(b"RR")) }];
    let named = produce::TopicProduceData {
        name: "t".into(),
        partition_data: partition_data.clone(),
        ..Default::default()
    };
    let mut request = produce::ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![named],
    };
    assert_golden(
        &request,
        7,
        "ffff ffff 000003e8 00000001 0001 74 00000001 00000001 00000002 5252",
    );
    let by_id =
        produce::TopicProduceData { topic_id: TOPIC_ID, partition_data, ..Default::default() };
    request.topic_data = vec![by_id];
    let flexible = format!("00 ffff 000003e8 02 {TOPIC_ID_HEX} 02 00000001 03 5252 00 00 00");
    assert_golden(&request, 13, &flexible);
}

#[test]
fn produce_response_has_its_golden_bytes() {
    let partition = produce::PartitionProduceResponse {
        index: 1,
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        base_offset: 5,
        current_leader: produce::LeaderIdAndEpoch { leader_id: 2, leader_epoch: 3 },
        ..Default::default()
    };
    let topic = produce::TopicProduceResponse {
        name: "t".into(),
        partition_responses: vec![partition],
        ..Default::default()
    };
    let endpoint = produce::NodeEndpoint { node_id: 2, host: "h".into(), port: 9, rack: None };
    let response = produce::ProduceResponse {
        responses: vec![topic],
        throttle_time_ms: 0,
        node_endpoints: vec![endpoint],
    };
    assert_golden(
        &response,
        10,
        "02 02 74 02 00000001 0006 0000000000000005 ffffffffffffffff ffffffffffffffff 01 00 \
         01 00 09 00000002 00000003 00 00 00000000 \
         01 00 0d 02 00000002 02 68 00000009 00 00",
    );
}

#[test]
fn fetch_has_its_golden_bytes() {
    let partition = fetch::FetchPartition {
        partition: 1,
        fetch_offset: 5,
        partition_max_bytes: 1024,
        high_watermark: 4,
        ..Default::default()
    };
    let topic =
        fetch::FetchTopic { topic_id: TOPIC_ID, partitions: vec![partition], ..Default::default() };
    let replica_state = fetch::ReplicaState { replica_id: 2, replica_epoch: 3 };
    let request = fetch::FetchRequest {
        replica_state,
        max_wait_ms: 500,
        min_bytes: 1,
        isolation_level: 1,
        topics: vec![topic],
        ..Default::default()
    };
    let golden = format!(
        "000001f4 00000001 7fffffff 01 00000000 ffffffff 02 {TOPIC_ID_HEX} 02 \
         00000001 ffffffff 0000000000000005 ffffffff ffffffffffffffff 00000400 \
         01 01 08 0000000000000004 00 01 01 \
         01 01 0d 00000002 0000000000000003 00"
    );
    assert_golden(&request, 18, &golden);
}

#[test]
fn fetch_response_has_its_golden_bytes() {
    let partition = fetch::PartitionData {
        partition_index: 1,
        high_watermark: 6,
        last_stable_offset: 6,
        aborted_transactions: None,
        records: Some(Records::from(Bytes::from_static(b"RR"))),
        ..Default::default()
    };
    let topic = fetch::FetchableTopicResponse {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let response = fetch::FetchResponse { responses: vec![topic], ..Default::default() };
    assert_golden(
        &response,
        4,
        "00000000 00000001 0001 74 00000001 00000001 0000 0000000000000006 0000000000000006 \
         ffffffff 00000002 5252",
    );
    assert_golden(
        &response,
        12,
        "00000000 0000 00000000 02 02 74 02 00000001 0000 0000000000000006 0000000000000006 \
         ffffffffffffffff 00 ffffffff 03 5252 00 00 00",
    );
}

/// Version 11 is not known to the other implementation: it has the bytes of version 10.
#[test]
fn list_offsets_has_its_golden_bytes() {
    let partition = list_offsets::ListOffsetsPartition { timestamp: -6, ..Default::default() };
    let topic = list_offsets::ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
    let request = list_offsets::ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: vec![topic],
        timeout_ms: 1000,
    };
    for version in [10, 11] {
        assert_golden(
            &request,
            version,
            "ffffffff 00 02 02 74 02 00000000 ffffffff fffffffffffffffa 00 00 000003e8 00",
        );
    }
    let partition = list_offsets::ListOffsetsPartitionResponse {
        offset: 9,
        leader_epoch: 1,
        ..Default::default()
    };
    let topic =
        list_offsets::ListOffsetsTopicResponse { name: "t".into(), partitions: vec![partition] };
    let response = list_offsets::ListOffsetsResponse { throttle_time_ms: 0, topics: vec![topic] };
    for version in [10, 11] {
        assert_golden(
            &response,
            version,
            "00000000 02 02 74 02 00000000 0000 ffffffffffffffff 0000000000000009 00000001 \
             00 00 00",
        );
    }
}

#[test]
fn metadata_has_its_golden_bytes() {
    let topic = metadata::MetadataRequestTopic { topic_id: TOPIC_ID, name: None };
    let request = metadata::MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    assert_golden(&request, 13, &format!("02 {TOPIC_ID_HEX} 00 00 01 00 00"));
    let everything = metadata::MetadataRequest { topics: None, ..Default::default() };
    assert_golden(&everything, 1, "ffffffff");
    let nothing = metadata::MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_golden(&nothing, 4, "00000000 01");

    let response = metadata::MetadataResponse {
        brokers: vec![metadata::MetadataResponseBroker {
            node_id: 1,
            host: "h".into(),
            port: 9092,
            rack: None,
        }],
        cluster_id: Some("c".into()),
        controller_id: 1,
        error_code: ErrorCode::REBOOTSTRAP_REQUIRED,
        ..Default::default()
    };
    assert_golden(
        &response,
        13,
        "00000000 02 00000001 02 68 00002384 00 00 02 63 00000001 01 0081 00",
    );
}

#[test]
fn api_versions_has_its_golden_bytes() {
    let request = api_versions::ApiVersionsRequest {
        client_software_name: "ab".into(),
        client_software_version: "1".into(),
    };
    assert_golden(&request, 3, "03 6162 02 31 00");
    assert_golden(&api_versions::ApiVersionsRequest::default(), 0, "");

    let key = api_versions::ApiVersion { api_key: 18, min_version: 0, max_version: 4 };
    let unsupported = api_versions::ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![key.clone()],
        ..Default::default()
    };
    assert_golden(&unsupported, 0, "0023 00000001 0012 0000 0004");
    let response = api_versions::ApiVersionsResponse {
        api_keys: vec![key],
        supported_features: vec![api_versions::SupportedFeatureKey {
            name: "f".into(),
            min_version: 0,
            max_version: 2,
        }],
        finalized_features_epoch: 7,
        finalized_features: vec![api_versions::FinalizedFeatureKey {
            name: "f".into(),
            max_version_level: 2,
            min_version_level: 1,
        }],
        ..Default::default()
    };
    assert_golden(
        &response,
        4,
        "0000 02 0012 0000 0004 00 00000000 03 \
         00 08 02 02 66 0000 0002 00 01 08 0000000000000007 02 08 02 02 66 0002 0001 00",
    );
}

#[test]
fn create_topics_has_its_golden_bytes() {
    let topic = create_topics::CreatableTopic {
        name: "t".into(),
        num_partitions: 3,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: vec![create_topics::CreatableTopicConfig { name: "k".into(), value: None }],
    };
    let request = create_topics::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_golden(
        &request,
        2,
        "00000001 0001 74 00000003 ffff 00000000 00000001 0001 6b ffff 0000ea60 00",
    );
    let result = create_topics::CreatableTopicResult {
        name: "t".into(),
        topic_id: TOPIC_ID,
        topic_config_error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ..Default::default()
    };
    let response =
        create_topics::CreateTopicsResponse { throttle_time_ms: 0, topics: vec![result] };
    let golden =
        format!("00000000 02 02 74 {TOPIC_ID_HEX} 0000 00 ffffffff ffff 00 01 00 02 001d 00");
    assert_golden(&response, 7, &golden);
}

#[test]
fn delete_topics_has_its_golden_bytes() {
    let by_name = delete_topics::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 1,
        ..Default::default()
    };
    assert_golden(&by_name, 5, "02 02 74 00000001 00");
    let topic = delete_topics::DeleteTopicState { name: None, topic_id: TOPIC_ID };
    let by_id = delete_topics::DeleteTopicsRequest {
        topics: vec![topic],
        timeout_ms: 1,
        ..Default::default()
    };
    assert_golden(&by_id, 6, &format!("02 00 {TOPIC_ID_HEX} 00 00000001 00"));
}

#[test]
fn delete_records_has_its_golden_bytes() {
    let partition = delete_records::DeleteRecordsPartition { partition_index: 1, offset: -1 };
    let topic =
        delete_records::DeleteRecordsTopic { name: "t".into(), partitions: vec![partition] };
    let request = delete_records::DeleteRecordsRequest { topics: vec![topic], timeout_ms: 2 };
    assert_golden(&request, 0, "00000001 0001 74 00000001 00000001 ffffffffffffffff 00000002");
    assert_golden(&request, 2, "02 02 74 02 00000001 ffffffffffffffff 00 00 00000002 00");
}

#[test]
fn init_producer_id_has_its_golden_bytes() {
    let request = init_producer_id::InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 1000,
        producer_id: 4,
        producer_epoch: 2,
    };
    assert_golden(&request, 5, "02 78 000003e8 0000000000000004 0002 00");
    let response = init_producer_id::InitProducerIdResponse {
        producer_id: 4,
        producer_epoch: 3,
        ..Default::default()
    };
    assert_golden(&response, 0, "00000000 0000 0000000000000004 0003");
}

#[test]
fn describe_configs_has_its_golden_bytes() {
    let resource = describe_configs::DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configuration_keys: None,
    };
    let request = describe_configs::DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..Default::default()
    };
    assert_golden(&request, 1, "00000001 02 0001 74 ffffffff 01");
    assert_golden(&request, 4, "02 02 02 74 00 00 01 00 00");
}

#[test]
fn alter_configs_has_its_golden_bytes() {
    let config = alter_configs::AlterableConfig { name: "k".into(), value: Some("v".into()) };
    let resource = alter_configs::AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![config],
    };
    let request =
        alter_configs::AlterConfigsRequest { resources: vec![resource], validate_only: true };
    assert_golden(&request, 0, "00000001 02 0001 74 00000001 0001 6b 0001 76 01");
    assert_golden(&request, 2, "02 02 02 74 02 02 6b 02 76 00 00 01 00");
}

#[test]
fn create_partitions_has_its_golden_bytes() {
    let assignment = create_partitions::CreatePartitionsAssignment { broker_ids: vec![1, 2] };
    let topic = create_partitions::CreatePartitionsTopic {
        name: "t".into(),
        count: 4,
        assignments: Some(vec![assignment]),
    };
    let request = create_partitions::CreatePartitionsRequest {
        topics: vec![topic],
        timeout_ms: 2,
        validate_only: false,
    };
    assert_golden(&request, 3, "02 02 74 00000004 02 03 00000001 00000002 00 00 00000002 00 00");
}

#[test]
fn incremental_alter_configs_has_its_golden_bytes() {
    let config = incremental_alter_configs::AlterableConfig {
        name: "k".into(),
        config_operation: 1,
        value: None,
    };
    let resource = incremental_alter_configs::AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![config],
    };
    let request = incremental_alter_configs::IncrementalAlterConfigsRequest {
        resources: vec![resource],
        validate_only: false,
    };
    assert_golden(&request, 0, "00000001 02 0001 74 00000001 0001 6b 01 ffff 00");
    assert_golden(&request, 1, "02 02 02 74 02 02 6b 01 00 00 00 00 00");
}

#[test]
fn describe_cluster_has_its_golden_bytes() {
    let request = describe_cluster::DescribeClusterRequest {
        include_fenced_brokers: true,
        ..Default::default()
    };
    assert_golden(&request, 2, "00 01 01 00");
    let broker = describe_cluster::DescribeClusterBroker {
        broker_id: 1,
        host: "h".into(),
        port: 9092,
        rack: None,
        is_fenced: true,
    };
    let response = describe_cluster::DescribeClusterResponse {
        cluster_id: "c".into(),
        controller_id: 1,
        brokers: vec![broker],
        ..Default::default()
    };
    assert_golden(
        &response,
        2,
        "00000000 0000 00 01 02 63 00000001 02 00000001 02 68 00002384 00 01 00 80000000 00",
    );
}

#[test]
fn apis_of_admin_tools_have_their_golden_bytes() {
    let asked =
        describe_log_dirs::DescribableLogDirTopic { topic: "t".into(), partitions: vec![1] };
    let request = describe_log_dirs::DescribeLogDirsRequest { topics: Some(vec![asked]) };
    assert_golden(&request, 1, "00000001 0001 74 00000001 00000001");
    assert_golden(&request, 5, "02 02 74 02 00000001 00 00");
    assert_golden(&describe_log_dirs::DescribeLogDirsRequest { topics: None }, 1, "ffffffff");
    let partition = describe_log_dirs::DescribeLogDirsPartition {
        partition_index: 1,
        partition_size: 9,
        ..Default::default()
    };
    let topic =
        describe_log_dirs::DescribeLogDirsTopic { name: "t".into(), partitions: vec![partition] };
    let result = describe_log_dirs::DescribeLogDirsResult {
        log_dir: "/d".into(),
        topics: vec![topic],
        total_bytes: 3,
        usable_bytes: 2,
        ..Default::default()
    };
    let response =
        describe_log_dirs::DescribeLogDirsResponse { results: vec![result], ..Default::default() };
    assert_golden(
        &response,
        5,
        "00000000 0000 02 0000 03 2f64 02 02 74 02 00000001 0000000000000009 0000000000000000 00 \
         00 00 0000000000000003 0000000000000002 00 00 00",
    );

    let asked = offset_for_leader_epoch::OffsetForLeaderPartition {
        partition: 1,
        current_leader_epoch: -1,
        leader_epoch: 0,
    };
    let topic = offset_for_leader_epoch::OffsetForLeaderTopic {
        topic: "t".into(),
        partitions: vec![asked],
    };
    let request = offset_for_leader_epoch::OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![topic],
    };
    assert_golden(&request, 3, "ffffffff 00000001 0001 74 00000001 00000001 ffffffff 00000000");
    assert_golden(&request, 4, "ffffffff 02 02 74 02 00000001 ffffffff 00000000 00 00 00");

    let asked = elect_leaders::TopicPartitions { topic: "t".into(), partitions: vec![1] };
    let request = elect_leaders::ElectLeadersRequest {
        election_type: 1,
        topic_partitions: Some(vec![asked]),
        timeout_ms: 7,
    };
    assert_golden(&request, 1, "01 00000001 0001 74 00000001 00000001 00000007");
    assert_golden(&request, 2, "01 02 02 74 02 00000001 00 00000007 00");

    let asked =
        alter_partition_reassignments::ReassignablePartition { partition_index: 1, replicas: None };
    let topic = alter_partition_reassignments::ReassignableTopic {
        name: "t".into(),
        partitions: vec![asked],
    };
    let request = alter_partition_reassignments::AlterPartitionReassignmentsRequest {
        timeout_ms: 7,
        allow_replication_factor_change: true,
        topics: vec![topic],
    };
    assert_golden(&request, 0, "00000007 02 02 74 02 00000001 00 00 00 00");
    assert_golden(&request, 1, "00000007 01 02 02 74 02 00000001 00 00 00 00");

    let request = list_partition_reassignments::ListPartitionReassignmentsRequest {
        timeout_ms: 7,
        topics: None,
    };
    assert_golden(&request, 0, "00000007 00 00");
    let request = list_config_resources::ListConfigResourcesRequest { resource_types: vec![2, 4] };
    assert_golden(&request, 1, "03 02 04 00");
}
