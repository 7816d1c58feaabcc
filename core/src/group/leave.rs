//! LeaveGroup: members that go by themselves, or are sent away by an operator.

use rivven_io::clock::Monotonic;

use crate::group::machine::Group;
use crate::group::messages::{Caller, Effect, GroupError};

impl Group {
    /// Members go, all of them before the group forms another generation. A static one may be
    /// named by its instance alone (KIP-345). The answers come in the order of `callers`:
    /// [`GroupError::UnknownMember`] and [`GroupError::FencedInstance`] leave a member where it is.
    pub fn leave(
        &mut self,
        now: Monotonic,
        callers: &[Caller],
        effects: &mut Vec<Effect>,
    ) -> Vec<Result<(), GroupError>> {
        let left = callers.iter().map(|caller| self.leave_one(caller, effects)).collect::<Vec<_>>();
        if left.iter().any(Result::is_ok) {
            self.after_removal(now, effects);
        }
        self.check();
        left
    }

    fn leave_one(&mut self, caller: &Caller, effects: &mut Vec<Effect>) -> Result<(), GroupError> {
        if caller.instance_id.is_none() && self.pending.remove(&caller.member_id).is_some() {
            return Ok(());
        }
        let id = match &caller.instance_id {
            Some(instance) if caller.member_id.is_empty() => {
                self.statics.get(instance).cloned().ok_or(GroupError::UnknownMember)?
            }
            _ => self.known(caller)?,
        };
        self.remove(&id, GroupError::UnknownMember, effects);
        Ok(())
    }
}
