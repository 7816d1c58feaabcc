#!/usr/bin/env python3
"""narrow.py LISTEN_PORT BROKER_PORT [--keys 0,1,...] [--log FILE]

A proxy that makes a complete Kafka broker look like one that serves only the APIs in --keys: it takes the others out
of the ApiVersions answer and closes a connection that asks for one. This is how bar/*.txt was found: a test that
passes through it against Apache Kafka needs nothing else. Without --keys nothing is taken out, and --log names each
API that a client asks for (one line `KEY` a request), which says what a test lacks.
The broker must advertise the proxy's address (advertised.listeners=PLAINTEXT://127.0.0.1:LISTEN_PORT).
"""
import argparse
import asyncio
import struct

SERVED = "0,1,2,3,9,10,18,19,20,21,22,32,33,37,44,60"


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def write_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def narrowed(frame, version, keys):
    """The ApiVersions answer `frame` with only the rows of `keys`."""
    head, at = frame[:6], 6
    if frame[4:6] != b"\0\0":
        return frame
    flexible = version >= 3
    if flexible:
        count, at = varint(frame, at)
        count -= 1
    else:
        count, at = struct.unpack_from(">i", frame, at)[0], at + 4
    rows = []
    for _ in range(count):
        row = frame[at:at + 6]
        at += 6
        if flexible:
            tags, after = varint(frame, at)
            assert tags == 0
            row, at = row + frame[at:after], after
        if struct.unpack_from(">h", row)[0] in keys:
            rows.append(row)
    start = write_varint(len(rows) + 1) if flexible else struct.pack(">i", len(rows))
    return head + start + b"".join(rows) + frame[at:]


async def read_frame(reader):
    size = struct.unpack(">i", await reader.readexactly(4))[0]
    return await reader.readexactly(size)


async def serve(client, client_out, args):
    broker, broker_out = await asyncio.open_connection("127.0.0.1", args.broker_port)
    versions = {}

    async def requests():
        while True:
            frame = await read_frame(client)
            key, version, correlation = struct.unpack_from(">hhi", frame)
            if args.log:
                args.log.write("%d\n" % key)
                args.log.flush()
            if args.keys and key not in args.keys:
                return
            if key == 18:
                versions[correlation] = version
            broker_out.write(struct.pack(">i", len(frame)) + frame)
            await broker_out.drain()

    async def answers():
        while True:
            frame = await read_frame(broker)
            version = versions.pop(struct.unpack_from(">i", frame)[0], None)
            if version is not None and args.keys:
                frame = narrowed(frame, version, args.keys)
            client_out.write(struct.pack(">i", len(frame)) + frame)
            await client_out.drain()

    both = [asyncio.ensure_future(requests()), asyncio.ensure_future(answers())]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in both:
        task.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    client_out.close()
    broker_out.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listen_port", type=int)
    parser.add_argument("broker_port", type=int)
    parser.add_argument("--keys", type=lambda text: {int(key) for key in text.split(",")})
    parser.add_argument("--log", type=argparse.FileType("a"))
    args = parser.parse_args()
    server = await asyncio.start_server(lambda r, w: serve(r, w, args), "127.0.0.1", args.listen_port, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
