"""kafka-consumer-groups: listing, describing, resetting and deleting; the offsets that they are about."""
import datetime
import json
import re
import time


def reader(t, topic, group, count=10):
    """A group that has read `count` of a topic's first partition and is empty."""
    return t.consume(topic, count, "--from-beginning", "--group", group)


def filled(t, what, partitions=1):
    topic, group = t.name(what), t.name(what + "-group")
    t.topic(topic, partitions)
    t.produce(topic, ["line %d" % number for number in range(10)])
    reader(t, topic, group)
    return topic, group


def committing(t):
    topic, group = filled(t, "commit")
    t.produce(topic, ["late 1", "late 2"])
    columns = "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID"
    yield "describe an empty group", t("consumer-groups", "--describe", "--group", group).table(*columns), \
        (0, [topic + " 0 10 12 2 -"])
    yield "console-consumer goes on where its group was", \
        t.consume(topic, 2, "--group", group).brief, (0, ["late 1", "late 2"])
    done = t("consumer-groups", "--describe", "--offsets", "--group", group)
    yield "describe what was committed", done.table(*columns), (0, [topic + " 0 12 12 0 -"])
    done = t("consumer-groups", "--describe", "--state", "--group", group)
    yield "describe the state of an empty group", (done.code, done.lines[-1].split()[-2:]), (0, ["Empty", "0"])
    yield "describe the members of an empty group", \
        t("consumer-groups", "--describe", "--members", "--group", group).table("GROUP"), (0, [])
    done = t("consumer-groups", "--list")
    yield "list", (done.code, group in done.lines), (0, True)
    done = t("consumer-groups", "--list", "--state")
    yield "list the states", [line.split() for line in done.lines if group in line], [[group, "Empty"]]
    done = t("consumer-groups", "--list", "--state", "Stable")
    yield "list one state", (done.code, [line for line in done.lines if group in line]), (0, [])
    done = t("consumer-groups", "--list", "--type")
    yield "list the types", [line.split() for line in done.lines if group in line], [[group, "Classic"]]

    def every():
        code, rows = t("consumer-groups", "--describe", "--all-groups").table("GROUP", "CURRENT-OFFSET")
        return code, [row for row in rows if group in row]
    yield "describe every group", t.settled((0, [group + " 12"]), every, 3), (0, [group + " 12"])
    if not t.old:
        done = t("groups", "--list")
        yield "groups --list", [line.split() for line in done.lines if group in line], [[group, "Classic", "consumer"]]


def stored(t):
    """Commits are records that Kafka's own formatters read; those of 3.9 fail on what a 4.3.1 writes."""
    if t.old:
        return
    topic, group = filled(t, "stored")

    def kept(formatter, pattern):
        done = t("console-consumer", "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "8000",
                 "--formatter", "org.apache.kafka.tools.consumer." + formatter)
        return list(dict.fromkeys(re.findall(pattern, done.out)))
    value = r'}},"value":{"version":\d+,"data":{'
    pattern = '"group":"%s","topic":"%s","partition":0%s"offset":(\\d+),' % (group, topic, value)
    yield "a commit is stored as Kafka stores it", kept("OffsetsMessageFormatter", pattern), ["10"]
    pattern = '"group":"%s"%s"protocolType":"consumer","generation":(\\d+),' % (group, value)
    yield "a group is stored as Kafka stores it", kept("GroupMetadataMessageFormatter", pattern), ["1", "2"]


def active(t):
    """What is shown of a group at work, and what must not be done to it."""
    topic, group = filled(t, "active", 3)
    member = t.start("console-consumer", "--topic", topic, "--group", group, "--from-beginning",
                     "--enable-systest-events")
    try:
        member.saw("partitions_assigned")
        columns = "TOPIC", "PARTITION", "LAG"
        wanted = (0, [topic + " %d 0" % number for number in range(3)])
        yield "describe a stable group", t.settled(wanted, lambda: t(
            "consumer-groups", "--describe", "--group", group).table(*columns)), wanted
        done = t("consumer-groups", "--describe", "--state", "--group", group)
        yield "describe the state of a stable group", (done.code, done.lines[-1].split()[1:]), \
            (0, [t.address, "(0)", "range", "Stable", "1"])
        done = t("consumer-groups", "--describe", "--members", "--verbose", "--group", group)
        yield "describe the members of a stable group", done.table("GROUP", "CLIENT-ID", "#PARTITIONS"), \
            (0, ["%s console-consumer 3" % group])
        yield "describe what a member is assigned", ("(0,1,2)" if t.old else topic + ":0,1,2") in done.out, True
        done = t("consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
        yield "reset a stable group", (done.code, "inactive" in done.out + done.err), (0, True)
        yield "delete a stable group", t("consumer-groups", "--delete", "--group", group).failure, \
            (0, "GroupNotEmptyException")
        yield "delete the offsets of a topic that is read", \
            t("consumer-groups", "--delete-offsets", "--group", group, "--topic", topic).failure, \
            (0, "GroupSubscribedToTopicException")
    finally:
        member.stop()
    done = t("consumer-groups", "--describe", "--state", "--group", group)
    yield "a group is empty when its member ended", (done.code, done.lines[-1].split()[-2:]), (0, ["Empty", "0"])


def reset(t):
    topic, group = t.name("reset"), t.name("reset-group")
    t.topic(topic, 1)
    t.produce(topic, ["line %d" % number for number in range(5)])
    time.sleep(1)
    between = datetime.datetime.now(datetime.timezone.utc)
    t.produce(topic, ["line %d" % number for number in range(5, 10)])
    reader(t, topic, group)

    def to(*how, of=("--topic", topic)):
        done = t("consumer-groups", "--reset-offsets", "--group", group, *of, *how)
        return done.table("TOPIC", "PARTITION", "NEW-OFFSET")

    def now():
        return t("consumer-groups", "--describe", "--group", group).table("CURRENT-OFFSET")
    yield "reset --to-earliest, dry run", to("--to-earliest", "--dry-run"), (0, [topic + " 0 0"])
    yield "a dry run changes nothing", now(), (0, ["10"])
    yield "reset --shift-by", to("--shift-by", "-3", "--execute"), (0, [topic + " 0 7"])
    yield "a reset is committed", now(), (0, ["7"])
    yield "console-consumer reads from where it was reset to", \
        t.consume(topic, 3, "--group", group).brief, (0, ["line 7", "line 8", "line 9"])
    stamp = between.strftime("%Y-%m-%dT%H:%M:%S.") + "%03d" % (between.microsecond // 1000) + "+00:00"
    yield "reset --to-datetime", to("--to-datetime", stamp, "--execute"), (0, [topic + " 0 5"])
    yield "reset --to-current", to("--to-current"), (0, [topic + " 0 5"])
    yield "reset --by-duration, long", to("--by-duration", "PT1H", "--execute"), (0, [topic + " 0 0"])
    yield "reset --by-duration, none", to("--by-duration", "PT0S"), (0, [topic + " 0 10"])
    yield "reset --to-offset", to("--to-offset", "4"), (0, [topic + " 0 4"])
    yield "reset --to-offset beyond the end", to("--to-offset", "400"), (0, [topic + " 0 10"])
    yield "reset one partition", to("--to-latest", of=("--topic", topic + ":0")), (0, [topic + " 0 10"])
    yield "reset --all-topics", to("--to-latest", "--execute", of=("--all-topics",)), (0, [topic + " 0 10"])
    done = t("consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "6", "--export")
    yield "reset --export", (done.code, [line.replace('"', "") for line in done.lines]), (0, [topic + ",0,6"])
    path = t.file("offsets", '"%s",0,2\n' % topic)
    yield "reset --from-file", to("--from-file", path, "--execute", of=()), (0, [topic + " 0 2"])
    yield "reset --from-file is committed", now(), (0, ["2"])
    fresh = t.name("reset-fresh")
    done = t("consumer-groups", "--reset-offsets", "--group", fresh, "--topic", topic, "--to-offset", "3", "--execute")
    yield "reset a group that is not there yet", done.table("GROUP", "NEW-OFFSET"), (0, [fresh + " 3"])
    yield "the reset made it", t("consumer-groups", "--describe", "--group", fresh).table("CURRENT-OFFSET"), (0, ["3"])
    done = t("consumer-groups", "--reset-offsets", "--group", group, "--topic", t.name("nobody"), "--to-earliest")
    yield "reset an unknown topic", done.failure, (0, "UnknownTopicOrPartitionException")
    done = t("streams-application-reset", "--application-id", group, "--input-topics", topic)
    yield "streams-application-reset", done.code, 0
    yield "streams-application-reset goes to the start", now(), (0, ["0"])


def deletion(t):
    topic, group = filled(t, "gone")
    done = t("consumer-groups", "--delete-offsets", "--group", group, "--topic", topic)
    yield "delete offsets", done.table("TOPIC", "PARTITION", "STATUS"), (0, [topic + " 0 Successful"])
    yield "deleted offsets are gone", t("consumer-groups", "--describe", "--group", group).table("TOPIC")[1], []
    done = t("consumer-groups", "--delete-offsets", "--group", t.name("nobody"), "--topic", topic)
    yield "delete the offsets of an unknown group", done.failure, (0, "GroupIdNotFoundException")
    reader(t, topic, group)
    done = t("consumer-groups", "--delete", "--group", group)
    yield "delete", (done.code, "was successful" in done.out), (0, True)
    yield "a deleted group is gone", group in t("consumer-groups", "--list").lines, False
    yield "delete an unknown group", t("consumer-groups", "--delete", "--group", group).failure, \
        (0, "GroupIdNotFoundException")
    done = t("consumer-groups", "--describe", "--group", group)
    yield "describe an unknown group", (done.code, "does not exist" in done.out or done.error), \
        (0, True if t.old else "GroupIdNotFoundException")


def offsets(t):
    topic = t.name("offsets")
    t.topic(topic, 3)
    t.produce(topic, ["key %d:line" % number for number in range(9)], "--reader-property", "parse.key=true",
              "--reader-property", "key.separator=:")

    def at(time, *more, of=topic):
        return t("get-offsets", "--topic", of, "--time", time, *more).brief

    def each(*known):
        return 0, ["%s:%d:%d" % (topic, number, offset) for number, offset in enumerate(known)]
    # Where the default partitioner puts these keys.
    yield "get-offsets", t("get-offsets", "--topic", topic).brief, each(1, 4, 4)
    yield "get-offsets --time -2", at("-2"), each(0, 0, 0)
    yield "get-offsets --time earliest", at("earliest"), each(0, 0, 0)
    yield "get-offsets --time earliest-local", at("earliest-local"), each(0, 0, 0)
    yield "get-offsets --time latest-tiered", at("latest-tiered"), (0, [])
    yield "get-offsets --time in the past", at("1000"), each(0, 0, 0)
    yield "get-offsets --time in the future", at("9000000000000"), (0, [])
    yield "get-offsets --partitions", at("latest", "--partitions", "0,2"), (0, each(1, 4, 4)[1][::2])
    yield "get-offsets --topic-partitions", t("get-offsets", "--topic-partitions", topic + ":1-").brief, \
        (0, each(1, 4, 4)[1][1:])
    yield "get-offsets of an unknown topic", t("get-offsets", "--topic", t.name("nobody")).code, 1
    late = t.name("late")
    t.topic(late, 1)
    t.produce(late, ["one", "two"])
    t.produce(late, ["three"])
    yield "get-offsets --time -3", at("-3", of=late), (0, [late + ":0:2"])
    yield "get-offsets --time max-timestamp", at("max-timestamp", of=late), (0, [late + ":0:2"])

    def remove(*rows):
        path = t.file("delete", json.dumps({"version": 1, "partitions": [
            {"topic": topic, "partition": number, "offset": offset} for number, offset in rows]}))
        done = t("delete-records", "--offset-json-file", path)
        return done.code, sorted(re.findall(r"partition: \S+-(\d)\tlow_watermark: (\d+)", done.out)), done.error
    yield "delete-records", remove((1, 3), (2, -1)), (0, [("1", "3"), ("2", "4")], None)
    yield "get-offsets shows where the log begins", at("earliest"), each(0, 3, 4)
    yield "console-consumer begins there", t.consume(
        topic, 1, "--partition", "1", "--offset", "earliest", "--formatter-property", "print.offset=true").brief, \
        (0, ["Offset:3\tline"])
    yield "delete-records beyond the end", remove((0, 900)), (0, [], "OffsetOutOfRangeException")


GROUPS = [
    ("consumer-groups", committing), ("consumer-groups", stored), ("consumer-groups", active),
    ("consumer-groups", reset), ("consumer-groups", deletion), ("offsets", offsets),
]
