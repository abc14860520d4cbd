#!/usr/bin/env bash
# The same run on Flower's simulation: the same bytes. How-to: docs/deploy.md, which goes on with real sites.
set -euo pipefail
mosaic run --data digits --clients 3 --alpha 0.1 --preset encoder --encoder gabor --engine flower --out runs/flower
