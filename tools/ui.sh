#!/usr/bin/env bash
# Builds the dashboard in ui/dist, if what it is made of has changed since.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${DECALOG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/decalog}"

[ -L ui/node_modules ] || rm -rf ui/node_modules
ln -sfn "$cache/ui/node_modules" ui/node_modules
made_of=$(find ui/src ui/scripts ui/*.json ui/*.ts ui/index.html docs/openapi.json -type f ! -name schema.d.ts -print0 | sort -z | xargs -0 sha256sum | sha256sum)
[ "$(cat ui/dist/made-of 2>/dev/null)" != "$made_of" ] || exit 0
echo "· the dashboard"
(cd ui && npm run --silent build)
echo "$made_of" > ui/dist/made-of
