#!/usr/bin/env bash
# This VM gives memory back to its host (free page reporting) and takes it again by slow faults: fresh page-cache pages can
# cost 2-3 CPU-s/GiB, recycled ones 0.1-0.3. Fill the page cache with one clean file first, so that later page-cache pages
# come from reclaim (already backed by the host), as on a box that has run for a day.
#   bash bench/peers/warm-memory.sh [GiB]      default: free memory less 2 GiB; keep the file until the benches are done
source "$(dirname "$0")/lib.sh"
g=${1:-$(awk '/^MemFree/{printf "%d", $2/1048576 - 2}' /proc/meminfo)}
f=$DATA/warm-memory.file
[ "$g" -gt 0 ] || { echo "memory is already in use"; exit 0; }
dd if=/dev/zero of="$f" bs=1M count=$((g * 1024)) conv=fdatasync status=none
echo "page cache filled with $g GiB ($f); free now $(awk '/^MemFree/{printf "%.1f", $2/1048576}' /proc/meminfo) GiB"
