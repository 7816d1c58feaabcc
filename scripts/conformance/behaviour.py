#!/usr/bin/env python3
"""behaviour.py [--check]

Prints docs/behaviour.md: what Apache Kafka 4.3.1 answered (expected/behaviour-4.3.1.md) beside what the bar of the
probe suite holds rivvend to (bar/probe*.txt). With --check it says whether the document is that text.
Exit codes: 0 printed, or the same; 1 not the same, or a case is in none of the bars or in two.
"""
import pathlib
import re
import sys

import compare

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs/behaviour.md"

# Heading and how its cases begin.
SECTIONS = [
    ("Frames", "frame:"), ("Keys and versions", "api:"), ("ApiVersions", "ApiVersions"), ("Order of answers", "order:"),
    ("Metadata", "Metadata"), ("CreateTopics", "CreateTopics"), ("DeleteTopics", "DeleteTopics"),
    ("CreatePartitions", "CreatePartitions"), ("Produce", "Produce"), ("InitProducerId", "InitProducerId"),
    ("Idempotence", "Idempotence"), ("Fetch", "Fetch"), ("ListOffsets", "ListOffsets"),
    ("FindCoordinator", "FindCoordinator"), ("JoinGroup", "JoinGroup"), ("SyncGroup", "SyncGroup"),
    ("Heartbeat", "Heartbeat"), ("LeaveGroup", "LeaveGroup"), ("OffsetCommit", "OffsetCommit"),
    ("OffsetFetch", "OffsetFetch"), ("OffsetDelete", "OffsetDelete"), ("ListGroups", "ListGroups"),
    ("DescribeGroups", "DescribeGroups"), ("DeleteGroups", "DeleteGroups"), ("Groups", "Groups"),
    ("OffsetForLeaderEpoch", "OffsetForLeaderEpoch"), ("DescribeLogDirs", "DescribeLogDirs"),
    ("ElectLeaders", "ElectLeaders"), ("AlterPartitionReassignments", "AlterPartitionReassignments"),
    ("ListPartitionReassignments", "ListPartitionReassignments"), ("ListConfigResources", "ListConfigResources"),
]

HEAD = """# Behaviour, case by case

What Apache Kafka 4.3.1 answers to awkward requests, measured over plain sockets, and what Rivven answers. Error codes are the bar; texts are not compared, times to a quarter of a second. `base N` is an offset that the broker gave.

This text is written by `scripts/conformance/behaviour.py` from Kafka's recorded answers (`expected/behaviour-4.3.1.md` beside it) and the three parts of the bar (`bar/probe.txt`, `bar/probe-different.txt`, `bar/probe-lacking.txt`). The test of a row is the case of the same name:

| rows | command | run by |
|---|---|---|
| same | `scripts/conformance/run probe` asks each and holds the answer to Kafka's | `.ci/run`, step conformance |
| different | the same command holds the answer to the one that stands here | `.ci/run`, step conformance |
| the text as a whole | `scripts/conformance/behaviour.py --check` | `.ci/run`, step conformance |
"""


def bar(name):
    path = HERE / "bar" / name
    rows = [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8") if line.strip()]
    return {row[0]: row[1:] for row in rows}


def shown(compared):
    """An answer in the form in which it is compared, for people."""
    compared = compared.replace("PROBE ERROR AssertionError: ", "while the case is set up: ")
    return re.sub(r" 'This most likely occurs .*?'", "", compared)


def cell(text):
    return text.replace("|", "\\|")


def document():
    answers = compare.load(HERE / "expected/behaviour-4.3.1.md")
    same, different, lacking = bar("probe.txt"), bar("probe-different.txt"), bar("probe-lacking.txt")
    for case in answers:
        if [case in part for part in (same, different, lacking)].count(True) != 1:
            sys.exit("behaviour: %s: not in exactly one part of the bar" % case)
    for case in list(same) + list(different) + list(lacking):
        if case not in answers:
            sys.exit("behaviour: %s: Kafka was never asked that" % case)
    out = [HEAD, "%d cases are the same, %d differ on purpose, %d need an API which this release does not serve.\n" % (
        len(same), len(different), len(lacking))]
    placed = set()
    for heading, prefix in SECTIONS:
        out.append("## %s\n\n| case | Apache Kafka 4.3.1 | ours |\n|---|---|---|" % heading)
        for case, answer in answers.items():
            if case in lacking or not case.startswith(prefix):
                continue
            placed.add(case)
            ours = "same" if case in same else "different: %s. %s" % (shown(different[case][1]), different[case][0])
            out.append("| %s | %s | %s |" % (cell(case), cell(shown(compare.norm(answer))), cell(ours)))
        out.append("")
    left = [case for case in answers if case not in placed and case not in lacking]
    if left:
        sys.exit("behaviour: %s: under no heading" % left[0])
    out.append("## Cases that need an API which this release does not serve\n\n"
               "A request of an API that is not advertised closes the connection, as it does in Kafka "
               "(`api: unknown key 1000 v0`).\n\n| case | needs |\n|---|---|")
    out += ["| %s | %s |" % (cell(case), cell(needs[0])) for case, needs in lacking.items()]
    return "\n".join(out) + "\n"


def main():
    text = document()
    if "--check" not in sys.argv[1:]:
        print(text, end="")
        return 0
    if DOCUMENT.read_text(encoding="utf-8") == text:
        return 0
    print("behaviour: %s is not what `behaviour.py` prints" % DOCUMENT.name)
    return 1


if __name__ == "__main__":
    sys.exit(main())
