#!/bin/sh
# run.sh FOLDER [COUNT] [DIM] [PART ...]: ScaNN, faiss, usearch and hnswlib beside freshet on the same bytes and machine,
# one after the other. Parts: freshet scann faiss usearch hnswlib, by default all, the quickest first. A part that is
# done is passed over, one that was cut off begins again, from the graph if it was built; each part ends with the table and
# the chart of what there is. FOLDER takes what all of it needs and makes: a virtual environment with the libraries from
# PyPI, the arrays, *.jsonl, freshet.json, table.md, chart.svg. Takes Python 3.9 to 3.12 (PYTHON), and for a million
# points 4 GB and, on two quiet cores, about 2, 2, 2, 5 and 5 minutes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?a folder to work in}
count=${2:-1000000}
dim=${3:-32}
shift $(($# < 3 ? $# : 3))
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$here/../.."
PATH="$PWD/node_modules/.bin:$PATH"
if [ ! -x "$folder/venv/bin/python" ]; then
  "${PYTHON:-python3}" -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet -r "$here/requirements.txt"
fi
if [ ! -f "$folder/base.npy" ]; then
  node "$here/vectors.ts" "$folder" "$count" "$dim"
fi
[ $# -gt 0 ] || set -- freshet scann faiss usearch hnswlib
for part in "$@"; do
  echo "$part" >&2
  if [ "$part" = freshet ]; then
    [ -s "$folder/freshet.json" ] || {
      npm run -s freshet -- bench index --parts curve,upserts --vectors "$folder/base.npy" \
        --queries "$folder/queries.npy" --json >"$folder/freshet.part"
      tail -n 1 "$folder/freshet.part" >"$folder/freshet.json"
    }
  elif ! grep -qs '"done"' "$folder/$part.jsonl"; then
    "$folder/venv/bin/python" "$here/rivals.py" "$folder" "$part"
  fi
  node "$here/chart.ts" "$folder" >"$folder/chart.svg"
  node "$here/table.ts" "$folder" >"$folder/table.md"
done
cat "$folder/table.md"
echo "$folder/chart.svg"
