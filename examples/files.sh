#!/usr/bin/env bash
# Three sites that exchange files and nothing else. How-to: docs/files.md.
set -euo pipefail
mosaic data --data digits --clients 3 --alpha 0.1 --export sites --out split.png   # stands for the sites' own files

# At each site. `--model cnn:16` in place of the encoder, generator and model here would train, for half a minute.
mosaic contribute --data sites/client-000.parquet --classes 10 --client 0 --encoder gabor --generator moments --model discriminant --out a.contribution
mosaic contribute --data sites/client-001.parquet --classes 10 --client 1 --encoder gabor --generator moments --model discriminant --out b.contribution
mosaic contribute --data sites/client-002.parquet --classes 10 --client 2 --encoder gabor --generator moments --model discriminant --out c.contribution

# At the server: look at the files, then distil.
mosaic check a.contribution b.contribution c.contribution
mosaic distill a.contribution b.contribution c.contribution --student discriminant --test sites/test.parquet --out global

# Back at a site: does it gain?
mosaic evaluate global a.contribution --data sites/client-000.parquet --held-back
mosaic predict global --data sites/test.parquet --out predictions.csv --probabilities
