//! I46: no spin: a node's tasks are not polled 100,000 times without a timer, an I/O completion or
//! a delivery between.

use super::{Case, Findings, Oracle};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I46", about: "no task is polled 100,000 times without progress", check };

const POLLS_MAX: u64 = 100_000;

fn check(case: &Case<'_>, findings: &mut Findings) {
    let polls = case.evidence.polls_max;
    findings.judged(usize::from(polls > 0));
    if polls > POLLS_MAX {
        let text = format!("{polls} polls without a timer, an I/O completion or a delivery");
        findings.add(case.evidence.end_ns, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::story::Story;

    #[test]
    fn more_polls_than_the_bound_fire() {
        for (polls, broken) in [(0, false), (100_000, false), (100_001, true)] {
            let mut story = Story::new();
            story.evidence.polls_max = polls;
            assert_eq!(story.is_broken("I46"), broken);
        }
    }
}
