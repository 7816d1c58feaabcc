//! The task that keeps a member in its group while the application works on records.

use std::sync::Arc;
use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::heartbeat::HeartbeatRequest;
use rivven_core::kafka::messages::leave_group::{LeaveGroupRequest, MemberIdentity};

use super::membership::Membership;
use super::shared::Shared;
use crate::client::Lane;
use crate::error::{Error, accepted};

/// What is to be done, and when.
enum Next {
    /// Nothing before the membership changes.
    Sleep,
    Wait(Duration),
    Beat(Membership),
    /// The application does not poll any more.
    Leave(Membership),
}

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        match next(&shared) {
            Next::Sleep => shared.beat.notified().await,
            Next::Wait(wait) => {
                tokio::select! {
                    biased;
                    () = shared.beat.notified() => {}
                    () = shared.client.env().clock.sleep(wait) => {}
                }
            }
            Next::Beat(me) => beat(&shared, &me).await,
            Next::Leave(me) => {
                // A static member stays until its session is over (KIP-345).
                if shared.config.instance_id.is_none()
                    && let Err(error) = leave(&shared, &me, "it polls too seldom").await
                {
                    tracing::debug!(%error, "leaving failed");
                }
            }
        }
    }
}

fn next(shared: &Shared) -> Next {
    let now = shared.now();
    let config = &shared.config;
    let mut guard = shared.lock();
    let state = &mut *guard;
    let me = &mut state.membership;
    // Who owns something while it joins shows that it is there, so that it may go on reading.
    if me.generation < 0 || (me.is_joining && state.partitions.rows.is_empty()) {
        return Next::Sleep;
    }
    let poll = state.polled.filter(|_| !me.is_joining);
    let poll = poll.map(|polled| polled.after(config.max_poll_interval));
    if poll.is_some_and(|poll| poll <= now) {
        let before = me.clone();
        let limit = config.max_poll_interval;
        me.lose(format!("poll was not called for {limit:?} (max_poll_interval)"));
        me.member_id.clear();
        return Next::Leave(before);
    }
    if me.beat_due <= now {
        me.beat_due = now.after(config.heartbeat_interval);
        return Next::Beat(me.clone());
    }
    Next::Wait(poll.map_or(me.beat_due, |poll| poll.min(me.beat_due)).since(now))
}

async fn beat(shared: &Shared, me: &Membership) {
    let sent = shared.now();
    let code = match ask(shared, me).await {
        Ok(code) => code,
        Err(error) => {
            tracing::debug!(%error, "no heartbeat");
            return beat_soon(shared, error);
        }
    };
    let now = shared.now();
    let error = || Error::refused("heartbeat", code, None);
    let mut state = shared.lock();
    let is_known = matches!(code, ErrorCode::NONE | ErrorCode::REBALANCE_IN_PROGRESS);
    if is_known && state.membership.is_still(me) {
        state.membership.hear(sent, code == ErrorCode::NONE, now);
    }
    let is_noticed = state.membership.notice(code, me);
    if !is_noticed && code.is_retriable() {
        drop(state);
        return beat_soon(shared, error());
    }
    if !is_noticed && code.is_error() && state.membership.is_still(me) {
        state.membership.lose(format!("the coordinator refuses this member: {code}"));
        state.trouble = Some(error());
    }
    drop(state);
    // Records may have waited for this answer.
    shared.arrived.notify_one();
}

fn beat_soon(shared: &Shared, error: Error) {
    let soon = shared.now().after(shared.client.config().retry_backoff);
    {
        let me = &mut shared.lock().membership;
        me.beat_due = me.beat_due.min(soon);
    }
    shared.fall_silent(error);
}

async fn ask(shared: &Shared, me: &Membership) -> Result<ErrorCode, Error> {
    let request = HeartbeatRequest {
        group_id: shared.group()?,
        generation_id: me.generation,
        member_id: WireStr::from(me.member_id.as_str()),
        group_instance_id: shared.instance(),
    };
    let timeout = shared.client.config().request_timeout.min(shared.config.session_timeout);
    Ok(shared.call_coordinator(Lane::Group, (&request, timeout)).await?.error_code)
}

/// Takes a member out of its group.
///
/// # Errors
/// It may still be in; its session runs out.
pub(super) async fn leave(shared: &Shared, me: &Membership, why: &str) -> Result<(), Error> {
    let member_id = WireStr::from(me.member_id.as_str());
    let member = MemberIdentity {
        member_id: member_id.clone(),
        group_instance_id: shared.instance(),
        reason: Some(WireStr::from(why)),
    };
    let group_id = shared.group()?;
    let request = LeaveGroupRequest { group_id, member_id, members: vec![member] };
    let timeout = shared.client.config().request_timeout;
    let answer = shared.call_coordinator(Lane::Group, (&request, timeout)).await?;
    let codes = answer.members.iter().map(|row| row.error_code).chain([answer.error_code]);
    for code in codes.filter(|code| *code != ErrorCode::UNKNOWN_MEMBER_ID) {
        accepted(code, None, || "leaving the group".to_owned())?;
    }
    Ok(())
}
