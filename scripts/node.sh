#!/bin/sh
# node.sh [FLAGS] FILE [ARGS]: runs a TypeScript file of this repository with a Node that can (>= 22.18), the
# one in node_modules first. Installs the packages when they are missing or older than the lockfile.
# Standard output belongs to FILE; the working folder stays the caller's.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
lockfile=$root/package-lock.json
installed=$root/node_modules/.package-lock.json

stale() {
  [ ! -e "$installed" ] || [ -n "$(find "$lockfile" -newer "$installed")" ]
}

install_packages() {
  if ! command -v npm > /dev/null; then
    echo "headrace: npm is not installed; it comes with Node (https://nodejs.org)" >&2
    exit 69
  fi
  echo "headrace: installing packages (npm ci) ..." >&2
  (cd "$root" && npm ci --no-audit --no-fund >&2)
  # As old as the lockfile, not as now: a lockfile with a date to come would be stale for ever.
  mkdir -p "$root/node_modules"
  touch -r "$lockfile" "$installed"
}

# Two commands started side by side must not both install: each would delete the other's files.
install_once() {
  until mkdir "$root/.installing" 2> /dev/null; do
    holder=$(cat "$root/.installing/pid" 2> /dev/null || echo)
    if [ -n "$holder" ] && ! kill -0 "$holder" 2> /dev/null; then rm -rf "$root/.installing"; fi
    sleep 1
  done
  trap 'rm -rf "$root/.installing"' EXIT
  trap 'exit 130' INT TERM
  echo $$ > "$root/.installing/pid"
  if stale; then install_packages; fi
  rm -rf "$root/.installing"
  trap - EXIT INT TERM
}

new_enough() {
  version=$("$1" --version 2> /dev/null) || return 1
  version=${version#v}
  major=${version%%.*}
  rest=${version#*.}
  minor=${rest%%.*}
  [ "$major" -gt 22 ] || { [ "$major" -eq 22 ] && [ "$minor" -ge 18 ]; }
}

if stale; then install_once; fi

PATH=$root/node_modules/.bin:$PATH
export PATH
if ! new_enough node; then
  echo "headrace: Node 22.18 or newer is needed, and the packages bring none for this machine" >&2
  exit 69
fi
# Node 22 calls type stripping experimental; kafkajs computes negative timeouts, which do no harm.
exec node --disable-warning=ExperimentalWarning --disable-warning=TimeoutNegativeWarning "$@"
