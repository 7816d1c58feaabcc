"""kafka-topics and kafka-configs."""
import re


def described(done):
    """Exit code, the fields of a topic's first line that do not vary, and those of each partition."""
    fields = [dict(field.split(":", 1) for field in line.split("\t")) for line in done.lines]
    fields = [{key.strip(): value.strip() for key, value in row.items()} for row in fields]
    heads = [(row["PartitionCount"], row["ReplicationFactor"]) for row in fields if "PartitionCount" in row]
    rows = [(row["Partition"], row["Leader"], row["Replicas"], row["Isr"]) for row in fields if "Partition" in row]
    return done.code, heads, rows


def whole(count):
    return [(str(number), "0", "0", "0") for number in range(count)]


def create(t):
    name = t.name("create")
    yield "create", t.topic(name, 3, "--replication-factor", "1", "--config", "retention.ms=3600000").brief, \
        (0, ["Created topic %s." % name])
    yield "create one that exists", t.topic(name, 3).failure, (1, "TopicExistsException")
    yield "create one that exists, --if-not-exists", t.topic(name, 3, "--if-not-exists").brief, (0, [])
    done = t("topics", "--describe", "--topic", name)
    yield "describe", described(done), (0, [("3", "1")], whole(3))
    yield "describe shows the configuration", "retention.ms=3600000" in done.lines[0], True
    topic_id = re.search(r"TopicId: (\S+)", done.lines[0]).group(1)
    yield "describe by id", described(t("topics", "--describe", "--topic-id", topic_id)), described(done)
    done = t("topics", "--list")
    yield "list", (done.code, name in done.lines), (0, True)
    yield "list by a pattern", t("topics", "--list", "--topic", name[:-1] + ".").brief, (0, [name])


def create_otherwise(t):
    name = t.name("otherwise")
    done = t("topics", "--create", "--topic", name)
    yield "create with the broker's number of partitions", done.code, 0
    yield "describe the broker's number of partitions", described(t("topics", "--describe", "--topic", name)), \
        (0, [("4", "1")], whole(4))
    name = t.name("assigned")
    done = t("topics", "--create", "--topic", name, "--replica-assignment", "0,0")
    yield "create with an assignment", done.code, 0
    yield "describe an assignment", described(t("topics", "--describe", "--topic", name)), (0, [("2", "1")], whole(2))
    yield "create with too many replicas", t.topic(t.name("replicas"), 1, "--replication-factor", "3").failure, \
        (1, "InvalidReplicationFactorException")
    yield "create with no partition", t.topic(t.name("none"), 0).code, 1
    yield "create with an unknown configuration", t.topic(t.name("unknown"), 1, "--config", "nobody=1").code, 1
    yield "create with a bad configuration", t.topic(t.name("bad"), 1, "--config", "retention.ms=abc").code, 1
    yield "create with a name that is none", t.topic("bad name!", 1).failure, (1, "InvalidTopicException")


def alter(t):
    name = t.name("alter")
    t.topic(name, 2)
    yield "alter --partitions", t("topics", "--alter", "--topic", name, "--partitions", "5").brief, (0, [])
    yield "describe more partitions", described(t("topics", "--describe", "--topic", name)), \
        (0, [("5", "1")], whole(5))
    yield "alter to fewer partitions", t("topics", "--alter", "--topic", name, "--partitions", "2").failure, \
        (1, "InvalidPartitionsException")
    yield "alter an unknown topic", t("topics", "--alter", "--topic", t.name("nobody"), "--partitions", "2").code, 1
    yield "alter an unknown topic, --if-exists", \
        t("topics", "--alter", "--topic", t.name("nobody"), "--partitions", "2", "--if-exists").brief, (0, [])


def health(t):
    name = t.name("health")
    t.topic(name, 2, "--config", "retention.ms=3600000")
    for option in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"):
        yield "describe " + option, t("topics", "--describe", "--topic", name, option).brief, (0, [])
    yield "describe --at-min-isr-partitions", \
        described(t("topics", "--describe", "--topic", name, "--at-min-isr-partitions")), (0, [], whole(2))
    done = t("topics", "--describe", "--topics-with-overrides", "--topic", name)
    found = re.findall(r"^Topic: (%s\S*)" % name, "\n".join(done.lines), re.M)
    yield "describe --topics-with-overrides", (done.code, found), (0, [name])


def delete(t):
    name = t.name("delete")
    t.topic(name, 1)
    yield "delete", t("topics", "--delete", "--topic", name).brief, (0, [])
    yield "list without the deleted", name in t("topics", "--list").lines, False
    yield "delete an unknown topic", t("topics", "--delete", "--topic", name).code, 1
    yield "delete an unknown topic, --if-exists", t("topics", "--delete", "--topic", name, "--if-exists").brief, (0, [])
    yield "describe an unknown topic", t("topics", "--describe", "--topic", name).code, 1
    yield "create one that was deleted", t.topic(name, 2).brief, (0, ["Created topic %s." % name])


def settings(done, origin="DYNAMIC_TOPIC_CONFIG"):
    """Exit code, and what a description says was set by hand."""
    rows = [line.split(" ", 1) for line in done.lines if "=" in line.split(" ", 1)[0]]
    return done.code, sorted(row[0] for row in rows if "synonyms={%s" % origin in row[1])


def topic_configs(t):
    name = t.name("configs")
    t.topic(name, 1)
    of = ["--entity-type", "topics", "--entity-name", name]
    yield "describe a topic without any", settings(t("configs", "--describe", *of)), (0, [])
    done = t("configs", "--alter", "--add-config", "retention.ms=60000,max.message.bytes=2000000", *of)
    yield "add two to a topic", done.brief, (0, ["Completed updating config for topic %s." % name])
    yield "describe a topic", settings(t("configs", "--describe", *of)), \
        (0, ["max.message.bytes=2000000", "retention.ms=60000"])
    done = t("configs", "--describe", "--all", *of)
    yield "describe all of a topic", settings(done), (0, ["max.message.bytes=2000000", "retention.ms=60000"])
    defaults = {"cleanup.policy=delete", "segment.bytes=1073741824", "min.insync.replicas=1",
                "message.timestamp.type=CreateTime", "compression.type=producer", "retention.bytes=-1"}
    yield "describe the defaults of a topic", defaults - {line.split(" ")[0] for line in done.lines}, set()
    done = t("configs", "--alter", "--add-config", "cleanup.policy=[compact,delete]", "--delete-config", "retention.ms",
             *of)
    yield "add a list and delete one", done.code, 0
    yield "describe a list, and not the deleted", settings(t("configs", "--describe", *of)), \
        (0, ["cleanup.policy=compact,delete", "max.message.bytes=2000000"])
    yield "add a bad value", t("configs", "--alter", "--add-config", "retention.ms=abc", *of).failure, \
        (1, "InvalidConfigurationException")
    yield "add an unknown one", t("configs", "--alter", "--add-config", "nobody=1", *of).failure, \
        (1, "InvalidConfigurationException")
    done = t("configs", "--alter", "--delete-config", "retention.ms", *of)
    yield "delete one that is not there", done.code, int(t.old)
    nobody = ["--entity-type", "topics", "--entity-name", t.name("nobody")]
    yield "describe an unknown topic", t("configs", "--describe", *nobody).failure, \
        (1, "UnknownTopicOrPartitionException") if t.old else (0, None)
    yield "alter an unknown topic", t("configs", "--alter", "--add-config", "retention.ms=1", *nobody).failure, \
        (1, "UnknownTopicOrPartitionException")

    def every():
        done = t("configs", "--describe", "--entity-type", "topics")
        return done.code, [line for line in done.lines if name in line]
    wanted = 0, ["Dynamic configs for topic %s are:" % name]
    yield "describe every topic", t.settled(wanted, every, 3), wanted


def broker_configs(t):
    one = ["--entity-type", "brokers", "--entity-name", "0"]
    every = ["--entity-type", "brokers", "--entity-default"]
    done = t("configs", "--alter", "--add-config", "log.retention.ms=70000", *one)
    yield "add to a broker", done.brief, (0, ["Completed updating config for broker 0."])
    done = t("configs", "--alter", "--add-config", "log.retention.ms=80000", *every)
    yield "add to every broker", done.brief, (0, ["Completed updating default config for brokers in the cluster."])
    wanted = (0, ["log.retention.ms=70000"])
    yield "describe a broker", t.settled(wanted, lambda: settings(
        t("configs", "--describe", *one), "DYNAMIC_BROKER_CONFIG:log.retention.ms=70000, DYNAMIC_DEFAULT")), wanted
    yield "describe every broker", t.settled(True, lambda: "log.retention.ms=80000" in settings(
        t("configs", "--describe", *every), "DYNAMIC_DEFAULT")[1]), True
    name = t.name("inherits")
    t.topic(name, 1)
    done = t("configs", "--describe", "--all", "--entity-type", "topics", "--entity-name", name)
    yield "a topic inherits from its broker", settings(done, "DYNAMIC_BROKER_CONFIG:"), (0, ["retention.ms=70000"])
    done = t("configs", "--describe", "--all", *one)
    held = {line.split(" ")[0] for line in done.lines}
    yield "describe all of a broker", (done.code, {"log.retention.ms=70000", "node.id=0", "num.partitions=4"} - held), \
        (0, set())
    yield "delete from a broker", t("configs", "--alter", "--delete-config", "log.retention.ms", *one).code, 0
    yield "delete from every broker", t("configs", "--alter", "--delete-config", "log.retention.ms", *every).code, 0
    yield "describe a broker without any", t.settled((0, []), lambda: settings(
        t("configs", "--describe", *one), "DYNAMIC_BROKER")), (0, [])
    yield "add what a running broker cannot change", \
        t("configs", "--alter", "--add-config", "node.id=7", *one).failure, (1, "InvalidRequestException")
    yield "add a bad value to a broker", \
        t("configs", "--alter", "--add-config", "log.retention.ms=abc", *one).code, 1


GROUPS = [
    ("topics", create), ("topics", create_otherwise), ("topics", alter), ("topics", health), ("topics", delete),
    ("configs", topic_configs), ("configs", broker_configs),
]
