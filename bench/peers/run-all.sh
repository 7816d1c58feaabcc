#!/usr/bin/env bash
# All anchors in one run: limits, client ceiling, then every peer that is on this machine.
#   bash bench/peers/run-all.sh >peers-$(date +%F).md        PEERS=$PEERS DATA=... SCALE=1
cd "$(dirname "$0")" || exit 1
bash limits.sh
for p in mock kafka tansu iggy nats redis; do bash "run-$p.sh" || echo "- $p failed"; done
