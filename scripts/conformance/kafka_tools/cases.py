"""All cases, some groups of them at a time; and planted mistakes, each of which must turn certain cases red."""
import concurrent.futures
import os
import tempfile
import traceback

from kafka_tools import cluster, groups, records, topics
from kafka_tools.tool import Tools

GROUPS = topics.GROUPS + records.GROUPS + groups.GROUPS + cluster.GROUPS
# A JVM keeps a core busy.
AT_ONCE = 2

# What a broker might do wrong, played by a tool that asks for something else than its case says; and the cases of the
# group that see it. Every other case of the group passes.
PLANTED = [
    ("one partition too few is made", ("topics", topics.alter), {"5": "4"}, {"topics: describe more partitions"}),
    ("a value is not what was sent", ("verifiable", records.verifiable_producer), {"7": "8"},
     {"verifiable: verifiable-producer got every offset", "verifiable: consume what verifiable-producer wrote"}),
    ("a commit is behind by one", ("consumer-groups", groups.committing), {"2": "1"},
     {"consumer-groups: console-consumer goes on where its group was", "consumer-groups: describe what was committed",
      "consumer-groups: describe every group"}),
]


def ask(t, told, area, group):
    """The state of each case of a group; what was not asked because of a fault is missing. A failure is told of the
    cases in `told`, of every case if it is empty."""
    states = {}
    try:
        for name, got, wanted in group(t):
            name = "%s: %s" % (area, name)
            states[name] = "PASSED" if got == wanted else "FAILED"
            if got != wanted and not t.planted and (not told or name in told):
                print("  %s\n    is     %r\n    wanted %r" % (name, got, wanted), flush=True)
    except Exception:
        print("  %s: no more of %s:\n%s" % (area, group.__name__, traceback.format_exc()), flush=True)
    return states


def notices(t, what, group, swapped, seen):
    t.planted = swapped
    failed = {name for name, state in ask(t, [], *group).items() if state != "PASSED"}
    if failed != seen:
        print("  planted: %s\n    is     %r\n    wanted %r" % (what, failed, seen), flush=True)
    return {"planted: " + what: "PASSED" if failed == seen else "FAILED"}


def run(version, jars, address, told):
    """States by case. RIVVEN_KAFKA_TOOLS names areas or groups, when not all are wanted."""
    only = os.environ.get("RIVVEN_KAFKA_TOOLS", "").split()
    states = {}
    with tempfile.TemporaryDirectory(prefix="rivven-kafka-tools-") as folder:
        def tools():
            return Tools(version, jars, folder, address)
        tools().warm()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            asked = [pool.submit(ask, tools(), told, area, group) for area, group in GROUPS
                     if not only or area in only or group.__name__ in only]
            asked += [pool.submit(notices, tools(), *row) for row in PLANTED if not only or "planted" in only]
            for done in asked:
                states.update(done.result())
    return states
