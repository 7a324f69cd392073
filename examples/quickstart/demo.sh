#!/usr/bin/env bash
# The main job, step by step: each line that begins with $ is the command that runs next.
# A step whose exit code is not the expected one ends the demo.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH="$PWD/.venv/bin:$PATH"
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
export TOOLRT_CONFIG=examples/quickstart/toolrt.toml
export TOOLRT_STORE="$state/audit.db"

step() {
  local expected=$1 code=0
  shift
  printf '\n$ %s\n' "$*"
  "$@" || code=$?
  if [ "$code" -ne "$expected" ]; then
    printf 'exit %s, expected %s\n' "$code" "$expected" >&2
    exit 1
  fi
  [ "$code" -eq 0 ] || printf '(exit %s)\n' "$code"
}

printf '# config %s, store in a temporary directory\n' "$TOOLRT_CONFIG"
step 0 toolrt run git.log limit=3
step 0 toolrt run fs.grep pattern=^class path=toolrt glob=gate.py max_matches=3 -o table
step 0 toolrt run fs.read path=examples/quickstart/toolrt.toml limit=120
printf '\n'
step 3 toolrt run sys.info --as ci-bot
step 3 toolrt run fs.read path=README.md --as ci-bot
step 0 toolrt pack handlers -o table
step 0 toolrt audit query -S 1h -o table
step 0 toolrt provenance explain alice repo:read
step 3 toolrt provenance explain ci-bot fs:read
printf '\nDone: every call above is in the record, refused ones too.\n'
