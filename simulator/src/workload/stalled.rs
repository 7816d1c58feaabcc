//! A consumer that asks for much at once and does not read what it is answered for seconds (M4);
//! then it reads on slowly, or goes away.

use rivven_io::sim::rng::Stream;
use rivven_io::sim::trace;

use super::known::Known;
use super::operations::Operations;
use super::set_up::client_of;
use super::{ClientContext, ClientParams, millis};
use crate::client::reads::{EARLIEST, FetchSize, Place, is_gone};
use crate::client::{Client, Trouble};
use crate::plan::CLIENTS;

/// As it counts among what was injected: the key of scenario files.
pub(crate) const INJECTED: &str = "stalled_consumers";
/// How long it reads nothing, in milliseconds.
const STALL_MS: (u64, u64) = (500, 8_000);
/// Requests that it sends before.
const REQUESTS: (u64, u64) = (2, 6);
/// Longest pause between two answers that it then reads, in milliseconds.
const PAUSE_MS_MAX: u64 = 300;

struct Stalled {
    context: ClientContext,
    params: ClientParams,
    client: Client,
    known: Known,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams) {
    let slowness_ms = STALL_MS.1 + REQUESTS.1 * PAUSE_MS_MAX;
    let timeout = millis(params.request_timeout_ms + slowness_ms);
    let client = client_of(&context, params.client, timeout);
    let mut operations = Operations::of(&context, &params, "stalled");
    let mut stalled = Stalled { context, params, client, known: Known::new() };
    while let Some(mut operation) = operations.next().await {
        if let Err(trouble) = stalled.step(&mut operation.draws).await {
            if trouble.code().is_some_and(is_gone) {
                stalled.known.note_stale();
            }
            stalled.client.back_off().await;
        }
    }
}

impl Stalled {
    async fn step(&mut self, draws: &mut Stream) -> Result<(), Trouble> {
        let requests = draws.between(REQUESTS.0, REQUESTS.1);
        let stall = millis(draws.between(STALL_MS.0, STALL_MS.1));
        let (reads_on, pauses) = (draws.chance(0.7), draws.u64());
        if !self.known.refresh(&mut self.client, &self.params).await {
            self.client.back_off().await;
            return Ok(());
        }
        let place = self.known.draw(draws);
        let offset = self.client.end_of(&place, EARLIEST).await?;
        let mut asked = Vec::new();
        for _ in 0..requests {
            match self.ask(&place, offset).await {
                Ok(op) => asked.push(op),
                Err(trouble) => {
                    self.client.leave_fetches(&asked);
                    return Err(trouble);
                }
            }
        }
        self.context.history.injects(INJECTED);
        self.context.stop.pause(&self.context.env, stall).await;
        if self.client.keeps_broker_waiting() {
            trace::fault(CLIENTS + u64::from(self.params.client), "M4", asked.len() as u64);
        }
        if reads_on {
            return self.read_on(&asked, pauses).await;
        }
        self.client.leave_fetches(&asked);
        Ok(())
    }

    async fn ask(&mut self, place: &Place, offset: i64) -> Result<u64, Trouble> {
        let bytes = i32::try_from(self.params.fetch_bytes).unwrap_or(i32::MAX);
        self.client.begin_fetch(place, offset, FetchSize { wait_ms: 0, bytes }).await
    }

    /// Reads the answers one by one; once all are asked to end, it goes away instead.
    async fn read_on(&mut self, asked: &[u64], pauses: u64) -> Result<(), Trouble> {
        for (index, op) in asked.iter().enumerate() {
            let pause_ms = (pauses >> (index * 8) & 0xff) * PAUSE_MS_MAX / 0xff;
            if self.context.stop.pause(&self.context.env, millis(pause_ms)).await {
                self.client.leave_fetches(&asked[index..]);
                return Ok(());
            }
            let read = self.client.end_fetch(*op).await;
            if let Err(trouble @ (Trouble::NotSent(_) | Trouble::NotAnswered(_))) = read {
                self.client.leave_fetches(&asked[index + 1..]);
                return Err(trouble);
            }
        }
        Ok(())
    }
}
