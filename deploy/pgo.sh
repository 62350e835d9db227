#!/bin/sh
# Builds ws-node and msg-queue with a profile of what they run (profile-guided optimisation): they are built to count it, do
# what `bench train` asks of them, and are built again with what they counted. They end up in target/pgo, the bench beside them.
#
#   deploy/pgo.sh             the services, trained again only if they are not what the profile there is of
#   deploy/pgo.sh --again     trained again in any case
#
# Three builds, of which the bench is the first. Needs redis-server and etcd, and an llvm-profdata of the LLVM that rustc has:
# the component llvm-tools of rustup, or a package of that version; LLVM_PROFDATA names another one, by its name or whole path.
# RUSTFLAGS hold for what is built here, too; flags and the target of Cargo's configuration do not.
set -eu
cd "$(dirname "$0")/.."
unset CARGO_BUILD_TARGET LLVM_PROFILE_FILE

fail() {
  echo "deploy/pgo.sh: $*" >&2
  exit 1
}

[ "${1---again}" = --again ] || fail "what $1 means is not known: there is --again"
[ $# -le 1 ] || fail "one argument at most"

rustc=$(rustc -vV)
host=$(echo "$rustc" | sed -n 's/^host: //p')
llvm=$(echo "$rustc" | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')

# A profile is read by the LLVM that has the format it was written in: another version may refuse it, or not.
first_that_fits() {
  for tool in "$@"; do
    if "$tool" --version 2>/dev/null | grep -q "LLVM version $llvm\."; then
      echo "$tool"
      return
    fi
  done
}

if [ -n "${LLVM_PROFDATA-}" ]; then
  profdata=$(first_that_fits "$LLVM_PROFDATA")
  [ -n "$profdata" ] || fail "$LLVM_PROFDATA, which LLVM_PROFDATA names, is no llvm-profdata of LLVM $llvm"
else
  profdata=$(first_that_fits "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$llvm" llvm-profdata)
  [ -n "$profdata" ] || fail "no llvm-profdata of LLVM $llvm: rustup component add llvm-tools;" \
    "or as root: apt-get install -y --no-install-recommends llvm-$llvm"
fi
command -v redis-server >/dev/null || fail "redis-server is missing; as root: apt-get install -y redis-server"
command -v etcd >/dev/null || fail "etcd is missing; as root: apt-get install -y etcd-server"

# Whole, because a crate is compiled in a folder of its own.
metadata=$(cargo metadata --no-deps --format-version 1 --locked)
target=$(echo "$metadata" | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
out=$target/pgo
mkdir -p "$out/counting" "$out/profile"

# The services, into a folder, by flags on top of those given. They reach what runs, not what the build itself runs, because a
# target is named. The separator of the encoded form is one that no path has.
given=${CARGO_ENCODED_RUSTFLAGS-$(printf '%s' "${RUSTFLAGS-}" | sed 's/^ *//; s/ *$//; s/  */ /g' | tr ' ' '\037')}
services() {
  CARGO_ENCODED_RUSTFLAGS=$given${given:+$(printf '\037')}$2 cargo build --release --locked --target "$host" --target-dir "$1" \
    -p gim-ws-node --bin ws-node -p gim-msg-queue --bin msg-queue
}

# One that runs cannot be written to, but another one may have its name.
place() {
  for program in "$target/release/bench" "$1/$host/release/ws-node" "$1/$host/release/msg-queue"; do
    cp "$program" "$2/new"
    mv -f "$2/new" "$2/$(basename "$program")"
  done
}

# The bench is built as always: nobody is to be trained with what load clients run.
cargo build --release --locked -p gim-examples --bin bench
services "$out/build-counting" "-Cprofile-generate=$out/profile"
place "$out/build-counting" "$out/counting"

profile=$out/profile/merged.profdata
trained=$(cat "$out/counting/bench" "$out/counting/ws-node" "$out/counting/msg-queue" | cksum)
if [ $# = 1 ] || [ "$(cat "$out/profile/of" 2>/dev/null)" != "$trained" ]; then
  rm -f "$out/profile"/*
  echo "training: $out/training.log"
  "$out/counting/bench" train >"$out/training.log" 2>&1 || {
    tail -n 20 "$out/training.log" >&2
    fail "the training failed: $out/training.log"
  }
  # Processes of one program add to one file.
  counts=$(find "$out/profile" -name '*.profraw' | wc -l)
  [ "$counts" = 2 ] || fail "$counts of 2 programs wrote what they counted to $out/profile"
  "$profdata" merge -o "$profile" "$out/profile"/*.profraw
  # Cargo looks at flags, not into the files that they name: what was built with another profile has to go.
  rm -rf "$out/profile"/*.profraw "$out/build/$host"
  echo "$trained" >"$out/profile/of"
fi

services "$out/build" "-Cprofile-use=$profile"
for program in ws-node msg-queue; do "$out/build/$host/release/$program" --version; done
place "$out/build" "$out"
echo "built with a profile: $out/ws-node, $out/msg-queue"
