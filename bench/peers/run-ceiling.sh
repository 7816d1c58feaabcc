#!/usr/bin/env bash
# What the Kafka protocol costs on this box when the broker does the least it can (bench/peers/ceiling), by design choice.
#   bash bench/peers/run-ceiling.sh [VARIANT...]     a VARIANT is "STORE key=value ..." in quotes; default: the list below
source "$(dirname "$0")/lib.sh"
build_kload
C=$PEERS/ceiling-target/release/ceiling
CARGO_TARGET_DIR=$PEERS/ceiling-target cargo build --release --quiet --manifest-path "$here/ceiling/Cargo.toml"
secs=${SECS:-3}
d=$DATA/ceiling
one() { # variant
  rm -rf "$d"; mkdir -p "$d"
  # shellcheck disable=SC2086
  "$C" 39092 "$d" $1 2>"$d.err" &
  pid=$!
  trap 'stop_pid $pid; rm -rf "$d" "$d.err"' EXIT
  "$KLOAD" ready --brokers 127.0.0.1:39092 --timeout 60 >/dev/null || return
  sleep 1.5 # the WAL is written once before the first commit
  k() { timeout 60 "$KLOAD" "$1" --brokers 127.0.0.1:39092 --pid "$pid" --acks -1 "${@:2}"; }
  # partitions are made on first use: do that outside the measured time
  for t in a c f; do k raw-produce --topic $t --secs 0.2 >/dev/null; done
  k raw-produce --topic b --conns 4 --partitions 4 --secs 0.2 >/dev/null
  for w in ${WORK:-big mid four one small}; do case $w in
  big) k raw-produce --topic a --msgs 900 --size 1024 --inflight 4 --secs "$secs" --label "[$1] 900 KiB batches, 1 conn x4" ;;
  mid) k raw-produce --topic a --msgs 64 --size 1024 --inflight 8 --secs "$secs" --label "[$1] 64 KiB batches, 1 conn x8" ;;
  four) k raw-produce --topic b --msgs 64 --size 1024 --conns 4 --partitions 4 --inflight 8 --secs "$secs" --label "[$1] 64 KiB batches, 4 conns/partitions x8" ;;
  one) k raw-produce --topic c --msgs 1 --size 1024 --inflight 1 --secs "$secs" --label "[$1] 1 KiB unbatched, 1 conn x1 (ack latency)" ;;
  small) k raw-produce --topic c --msgs 1 --size 100 --conns 4 --inflight 16 --secs "$secs" --label "[$1] 100 B unbatched, 4 conns x16" ;;
  fetch) k raw-produce --topic f --msgs 64 --size 1024 --inflight 8 --secs 2 >/dev/null
    k raw-fetch --topic f --max-bytes 1048576 --secs "$secs" --label "[$1] fetch 1 MiB"
    k raw-fetch --topic f --max-bytes 65536 --secs "$secs" --label "[$1] fetch 64 KiB" ;;
  esac; done
  grep checkpoint "$d.err" 2>/dev/null | awk '{n++} END{if(n) printf "| (%d checkpoints) | | | | | | |\n", n}'
  grep commits "$d.err" 2>/dev/null | awk '{c+=$2; b+=$4; n++} END{if(n) printf "| (%d commits/s, %.1f batches a commit, on average) | | | | | | |\n", c/n, b/n}'
  stop_pid $pid
  rm -rf "$d"
}
note "ceiling: minimal broker"
"$KLOAD" head
if [ $# -gt 0 ]; then
  for v in "$@"; do one "$v"; done
else
  for v in null crc cache "cache prealloc=recycle" wal "wal prealloc=recycle" "wal wal=direct prealloc=recycle" "wal wal=direct prealloc=recycle checkpoint=on" walonly "walonly wal=direct" "walonly wal=direct spin=50" seg each "wal ack=thread" "wal delay=500" "crc net=tokio1" "crc net=tokio2"; do one "$v"; done
  WORK=fetch one "cache fetch=copy"
  WORK=fetch one "cache fetch=sendfile"
fi
