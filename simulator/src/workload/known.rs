//! Which partitions a client knows of.

use std::collections::BTreeMap;

use rivven_core::ids::{PartitionId, TopicId};
use rivven_core::metadata::topic_name::is_internal;
use rivven_io::sim::rng::{Stream, stream};

use super::ClientParams;
use crate::client::reads::Place;
use crate::client::{Client, Trouble};

/// The partitions of a client's topics, as Metadata showed them last.
#[derive(Default)]
pub(crate) struct Known {
    places: Vec<Place>,
    stale: bool,
}

impl Known {
    pub(crate) fn new() -> Known {
        Known { places: Vec::new(), stale: true }
    }

    /// Looks again before the next use.
    pub(crate) fn note_stale(&mut self) {
        self.stale = true;
    }

    /// Whether the next [`Known::refresh`] asks the broker.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale || self.places.is_empty()
    }

    /// Asks the broker if that is needed; whether there is a partition to work on.
    pub(crate) async fn refresh(&mut self, client: &mut Client, params: &ClientParams) -> bool {
        if self.is_stale() {
            match partitions(client).await {
                Ok(mut places) => {
                    places.retain(|place| params.topics.contains(&place.topic));
                    self.places = places;
                    self.stale = self.places.is_empty();
                }
                Err(_) => self.places.clear(),
            }
        }
        !self.places.is_empty()
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Names by id.
    pub(crate) fn names(&self) -> BTreeMap<TopicId, String> {
        self.places.iter().map(|place| (place.partition.topic, place.topic.clone())).collect()
    }

    /// Ids by name.
    pub(crate) fn ids(&self) -> BTreeMap<String, TopicId> {
        self.places.iter().map(|place| (place.topic.clone(), place.partition.topic)).collect()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn draw(&self, draws: &mut Stream) -> Place {
        by_lot(draws, &self.places, name).expect("there is a partition").clone()
    }
}

fn name(place: &Place) -> (&str, u64) {
    (&place.topic, u64::from(place.partition.index))
}

/// One of `all`: the one whose name draws the highest number. If one is taken away, only draws that
/// fell on it fall on another.
pub(crate) fn by_lot<'a, T>(
    draws: &mut Stream,
    all: &'a [T],
    name: impl Fn(&'a T) -> (&'a str, u64),
) -> Option<&'a T> {
    let lot = draws.u64();
    all.iter().max_by_key(|one| {
        let (name, number) = name(one);
        stream(lot, name, number, 0).u64()
    })
}

/// All partitions of all topics that the broker has, without its own.
pub(crate) async fn partitions(client: &mut Client) -> Result<Vec<Place>, Trouble> {
    let mut places = Vec::new();
    let all = client.topics().await?;
    for topic in all.into_iter().filter(|topic| !is_internal(&topic.name)) {
        for index in 0..topic.leader_epochs.len() {
            let index = u32::try_from(index).expect("Kafka numbers partitions with an i32");
            let partition = PartitionId { topic: topic.id, index };
            places.push(Place { topic: topic.name.clone(), partition });
        }
    }
    places.sort();
    Ok(places)
}
