#!/usr/bin/env bash
# The standard set for ANY broker that speaks the Kafka protocol (ours, Kafka, Tansu, ...).
#   bash bench/peers/run-kafka-proto.sh NAME HOST:PORT PID [TOPIC_CONFIG]
# PID: the broker's process (its CPU and memory are read from /proc). Rows are markdown.
# SCALE=4 for longer runs; ONLY="produce raw consume e2e" picks parts; MAXMSG caps the messages of a run.
source "$(dirname "$0")/lib.sh"
name=$1 br=$2 pid=$3 cfg=${4:-}
build_kload
ONLY=${ONLY:-"produce raw consume e2e"}
cap() { [ -n "${MAXMSG:-}" ] && [ "$1" -gt "$MAXMSG" ] && echo "$MAXMSG" || echo "$1"; }
k() { timeout "${LIMIT:-120}" "$KLOAD" "$1" --brokers "$br" --pid "$pid" "${@:2}"; }
r=${RUN_ID:-$RANDOM}
t1=b1-$r t4=b4-$r t100=b100-$r tl=bl-$r traw=braw-$r
if [ -n "${TOPIC:-}" ]; then # a broker that creates no topics: use this one (4 partitions or more)
  t1=$TOPIC t4=$TOPIC t100=$TOPIC tl=$TOPIC traw=$TOPIC
else
for t in $t1 $t100 $tl $traw; do k create --topic "$t" --partitions 1 --config "$cfg" >/dev/null; done
k create --topic "$t4" --partitions 4 --config "$cfg" >/dev/null
fi
sleep 1
"$KLOAD" head
n1=$(cap $((600000 * SCALE))) n100=$(cap $((2000000 * SCALE)))
for part in $ONLY; do
"$KLOAD" ready --brokers "$br" --timeout 5 >/dev/null || exit 1 # the broker is gone
case $part in
produce)
  k produce --topic "$t1" --size 1024 --count "$(cap $((100000)))" --label "$name warm-up 1 KiB x1" >/dev/null
  k produce --topic "$t1" --size 1024 --count "$n1" --label "$name 1 KiB x1, batch 1 MB linger 5 (librdkafka default), acks=1"
  k produce --topic "$t1" --size 1024 --count "$n1" --batch 16384 --linger 0 --label "$name 1 KiB x1, batch 16 KiB linger 0 (Java client default before 4.0), acks=1"
  k produce --topic "$t1" --size 1024 --count "$n1" --acks -1 --label "$name 1 KiB x1, batch 1 MB linger 5, acks=all"
  k produce --topic "$t4" --size 1024 --count "$n1" --producers 4 --partitions 4 --acks -1 --label "$name 1 KiB x4 producers, 4 partitions, acks=all"
  k produce --topic "$t100" --size 100 --count "$n100" --label "$name 100 B x1, batch 1 MB linger 5, acks=1"
  k produce --topic "$t100" --size 100 --count "$n100" --batch 16384 --linger 0 --label "$name 100 B x1, batch 16 KiB linger 0, acks=1"
  k produce --topic "$t4" --size 100 --count "$n100" --producers 4 --partitions 4 --acks -1 --label "$name 100 B x4 producers, 4 partitions, acks=all" ;;
raw)
  k raw-produce --topic "$traw" --msgs 64 --size 1024 --conns 1 --inflight 8 --secs $((4 * SCALE)) --acks -1 --label "$name RAW 64 x 1 KiB batches, 1 conn, 8 in flight, acks=all"
  k raw-produce --topic "$traw" --msgs 900 --size 1024 --conns 1 --inflight 4 --secs $((4 * SCALE)) --acks -1 --label "$name RAW 900 x 1 KiB batches, 1 conn, 4 in flight, acks=all"
  k raw-produce --topic "$t4" --msgs 64 --size 1024 --conns 4 --partitions 4 --inflight 8 --secs $((4 * SCALE)) --acks -1 --label "$name RAW 64 x 1 KiB, 4 conns/partitions, acks=all"
  k raw-produce --topic "$traw" --msgs 1 --size 1024 --conns 1 --inflight 1 --secs $((3 * SCALE)) --acks -1 --label "$name RAW 1 x 1 KiB, 1 in flight (ack latency), acks=all"
  k raw-produce --topic "$traw" --msgs 1 --size 100 --conns 4 --inflight 16 --secs $((3 * SCALE)) --acks -1 --label "$name RAW 1 x 100 B unbatched, 4 conns x 16 in flight, acks=all" ;;
consume)
  k consume --topic "$t1" --count "$n1" --label "$name consume 1 KiB x1, cached (librdkafka)"
  k consume --topic "$t100" --count "$n100" --label "$name consume 100 B x1, cached (librdkafka)"
  k raw-fetch --topic "$t1" --max-bytes 1048576 --conns 1 --secs $((4 * SCALE)) --label "$name RAW fetch 1 MiB, 1 conn, cached"
  k raw-fetch --topic "$t1" --max-bytes 1048576 --conns 4 --secs $((4 * SCALE)) --label "$name RAW fetch 1 MiB, 4 conns, cached"
  k raw-fetch --topic "$t1" --max-bytes 65536 --conns 1 --secs $((3 * SCALE)) --label "$name RAW fetch 64 KiB, 1 conn, cached" ;;
e2e)
  k e2e --topic "$tl" --size 1024 --rate 1000 --secs $((8 * SCALE)) --label "$name e2e 1 KiB 1000/s acks=all linger 0"
  k e2e --topic "$tl" --size 1024 --rate 10000 --secs $((8 * SCALE)) --label "$name e2e 1 KiB 10000/s acks=all linger 0" ;;
esac; done
