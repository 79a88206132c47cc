#!/bin/sh
# towers.sh FOLDER [THREADS] [ROUNDS] [BATCHES]: the training step of TensorFlow Recommenders, its tables static and dynamic
# (those of the addons), and of freshet, on the same interactions and machine, by turns. FOLDER takes what it needs and makes: a
# virtual environment with the libraries from PyPI (1.5 GB), interactions.bin, towers.jsonl. Prints a table. Takes Python 3.9 to
# 3.11 (PYTHON); a round takes a minute and a half on two quiet cores.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?a folder to work in}
threads=${2:-2}
rounds=${3:-3}
batches=${4:-256 1024 4096}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$here/../.."
PATH="$PWD/node_modules/.bin:$PATH"
if [ ! -e "$folder/venv/installed" ]; then
  "${PYTHON:-python3}" -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet -r "$here/towers-requirements.txt"
  # Its own list of versions stops before this TensorFlow, with which it runs.
  "$folder/venv/bin/pip" install --quiet --no-deps tensorflow-recommenders-addons==0.8.1 typeguard==2.13.3 packaging
  touch "$folder/venv/installed"
fi
node "$here/towers-data.ts" "$folder"
rm -f "$folder/towers.jsonl"
for round in $(seq "$rounds"); do
  for batch in $batches; do
    echo "round $round, batch $batch" >&2
    for tables in static dynamic; do
      "$folder/venv/bin/python" "$here/towers.py" "$folder" "$tables" "$batch" "$threads" 2>/dev/null |
        tail -n 1 >>"$folder/towers.jsonl"
    done
    node src/app/cli.ts bench train --batch "$batch" --threads "$threads" --seconds 1 --repeats 3 --json 2>/dev/null |
      tail -n 1 >>"$folder/towers.jsonl"
  done
done
node "$here/towers-table.ts" "$folder"
