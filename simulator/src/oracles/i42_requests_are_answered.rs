//! I42: when the faults are over, every request is answered in time, and every partition takes and
//! gives records again, also those of producers that had trouble before. In expect-loss runs an
//! error is an answer too.

use std::collections::BTreeMap;

use rivven_core::ids::PartitionId;

use super::{Case, Findings, Oracle};
use crate::ledger::{ProbeEnd, ProbeKind};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I42", about: "every request is answered once the faults are over", check };

fn check(case: &Case<'_>, findings: &mut Findings) {
    let end_ns = case.evidence.end_ns;
    if case.ledger.liveness_end.is_none() {
        findings.add(end_ns, "the liveness phase did not come to its end".to_owned());
        return;
    }
    findings.judged(case.ledger.probes.len() + case.ledger.producer_ends.len());
    let mut last: BTreeMap<(PartitionId, bool), &ProbeEnd> = BTreeMap::new();
    for probe in &case.ledger.probes {
        if matches!(probe.end, ProbeEnd::TimedOut | ProbeEnd::Never) {
            let text = format!("a {:?} request of {:?}: {:?}", probe.kind, probe.partition, {
                &probe.end
            });
            findings.add(probe.invoked.at_ns, text);
        }
        if let Some(partition) = probe.partition {
            last.insert((partition, probe.kind == ProbeKind::Produce), &probe.end);
        }
    }
    for ((partition, is_produce), end) in last {
        if let (ProbeEnd::Refused(why), false) = (end, case.may_lose()) {
            let what = if is_produce { "takes" } else { "gives" };
            findings.add(end_ns, format!("{partition} {what} no records: {why}"));
        }
    }
    for (at, partition, refused) in &case.ledger.producer_ends {
        if let (Some(why), false) = (refused, case.may_lose()) {
            findings.add(at.at_ns, format!("a producer writes no more to {partition}: {why}"));
        }
    }
    let mut of_groups = case.ledger.probes.iter().filter(|probe| probe.kind == ProbeKind::Group);
    if let Some(ProbeEnd::Refused(why)) = of_groups.next_back().map(|probe| &probe.end)
        && !case.may_lose()
    {
        findings.add(end_ns, format!("groups take no commits: {why}"));
    }
    if !case.ledger.probes.iter().any(|probe| probe.end == ProbeEnd::Good) {
        findings.add(end_ns, "no probe was answered without an error".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Contract;
    use crate::client::TIMED_OUT;
    use crate::history::LIVENESS_CLIENT;
    use crate::history::event::{Call, EventKind, Failure, Mark, Reply};
    use crate::story::{Story, partition};

    fn end(why: &str) -> EventKind {
        EventKind::Info(Failure { code: None, why: why.to_owned() })
    }

    #[test]
    fn a_probe_without_a_good_answer_fires() {
        let good = EventKind::Ok(Reply::Produced { base_offset: 0, log_start: 0 });
        for (contract, ends, broken) in [
            (Contract::FsyncAck, vec![good.clone()], false),
            (Contract::FsyncAck, vec![end("refused"), good.clone()], false),
            (Contract::FsyncAck, vec![good.clone(), end("refused")], true),
            (Contract::ExpectLoss, vec![good.clone(), end("refused")], false),
            (Contract::ExpectLoss, vec![end(TIMED_OUT), good.clone()], true),
            (Contract::FsyncAck, vec![], true),
        ] {
            let mut story = Story::new();
            story.evidence.contract = contract;
            story.mark(Mark::Healed);
            for (made, end) in (1..).zip(&ends) {
                let call = Call::Produce(Story::send(&[made], None));
                story.ask(LIVENESS_CLIENT, call, end.clone());
            }
            story.mark(Mark::LivenessEnd);
            assert_eq!(story.is_broken("I42"), broken, "{contract:?} {ends:?}");
        }
    }

    #[test]
    fn a_producer_that_writes_no_more_fires() {
        for refused in [None, Some("records before it are missing".to_owned())] {
            let mut story = Story::new();
            story.mark(Mark::Healed);
            let good = EventKind::Ok(Reply::Produced { base_offset: 0, log_start: 0 });
            story.ask(LIVENESS_CLIENT, Call::Produce(Story::send(&[1], None)), good);
            let (partition, is_broken) = (partition(1), refused.is_some());
            story.mark(Mark::ProducerEnd { partition, refused }).mark(Mark::LivenessEnd);
            assert_eq!(story.is_broken("I42"), is_broken);
        }
    }

    #[test]
    fn a_liveness_phase_without_an_end_fires() {
        let mut story = Story::new();
        story.mark(Mark::Healed);
        assert!(story.is_broken("I42"));
    }
}
