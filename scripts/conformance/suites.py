"""Each suite: how it is fetched and built, and how its tests are run one by one. Only PASSED rows count."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree

import kcat
import rivven
from kafka_tools import cases, tool

HERE = pathlib.Path(__file__).resolve().parent
# A hung client must not hang the driver; the slowest test that passes on Kafka takes about a minute.
TEST_SECONDS_MAX = float(os.environ.get("RIVVEN_CONFORMANCE_TEST_SECONDS", 120))


class Unprepared(Exception):
    """Something that this machine lacks."""


def need(program, remedy):
    if not shutil.which(program):
        raise Unprepared("%s is not installed; %s" % (program, remedy))


def timed(command, seconds=TEST_SECONDS_MAX, **more):
    """Output and whether it ended in time with exit code 0; its whole process group is ended."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **more)
    try:
        out = child.communicate(timeout=seconds)[0]
        return out.decode(errors="replace"), child.returncode == 0
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.communicate()[0].decode(errors="replace"), False


def crate(cache, name, version, more=""):
    """Unpacks a published crate, fetched by cargo itself, and makes it a workspace of its own."""
    folder = cache / ("%s-%s" % (name, version.split("+")[0]))
    if not folder.exists():
        fetch = cache / ("fetch-" + name)
        (fetch / "src").mkdir(parents=True, exist_ok=True)
        (fetch / "src/lib.rs").write_text("")
        (fetch / "Cargo.toml").write_text(
            '[package]\nname = "fetchonly"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
            '[dependencies]\n%s = "=%s"\n' % (name, version))
        subprocess.run(["cargo", "fetch", "-q"], cwd=fetch, check=True)
        home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
        found = sorted(home.glob("registry/src/*/%s-%s" % (name, version)))
        shutil.copytree(found[0], folder)
    manifest = folder / "Cargo.toml"
    if "\n[workspace]" not in manifest.read_text():
        manifest.write_text(manifest.read_text() + "\n[workspace]\n" + more)
    toolchain = folder / "rust-toolchain.toml"
    if toolchain.exists():
        toolchain.unlink()
    return folder


class Suite:
    expected = None
    settings = {}

    def prepare(self, cache):
        pass


class ApiVersions(Suite):
    expected = "apiversions-4.3.1.txt"

    def run(self, cache, broker, wanted):
        out, _ = timed([sys.executable, str(HERE / "apiversions.py"), broker.address])
        return {line: "PASSED" for line in out.splitlines() if line.strip()}


class Probe(Suite):
    """A row is a case of behaviour-4.3.1.md."""

    def run(self, cache, broker, wanted):
        command = [sys.executable, str(HERE / "probe.py"), broker.address]
        second = None
        if broker.child:
            second, address = broker.second({"auto_create": False})
            command += ["--no-auto", address]
        try:
            out, _ = timed(command, 600)
        finally:
            if second:
                second.terminate()
                second.wait(20)
        now = cache / "behaviour-now.md"
        now.write_text(out)
        import compare
        states = compare.states(HERE / "expected/behaviour-4.3.1.md", now)
        answers = compare.load(now)
        for line in (HERE / "bar/probe-different.txt").read_text(encoding="utf-8").splitlines():
            case, _, ours = line.split("\t")
            states[case] = "AS WRITTEN" if compare.norm(answers.get(case, "")) == ours else "FAILED"
        return states


class Kcat(Suite):
    def prepare(self, cache):
        need("kcat", "apt-get install kcat")

    def run(self, cache, broker, wanted):
        return kcat.run(broker.address)


class Rust(Suite):
    """Integration tests of a crate, run one by one, each with a limit of time."""

    features = []

    def built(self, cache):
        return dict(os.environ, CARGO_TARGET_DIR=str(cache / "target"))

    def binaries(self, cache):
        out = subprocess.run(
            ["cargo", "test", "--no-run", "--test", "*"] + self.features, cwd=self.folder(cache),
            env=self.built(cache), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = dict(re.findall(r"Executable tests/(\w+)(?:\.rs|/main\.rs) \((.*?)\)", out.stdout))
        if not found:
            raise Unprepared("the suite does not build:\n" + out.stdout[-2000:])
        return found

    def prepare(self, cache):
        need("cargo", "install Rust")
        self.binaries(cache)

    def run(self, cache, broker, wanted):
        states = {}
        for target, program in sorted(self.binaries(cache).items()):
            env = dict(os.environ, **self.environment(broker.address))
            listed, _ = timed([program, "--list", "--format", "terse"], env=env, cwd=self.folder(cache))
            for test in re.findall(r"^(.*): test$", listed, re.M):
                name = "%s::%s" % (target, test)
                if wanted and name not in wanted:
                    continue
                out, _ = timed([program, "--exact", test], env=env, cwd=self.folder(cache))
                passed = re.search(r"^test %s \.\.\. ok$|^ok$" % re.escape(test), out, re.M) \
                    and "1 passed" in out
                states[name] = "PASSED" if passed else "FAILED"
                print("  %s %s" % (name, states[name]), flush=True)
                if not passed:
                    (cache / "failed").mkdir(exist_ok=True)
                    (cache / "failed" / (name.replace("::", ".") + ".log")).write_text(out)
        return states


class Rskafka(Rust):
    expected = "rskafka.txt"
    settings = {"auto_create": False}
    features = ["--no-default-features",
                "--features", "compression-gzip,compression-lz4,compression-snappy,compression-zstd"]

    def folder(self, cache):
        folder = crate(cache, "rskafka", "0.6.0")
        if not (folder / "updated").exists():
            subprocess.run(["cargo", "update", "-q", "-p", "rsasl"], cwd=folder, check=False)
            (folder / "updated").touch()
        return folder

    def environment(self, address):
        return {"TEST_INTEGRATION": "1", "TEST_BROKER_IMPL": "kafka", "KAFKA_CONNECT": address}


class Rdkafka(Rust):
    expected = "rdkafka.txt"
    # One of its tests has the port written into it.
    settings = {"port": 9092, "partitions": 3}

    def folder(self, cache):
        return crate(cache, "rdkafka", "0.39.0")

    def environment(self, address):
        return {"KAFKA_HOST": address, "KAFKA_VERSION": "4.0.0"}


class KafkaPython(Suite):
    expected = "kafka-python.txt"

    def prepare(self, cache):
        subprocess.run(["bash", str(HERE / "kafka-python/setup.sh"), str(cache / "kafka-python")], check=True)

    def run(self, cache, broker, wanted):
        folder = cache / "kafka-python/kafka_python-3.0.12"
        env = dict(os.environ, PYTHONPATH=".", KAFKA_VERSION="4.3.1", KAFKA_ROOT="/tmp",
                   KAFKA_URI="kafka://" + broker.address)
        tests = ["test/integration/%s.py::%s" % tuple(name.split("::", 1)) for name in wanted]
        report = cache / "kafka-python.xml"
        report.unlink(missing_ok=True)
        out, _ = timed(["../venv/bin/pytest", *(tests or ["test/integration"]), "--timeout", "60",
                        "--timeout-method=signal", "-W", "ignore", "-p", "no:cacheprovider",
                        "--junitxml", str(report)], 3600, cwd=folder, env=env)
        (cache / "kafka-python.log").write_text(out)
        states = {}
        for test in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            ended = {child.tag for child in test} & {"failure", "error", "skipped"}
            name = "%s::%s" % (test.get("classname").rsplit(".", 1)[1], test.get("name"))
            states[name] = "SKIPPED" if ended == {"skipped"} else "FAILED" if ended else "PASSED"
        return states


class Librdkafka(Suite):
    expected = "librdkafka-classic.txt"

    def prepare(self, cache):
        done = subprocess.run(["bash", str(HERE / "build-librdkafka.sh"), str(cache)]).returncode == 0
        if not done or not (cache / "librdkafka-2.12.1/tests/test-runner").exists():
            raise Unprepared("librdkafka does not build, see %s/librdkafka-build.log; it needs libcurl4-openssl-dev "
                             "libzstd-dev liblz4-dev zlib1g-dev libssl-dev rapidjson-dev" % cache)

    def run(self, cache, broker, wanted):
        command = [sys.executable, str(HERE / "librdkafka.py"), str(cache / "librdkafka-2.12.1/tests"),
                   broker.address, "classic", "--out", str(cache / "librdkafka.rows")]
        command += ["--only", ",".join(wanted)] if wanted else []
        command += os.environ.get("RIVVEN_LIBRDKAFKA_ARGS", "").split()
        out, _ = timed(command, 7200, env=dict(os.environ, KAFKA_PATH=str(HERE / "distribution")))
        return dict(re.findall(r"^(\d{4}\w*) (\w+) [0-9.]+$", out, re.M))


class Rivven(Suite):
    """Upstream's own command and client, as they are released."""

    def prepare(self, cache):
        need("cargo", "install Rust")
        if not self.command(cache).exists():
            subprocess.run(["cargo", "install", "-q", "rivven", "--version", rivven.VERSION, "--locked", "--debug",
                            "--root", str(cache / "rivven"), "--target-dir", str(cache / "target")], check=True)
        shutil.copytree(HERE / "released", cache / "released", dirs_exist_ok=True)
        subprocess.run(["cargo", "build", "-q"], cwd=cache / "released", env=self.built(cache), check=True)

    def built(self, cache):
        return dict(os.environ, CARGO_TARGET_DIR=str(cache / "target"))

    def command(self, cache):
        return cache / "rivven/bin/rivven"

    def run(self, cache, broker, wanted):
        return rivven.run(str(self.command(cache)), str(cache / "target/debug/released"), broker.address)


class KafkaTools(Suite):
    """Kafka's own tools, of one release; they need a Java runtime of version 17 or newer."""

    def __init__(self, version):
        self.version = version

    def prepare(self, cache):
        need("java", "apt-get install openjdk-17-jre-headless")
        need("mvn", "apt-get install maven")
        if not tool.fetch(self.jars(cache), self.version):
            raise Unprepared("Maven gave no jars of Kafka's tools %s" % self.version)

    def jars(self, cache):
        return cache / ("kafka-tools-" + self.version)

    def run(self, cache, broker, wanted):
        return cases.run(self.version, self.jars(cache), broker.address, wanted)


SUITES = {
    "apiversions": ApiVersions(), "probe": Probe(), "kcat": Kcat(), "rskafka": Rskafka(),
    "kafka-python": KafkaPython(), "rdkafka": Rdkafka(), "librdkafka": Librdkafka(), "rivven": Rivven(),
    "kafka-tools": KafkaTools("4.3.1"), "kafka-tools-3.9": KafkaTools("3.9.2"),
}
