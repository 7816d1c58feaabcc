//! What a client knows of topics and brokers: asked for when it is needed, and kept for a while.

use std::sync::Arc;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use super::{Client, Lane, Peer, Target};
use crate::error::Error;
use crate::image::{ClusterImage, Topic};

impl Client {
    /// What is known of the cluster now.
    #[must_use]
    pub fn image(&self) -> Arc<ClusterImage> {
        self.lock().image.clone()
    }

    /// What is known of these topics is wrong: the next use asks again.
    pub fn forget_topics(&self) {
        self.lock().described.clear();
    }

    /// The cluster with these topics, from what is known if that is fresh enough, else asked.
    /// A topic that is not there is made if `create` says so and the broker allows it.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION and other refusals for the first topic that has one; those of
    /// [`Client::call`]. No retries.
    pub async fn topics(&self, names: &[&str], create: bool) -> Result<Arc<ClusterImage>, Error> {
        if let Some(image) = self.fresh(names) {
            return Ok(image);
        }
        let _one = self.inner.refreshing.lock().await;
        if let Some(image) = self.fresh(names) {
            return Ok(image);
        }
        let mut wanted: Vec<String> = self.lock().described.keys().cloned().collect();
        wanted.extend(names.iter().map(|name| (*name).to_owned()));
        wanted.sort();
        wanted.dedup();
        // Topics that others want must not be made by this request.
        let wanted =
            if create { names.iter().map(|name| (*name).to_owned()).collect() } else { wanted };
        let failed = self.describe(Some(&wanted), create).await?;
        match failed.into_iter().find(|(name, _)| names.contains(&name.as_str())) {
            Some((name, code)) => Err(Error::refused(format!("topic {name:?}"), code, None)),
            None => Ok(self.image()),
        }
    }

    /// [`Client::topics`], asked for in any case.
    ///
    /// # Errors
    /// Those of [`Client::topics`]
    pub async fn refresh_topics(
        &self,
        names: &[&str],
        create: bool,
    ) -> Result<Arc<ClusterImage>, Error> {
        self.lock().described.retain(|name, _| !names.contains(&name.as_str()));
        self.topics(names, create).await
    }

    /// The cluster if what is known of this topic is fresh enough.
    #[must_use]
    pub fn known(&self, topic: &str) -> Option<Arc<ClusterImage>> {
        self.fresh(&[topic])
    }

    /// One topic of [`Client::topics`], waited for while it comes to be.
    ///
    /// # Errors
    /// Those of [`Client::topics`], after retries.
    pub async fn topic(&self, name: &str, create: bool) -> Result<Topic, Error> {
        let mut tries = self.tries(format!("finding topic {name:?}"));
        loop {
            // Others who ask, one after the other, may take longer than this may.
            let (clock, names) = (&self.inner.env.clock, [name]);
            let asked = clock.timeout(tries.left(), self.topics(&names, create));
            let Ok(answer) = asked.await else {
                return Err(tries.over("metadata is being asked for"));
            };
            let topic = |image: Arc<ClusterImage>| image.topics.get(name).cloned();
            let missing = || Error::Malformed(format!("no word of topic {name:?}"));
            let error = match answer.map(topic) {
                Ok(topic) => return topic.ok_or_else(missing),
                Err(error) => error,
            };
            // It stays unknown if nobody makes it.
            let is_unknown = error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            if !error.is_retriable() || (is_unknown && !create) {
                return Err(error);
            }
            tries.again(error).await?;
        }
    }

    /// Asks for every topic of the cluster.
    ///
    /// # Errors
    /// Those of [`Client::call`]
    pub async fn all_topics(&self) -> Result<Arc<ClusterImage>, Error> {
        let _one = self.inner.refreshing.lock().await;
        self.describe(None, false).await?;
        Ok(self.image())
    }

    /// The cluster as it describes itself now, with these topics (`None`: all), and those of them
    /// that it says an error of. No retries.
    pub(crate) async fn look_up(
        &self,
        names: Option<&[String]>,
    ) -> Result<(Arc<ClusterImage>, Vec<(String, ErrorCode)>), Error> {
        let _one = self.inner.refreshing.lock().await;
        let failed = self.describe(names, false).await?;
        Ok((self.image(), failed))
    }

    fn fresh(&self, names: &[&str]) -> Option<Arc<ClusterImage>> {
        let state = self.lock();
        let now = self.inner.env.clock.now();
        let age_max = self.inner.config.metadata_max_age;
        let is_fresh = |name: &&str| {
            let at = state.described.get(*name);
            state.image.topics.contains_key(*name) && at.is_some_and(|at| now.since(*at) < age_max)
        };
        names.iter().all(is_fresh).then(|| state.image.clone())
    }

    async fn describe(
        &self,
        names: Option<&[String]>,
        create: bool,
    ) -> Result<Vec<(String, ErrorCode)>, Error> {
        let row = |name: &String| MetadataRequestTopic {
            name: Some(WireStr::from(name.as_str())),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(row).collect()),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let answer = self.call(Target::Any, Lane::Admin, &request).await?;
        let mut state = self.lock();
        let mut image = ClusterImage::clone(&state.image);
        if names.is_none() {
            image.topics.clear();
        }
        let failed = image.apply(&answer);
        let now = self.inner.env.clock.now();
        // What was listed in passing is not kept up.
        let described: Vec<String> = match names {
            None => state.described.keys().cloned().collect(),
            Some(names) => names.to_vec(),
        };
        let described = described.into_iter().filter(|name| image.topics.contains_key(name));
        state.described.extend(described.map(|name| (name, now)));
        state.described.retain(|name, _| !failed.iter().any(|(gone, _)| gone == name));
        let reachable = |peer: &Peer| match peer {
            Peer::Broker(id, address) => {
                image.brokers.get(id).is_some_and(|broker| broker.address == *address)
            }
            Peer::Bootstrap(_) => true,
        };
        state.slots.retain(|(peer, _), _| reachable(peer));
        state.image = Arc::new(image);
        Ok(failed)
    }
}
