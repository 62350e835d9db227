#!/bin/sh
# The machine's protoc, or the one that cargo has unpacked for `protoc-bin-vendored`, a build-dependency of the SDK.
set -eu
if command -v protoc >/dev/null 2>&1; then exec protoc "$@"; fi
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) platform=linux-x86_64 ;;
  Linux-aarch64) platform=linux-aarch_64 ;;
  Darwin-x86_64) platform=macos-x86_64 ;;
  Darwin-arm64) platform=macos-aarch_64 ;;
  *) platform=none ;;
esac
# Beside the crate that asks, which lies where cargo unpacks or vendors all of them; else where cargo unpacks by default.
for protoc in "${CARGO_MANIFEST_DIR:-.}"/../protoc-bin-vendored-$platform*/bin/protoc \
  "${CARGO_HOME:-${HOME:-}/.cargo}"/registry/src/*/protoc-bin-vendored-$platform-*/bin/protoc; do
  if [ -x "$protoc" ]; then exec "$protoc" "$@"; fi
done
echo "no protoc: install protobuf-compiler, or set PROTOC" >&2
exit 127
