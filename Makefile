# What people of this repository type. `make test` is the one that has to pass.

BENCH = -p gim-examples --bin bench -p gim-ws-node --bin ws-node -p gim-msg-queue --bin msg-queue
# Where cargo puts programs. Run from there and not by `cargo run`, which chooses other features for one package alone and would
# compile all of it a second time.
TARGET = $(shell cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

.PHONY: run test faults needs previous lint fmt clippy doc deploy-check bench pgo microbench fuzz producers

run:
	cargo run --release

# Everything the tests need beyond Rust, installed when it is missing, then all tests.
test: needs previous
	cargo test --workspace --locked

# Everything fails, by a seed, while durable messages flow. SEED is the first of SEEDS seeds, SECONDS how long each lasts.
# The tables go to OUT, if it is given, as in docs/faults.md; a line of JSON per run goes to standard output.
faults: needs
	FAULTS_SEED=$(or $(SEED),1) FAULTS_SEEDS=$(or $(SEEDS),$(if $(SEED),1,20)) FAULTS_SECONDS=$(or $(SECONDS),20) \
	  $(if $(OUT),FAULTS_OUT=$(abspath $(OUT))) \
	  cargo test --locked -p gim-ws-node --test cluster -- lost::whatever_fails --nocapture

# The programs of the release before, beside which this one is tested.
previous:
	.ci/previous

# The page is tested in a real browser, Redis and etcd are real servers that the tests start themselves.
needs:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v etcd >/dev/null || missing="$$missing etcd-server"; \
	[ -z "$$missing" ] && exit 0; \
	echo "installing for the tests:$$missing"; \
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q --no-install-recommends $$missing; \
	elif command -v sudo >/dev/null; then sudo apt-get update -q && sudo apt-get install -y -q --no-install-recommends $$missing; \
	else echo "missing; as root: apt-get install -y$$missing" >&2; exit 1; fi

lint: fmt clippy doc deploy-check

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --locked -p gim-ws-node --features measure --bench fan -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The files of deploy/ by the linters of their formats; it says what is missing. Needs python3 and systemd-analyze, and the
# first time the way to PyPI.
deploy-check:
	deploy/check.sh

# The whole table beside the floor in one run, under ten minutes once it is built: idle connections and logins, fan-out, burst,
# unicast, the queue, durable messages. The table goes to OUT/bench.md, everything measured to OUT/bench.json.
# Of the program, `spread` (a group over two nodes), `masters` (of Redis), `soak` and `cluster` (90,000 connections) are not among
# them.
# With PGO=1 services with a profile are measured, those that `make pgo` builds.
bench:
	$(if $(PGO),deploy/pgo.sh $(if $(AGAIN),--again),cargo build --release --locked $(BENCH))
	$(TARGET)/$(if $(PGO),pgo/bench all --profiled,release/bench all) --out $(or $(OUT),target/bench)

# ws-node and msg-queue with a profile of what they run, into target/pgo; half an hour on two cores the first time. AGAIN=1
# takes the profile anew.
pgo:
	deploy/pgo.sh $(if $(AGAIN),--again)

# The parts by themselves: codec, lane, fan-out and outbox. PROFILE=quick compiles in half the time. FILTER: only what
# has this in its name.
microbench:
	cargo bench --locked --profile $(or $(PROFILE),bench) -p gim-proto --bench codec -- $(FILTER)
	cargo bench --locked --profile $(or $(PROFILE),bench) -p gim-msg-queue --bench lane -- $(FILTER)
	cargo bench --locked --profile $(or $(PROFILE),bench) -p gim-ws-node --features measure --bench fan -- $(FILTER)

# The producers of docs/producing.md, those whose language is at hand, with client libraries from their registries.
producers:
	sh examples/producers/check.sh

# Half a minute per target; needs a nightly toolchain and cargo-fuzz.
fuzz:
	cd proto && for target in frame entry; do cargo +nightly fuzz run $$target -- -max_total_time=30 || exit 1; done
