"""What is asked of a broker or a cluster as a whole, and what needs an API that this release does not serve."""
import json
import re


def brokers(t):
    done = t("broker-api-versions")
    rows = dict(re.findall(r"^(\w+)\(\d+\): (.*?) \[usable", "\n".join(done.lines), re.M))
    yield "broker-api-versions", (done.code, done.lines[0].startswith(t.address + " (id: 0 rack: null")), (0, True)
    served = ["Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "FindCoordinator", "JoinGroup"]
    yield "broker-api-versions has usable versions", [name for name in served if name not in rows], []
    done = t("cluster", "cluster-id", "--bootstrap-server", "@")
    yield "cluster-id", (done.code, bool(re.match(r"Cluster ID: \S+$", done.lines[0]))), (0, True)
    if not t.old:
        done = t("cluster", "list-endpoints", "--bootstrap-server", "@")
        yield "cluster list-endpoints", (done.code, [line.split()[:3] for line in done.lines[1:]]), \
            (0, [["0"] + t.address.split(":")])
    topic = t.name("dirs")
    t.topic(topic, 2)
    t.produce(topic, ["a line"])
    done = t("log-dirs", "--describe", "--topic-list", topic, "--broker-list", "0")
    told = json.loads(next(line for line in done.lines if line.startswith("{")))
    held = [(row["partition"], row["size"] > 0, row["offsetLag"], row["isFuture"])
            for folder in told["brokers"][0]["logDirs"] for row in folder["partitions"]]
    yield "log-dirs", (done.code, [row[::2] for row in sorted(held)]), \
        (0, [("%s-0" % topic, 0), ("%s-1" % topic, 0)])
    yield "log-dirs sees the records", sum(row[1] for row in held), 1
    topic = t.name("compatible")
    t.topic(topic, 1)

    def compatible():
        t("topics", "--delete", "--topic", "newtopic", "--if-exists")  # the tool's own name for it
        return t("client-compatibility-test", "--bootstrap-server", "@", "--topic", topic,
                 "--offsets-for-times-supported", "true", "--cluster-id-supported", "true",
                 "--expect-record-too-large-exception", "false", "--num-cluster-nodes", "1",
                 "--create-topics-supported", "true", "--describe-acls-supported", str("DescribeAcls" in rows).lower(),
                 "--describe-configs-supported", "true", "--idempotent-producer-supported", "true").code
    # It waits 10 s for a record, which is short on a busy machine.
    yield "client-compatibility-test", t.settled(0, compatible, 3), 0


def replicas(t):
    topic = t.name("replicas")
    t.topic(topic, 2)
    done = t("leader-election", "--election-type", "preferred", "--topic", topic, "--partition", "0")
    yield "leader-election of one partition", done.brief, \
        (0, ["Valid replica already elected for partitions %s-0" % topic])
    yield "leader-election of all", t.settled(
        0, lambda: t("leader-election", "--election-type", "preferred", "--all-topic-partitions").code, 3), 0
    done = t("leader-election", "--election-type", "preferred", "--topic", t.name("nobody"), "--partition", "0")
    yield "leader-election of an unknown topic", done.failure, (1, "UnknownTopicOrPartitionException")
    yield "reassign-partitions --list", t("reassign-partitions", "--list").brief, \
        (0, ["No partition reassignments found."])
    path = t.file("topics", json.dumps({"version": 1, "topics": [{"topic": topic}]}))
    done = t("reassign-partitions", "--generate", "--topics-to-move-json-file", path, "--broker-list", "0")
    plans = [json.loads(line) for line in done.lines if line.startswith("{")]
    moves = [sorted((row["topic"], row["partition"], row["replicas"]) for row in plan["partitions"]) for plan in plans]
    yield "reassign-partitions --generate", (done.code, moves), (0, [[(topic, number, [0]) for number in range(2)]] * 2)
    path = t.file("plan", json.dumps(plans[-1] if plans else {}))
    done = t("reassign-partitions", "--execute", "--reassignment-json-file", path)
    yield "reassign-partitions --execute", (done.code, done.lines[-1:]), \
        (0, ["Successfully started partition reassignments for %s-0,%s-1" % (topic, topic)])
    done = t("reassign-partitions", "--verify", "--reassignment-json-file", path)
    yield "reassign-partitions --verify", (done.code, done.lines[:3]), \
        (0, ["Status of partition reassignment:"] + ["Reassignment of partition %s-%d is completed." % (topic, number)
                                                     for number in range(2)])
    done = t("reassign-partitions", "--cancel", "--reassignment-json-file", path)
    yield "reassign-partitions --cancel", (done.code, done.lines[:1]), \
        (0, ["None of the specified partition reassignments are active."])


def others(t):
    """What a release without transactions, quotas, access rules or a quorum cannot do: bar/kafka-tools*-lacking.txt."""
    done = t("transactions", "list")
    yield "transactions list", done.code, 0
    done = t("features", "describe")
    yield "features describe", (done.code, "metadata.version" in done.out), (0, True)
    done = t("metadata-quorum", "describe", "--status")
    yield "metadata-quorum describe", (done.code, "LeaderId:" in done.out), (0, True)
    yield "acls --list", t("acls", "--list").failure, (0, None)
    yield "configs describe users", t("configs", "--describe", "--entity-type", "users").code, 0
    done = t("configs", "--describe", "--entity-type", "broker-loggers", "--entity-name", "0")
    yield "configs describe broker-loggers", (done.code, "root=" in done.out), (0, True)
    topic = t.name("transaction")
    t.topic(topic, 1)
    to = ["--producer-props", "bootstrap.servers=@"] if t.old else ["--bootstrap-server", "@"]
    done = t("producer-perf-test", "--topic", topic, "--num-records", "100", "--record-size", "10",
             "--throughput", "-1", "--transactional-id", t.name("id"), "--transaction-duration-ms", "100", *to)
    yield "producer-perf-test in transactions", (done.code, "100 records sent" in done.out), (0, True)
    topic = t.name("protocol")
    t.topic(topic, 1)
    t.produce(topic, ["a line"])
    done = t.consume(topic, 1, "--from-beginning", "--group", t.name("protocol"),
                     "--command-property", "group.protocol=consumer")
    yield "console-consumer in the consumer protocol", done.brief, (0, ["a line"])


GROUPS = [("cluster", brokers), ("replicas", replicas), ("others", others)]
