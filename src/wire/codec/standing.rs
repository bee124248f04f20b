//! The bytes of what the controller tells beside the state.
//!
//! ```text
//! remark   node 4, option<service 4>, penalty 4, damped 1, option<failed ms 4>, unfit 1
//! moved    service 4, epoch 24, option<from 4>, option<to 4>, step 1 (0 assigned, 1 began, 2 done, 3 aborted),
//!          cause 1 (in the order of `CAUSES`), ago ms 4
//! ```

use super::DecodeError;
use super::cursor::{Cursor, Wire};
use crate::wire::{Cause, MoveStep, Moved, Remark};

const STEPS: [MoveStep; 4] = [MoveStep::Assigned, MoveStep::Began, MoveStep::Done, MoveStep::Aborted];
/// Their numbers; a new one goes to the end.
const CAUSES: [Cause; 13] = [
    Cause::HolderDown,
    Cause::ColdStart,
    Cause::StartFailed,
    Cause::Tampered,
    Cause::ExternalLink,
    Cause::CheckFailed,
    Cause::Operator,
    Cause::Standby,
    Cause::Leaving,
    Cause::Failback,
    Cause::Balance,
    Cause::TimedOut,
    Cause::HandedOver,
];

fn put_one_of<T: PartialEq>(all: &[T], one: &T, out: &mut Vec<u8>) {
    let at = all.iter().position(|known| known == one).unwrap_or(usize::from(u8::MAX));
    out.push(u8::try_from(at).unwrap_or(u8::MAX));
}

fn take_one_of<T: Copy>(all: &[T], from: &mut Cursor) -> Result<T, DecodeError> {
    all.get(usize::from(from.take::<u8>()?)).copied().ok_or(DecodeError::Value)
}

impl Wire for Remark {
    fn put(&self, out: &mut Vec<u8>) {
        self.node.put(out);
        self.service.put(out);
        self.penalty.put(out);
        self.damped.put(out);
        self.failed_ms.put(out);
        self.unfit.put(out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Remark {
            node: from.take()?,
            service: from.take()?,
            penalty: from.take()?,
            damped: from.take()?,
            failed_ms: from.take()?,
            unfit: from.take()?,
        })
    }
}

impl Wire for Moved {
    fn put(&self, out: &mut Vec<u8>) {
        self.service.put(out);
        self.epoch.put(out);
        self.from.put(out);
        self.to.put(out);
        put_one_of(&STEPS, &self.step, out);
        put_one_of(&CAUSES, &self.cause, out);
        self.ago_ms.put(out);
    }

    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Moved {
            service: from.take()?,
            epoch: from.take()?,
            from: from.take()?,
            to: from.take()?,
            step: take_one_of(&STEPS, from)?,
            cause: take_one_of(&CAUSES, from)?,
            ago_ms: from.take()?,
        })
    }
}
