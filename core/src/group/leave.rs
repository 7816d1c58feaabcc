//! LeaveGroup: members that go by themselves, or are sent away by an operator.

use rivven_io::clock::Monotonic;

use crate::group::machine::Group;
use crate::group::messages::{Caller, Effect, GroupError};

impl Group {
    /// A member goes. A static one may be named by its instance alone (KIP-345).
    ///
    /// # Errors
    /// [`GroupError::UnknownMember`] or [`GroupError::FencedInstance`].
    pub fn leave(
        &mut self,
        now: Monotonic,
        caller: &Caller,
        effects: &mut Vec<Effect>,
    ) -> Result<(), GroupError> {
        if caller.instance_id.is_none() && self.pending.remove(&caller.member_id).is_some() {
            self.after_removal(now, effects);
            self.check();
            return Ok(());
        }
        let id = match &caller.instance_id {
            Some(instance) if caller.member_id.is_empty() => {
                self.statics.get(instance).cloned().ok_or(GroupError::UnknownMember)?
            }
            _ => self.known(caller)?,
        };
        self.remove(&id, GroupError::UnknownMember, effects);
        self.after_removal(now, effects);
        self.check();
        Ok(())
    }
}
