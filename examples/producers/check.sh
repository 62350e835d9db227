#!/bin/sh
# Runs every producer of this folder whose language is at hand against a redis-server of its own, and looks at what it put
# on which lane. Client libraries come from the registries of the languages into a folder that is deleted afterwards.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
port=$((20000 + $$ % 20000))
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$work" >"$work/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT INT TERM
url=redis://127.0.0.1:$port
until redis-cli -u "$url" ping >/dev/null 2>&1; do kill -0 $server; done
redis-cli -u "$url" HSET gim:meta schema 1 lanes 4 >/dev/null

# uid and the lane it belongs to, as proto/tests/it/keys.rs has them.
check() {
  name=$1; shift
  for pair in 42:3 user-3:2; do
    uid=${pair%%:*} lane=${pair##*:}
    redis-cli -u "$url" DEL gim:queue:0 gim:queue:1 gim:queue:2 gim:queue:3 >/dev/null
    "$@" "$url" "$uid" hello "$name-$uid" >/dev/null
    found=$(redis-cli -u "$url" XRANGE "gim:queue:$lane" - + | tail -n +2 | paste -sd' ')
    for part in "to_uid $uid" 'text' 'hello' "id $name-$uid"; do
      case "$found" in *"$part"*) ;; *) echo "$name: lane $lane holds: $found" >&2; exit 1 ;; esac
    done
  done
  echo "$name: ok"
}

check shell "$here/shell/push.sh"
if command -v python3 >/dev/null; then
  python3 -m venv "$work/python" && "$work/python/bin/pip" install -q redis
  check python "$work/python/bin/python" "$here/python/push.py"
else echo "python: not at hand"; fi
if command -v npm >/dev/null; then
  mkdir "$work/node" && cp "$here/node/push.mjs" "$work/node" && (cd "$work/node" && npm install --silent --no-audit --no-fund redis >/dev/null)
  check node node "$work/node/push.mjs"
else echo "node: not at hand"; fi
if command -v go >/dev/null; then
  mkdir "$work/go" && cp "$here/go/main.go" "$work/go"
  (cd "$work/go" && go mod init push && go get github.com/redis/go-redis/v9 && go build -o push .) >/dev/null 2>&1
  check go "$work/go/push"
else echo "go: not at hand"; fi
if command -v mvn >/dev/null; then
  mkdir "$work/java" && cp "$here/java/Push.java" "$here/java/pom.xml" "$work/java"
  (cd "$work/java" && mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=path)
  check java java -cp "$work/java/target/classes:$(cat "$work/java/path")" Push
else echo "java: not at hand"; fi
