"""The released `rivven` command and a program on `rivven-client`, both 0.0.22; the rows are ours."""
import os
import re
import subprocess

VERSION = "0.0.22"


def call(program, *args):
    done = subprocess.run([program, *args], capture_output=True, timeout=60, text=True)
    return done.returncode, done.stdout + done.stderr


def rows(command, address, topic):
    """Yields name and whether it holds, of the command."""
    at = ["-s", address]
    code, out = call(command, "ping", *at)
    yield "command ping", code == 0 and "Pong" in out
    code, _ = call(command, "topic", "create", topic, "-p", "3", *at)
    yield "command topic create", code == 0
    code, _ = call(command, "topic", "create", topic, "-p", "3", *at)
    yield "command topic create, again", code != 0
    code, out = call(command, "topic", "list", *at)
    yield "command topic list", code == 0 and topic in out
    code, out = call(command, "topic", "info", topic, *at)
    yield "command topic info", code == 0 and topic in out and "3" in out
    sent = [call(command, "produce", topic, "value %d" % i, "-p", "0", *at)[0] for i in range(3)]
    sent.append(call(command, "produce", topic, "with key", "-p", "0", "-k", "k", *at)[0])
    yield "command produce", sent == [0] * 4
    code, out = call(command, "consume", topic, *at)
    places = [out.find("value %d" % i) for i in range(3)] + [out.find("with key")]
    yield "command consume", code == 0 and -1 not in places and places == sorted(places)
    code, out = call(command, "consume", topic, "-o", "2", "-m", "1", *at)
    yield "command consume from an offset", code == 0 and "value 2" in out and "value 1" not in out
    code, out = call(command, "consume", topic, "-o", "99", *at)
    yield "command consume past the end", code != 0 and "OFFSET_OUT_OF_RANGE" in out
    code, out = call(command, "group", "list", *at)
    yield "command group list", code == 0
    code, out = call(command, "group", "describe", "nobody", *at)
    yield "command group describe, unknown", code != 0 and "GROUP_ID_NOT_FOUND" in out
    code, _ = call(command, "produce", topic + "-auto", "v", *at)
    yield "command produce to a new topic", code == 0
    code, _ = call(command, "topic", "delete", topic, *at)
    code2, out = call(command, "topic", "list", *at)
    yield "command topic delete", code == 0 and code2 == 0 and not re.search(r"\b%s$" % topic, out, re.M)


def run(command, program, address):
    states = {name: "PASSED" if holds else "FAILED" for name, holds in rows(command, address, "command-%d" % os.getpid())}
    _, out = call(program, address)
    for line in out.splitlines():
        name, state, *why = line.split("\t")
        states[name] = state
        if why:
            print("  %s: %s" % (name, why[0]))
    return states
