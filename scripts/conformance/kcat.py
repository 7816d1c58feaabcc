"""What an operator does with kcat, in every codec; the rows are ours, Apache Kafka 4.3.1 passes all of them."""
import os
import subprocess

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def call(address, *args, text=None):
    done = subprocess.run(["kcat", "-b", address, *args], input=text, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def rows(address, topic):
    """Yields name and whether it holds."""
    lines = b"".join(b"%d:value %d %s\n" % (i, i, b"x" * 100) for i in range(1000))
    for codec in CODECS:
        name = "%s-%s" % (topic, codec)
        code, _, log = call(address, "-P", "-t", name, "-p", "0", "-K:", "-z", codec, "-d", "broker,msg", text=lines)
        yield "produce %s" % codec, code == 0
        yield "%s is not turned off by the client" % codec, "not compressing" not in log
        code, out, _ = call(address, "-C", "-t", name, "-p", "0", "-o", "beginning", "-e", "-q", "-K:")
        yield "consume %s" % codec, code == 0 and out == lines
    name = topic + "-none"
    code, out, _ = call(address, "-C", "-t", name, "-p", "0", "-o", "990", "-e", "-q", "-f", "%o\n")
    yield "consume from an offset", code == 0 and out.split() == [b"%d" % i for i in range(990, 1000)]
    code, out, _ = call(address, "-C", "-t", name, "-p", "0", "-o", "-5", "-e", "-q", "-f", "%o\n")
    yield "consume the last five", code == 0 and out.split() == [b"%d" % i for i in range(995, 1000)]
    code, out, _ = call(address, "-L", "-t", name)
    yield "list a topic", code == 0 and b'topic "%s" with 4 partitions' % name.encode() in out
    code, out, _ = call(address, "-Q", "-t", name + ":0:-1")
    yield "query the end", code == 0 and out.strip().endswith(b"offset 1000")
    code, out, _ = call(address, "-Q", "-t", name + ":0:-2")
    yield "query the start", code == 0 and out.strip().endswith(b"offset 0")
    for acks in ("0", "1", "-1"):
        one = "%s-acks%s" % (topic, acks)
        code, _, _ = call(address, "-P", "-t", one, "-p", "0", "-X", "request.required.acks=" + acks, text=b"a\nb\n")
        code2, out, _ = call(address, "-C", "-t", one, "-p", "0", "-o", "beginning", "-c", "2", "-q")
        yield "acks %s" % acks, code == 0 and code2 == 0 and out == b"a\nb\n"
    one = topic + "-idem"
    code, _, _ = call(address, "-P", "-t", one, "-p", "0", "-X", "enable.idempotence=true", text=lines)
    code2, out, _ = call(address, "-C", "-t", one, "-p", "0", "-o", "beginning", "-e", "-q")
    yield "an idempotent producer", code == 0 and code2 == 0 and out == lines
    one = topic + "-head"
    code, _, _ = call(address, "-P", "-t", one, "-p", "0", "-H", "a=1", "-H", "b=2", text=b"x\n")
    code2, out, _ = call(address, "-C", "-t", one, "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%h %s\n")
    yield "headers", code == 0 and code2 == 0 and out == b"a=1,b=2 x\n"


def run(address):
    return {name: "PASSED" if holds else "FAILED" for name, holds in rows(address, "kcat-%d" % os.getpid())}
