#!/usr/bin/env bash
# Regions first, then the country. How-to: docs/regions.md. Minutes: generators are trained.
set -euo pipefail
mosaic data --data digits --clients 4 --alpha 0.1 --export sites --out split.png
for site in 0 1 2 3; do
    mosaic contribute --data "sites/client-00$site.parquet" --classes 10 --client $site --model cnn:16 --out "$site.contribution"
done
mosaic distill 0.contribution 1.contribution --out north --as-contribution north.contribution --client 0
mosaic distill 2.contribution 3.contribution --out south --as-contribution south.contribution --client 1
mosaic distill north.contribution south.contribution --test sites/test.parquet --out country
