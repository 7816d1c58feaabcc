//! Order, limits and ends of the outbox.

use std::net::SocketAddr;

use bytes::BytesMut;
use rivven_io::net::Stream;

use super::*;
use crate::memory::Budget;

const IN_FLIGHT_MAX: usize = 64;

/// An outbox, and the client's end of its connection.
async fn pair() -> (Arc<Outbox>, Stream, Arc<Budget>) {
    let env = Env::real();
    let listener = env.net.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let client = env.net.connect(listener.local_addr().unwrap()).await.unwrap();
    let writer = listener.accept().await.unwrap().writer;
    let budget = Budget::new(1 << 20);
    let outbox = Outbox::new(env, writer, budget.open_account(), IN_FLIGHT_MAX);
    (Arc::new(outbox), client, budget)
}

fn frame(text: &'static str) -> Answer {
    Answer::Frame(vec![Bytes::from_static(text.as_bytes())])
}

async fn read_to_end(client: &mut Stream) -> BytesMut {
    let mut read = BytesMut::new();
    loop {
        read.reserve(1 << 16);
        if client.reader.read(&mut read).await.unwrap_or(0) == 0 {
            return read;
        }
    }
}

#[tokio::test]
async fn answers_are_written_in_the_order_of_their_turns() {
    let (outbox, mut client, budget) = pair().await;
    let turns: Vec<Turn> = (0..5).map(|_| outbox.take_turn()).collect();
    outbox.send(turns[2], frame("c"));
    outbox.send(turns[1], Answer::Silent);
    outbox.send(turns[4], frame("after the end"));
    outbox.send(turns[0], frame("a"));
    outbox.send(turns[3], Answer::Close);
    outbox.drive().await;
    drop(outbox);
    assert_eq!(&read_to_end(&mut client).await[..], b"ac");
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn what_the_socket_does_not_take_follows_when_it_does() {
    let (outbox, mut client, budget) = pair().await;
    let large = Bytes::from(vec![7; 32 << 20]);
    let (first, second, last) = (outbox.take_turn(), outbox.take_turn(), outbox.take_turn());
    outbox.send(first, Answer::Frame(vec![large.clone()]));
    assert!(budget.is_overdrawn(), "the socket does not take everything at once");
    outbox.send(second, frame("end"));
    outbox.send(last, Answer::Close);
    let reading = async {
        let mut read = BytesMut::with_capacity(33 << 20);
        while read.len() < large.len() + 3 {
            assert!(client.reader.read(&mut read).await.unwrap() > 0);
        }
        read
    };
    let (read, ()) = tokio::join!(reading, outbox.drive());
    assert_eq!(read[..large.len()], large[..]);
    assert_eq!(&read[large.len()..], b"end");
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_reader_waits_for_room_and_for_answers() {
    let (outbox, _client, _budget) = pair().await;
    let turns: Vec<Turn> = (0..IN_FLIGHT_MAX).map(|_| outbox.take_turn()).collect();
    let answering = async {
        for turn in &turns {
            outbox.send(*turn, Answer::Silent);
        }
    };
    tokio::join!(outbox.room(), answering);
    outbox.answered(turns[turns.len() - 1]).await;
    outbox.empty().await;
}

#[tokio::test]
async fn an_answer_is_given_before_its_turn_comes() {
    let (outbox, _client, _budget) = pair().await;
    let (first, second) = (outbox.take_turn(), outbox.take_turn());
    let answering = async { outbox.send(second, frame("b")) };
    tokio::join!(biased; outbox.answered(second), answering);
    outbox.send(first, frame("a"));
    outbox.answered(first).await;
    outbox.answered(second).await;
}

#[tokio::test]
async fn nothing_waits_for_a_connection_that_was_abandoned() {
    let (outbox, _client, _budget) = pair().await;
    let turn = outbox.take_turn();
    outbox.abandon();
    outbox.drive().await;
    outbox.room().await;
    outbox.empty().await;
    outbox.answered(turn).await;
    outbox.send(turn, frame("too late"));
}
