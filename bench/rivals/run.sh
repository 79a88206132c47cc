#!/bin/sh
# run.sh FOLDER [COUNT] [DIM]: ScaNN, faiss, hnswlib, usearch and freshet on the same bytes and machine, one after the
# other. Everything it needs and makes is in FOLDER: a virtual environment with the libraries from PyPI, the arrays,
# rivals.jsonl, freshet.json and chart.svg. Takes Python 3.9 to 3.12 (PYTHON), and for a million points 4 GB and half an hour.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?a folder to work in}
count=${2:-1000000}
dim=${3:-32}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$here/../.."
PATH="$PWD/node_modules/.bin:$PATH"
if [ ! -x "$folder/venv/bin/python" ]; then
  "${PYTHON:-python3}" -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet -r "$here/requirements.txt"
fi
node "$here/vectors.ts" "$folder" "$count" "$dim"
rm -f "$folder/rivals.jsonl" "$folder/truth.npy"
for library in scann faiss hnswlib usearch; do
  echo "$library" >&2
  "$folder/venv/bin/python" "$here/rivals.py" "$folder" "$library" >>"$folder/rivals.jsonl"
done
npm run -s freshet -- bench index --vectors "$folder/base.npy" --queries "$folder/queries.npy" --json | tail -n 1 >"$folder/freshet.json"
node "$here/chart.ts" "$folder/rivals.jsonl" "$folder/freshet.json" >"$folder/chart.svg"
echo "$folder/chart.svg"
