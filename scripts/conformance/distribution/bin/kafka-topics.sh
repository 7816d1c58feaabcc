#!/usr/bin/env python3
"""kafka-topics.sh --bootstrap-server HOST:PORT --create|--delete|--alter --topic NAME [--partitions N]
   [--replication-factor N] [--config KEY=VALUE]...

What librdkafka's tests need of Kafka's tool of this name (KAFKA_PATH names the folder above), without a JVM.
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from wire import Conn, W, err  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, default=-1)
    parser.add_argument("--replication-factor", type=int, default=-1)
    parser.add_argument("--config", action="append", default=[])
    for action in ("create", "delete", "alter", "if-not-exists"):
        parser.add_argument("--" + action, action="store_true")
    args = parser.parse_args()
    conn = Conn(args.bootstrap_server.split(",")[0], 30)
    one = W().arr(1).s(args.topic)
    if args.create:
        one.i32(args.partitions).i16(args.replication_factor).arr(0).arr(len(args.config))
        for config in args.config:
            one.s(config.split("=", 1)[0]).s(config.split("=", 1)[1])
        answer = conn.call(19, 4, one.i32(30000).i8(0), timeout=30)
    elif args.delete:
        answer = conn.call(20, 3, one.i32(30000), timeout=30)
    else:
        answer = conn.call(37, 1, one.i32(args.partitions).i32(-1).i32(30000).i8(0), timeout=30)
    answer.i32()
    code = [(answer.s(), answer.i16())[1] for _ in answer.arr()][0]
    if code == 36 and getattr(args, "if_not_exists"):
        code = 0
    if code:
        print("Error while executing topic command : " + err(code))
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
