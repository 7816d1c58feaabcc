"""Kafka's tools, each run by its main class from the jars of one release, as the scripts of a distribution do."""
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
KAFKA = ROOT / "bench/peers/kafka"
# A tool that hangs must not hang the driver; none of these calls takes longer than a few seconds on a quiet machine.
CALL_SECONDS_MAX = float(os.environ.get("RIVVEN_CONFORMANCE_TEST_SECONDS", 120))

# By the name of the script that a distribution has for it, without "kafka-" and ".sh".
TOOLS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "configs": "kafka.admin.ConfigCommand",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "streams-application-reset": "org.apache.kafka.tools.StreamsResetter",
    "client-compatibility-test": "org.apache.kafka.tools.ClientCompatibilityTest",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "acls": "org.apache.kafka.tools.AclCommand",
}
# Where release 3.9 still had them.
TOOLS_3 = {
    "console-producer": "kafka.tools.ConsoleProducer",
    "broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
    "acls": "kafka.admin.AclCommand",
}
# What 4.2 renamed (KIP-1147); the old names are still taken by 4.x, with a warning.
OPTIONS_3 = {
    "console-producer": {"--reader-property": "--property"},
    "console-consumer": {"--formatter-property": "--property", "--command-property": "--consumer-property"},
    "consumer-perf-test": {"--num-records": "--messages"},
}
# A JVM takes half as long to start with classes that an earlier one has left in an archive. One for each kind of tool.
ARCHIVES = {
    "console-producer": "producer", "verifiable-producer": "producer", "producer-perf-test": "producer",
    "console-consumer": "consumer", "verifiable-consumer": "consumer", "consumer-perf-test": "consumer",
    "e2e-latency": "consumer",
}


def fetch(folder, version):
    """Whether the jars of a release lie in the folder afterwards; Maven fetches them if they do not."""
    if (folder / "complete").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(KAFKA / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime",
         "-Dkafka.version=" + version, "-DoutputDirectory=" + str(folder)]).returncode == 0
    if fetched and list(folder.glob("kafka-tools-*.jar")):
        (folder / "complete").touch()
    return (folder / "complete").exists()


NUMBERS = itertools.count()


class Done:
    """What a tool left: its exit code, its lines, and the errors that it named."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.lines = [line.strip() for line in out.splitlines() if line.strip()]
        self.brief = (code, self.lines)
        # Texts of errors are the broker's own; their kind is what counts.
        named = re.search(r"\bkafka\.common\.errors\.(\w+)", err + out)
        self.error = named.group(1) if named else None
        self.failure = (code, self.error)

    @property
    def events(self):
        """Of the tools that print an object a line."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def table(self, *columns):
        """Exit code and the chosen columns of each row of a table, in order."""
        found, head = [], []
        for line in self.lines:
            words = line.split()
            if words[0] in ("GROUP", "TOPIC"):
                head = [word for word in words if re.fullmatch("[#A-Z-]+", word)]
                words = words[len(head):]  # 3.9 ends no line of some tables
            while head and len(words) >= len(head):
                row, words = dict(zip(head, words)), words[len(head):]
                found.append(" ".join(row[column] for column in columns))
        return self.code, sorted(found)


class Running:
    """A tool that goes on beside the others, until it is told to end."""

    def __init__(self, child):
        self.child, self.lines, self.grown = child, [], threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stdout:
            with self.grown:
                self.lines.append(line.strip())
                self.grown.notify_all()

    def until(self, holds):
        """Whether this came to hold of the lines in time."""
        with self.grown:
            return self.grown.wait_for(lambda: holds(self.lines), CALL_SECONDS_MAX)

    def saw(self, text):
        return self.until(lambda lines: any(text in line for line in lines))

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(CALL_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        self.reader.join(10)
        return Done(code, "\n".join(self.lines), "")


class Tools:
    """The tools of one release and the broker that they are to talk to."""

    def __init__(self, version, jars, folder, address):
        self.version, self.jars, self.folder, self.address = version, jars, pathlib.Path(folder), address
        self.old = version.startswith("3.")
        self.planted = {}
        self.run = "%s-%d" % (version.replace(".", ""), os.getpid() % 10000)

    def name(self, what):
        """A topic's or a group's name that nobody has used."""
        return "%s-%s-%d" % (what, self.run, next(NUMBERS))

    def file(self, name, text):
        path = self.folder / self.name(name)
        path.write_text(text)
        return str(path)

    def command(self, tool, args, dump=False):
        main = self.old and TOOLS_3.get(tool) or TOOLS[tool]
        args = [self.planted.get(arg, arg) for arg in args]
        if self.old:
            args = [OPTIONS_3.get(tool, {}).get(arg, arg) for arg in args]
        if tool == "consumer-groups":  # its own 5 s are short for a machine that does other things
            args += ["--timeout", "60000"]
        archive = self.jars / (ARCHIVES.get(tool, "admin") + ".jsa")
        classes = ["-XX:ArchiveClassesAtExit=%s.new" % archive] if dump else \
            ["-XX:SharedArchiveFile=%s" % archive] if archive.exists() else []
        path = ":".join(sorted(str(jar) for jar in self.jars.glob("*.jar")))
        log = "-Dlog4j2.configurationFile=" + str(KAFKA / "log4j2.properties")
        small = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *small, "-Xlog:disable", *classes, "-cp", path, log, main, *args]

    def __call__(self, tool, *args, text="", file=None, dump=False):
        """Runs a tool to its end; `@` among its arguments is where the broker is."""
        args = ["--bootstrap-server", self.address, *args] if "@" not in "".join(args) else \
            [arg.replace("@", self.address) for arg in args]
        given = {"stdin": open(file, encoding="utf-8")} if file else {"input": text}
        try:
            done = subprocess.run(self.command(tool, args, dump), capture_output=True, text=True,
                                  timeout=CALL_SECONDS_MAX, **given)
            return Done(done.returncode, done.stdout, done.stderr)
        except subprocess.TimeoutExpired as late:
            texts = [(part or b"").decode(errors="replace") for part in (late.stdout, late.stderr)]
            return Done("no end in %g s" % CALL_SECONDS_MAX, *texts)

    def start(self, tool, *args):
        command = self.command(tool, ["--bootstrap-server", self.address, *args])
        return Running(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True))

    def warm(self):
        """Makes the archives of classes; without them everything works and takes longer."""
        if not (self.jars / "admin.jsa").exists():
            topic = self.name("warm")
            self.topic(topic, 1)
            self("console-producer", "--topic", topic, text="a\n", dump=True)
            self("console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "1", dump=True)
            self("consumer-groups", "--list", dump=True)
            for made in self.jars.glob("*.jsa.new"):
                made.rename(made.with_suffix(""))

    # What many cases begin with.

    def topic(self, name, partitions, *more):
        return self("topics", "--create", "--topic", name, "--partitions", str(partitions), *more)

    def produce(self, name, values, *more):
        return self("console-producer", "--topic", name, *more, text="".join(value + "\n" for value in values))

    def consume(self, name, count, *more):
        """The first `count` lines of a topic, or what came of them in 30 s."""
        return self("console-consumer", "--topic", name, "--max-messages", str(count), "--timeout-ms", "30000", *more)

    def settled(self, wanted, ask, times=20):
        """The answer, asked again if it is not the wanted one: what was asked for may need a moment, and a tool that
        goes through everything fails when a case beside it deletes some of that meanwhile."""
        for _ in range(times):
            got = ask()
            if got == wanted:
                break
            time.sleep(0.5)
        return got
