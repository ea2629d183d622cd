#!/usr/bin/env bash
# Starts Decalog with data of its own, deploys the examples, asks each for a prediction, and leaves it running.
#   DECALOG   the binary; default: where `make build` puts it        DEMO_PORT   default 8010
set -euo pipefail
cd "$(dirname "$0")"
cache="${DECALOG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/decalog}"
decalog="${DECALOG:-${CARGO_TARGET_DIR:-$cache/target}/release/decalog}"
data="$cache/demo"
export DECALOG_URL="http://127.0.0.1:${DEMO_PORT:-8010}"
[ -f "$cache/environment" ] && . "$cache/environment"

ready() { curl -fs -o /dev/null "$DECALOG_URL/readyz"; }

if ready; then
    echo "A server already answers at $DECALOG_URL: the examples are deployed there."
else
    mkdir -p "$cache"
    setsid "$decalog" up --data "$data" --listen "${DECALOG_URL#http://}" > "$cache/demo.log" 2>&1 &
    pid=$!
    until ready; do
        kill -0 "$pid" 2>/dev/null || { cat "$cache/demo.log" >&2; exit 1; }
        sleep 0.05
    done
fi

show() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { show "decalog $*"; "$decalog" "$@"; }

run deploy flights
run predict flights '{"carrier": "B6", "origin": "JFK", "distance": 264, "departure": "2013-03-08T18:10:00Z", "visibility": 0.5}'
run deploy iris-sklearn --name iris
run predict iris '{"sepal_length": 5.9, "sepal_width": 3.2, "petal_length": 4.8, "petal_width": 1.8}'
run deploy digits-onnx --name digits
run deploy linear-python --name air-time
run predict air-time '{"distance": 1400, "origin": "EWR"}'
run deploy linear-r --name air-time   # the same name: R takes over from Python, and no request fails
run predict air-time '{"distance": 1400, "origin": "EWR"}'
run deploy stream
show "curl -N $DECALOG_URL/v1/models/stream/predict -d '{\"prompt\": \"the data\", \"words\": 5}'"
curl -sSN "$DECALOG_URL/v1/models/stream/predict" -d '{"prompt": "the data", "words": 5}'
run ls

cat <<END

Decalog runs at $DECALOG_URL${pid:+ (stop it with: kill $pid)}. Try next:
  export DECALOG_URL=$DECALOG_URL PATH="$(dirname "$decalog"):\$PATH"
  decalog show flights                       its columns, versions and replicas
  decalog events air-time                    how R took over from Python
  decalog predict flights '{"carrier": 7}'   what a wrong row is told
  decalog new hello && decalog deploy hello  a model of your own
END
