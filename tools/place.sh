#!/usr/bin/env bash
# Puts a binary, its completions and its manual pages below a prefix, and says what the shell still has to be told.
#   tools/place.sh BINARY PREFIX
set -euo pipefail
binary=$1 prefix=$2

mkdir -p "$prefix/bin"
prefix=$(cd "$prefix" && pwd)
# Under another name first: a binary that runs cannot be written to, but it can be replaced.
install -m 755 "$binary" "$prefix/bin/.decalog.new"
# What only a debugger reads is four fifths of it.
strip --strip-debug "$prefix/bin/.decalog.new" 2>/dev/null || true
mv -f "$prefix/bin/.decalog.new" "$prefix/bin/decalog"
"$prefix/bin/decalog" manual "$prefix"

echo "installed $prefix/bin/decalog ($("$prefix/bin/decalog" --version)), manual pages, and completions for bash, zsh and fish"
case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) echo "$prefix/bin is not on your PATH. Add this to ~/.profile:  export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
case "${SHELL:-}" in
    */zsh) echo "zsh: before compinit in ~/.zshrc:  fpath=($prefix/share/zsh/site-functions \$fpath)" ;;
esac
echo "Next: decalog doctor"
