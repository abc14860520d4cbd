#!/usr/bin/env bash
# Methods on the same clients, data and seeds. How-to: docs/compare.md.
set -euo pipefail
mosaic compare --data digits --preset encoder --encoder gabor --methods mosaic,fedcgs,afl,centralised \
    --alpha 0.1 --seeds 0,1 --architectures equal --out runs/compare
echo "Open runs/compare/report.html"
