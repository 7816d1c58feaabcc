"""A rivvend of its own for one suite: a fresh folder, ended when the suite is done."""
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def binary(given, name="rivvend"):
    """The path of a release binary; built when nobody names one and it is not there."""
    if given:
        return str(pathlib.Path(given).resolve())
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"],
                              cwd=ROOT, check=True, capture_output=True, text=True).stdout
    import json
    path = pathlib.Path(json.loads(metadata)["target_directory"]) / "release" / name
    if not path.exists():
        subprocess.run(["cargo", "build", "--quiet", "--release", "--bin", name], cwd=ROOT, check=True)
    return str(path)


class Broker:
    """`settings`: port (0: any), partitions, auto_create. A broker that runs already is only named."""

    def __init__(self, given, against, settings):
        self.given, self.address, self.settings, self.child = given, against, settings, None

    def __enter__(self):
        if not self.address:
            self.folder = tempfile.mkdtemp(prefix="rivven-conformance-")
            self.child, self.address = self.start(self.settings, self.folder)
        return self

    def start(self, settings, folder):
        log = open(pathlib.Path(folder) / "broker.log", "w")
        child = subprocess.Popen(
            [binary(self.given), "--data-dir", folder + "/data", "--bind", "127.0.0.1:%d" % settings.get("port", 0),
             "--api-bind", "127.0.0.1:0", "--node-id", "0",
             "--default-partitions", str(settings.get("partitions", 4)),
             "--auto-create-topics", "true" if settings.get("auto_create", True) else "false",
             "--group-initial-rebalance-delay-ms", "0", "--group-min-session-timeout-ms", "1000",
             "--offsets-topic-partitions", "4"],
            stdout=subprocess.PIPE, stderr=log, text=True)
        line = child.stdout.readline()
        fields = dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)
        if not line.startswith("ready "):
            child.kill()
            raise RuntimeError("rivvend did not get ready: %r, see %s" % (line, log.name))
        return child, fields["kafka"].split(",")[0]

    def second(self, settings):
        """Another broker beside this one; ended by the caller."""
        folder = self.folder + "/second"
        pathlib.Path(folder).mkdir()
        return self.start(settings, folder)

    def __exit__(self, *_):
        if self.child:
            self.child.terminate()
            self.child.wait(20)
            shutil.rmtree(self.folder, ignore_errors=True)
