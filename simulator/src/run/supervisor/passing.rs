//! What passes between clients and broker: requests that may come again much later, byte by byte
//! the same (N2), and record batches that are spoiled on their way (N10).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rivven_core::kafka::codec::api::ApiKey;
use rivven_core::kafka::codec::header::{RequestHeader, decode_response_header};
use rivven_core::kafka::codec::message::Message;
use rivven_core::kafka::messages::produce::{ProduceRequest, ProduceResponse};
use rivven_core::record::batches::Batches;
use rivven_core::record::header::{ATTRIBUTES_POSITION, BatchHeader, HEADER_BYTES, MAGIC_POSITION};
use rivven_io::clock::{Clock, Monotonic};
use rivven_io::sim::World;
use rivven_io::sim::net::Passing;

use crate::run::supervisor::micros;

/// Requests that are remembered; then every second one is forgotten.
const ANSWERED_MAX: usize = 512;
/// Connections whose streams are followed; then the oldest is forgotten.
const FOLLOWED_MAX: usize = 256;
/// Longer frames are no Produce requests of this simulator, or not Kafka's protocol at all.
const FRAME_BYTES_MAX: usize = 256 << 10;
const LENGTH_BYTES: usize = 4;

/// A supervisor's end of the middlebox: what passes between its broker and that one's clients.
#[derive(Clone)]
pub(super) struct Element {
    server: u64,
    clock: Clock,
    begin: Monotonic,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    followed: BTreeMap<u64, Followed>,
    answered: VecDeque<Answered>,
    /// Of batches that are to be spoiled: where.
    spoils: VecDeque<u64>,
}

/// A request that the broker answered without an error, with its length before it.
struct Answered {
    at_us: u64,
    frame: Bytes,
}

/// Both directions of a connection.
#[derive(Default)]
struct Followed {
    requests: BytesMut,
    answers: BytesMut,
    /// Produce requests whose answers have not passed.
    asked: BTreeMap<i32, Bytes>,
    /// It does not speak Kafka's protocol.
    is_strange: bool,
}

impl Element {
    /// The one of a broker, which is not in the world yet.
    pub(super) fn of(server: u64, clock: Clock) -> Element {
        let begin = clock.now();
        Element { server, clock, begin, state: Arc::default() }
    }

    /// Puts a middlebox on all links of the world, if there is an element.
    pub(super) fn put_all_into(world: &World, elements: Vec<Element>) {
        if elements.is_empty() {
            return;
        }
        world.net().set_middlebox(Some(Box::new(move |passing| {
            let ends = [passing.from, passing.to];
            let element = elements.iter().find(|element| ends.contains(&element.server))?;
            let now_us = micros(element.clock.now().since(element.begin));
            element.lock().pass(passing, (element.server, now_us))
        })));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spoils the next batch that is sent to the broker.
    pub(super) fn spoil_next(&self, place: u64) {
        self.lock().spoils.push_back(place);
    }

    pub(super) fn spoil_no_more(&self) {
        self.lock().spoils.clear();
    }

    /// The newest request that was answered at `until_us` or before.
    pub(super) fn answered_until(&self, until_us: u64) -> Option<Bytes> {
        let state = self.lock();
        let old = state.answered.iter().rev().find(|request| request.at_us <= until_us);
        old.map(|request| request.frame.clone())
    }
}

impl State {
    fn pass(&mut self, passing: &Passing<'_>, (server, now_us): (u64, u64)) -> Option<Bytes> {
        if self.followed.len() >= FOLLOWED_MAX && !self.followed.contains_key(&passing.conn) {
            self.followed.pop_first();
        }
        let followed = self.followed.entry(passing.conn).or_default();
        if passing.to != server {
            let answered = followed.take_answers(passing.data);
            self.answered.extend(answered.map(|frame| Answered { at_us: now_us, frame }));
            if self.answered.len() > ANSWERED_MAX {
                let mut is_kept = false;
                self.answered.retain(|_| {
                    is_kept = !is_kept;
                    is_kept
                });
            }
            return None;
        }
        followed.take_requests(passing.data);
        let spoiled = self.spoils.front().and_then(|place| spoil(passing.data, *place))?;
        self.spoils.pop_front();
        Some(spoiled)
    }
}

impl Followed {
    fn take_requests(&mut self, data: &Bytes) {
        if self.is_strange {
            return;
        }
        self.requests.extend_from_slice(data);
        while let Some(frame) = next_frame(&mut self.requests, &mut self.is_strange) {
            let Ok((header, _)) = RequestHeader::decode(frame.slice(LENGTH_BYTES..)) else {
                continue;
            };
            if header.api_key == ApiKey::Produce as i16 {
                self.asked.insert(header.correlation_id, frame);
            }
        }
    }

    /// The requests of idempotent producers that the broker answers here without an error.
    fn take_answers(&mut self, data: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let mut good = Vec::new();
        if !self.is_strange {
            self.answers.extend_from_slice(data);
        }
        while let Some(answer) = next_frame(&mut self.answers, &mut self.is_strange) {
            let head = answer.get(LENGTH_BYTES..).and_then(|rest| rest.first_chunk::<4>());
            let correlation_id = head.map_or(-1, |head| i32::from_be_bytes(*head));
            let asked = self.asked.remove(&correlation_id);
            good.extend(asked.filter(|frame| is_well_answered(frame, &answer)));
        }
        good.into_iter()
    }
}

/// The next whole frame with its length, if it is there.
fn next_frame(stream: &mut BytesMut, is_strange: &mut bool) -> Option<Bytes> {
    let length = usize::try_from(i32::from_be_bytes(*stream.first_chunk::<LENGTH_BYTES>()?));
    let length = length.unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        *is_strange = true;
        stream.clear();
        return None;
    }
    let end = LENGTH_BYTES + length;
    (stream.len() >= end).then(|| stream.split_to(end).freeze())
}

/// Whether a batch of an idempotent producer was asked to be stored, and the answer says it is. A
/// batch of any other producer may stand twice when it comes twice, and nobody is to blame.
fn is_well_answered(frame: &Bytes, answer: &Bytes) -> bool {
    let Ok((header, body)) = RequestHeader::decode(frame.slice(LENGTH_BYTES..)) else {
        return false;
    };
    let version = header.api_version;
    let Ok(request) = ProduceRequest::decode(body, version) else { return false };
    let mut data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_idempotent = data.all(|data| {
        let header = data.records.as_ref().and_then(|records| BatchHeader::parse(records).ok());
        header.is_some_and(|header| header.producer_id.0 >= 0)
    });
    let answer = answer.slice(LENGTH_BYTES..);
    let Ok((_, body)) = decode_response_header(ApiKey::Produce, version, answer) else {
        return false;
    };
    let Ok(response) = ProduceResponse::decode(body, version) else { return false };
    let mut rows = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    is_idempotent && rows.all(|row| !row.error_code.is_error())
}

/// `data` with one bit of a record batch changed, behind its CRC, so that it can be seen; `None`
/// if no whole batch is in it.
fn spoil(data: &Bytes, place: u64) -> Option<Bytes> {
    let last = data.len().checked_sub(HEADER_BYTES)?;
    let begins = (0..=last).filter(|begin| data[begin + MAGIC_POSITION] == 2);
    let found = begins.filter_map(|begin| {
        let batch = Batches::new(&data[begin..]).next()?.ok()?;
        batch.crc_is_valid().then(|| (begin + ATTRIBUTES_POSITION, begin + batch.header.size()))
    });
    let (begin, end) = found.min()?;
    let count = u64::try_from(end - begin).ok()?;
    let position = begin + usize::try_from(place % count).ok()?;
    let mut spoiled = BytesMut::from(&data[..]);
    spoiled[position] ^= 1 << (place % 8);
    Some(spoiled.freeze())
}

#[cfg(test)]
mod tests {
    use rivven_core::ids::{ProducerId, TimestampMs};
    use rivven_core::kafka::codec::error_code::ErrorCode;
    use rivven_core::kafka::codec::frame::{RequestFrame, encode_response};
    use rivven_core::kafka::messages::produce::{
        PartitionProduceData, PartitionProduceResponse, TopicProduceData, TopicProduceResponse,
    };
    use rivven_core::record::builder::{BatchBuilder, NewRecord};

    use super::*;
    use crate::plan::SERVER;

    fn batch(producer: i64) -> Bytes {
        let mut builder = BatchBuilder::new(TimestampMs(1)).push(NewRecord::value(b"value"));
        if producer >= 0 {
            builder = builder.producer(ProducerId(producer), 0, 0);
        }
        Bytes::from(builder.build())
    }

    fn joined(pieces: Vec<Bytes>) -> Bytes {
        Bytes::from(pieces.concat())
    }

    fn request(producer: i64) -> Bytes {
        let data = PartitionProduceData { index: 0, records: Some(batch(producer)) };
        let topic = TopicProduceData { partition_data: vec![data], ..Default::default() };
        let frame = RequestFrame { api_version: 9, correlation_id: 7, client_id: None };
        let body = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 1,
            topic_data: vec![topic],
        };
        joined(frame.encode(&body))
    }

    fn answer(error_code: ErrorCode) -> Bytes {
        let row = PartitionProduceResponse { error_code, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![row], ..Default::default() };
        let body = ProduceResponse { responses: vec![topic], ..Default::default() };
        joined(encode_response(7, 9, &body))
    }

    fn passing(from: u64, to: u64, data: &Bytes) -> Passing<'_> {
        Passing { conn: 1, from, to, data }
    }

    #[test]
    fn only_what_an_idempotent_producer_was_promised_may_come_again() {
        let good = ErrorCode::NONE;
        for (producer, code, remembered) in
            [(4, good, true), (-1, good, false), (4, ErrorCode::CORRUPT_MESSAGE, false)]
        {
            let mut state = State::default();
            let sent = request(producer);
            let (first, rest) = (sent.slice(..9), sent.slice(9..));
            for piece in [first, rest] {
                assert_eq!(state.pass(&passing(10, SERVER, &piece), (SERVER, 1)), None);
            }
            assert!(state.answered.is_empty());
            state.pass(&passing(SERVER, 10, &answer(code)), (SERVER, 2));
            let kept: Vec<&Bytes> = state.answered.iter().map(|request| &request.frame).collect();
            assert_eq!(kept, if remembered { vec![&sent] } else { vec![] });
        }
    }

    #[test]
    fn a_spoiled_batch_is_as_long_and_its_crc_shows_it() {
        let sent = request(4);
        let begin = sent.len() - batch(4).len() - 3;
        for place in 0..500 {
            let spoiled = spoil(&sent, place).unwrap();
            let differing = (0..sent.len()).filter(|at| sent[*at] != spoiled[*at]).count();
            assert_eq!((spoiled.len(), differing), (sent.len(), 1));
            let places = begin..=sent.len() - batch(4).len();
            let still = places.filter_map(|at| Batches::new(&spoiled[at..]).next()?.ok());
            assert!(!still.into_iter().any(|batch| batch.crc_is_valid()), "{place}");
        }
        assert_eq!(spoil(&Bytes::from_static(b"no batch at all"), 1), None);
    }
}
