#!/usr/bin/env bash
# Where no model is named, noisy class moments are all that leaves. How-to: docs/privacy.md.
set -euo pipefail
mosaic data --data digits --clients 2 --alpha 1 --export sites --out split.png     # stands for the sites' own files
mosaic contribute --data sites/client-000.parquet --classes 10 --client 0 --out a.contribution
mosaic contribute --data sites/client-001.parquet --classes 10 --client 1 --out b.contribution
mosaic inspect a.contribution                                                      # all that is in the file
mosaic distill a.contribution b.contribution --test sites/test.parquet --out global
