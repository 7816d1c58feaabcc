#!/usr/bin/env bash
# Physical limits of this box, as one small table (markdown) on stdout.
#   bash bench/peers/limits.sh [GROUP...]     groups: sys mem touch crc cache send tcp mmap disk group shared uring
# Environment: DIR (data, default ${XDG_CACHE_HOME:-$HOME/.cache}/rivven-peers/limits-data; must be on the disk to judge), REPS (3),
#   SEQ_MB (1024), SYNC_N (1500), GROUP_MB (256), CACHE_MB (1024), TCP_MB (4096), PING_N (30000).
# About 5 minutes for all groups. Builds into ${XDG_CACHE_HOME:-$HOME/.cache}/rivven-peers/limits-target. Loopback only. Removes its data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rivven-peers/limits-target}
mkdir -p "$CARGO_TARGET_DIR"
cargo build --release --quiet --manifest-path "$here/limits/Cargo.toml"
dir=${DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rivven-peers/limits-data}
echo "<!-- $(date -u +%FT%TZ) $(uname -r), $(nproc) CPUs ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), load before: $(cut -d' ' -f1-3 /proc/loadavg), fs: $(findmnt -no FSTYPE,OPTIONS -T "$(dirname "$dir")" | tr -s ' ') -->"
exec "$CARGO_TARGET_DIR/release/limits" "$dir" "$@"
