"""The console producer and consumer, the performance tools and the verifiable ones."""
import concurrent.futures
import json
import re

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
LINES = ["line %d" % number for number in range(10)]


def plain(t):
    name = t.name("plain")
    t.topic(name, 1)
    yield "produce lines", t.produce(name, LINES).code, 0
    done = t.consume(name, 10, "--from-beginning")
    yield "consume --from-beginning", done.brief, (0, LINES)
    yield "consume says how many", "Processed a total of 10 messages" in done.err, True
    yield "consume --max-messages", t.consume(name, 3, "--from-beginning").brief, (0, LINES[:3])
    at = ["--partition", "0", "--offset"]
    yield "consume --partition --offset 7", t.consume(name, 3, *at, "7").brief, (0, LINES[7:])
    yield "consume --offset earliest", t.consume(name, 2, *at, "earliest").brief, (0, LINES[:2])
    done = t("console-consumer", "--topic", name, "--timeout-ms", "3000", *at, "latest")
    yield "consume --offset latest", (done.lines, "Processed a total of 0 messages" in done.err), ([], True)
    yield "consume --isolation-level read_committed", \
        t.consume(name, 10, "--from-beginning", "--isolation-level", "read_committed").brief, (0, LINES)


def properties(t):
    name = t.name("keys")
    t.topic(name, 1, "--config", "message.timestamp.type=LogAppendTime")
    reader = [option for value in ("parse.key=true", "key.separator=:", "parse.headers=true", "null.marker=NULL")
              for option in ("--reader-property", value)]
    done = t.produce(name, ["h1:a,h2:b\tk1:one", "h1:c\tk2:two", "h1:d\tk1:NULL"], *reader)
    yield "produce keys, headers and a null", done.code, 0

    def shown(*names):
        options = [option for value in names for option in ("--formatter-property", value)]
        return t.consume(name, 3, "--from-beginning", *options).brief
    yield "consume print.key", shown("print.key=true", "key.separator=|"), (0, ["k1|one", "k2|two", "k1|null"])
    yield "consume print.headers", shown("print.headers=true"), (0, ["h1:a,h2:b\tone", "h1:c\ttwo", "h1:d\tnull"])
    yield "consume print.partition and print.offset", shown("print.partition=true", "print.offset=true"), \
        (0, ["Partition:0\tOffset:%d\t%s" % row for row in enumerate(("one", "two", "null"))])
    code, lines = shown("print.timestamp=true")
    yield "consume print.timestamp", (code, [re.sub(r":1\d{12}\t", ":ms ", line) for line in lines]), \
        (0, ["LogAppendTime:ms one", "LogAppendTime:ms two", "LogAppendTime:ms null"])
    done = t.produce(name, ["no separator here"], *reader[:4])
    yield "produce a line without a key", (done.code, "No key separator found" in done.err + done.out), (1, True)


def codecs(t):
    """Each in a topic of its own, which the next case reads all of."""
    name = t.name("codec")
    lines = ["%d %s" % (number, "x" * 200) for number in range(200)]
    for codec in CODECS:
        t.topic("%s-%s" % (name, codec), 1)
        done = t.produce("%s-%s" % (name, codec), lines, "--compression-codec", codec)
        yield "produce " + codec, (done.code, done.error), (0, None)
        yield "consume " + codec, t.consume("%s-%s" % (name, codec), 200, "--from-beginning").brief, (0, lines)
    done = t("console-consumer", "--include", name + "-.*", "--from-beginning", "--max-messages", "1000",
             "--timeout-ms", "30000")
    yield "consume --include", (done.code, sorted(done.lines)), (0, sorted(lines * len(CODECS)))


def acknowledgements(t):
    name = t.name("acks")
    t.topic(name, 1)
    for number, acks in enumerate(("0", "1", "all")):
        done = t.produce(name, [LINES[number]], "--request-required-acks", acks)
        yield "produce with acks " + acks, (done.code, done.error), (0, None)
    yield "produce --sync", t.produce(name, [LINES[3]], "--sync").code, 0
    path = t.file("lines", "".join(line + "\n" for line in LINES[4:]))
    yield "produce a file", t("console-producer", "--topic", name, file=path).code, 0
    yield "consume all acknowledgements", t.consume(name, 10, "--from-beginning").brief, (0, LINES)
    name = t.name("large")
    t.topic(name, 1, "--config", "max.message.bytes=1000")
    done = t.produce(name, ["x" * 2000], "--sync")
    yield "produce too large a record", (done.error, t("get-offsets", "--topic", name).brief), \
        ("RecordTooLargeException", (0, [name + ":0:0"]))
    name = t.name("auto")
    yield "produce to a topic that is made for it", t.produce(name, LINES).code, 0
    yield "consume what it got", (lambda done: (done.code, sorted(done.lines)))(
        t.consume(name, 10, "--from-beginning")), (0, LINES)


def performance(t):
    name = t.name("perf")
    t.topic(name, 2)
    to = ["--producer-props", "bootstrap.servers=@"] if t.old else ["--bootstrap-server", "@"]
    done = t("producer-perf-test", "--topic", name, "--num-records", "20000", "--record-size", "100",
             "--throughput", "-1", *to)
    yield "producer-perf-test", (done.code, "20000 records sent" in done.out), (0, True)
    done = t("get-offsets", "--topic", name)
    yield "get-offsets counts them", sum(int(line.split(":")[2]) for line in done.lines), 20000
    done = t("consumer-perf-test", "--topic", name, "--num-records", "20000", "--timeout", "30000")
    row = dict(zip(*[re.split(r",\s*", line) for line in done.lines[-2:]])) if len(done.lines) > 1 else {}
    yield "consumer-perf-test", (done.code, row.get("data.consumed.in.nMsg")), (0, "20000")
    name = t.name("latency")
    t.topic(name, 1)
    done = t("e2e-latency", "@", name, "50", "all", "100")
    yield "e2e-latency", (done.code, "Avg latency" in done.out, "Percentiles" in done.out), (0, True, True)
    done = t("e2e-latency", "@", name, "50", "0", "100")
    yield "e2e-latency without acknowledgement", done.code, 1


def verifiable_producer(t):
    name = t.name("verify")
    t.topic(name, 1)
    done = t("verifiable-producer", "--topic", name, "--max-messages", "100", "--acks", "-1", "--value-prefix", "7",
             "--repeating-keys", "4", "--message-create-time", "1700000000000")
    events = done.events
    sent = [event for event in events if event["name"] == "producer_send_success"]
    yield "verifiable-producer ends well", (done.code, events[0]["name"], events[-1]["name"]), \
        (0, "startup_complete", "tool_data")
    yield "verifiable-producer got every offset", [(event["offset"], event["key"], event["value"]) for event in sent], \
        [(number, str(number % 4), "7.%d" % number) for number in range(100)]
    yield "verifiable-producer sums up", (events[-1]["sent"], events[-1]["acked"]), (100, 100)
    done = t.consume(name, 2, "--partition", "0", "--offset", "98", "--formatter-property", "print.key=true",
                     "--formatter-property", "print.timestamp=true")
    stamps = [line.split("\t") for line in done.lines]
    yield "consume what verifiable-producer wrote", [(key, value, stamp > "CreateTime:1700000000000")
                                                     for stamp, key, value in stamps], \
        [("2", "7.98", True), ("3", "7.99", True)]
    done = t("verifiable-producer", "--topic", name, "--max-messages", "10", "--acks", "0")
    yield "verifiable-producer with acks 0", (done.code, done.events[-1]["sent"]), (0, 10)


def verifiable_consumer(t):
    """One after the other in one group: the second goes on where the first ended."""
    name, group = t.name("verify"), t.name("group")
    t.topic(name, 2)
    done = t("verifiable-producer", "--topic", name, "--max-messages", "200", "--repeating-keys", "20")
    yield "verifiable-producer with the default acks", (done.code, done.events[-1]["acked"]), (0, 200)
    first = t("verifiable-consumer", "--topic", name, "--group-id", group, "--max-messages", "120", "--verbose")
    names = [event["name"] for event in first.events]
    yield "verifiable-consumer ends well", (first.code, names[0], "shutdown_complete" in names), \
        (0, "startup_complete", True)
    yield "verifiable-consumer is assigned and revoked", \
        [sorted(row["partition"] for row in event["partitions"]) for event in first.events
         if event["name"] in ("partitions_assigned", "partitions_revoked")], [[0, 1], [0, 1]]
    yield "verifiable-consumer commits", {event["success"] for event in first.events
                                          if event["name"] == "offsets_committed"}, {True}
    second = t("verifiable-consumer", "--topic", name, "--group-id", group, "--max-messages", "80", "--verbose")
    values = [event["value"] for done in (first, second) for event in done.events if event["name"] == "record_data"]
    yield "verifiable-consumer goes on where it ended", sorted(map(int, values)), list(range(200))
    third = t.start("verifiable-consumer", "--topic", name, "--group-id", group, "--group-instance-id", "one",
                    "--session-timeout", "10000", "--enable-autocommit")
    yield "verifiable-consumer as a static member", third.saw("partitions_assigned"), True
    state = t("consumer-groups", "--describe", "--members", "--group", group)
    yield "consumer-groups shows the static member", state.table("GROUP", "GROUP-INSTANCE-ID", "#PARTITIONS"), \
        (0, ["%s one 2" % group])
    ended = {event["name"] for event in third.stop().events}
    yield "verifiable-consumer ends when it is told to", "shutdown_complete" in ended, True


def owned(lines):
    """The partitions that a member has, from what verifiable-consumer says of its rebalances."""
    held = set()
    for line in lines:
        event = json.loads(line) if line.startswith("{") else {}
        named = {row["partition"] for row in event.get("partitions", [])}
        if event.get("name") == "partitions_assigned":
            held |= named
        elif event.get("name") == "partitions_revoked":
            held -= named
    return held


def shared(t):
    """Two members of a group share four partitions, and one gets all when the other leaves."""
    name = t.name("shared")
    t.topic(name, 4)

    def one(strategy):
        options = ["--topic", name, "--group-id", t.name("group"), "--session-timeout", "10000",
                   "--assignment-strategy", "org.apache.kafka.clients.consumer." + strategy]
        first = t.start("verifiable-consumer", *options)
        try:
            alone = first.until(lambda lines: owned(lines) == set(range(4)))
            second = t.start("verifiable-consumer", *options)
            try:
                second.until(lambda lines: len(owned(lines)) == 2)
                first.until(lambda lines: len(owned(lines)) == 2)
                both = owned(first.lines), owned(second.lines)
            finally:
                second.stop()
            return alone, both, first.until(lambda lines: owned(lines) == set(range(4)))
        finally:
            first.stop()
    strategies = ["RangeAssignor", "RoundRobinAssignor", "CooperativeStickyAssignor"]
    with concurrent.futures.ThreadPoolExecutor(len(strategies)) as pool:
        for strategy, (alone, both, again) in zip(strategies, pool.map(one, strategies)):
            yield strategy + " gives all to one member", alone, True
            yield strategy + " shares between two", (*map(len, both), both[0] | both[1]), (2, 2, set(range(4)))
            yield strategy + " gives all to the one that stays", again, True


GROUPS = [
    ("console", plain), ("console", properties), ("console", codecs), ("console", acknowledgements),
    ("performance", performance), ("verifiable", verifiable_producer), ("verifiable", verifiable_consumer),
    ("verifiable", shared),
]
