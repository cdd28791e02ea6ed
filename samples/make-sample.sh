#!/usr/bin/env bash
# Makes the bundled sample: Q, K and V of three layers of the small model reading samples/tarn-point-log.txt.
set -euo pipefail
cd "$(dirname "$0")"
program=${1:-../.build/release/attnscope}
"$program" capture --model "$(./get-model.sh)" --prompt-file tarn-point-log.txt --layers 0,12,18 \
  -o smollm2-log-832.safetensors --force
