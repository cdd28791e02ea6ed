#!/usr/bin/env bash
# Makes the figure of the README from the bundled sample.
set -euo pipefail
cd "$(dirname "$0")"
program=${1:-../.build/release/attnscope}
"$program" render smollm2-log-832.safetensors --layer 12 --head 6 --lambda 0.1 --theme dark -o map.svg --force
