//! Whether the operations on one object can be put in one order that explains every answer and
//! keeps to real time: what ended before another began comes before it (Herlihy and Wing, 1990).
//!
//! The search is that of a crate; it takes exponential time in the worst case and quadratic time in
//! any, so an object's history is cut into windows first. A window ends with an operation that
//! overlaps no other and from which alone the state behind it follows: what comes then needs to
//! know nothing else of what was before. A window that is too large, or takes too many steps, is
//! given up and counted.
//!
//! ```text
//! commit 5 |--|          window 1: nothing, commit 5
//! commit 7      |-----|
//! read 5          |-|             window 2: 5, commit 7, read 5, read 7
//! read 7                 |-|
//! ```

pub(crate) mod offsets;
pub(crate) mod topics;

use std::cell::Cell;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use todc_utils::{Action, History, Specification, WGLChecker};

use crate::ledger::Moment;

/// Operations in a window, beyond which it is given up: the search takes quadratic time at least.
const WINDOW_OPERATIONS_MAX: usize = 200;
/// Steps of the search in one window; a step takes about a microsecond.
const WINDOW_STEPS_MAX: u64 = 20_000;
/// Steps in all windows of all histories that one oracle looks at in a run.
pub(crate) const STEPS_MAX: u64 = 200_000;

/// What the operations are done to, one after the other.
pub(crate) trait Object {
    type State: Clone + Eq + Hash + Debug;
    /// An operation with its answer.
    type Ask: Clone + Debug;

    /// Before anybody asked anything.
    fn fresh() -> Self::State;

    /// The state after an operation, `None` if it cannot be answered so in `state`.
    fn step(ask: &Self::Ask, state: &Self::State) -> Option<Self::State>;

    /// The state after an operation that overlaps no other, if it follows from that alone.
    fn settles(ask: &Self::Ask) -> Option<Self::State>;
}

/// When an operation took effect at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    At(Moment),
    /// It may take effect at any later time or never, and what ends after that moment does not
    /// tell whether it did.
    Open {
        matters_until: Moment,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Operation<A> {
    pub(crate) began: Moment,
    pub(crate) end: End,
    pub(crate) ask: A,
}

/// No order explains what was answered.
#[derive(Debug)]
pub(crate) struct Contradiction {
    /// The end of the last operation of the window.
    pub(crate) at_ns: u64,
    pub(crate) text: String,
}

/// What came of the histories that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub histories: u64,
    /// Of windows that were not given up.
    pub operations: u64,
    /// Windows that were too large, or took too many steps.
    pub given_up: u64,
}

impl Looked {
    pub(crate) fn add(&mut self, more: Looked) {
        self.histories += more.histories;
        self.operations += more.operations;
        self.given_up += more.given_up;
    }
}

/// Looks at histories, as far as its steps go.
pub(crate) struct Search {
    steps_left: u64,
    pub(crate) looked: Looked,
}

impl Search {
    pub(crate) fn new(steps_max: u64) -> Search {
        Search { steps_left: steps_max, looked: Looked::default() }
    }

    /// Looks at the whole history of one object.
    ///
    /// # Errors
    /// The first window without an order.
    pub(crate) fn check<O: Object>(
        &mut self,
        mut operations: Vec<Operation<O::Ask>>,
    ) -> Result<(), Contradiction> {
        operations.sort_by_key(|operation| operation.began);
        self.looked.histories += 1;
        let mut state = O::fresh();
        let mut window = Window::<O>::new(0, Moment::default());
        for (index, operation) in operations.iter().enumerate() {
            let next = operations.get(index + 1).map(|next| next.began);
            let settled = window.take(operation, next);
            let Some(settled) = settled else { continue };
            self.look::<O>(&state, &operations[window.from..=index])?;
            state = settled;
            window = Window::new(index + 1, window.reach);
        }
        self.look::<O>(&state, &operations[window.from..])
    }

    fn look<O: Object>(
        &mut self,
        state: &O::State,
        window: &[Operation<O::Ask>],
    ) -> Result<(), Contradiction> {
        let found = match window {
            [] => Some(true),
            [Operation { end: End::At(_), ask, .. }] => Some(O::step(ask, state).is_some()),
            _ => self.search::<O>(state, window),
        };
        match found {
            Some(_) => self.looked.operations += window.len() as u64,
            None => self.looked.given_up += 1,
        }
        match found {
            Some(false) => Err(contradiction::<O>(state, window)),
            Some(true) | None => Ok(()),
        }
    }

    /// Whether there is an order, `None` if that was not found out.
    fn search<O: Object>(
        &mut self,
        state: &O::State,
        window: &[Operation<O::Ask>],
    ) -> Option<bool> {
        let steps = WINDOW_STEPS_MAX.min(self.steps_left);
        if window.len() > WINDOW_OPERATIONS_MAX || steps == 0 {
            return None;
        }
        let left = Rc::new(Cell::new(steps));
        let found =
            WGLChecker::<Sequential<O>>::is_linearizable(history::<O>(state, window, &left));
        self.steps_left -= steps - left.get();
        // Without steps every operation is refused, so that the search ends soon.
        (found || left.get() > 0).then_some(found)
    }
}

/// The operations since the last cut.
struct Window<O> {
    from: usize,
    /// The latest moment at which one of them ends, or still matters.
    reach: Moment,
    object: PhantomData<O>,
}

impl<O: Object> Window<O> {
    fn new(from: usize, reach: Moment) -> Window<O> {
        Window { from, reach, object: PhantomData }
    }

    /// Takes the next operation; the state behind it if the window ends there.
    fn take(&mut self, operation: &Operation<O::Ask>, next: Option<Moment>) -> Option<O::State> {
        let reach = self.reach;
        match operation.end {
            End::Open { matters_until } => {
                self.reach = reach.max(matters_until);
                None
            }
            End::At(end) => {
                self.reach = reach.max(end);
                let is_alone = reach < operation.began && next.is_none_or(|next| end < next);
                if is_alone { O::settles(&operation.ask) } else { None }
            }
        }
    }
}

/// The crate's history of a window: what comes first makes the state, what is open ends last.
fn history<O: Object>(
    state: &O::State,
    window: &[Operation<O::Ask>],
    left: &Rc<Cell<u64>>,
) -> History<Step<O>> {
    let mut actions = Vec::with_capacity(2 * window.len());
    for (process, operation) in (1..).zip(window) {
        let step = Step::Ask(operation.ask.clone(), left.clone());
        let (end, is_open) = match operation.end {
            End::At(end) => (end, false),
            End::Open { .. } => (Moment::default(), true),
        };
        actions.push(((false, operation.began, false), (process, Action::Call(step.clone()))));
        actions.push(((is_open, end, true), (process, Action::Response(step))));
    }
    actions.sort_by_key(|(order, _)| *order);
    let begin = Step::Begin(state.clone());
    let first = [(0, Action::Call(begin.clone())), (0, Action::Response(begin))];
    History::from_actions(first.into_iter().chain(actions.into_iter().map(|of| of.1)).collect())
}

fn contradiction<O: Object>(state: &O::State, window: &[Operation<O::Ask>]) -> Contradiction {
    let ms = |moment: Moment| moment.at_ns / 1_000_000;
    let tell = |operation: &Operation<O::Ask>| match operation.end {
        End::At(end) => format!("{:?} {}..{} ms", operation.ask, ms(operation.began), ms(end)),
        End::Open { .. } => format!("{:?} {}.. ms", operation.ask, ms(operation.began)),
    };
    let told: Vec<String> = window.iter().take(TOLD_MAX).map(tell).collect();
    let more = if window.len() > TOLD_MAX { ", …" } else { "" };
    let ends = window.iter().filter_map(|operation| match operation.end {
        End::At(end) => Some(end.at_ns),
        End::Open { .. } => None,
    });
    Contradiction {
        at_ns: ends.max().unwrap_or(0),
        text: format!("no order explains, after {state:?}: {}{more}", told.join(", ")),
    }
}

/// Operations named in a contradiction.
const TOLD_MAX: usize = 12;

/// An operation as the crate sees it.
enum Step<O: Object> {
    /// The window begins with this state.
    Begin(O::State),
    /// With the steps that are left.
    Ask(O::Ask, Rc<Cell<u64>>),
}

impl<O: Object> Clone for Step<O> {
    fn clone(&self) -> Step<O> {
        match self {
            Step::Begin(state) => Step::Begin(state.clone()),
            Step::Ask(ask, left) => Step::Ask(ask.clone(), left.clone()),
        }
    }
}

impl<O: Object> Debug for Step<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Begin(state) => write!(f, "begin {state:?}"),
            Step::Ask(ask, _) => write!(f, "{ask:?}"),
        }
    }
}

/// An object as the crate's specification; there is no state before a window begins.
struct Sequential<O>(PhantomData<O>);

impl<O: Object> Specification for Sequential<O> {
    type State = Option<O::State>;
    type Operation = Step<O>;

    fn init() -> Self::State {
        None
    }

    fn apply(step: &Step<O>, state: &Self::State) -> (bool, Self::State) {
        let after = match (step, state) {
            (Step::Begin(begin), None) => Some(begin.clone()),
            (Step::Ask(ask, left), Some(state)) if left.get() > 0 => {
                left.set(left.get() - 1);
                O::step(ask, state)
            }
            _ => None,
        };
        match after {
            Some(after) => (true, Some(after)),
            None => (false, state.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of a number, 0 at first.
    struct Number;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Ask {
        Write(u32),
        Read(u32),
    }
    use Ask::{Read, Write};

    impl Object for Number {
        type State = u32;
        type Ask = Ask;

        fn fresh() -> u32 {
            0
        }

        fn step(ask: &Ask, state: &u32) -> Option<u32> {
            match ask {
                Write(number) => Some(*number),
                Read(number) => (number == state).then_some(*state),
            }
        }

        fn settles(ask: &Ask) -> Option<u32> {
            let (Write(number) | Read(number)) = ask;
            Some(*number)
        }
    }

    fn moment(at_ns: u64) -> Moment {
        Moment { at_ns, index: 0 }
    }

    fn done((began, end): (u64, u64), ask: Ask) -> Operation<Ask> {
        Operation { began: moment(began), end: End::At(moment(end)), ask }
    }

    fn open((began, matters_until): (u64, u64), ask: Ask) -> Operation<Ask> {
        let end = End::Open { matters_until: moment(matters_until) };
        Operation { began: moment(began), end, ask }
    }

    fn check(operations: &[Operation<Ask>], steps_max: u64) -> (bool, Looked) {
        let mut search = Search::new(steps_max);
        let is_good = search.check::<Number>(operations.to_vec()).is_ok();
        (is_good, search.looked)
    }

    #[test]
    fn only_histories_with_an_order_in_real_time_pass() {
        for (operations, is_good) in [
            (vec![done((1, 2), Write(1)), done((3, 4), Read(1)), done((5, 6), Read(0))], false),
            (vec![done((1, 9), Write(1)), done((2, 3), Read(1)), done((4, 5), Read(0))], false),
            (vec![done((1, 9), Write(1)), done((2, 3), Read(0)), done((4, 5), Read(1))], true),
            (vec![done((1, 3), Write(1)), done((2, 4), Write(2)), done((5, 6), Read(1))], true),
            (vec![open((1, 6), Write(1)), done((2, 3), Read(0)), done((5, 6), Read(1))], true),
            (vec![open((1, 4), Write(1)), done((3, 4), Read(1)), done((5, 6), Read(0))], false),
            (vec![open((4, 6), Write(1)), done((2, 3), Read(1)), done((5, 6), Read(1))], false),
            (vec![], true),
        ] {
            let (found, looked) = check(&operations, STEPS_MAX);
            assert_eq!((found, looked.given_up), (is_good, 0), "{operations:?}");
        }
    }

    #[test]
    fn a_cut_hides_no_stale_read_of_what_was_written_long_before() {
        for (last, is_good) in [(9, true), (8, false), (0, false)] {
            let mut operations: Vec<_> =
                (0..10).map(|n| done((10 * n + 1, 10 * n + 5), Write(n as u32))).collect();
            // One of them is concurrent with a reader.
            operations.push(done((52, 57), Read(5)));
            operations.push(done((200, 201), Read(last)));
            assert_eq!(check(&operations, STEPS_MAX).0, is_good, "{last}");
        }
    }

    #[test]
    fn what_is_too_large_or_takes_too_long_is_counted_as_given_up() {
        // All at once, and the last read has no explanation.
        let crowd = |count: u64| {
            let mut all: Vec<_> =
                (1..=count).map(|n| done((n, 1_000 + n), Write(n as u32))).collect();
            all.push(done((2_000, 2_001), Read(0)));
            all
        };
        assert_eq!(check(&crowd(4), STEPS_MAX), (false, looked(5, 0)));
        assert_eq!(check(&crowd(30), STEPS_MAX), (true, looked(0, 1)));
        assert_eq!(check(&crowd(4), 10), (true, looked(0, 1)));
        assert_eq!(check(&crowd(300), STEPS_MAX), (true, looked(0, 1)));
        // Of what is around a window that is given up each operation still counts.
        let mut around = crowd(300);
        around.push(done((3_000, 3_001), Read(0)));
        assert_eq!(check(&around, STEPS_MAX), (true, looked(1, 1)));
    }

    fn looked(operations: u64, given_up: u64) -> Looked {
        Looked { histories: 1, operations, given_up }
    }
}
