//! Every rule of KIP-227, and random requests with every check after each.

use proptest::prelude::*;
use rivven_core::ids::TopicId;

use super::super::session::Told;
use super::*;
use rivven_core::kafka::messages::fetch::{FetchPartition, ForgottenTopic};

const LIMITS: CacheLimits =
    CacheLimits { sessions_max: 3, bytes_max: 1 << 20, evictable_after: Duration::from_secs(120) };

fn at(seconds: u64) -> Monotonic {
    Monotonic(seconds * 1_000_000_000)
}

fn wish(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset, ..FetchPartition::default() }
}

fn topic(name: &str, partitions: impl IntoIterator<Item = i32>) -> FetchTopic {
    FetchTopic {
        topic: name.into(),
        partitions: partitions.into_iter().map(|index| wish(index, 0)).collect(),
        ..FetchTopic::default()
    }
}

fn request(session_id: i32, session_epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest { session_id, session_epoch, topics, ..FetchRequest::default() }
}

const QUIET: Told =
    Told { error_code: ErrorCode::NONE, high_watermark: 5, log_start: 0, has_records: false };

fn rows(topics: &[FetchTopic], told: Told) -> Vec<Answered<'_>> {
    topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|wish| Answered {
                topic: &topic.topic,
                topic_id: topic.topic_id,
                wish,
                told,
            })
        })
        .collect()
}

/// Opens a session that wants `topics`.
fn open(cache: &mut SessionCache, now: Monotonic, topics: &[FetchTopic]) -> i32 {
    let full = request(0, 0, topics.to_vec());
    assert_eq!(cache.begin(now, 11, &full), Begun::Opens);
    let opening = Opening { now, api_version: 11, random: 7 + now.0 };
    let id = cache.open(opening, rows(topics, QUIET).into_iter());
    cache.check_all();
    id
}

/// What a continued session wants.
fn continued(begun: Begun) -> (SessionAt, Vec<FetchTopic>) {
    match begun {
        Begun::Continues { at, topics } => (at, topics),
        other => panic!("{other:?} does not continue a session"),
    }
}

#[test]
fn requests_are_taken_by_id_epoch_and_version() {
    let refused = |code| Some(Begun::Refused(code));
    let not_found = refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    let wrong_epoch = refused(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    // The session id, its offset from that of the session, epoch, version; none: continues.
    let cases = [
        ((0, 0), 0, 11, Some(Begun::Opens)),
        ((0, 0), -1, 11, Some(Begun::Without)),
        ((0, 0), 5, 11, not_found.clone()),
        ((1, 1), 1, 11, not_found.clone()),
        ((1, 0), 1, 11, None),
        ((1, 0), 2, 11, wrong_epoch.clone()),
        ((1, 0), -2, 11, wrong_epoch),
        ((1, 0), 1, 13, refused(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR)),
        ((1, 0), -1, 11, Some(Begun::Without)),
        ((1, 0), 0, 11, Some(Begun::Opens)),
    ];
    for ((times, offset), epoch, version, expected) in cases {
        let mut cache = SessionCache::new(LIMITS);
        let id = open(&mut cache, at(0), &[topic("t", [0])]);
        let asked = request(times * id + offset, epoch, Vec::new());
        let begun = cache.begin(at(1), version, &asked);
        cache.check_all();
        match expected {
            Some(expected) => assert_eq!(begun, expected, "{times} {offset} {epoch} {version}"),
            None => assert_eq!(continued(begun).0.id, id),
        }
        let is_closed = times == 1 && offset == 0 && (-1..=0).contains(&epoch);
        assert_eq!(cache.sessions.is_empty(), is_closed, "{times} {offset} {epoch} {version}");
    }
}

#[test]
fn what_is_asked_adds_changes_and_forgets() {
    let mut cache = SessionCache::new(LIMITS);
    let id = open(&mut cache, at(0), &[topic("t", [0, 1]), topic("u", [0])]);
    let mut asked = request(id, 1, vec![topic("u", [4])]);
    asked.topics[0].partitions.push(wish(0, 9));
    let forgotten =
        ForgottenTopic { topic: "t".into(), partitions: vec![1, 8], ..Default::default() };
    asked.forgotten_topics_data = vec![forgotten];
    let (_, topics) = continued(cache.begin(at(1), 11, &asked));
    let wanted: Vec<_> = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|wish| (&*topic.topic, wish)))
        .map(|(name, wish)| (name, wish.partition, wish.fetch_offset))
        .collect();
    assert_eq!(wanted, [("t", 0, 0), ("u", 0, 9), ("u", 4, 0)]);
    cache.check_all();

    let forget = |name: &str, partitions| ForgottenTopic {
        topic: name.into(),
        partitions,
        ..Default::default()
    };
    let mut asked = request(id, 2, Vec::new());
    asked.forgotten_topics_data = vec![forget("t", vec![0]), forget("u", vec![0, 4])];
    assert_eq!(cache.begin(at(2), 11, &asked), Begun::Without, "an empty session ends");
    assert_eq!((cache.sessions.len(), cache.bytes()), (0, 0));
}

#[test]
fn answers_name_what_is_new() {
    let mut cache = SessionCache::new(LIMITS);
    let id = open(&mut cache, at(0), &[topic("t", [0, 1])]);
    let error = Told { error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..QUIET };
    let steps = [
        ("as before", QUIET, false),
        ("high watermark", Told { high_watermark: 6, ..QUIET }, true),
        ("the same again", Told { high_watermark: 6, ..QUIET }, false),
        ("log start", Told { high_watermark: 6, log_start: 2, ..QUIET }, true),
        ("records", Told { high_watermark: 6, log_start: 2, has_records: true, ..QUIET }, true),
        ("error", error, true),
        ("the same error", error, true),
        ("no error any more", QUIET, true),
        ("as before again", QUIET, false),
    ];
    for (epoch, (what, told, is_named)) in (1..).zip(steps) {
        let begun = cache.begin(at(1), 11, &request(id, epoch, Vec::new()));
        let (at, topics) = continued(begun);
        let named = cache.answer(at, rows(&topics, told).into_iter());
        assert_eq!(named, Ok(vec![is_named; 2]), "{what}");
        cache.check_all();
    }
}

#[test]
fn who_got_records_is_read_last() {
    let mut cache = SessionCache::new(LIMITS);
    let id = open(&mut cache, at(0), &[topic("t", [0, 1]), topic("u", [0])]);
    let (at_1, topics) = continued(cache.begin(at(1), 11, &request(id, 1, Vec::new())));
    let mut answered = rows(&topics, QUIET);
    answered[0].told.has_records = true;
    assert_eq!(cache.answer(at_1, answered.into_iter()), Ok(vec![true, false, false]));
    let (_, topics) = continued(cache.begin(at(1), 11, &request(id, 2, Vec::new())));
    let order: Vec<_> = topics
        .iter()
        .map(|topic| (&*topic.topic, topic.partitions.iter().map(|wish| wish.partition).collect()))
        .collect();
    let expected: [(&str, Vec<i32>); 3] = [("t", vec![1]), ("u", vec![0]), ("t", vec![0])];
    assert_eq!(order, expected);
}

#[test]
fn an_answer_that_another_request_overtook_is_an_error() {
    let mut cache = SessionCache::new(LIMITS);
    let topics = [topic("t", [0])];
    let id = open(&mut cache, at(0), &topics);
    let (first, _) = continued(cache.begin(at(1), 11, &request(id, 1, Vec::new())));
    let (second, _) = continued(cache.begin(at(1), 11, &request(id, 2, Vec::new())));
    let mut answer = |at| cache.answer(at, rows(&topics, QUIET).into_iter());
    assert_eq!(answer(first), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
    assert_eq!(answer(second), Ok(vec![false]));
    cache.close(id);
    let gone = cache.answer(second, rows(&topics, QUIET).into_iter());
    assert_eq!(gone, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
}

#[test]
fn the_epoch_after_the_last_is_one() {
    for (epoch, expected) in [(1, 2), (i32::MAX - 1, i32::MAX), (i32::MAX, 1)] {
        assert_eq!(next_epoch(epoch), expected);
    }
}

#[test]
fn a_full_cache_gives_up_what_is_unused_or_old_and_small() {
    // Seconds at which the new session comes, its partitions, and which session gives way.
    let cases = [
        (10, 9, None),
        (119, 9, None),
        (121, 1, None),
        (121, 2, Some(1)),
        (121, 9, Some(1)),
        (300, 1, Some(2)),
    ];
    for (seconds, partitions, victim) in cases {
        let mut cache = SessionCache::new(LIMITS);
        let mut ids = Vec::new();
        for count in [3, 1, 5] {
            ids.push(open(&mut cache, at(0), &[topic("t", 0..count)]));
        }
        // The third is used least recently of all.
        for (seconds, id) in [(100, ids[0]), (90, ids[1]), (80, ids[2])] {
            continued(cache.begin(at(seconds), 11, &request(id, 1, Vec::new())));
        }
        let id = open(&mut cache, at(seconds), &[topic("n", 0..partitions)]);
        assert_eq!(id != 0, victim.is_some(), "{seconds} {partitions}");
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(cache.sessions.contains_key(id), victim != Some(index), "{seconds} {index}");
        }
    }
}

#[test]
fn memory_is_bounded() {
    let one = |partitions| {
        let mut cache = SessionCache::new(LIMITS);
        open(&mut cache, at(0), &[topic("t", 0..partitions)]);
        cache.bytes()
    };
    let mut cache = SessionCache::new(CacheLimits { bytes_max: one(3), ..LIMITS });
    assert_eq!(open(&mut cache, at(0), &[topic("t", 0..4)]), 0, "too large alone");
    let id = open(&mut cache, at(0), &[topic("t", 0..3)]);
    assert!(id != 0);
    assert_eq!(open(&mut cache, at(0), &[topic("u", [0])]), 0, "no room beside the other");
    let grown = cache.begin(at(1), 11, &request(id, 1, vec![topic("t", [3])]));
    assert_eq!(grown, Begun::Refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!(cache.bytes(), 0, "a session that outgrows the memory ends");
}

#[derive(Clone, Debug)]
enum Step {
    Ask { slot: usize, epoch_ahead: i32, topic: u8, partitions: Vec<i32>, forget: Vec<i32> },
    Open { topic: u8, partitions: Vec<i32>, by_id: bool },
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let partitions = || proptest::collection::vec(0i32..6, 0..5);
    let ahead = prop_oneof![9 => Just(0), 1 => -2i32..3];
    prop_oneof![
        5 => (0usize..4, ahead, 0u8..3, partitions(), partitions())
            .prop_map(|(slot, epoch_ahead, topic, partitions, forget)| {
                Step::Ask { slot, epoch_ahead, topic, partitions, forget }
            }),
        2 => (0u8..3, partitions(), any::<bool>())
            .prop_map(|(topic, partitions, by_id)| Step::Open { topic, partitions, by_id }),
        1 => (0u64..200).prop_map(Step::Sleep),
    ]
}

fn named(number: u8, by_id: bool, partitions: &[i32]) -> FetchTopic {
    let mut topic = topic(if by_id { "" } else { ["a", "b", "c"][usize::from(number)] }, []);
    topic.topic_id = TopicId(if by_id { [number + 1; 16] } else { [0; 16] });
    topic.partitions = partitions.iter().map(|index| wish(*index, 1)).collect();
    topic
}

proptest! {
    #[test]
    fn random_requests_keep_every_promise(steps in proptest::collection::vec(step(), 1..120)) {
        let limits = CacheLimits { bytes_max: 4096, ..LIMITS };
        let mut cache = SessionCache::new(limits);
        let mut known: Vec<(i32, i16)> = vec![(9, 11); 4];
        // The epoch that comes next, by id: an id may be drawn again after its session is gone.
        let mut epochs = BTreeMap::new();
        let mut seconds = 0;
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Sleep(time) => seconds += time,
                Step::Open { topic, partitions, by_id } => {
                    let api_version = if by_id { 13 } else { 11 };
                    let topics = [named(topic, by_id, &partitions)];
                    let opening = Opening { now: at(seconds), api_version, random: number };
                    let id = cache.open(opening, rows(&topics, QUIET).into_iter());
                    prop_assert!(id == 0 || !partitions.is_empty());
                    let slot = usize::try_from(number).unwrap() % known.len();
                    known[slot] = (id, api_version);
                    epochs.insert(id, 1);
                }
                Step::Ask { slot, epoch_ahead, topic, partitions, forget } => {
                    let (id, version) = known[slot];
                    let epoch = epochs.get(&id).copied().unwrap_or(1);
                    let by_id = version == 13;
                    let topics = vec![named(topic, by_id, &partitions)];
                    let mut asked = request(id, epoch + epoch_ahead, topics);
                    let FetchTopic { topic, topic_id, .. } = named(topic, by_id, &[]);
                    asked.forgotten_topics_data =
                        vec![ForgottenTopic { topic, topic_id, partitions: forget }];
                    if let Begun::Continues { at, topics } =
                        cache.begin(at(seconds), version, &asked)
                    {
                        prop_assert_eq!(epoch_ahead, 0);
                        epochs.insert(id, epoch + 1);
                        cache.check_all();
                        let rows = rows(&topics, QUIET);
                        let named = cache.answer(at, rows.clone().into_iter()).unwrap();
                        prop_assert_eq!(named.len(), rows.len());
                    }
                }
            }
            cache.check_all();
        }
    }
}
