//! Golden bytes of the APIs of groups and their coordinators.

use super::*;

/// The request of version 10 is not known to the other implementation.
#[test]
fn offset_fetch_has_its_golden_bytes() {
    let named = offset_fetch::OffsetFetchTopic {
        name: "t".into(),
        partition_indexes: vec![1, 2],
        ..Default::default()
    };
    let mut request = offset_fetch::OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![named]),
        ..Default::default()
    };
    let classic = "0001 67 00000001 0001 74 00000002 00000001 00000002";
    assert_golden(&request, 1, classic);
    assert_golden(&request, 5, classic);
    request.require_stable = true;
    assert_golden(&request, 7, "02 67 02 02 74 03 00000001 00000002 00 01 00");
    request.topics = None;
    assert_golden(&request, 7, "02 67 00 01 00");

    let by_id = offset_fetch::OffsetFetchTopic {
        topic_id: TOPIC_ID,
        partition_indexes: vec![1],
        ..Default::default()
    };
    let of_member = offset_fetch::OffsetFetchGroup {
        group_id: "g".into(),
        member_id: Some("m".into()),
        member_epoch: 3,
        topics: Some(vec![by_id]),
    };
    let of_all_topics =
        offset_fetch::OffsetFetchGroup { group_id: "h".into(), ..Default::default() };
    let request = offset_fetch::OffsetFetchRequest {
        groups: vec![of_member, of_all_topics],
        ..Default::default()
    };
    let golden = format!(
        "03 02 67 02 6d 00000003 02 {TOPIC_ID_HEX} 02 00000001 00 00 \
         02 68 00 ffffffff 00 00 00 00"
    );
    assert_golden(&request, 10, &golden);
}

#[test]
fn offset_fetch_response_has_its_golden_bytes() {
    let partition = offset_fetch::OffsetFetchPartitionResponse {
        partition_index: 1,
        committed_offset: 5,
        metadata: Some("".into()),
        ..Default::default()
    };
    let named = offset_fetch::OffsetFetchTopicResponse {
        name: "t".into(),
        partitions: vec![partition.clone()],
        ..Default::default()
    };
    let response = offset_fetch::OffsetFetchResponse { topics: vec![named], ..Default::default() };
    let partition_hex = "00000001 0000000000000005";
    let topic_hex = format!("00000001 0001 74 00000001 {partition_hex}");
    for (version, golden) in [
        (1, format!("{topic_hex} 0000 0000")),
        (2, format!("{topic_hex} 0000 0000 0000")),
        (3, format!("00000000 {topic_hex} 0000 0000 0000")),
        (5, format!("00000000 {topic_hex} ffffffff 0000 0000 0000")),
        (6, format!("00000000 02 02 74 02 {partition_hex} ffffffff 01 0000 00 00 0000 00")),
    ] {
        assert_golden(&response, version, &golden);
    }

    let by_id = offset_fetch::OffsetFetchTopicResponse {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let group = offset_fetch::OffsetFetchGroupResponse {
        group_id: "g".into(),
        topics: vec![by_id],
        error_code: ErrorCode::STALE_MEMBER_EPOCH,
    };
    let response = offset_fetch::OffsetFetchResponse { groups: vec![group], ..Default::default() };
    let golden = format!(
        "00000000 02 02 67 02 {TOPIC_ID_HEX} 02 {partition_hex} ffffffff 01 0000 00 00 \
         0071 00 00"
    );
    assert_golden(&response, 10, &golden);
}

#[test]
fn find_coordinator_has_its_golden_bytes() {
    let mut request =
        find_coordinator::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_golden(&request, 0, "0001 67");
    request.key_type = 1;
    assert_golden(&request, 1, "0001 67 01");
    assert_golden(&request, 3, "02 67 01 00");
    let request = find_coordinator::FindCoordinatorRequest {
        key_type: 2,
        coordinator_keys: vec!["g".into(), "h".into()],
        ..Default::default()
    };
    for version in [4, 5, 6] {
        assert_golden(&request, version, "02 03 02 67 02 68 00");
    }
}

#[test]
fn find_coordinator_response_has_its_golden_bytes() {
    let mut response = find_coordinator::FindCoordinatorResponse {
        node_id: 1,
        host: "h".into(),
        port: 9092,
        ..Default::default()
    };
    assert_golden(&response, 0, "0000 00000001 0001 68 00002384");
    response.error_message = Some("NONE".into());
    let message = "4e4f4e45";
    let classic = format!("00000000 0000 0004 {message} 00000001 0001 68 00002384");
    assert_golden(&response, 1, &classic);
    let flexible = format!("00000000 0000 05 {message} 00000001 02 68 00002384 00");
    assert_golden(&response, 3, &flexible);

    let coordinator = find_coordinator::Coordinator {
        key: "g".into(),
        node_id: -1,
        port: -1,
        error_code: ErrorCode::INVALID_REQUEST,
        ..Default::default()
    };
    let response = find_coordinator::FindCoordinatorResponse {
        coordinators: vec![coordinator],
        ..Default::default()
    };
    for version in [4, 5, 6] {
        assert_golden(&response, version, "00000000 02 02 67 ffffffff 01 ffffffff 002a 00 00 00");
    }
}

/// Version 10 is not known to the other implementation: its bytes are Kafka 4.3.1's.
#[test]
fn offset_commit_has_its_golden_bytes() {
    let partition = offset_commit::OffsetCommitRequestPartition {
        partition_index: 7,
        committed_offset: 42,
        committed_leader_epoch: 5,
        committed_metadata: Some("m".into()),
    };
    let topic = offset_commit::OffsetCommitRequestTopic {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let request = offset_commit::OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 3,
        member_id: "a".into(),
        group_instance_id: Some("i".into()),
        topics: vec![topic],
        ..Default::default()
    };
    let golden = format!(
        "02 67 00000003 02 61 02 69 02 {TOPIC_ID_HEX} \
         02 00000007 000000000000002a 00000005 02 6d 00 00 00"
    );
    assert_golden(&request, 10, &golden);
}
