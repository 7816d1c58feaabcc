//! Replica counts and assignments that a client chose, checked as Kafka's controller does.

use std::collections::{BTreeMap, BTreeSet};

use super::{CreateTopicRequest, PlanRefusal, PlanRefusalKind};
use crate::limits::TOPIC_NAME_BYTES_MAX;
use crate::metadata::image::MetadataImage;

fn assignment(text: impl ToString) -> PlanRefusal {
    PlanRefusal::new(PlanRefusalKind::InvalidReplicaAssignment, text)
}

pub(super) fn check_replication_factor(replicas: u16, brokers: &[i32]) -> Result<(), PlanRefusal> {
    if usize::from(replicas) <= brokers.len() {
        return Ok(());
    }
    Err(PlanRefusal::new(
        PlanRefusalKind::InvalidReplicationFactor,
        format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor \
             of {replicas} cannot be reached because only {} broker(s) are registered or some \
             brokers have all their log directories cordoned.",
            brokers.len()
        ),
    ))
}

/// The number of partitions of a new topic whose assignments the client chose.
pub(super) fn manual_partitions(
    request: &CreateTopicRequest<'_>,
    brokers: &[i32],
) -> Result<u32, PlanRefusal> {
    let not_default = |what: &str| {
        let text =
            format!("A manual partition assignment was specified, but {what} was not set to -1.");
        PlanRefusal::new(PlanRefusalKind::InvalidRequest, text)
    };
    if request.replication_factor != -1 {
        return Err(not_default("replication factor"));
    }
    if request.partitions != -1 {
        return Err(not_default("numPartitions"));
    }
    let mut by_partition = BTreeMap::new();
    for (partition, replicas) in request.assignments {
        if by_partition.insert(*partition, replicas).is_some() {
            return Err(assignment(format!(
                "Found multiple manual partition assignments for partition {partition}"
            )));
        }
        check_replicas(replicas, request.assignments[0].1.len(), brokers)?;
    }
    if by_partition.keys().zip(0..).any(|(partition, expected)| *partition != expected) {
        return Err(assignment("partitions should be a consecutive 0-based integer sequence"));
    }
    Ok(u32::try_from(by_partition.len()).unwrap_or(u32::MAX))
}

/// Checks the assignments of partitions that are added to a topic.
pub(super) fn check_added(
    added: u32,
    assignments: &[Vec<i32>],
    brokers: &[i32],
) -> Result<(), PlanRefusal> {
    if assignments.len() as u64 != u64::from(added) {
        return Err(assignment(format!(
            "Attempted to add {added} additional partition(s), but only {} assignment(s) were \
             specified.",
            assignments.len()
        )));
    }
    let width = assignments.first().map_or(0, Vec::len);
    assignments.iter().try_for_each(|replicas| check_replicas(replicas, width, brokers))
}

/// Checks the wish to move a partition to `replicas`, or to stop its move (`None`). The only
/// broker has every partition, so that what is allowed is where it is already.
///
/// # Errors
/// [`PlanRefusal`] with the kind and text of Kafka 4.3.
pub fn check_reassignment(
    image: &MetadataImage,
    (name, index): (&str, i32),
    replicas: Option<&[i32]>,
    brokers: &[i32],
) -> Result<(), PlanRefusal> {
    let unknown = |text| PlanRefusal::new(PlanRefusalKind::UnknownTopic, text);
    let topic = image.topic(name).ok_or_else(|| match name.len() {
        ..=TOPIC_NAME_BYTES_MAX => unknown(format!("Unable to find a topic named {name}.")),
        // No such topic can be, and the name may come back for each of its partitions.
        _ => PlanRefusal::silent(PlanRefusalKind::UnknownTopic),
    })?;
    if u32::try_from(index).map_or(true, |index| index >= topic.partitions) {
        return Err(unknown(format!("Unable to find partition {name}:{index}.")));
    }
    match replicas {
        Some(replicas) => check_replicas(replicas, replicas.len(), brokers),
        None => Err(PlanRefusal::silent(PlanRefusalKind::NoReassignmentInProgress)),
    }
}

fn check_replicas(replicas: &[i32], width: usize, brokers: &[i32]) -> Result<(), PlanRefusal> {
    if replicas.is_empty() {
        return Err(assignment("The manual partition assignment includes an empty replica list."));
    }
    let mut seen = BTreeSet::new();
    for broker in replicas {
        if !brokers.contains(broker) {
            return Err(assignment(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is \
                 registered."
            )));
        }
        if !seen.insert(broker) {
            return Err(assignment(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            )));
        }
    }
    if replicas.len() != width {
        return Err(assignment(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this \
             is not consistent with previous partitions, which have {width} replica(s).",
            replicas.len()
        )));
    }
    Ok(())
}
