# Two commands are all a newcomer needs: make demo, make test.

.DEFAULT_GOAL := help
.PHONY: help demo test bench guard chaos fuzz lint schema sbom clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: ## Broker, simulated DingTalk, bridge and an echo agent tell their story (STAY=1 keeps them up)
	@server=$$(scripts/nats-server) && \
	cargo build --quiet && \
	exec cargo run --quiet -- demo --nats-server "$$server" $(if $(STAY),--stay)

test: ## Everything, on a real broker and with DingTalk's official SDK clients
	@scripts/sdk-clients
	@server=$$(scripts/nats-server) && \
	BRIDGE_TEST_NATS_SERVER="$$server" RUST_TEST_THREADS=$$(( 2 * $$(getconf _NPROCESSORS_ONLN) )) cargo test --locked

bench: ## Speed and size, beside a bare loop and the official SDKs, into docs/performance.md (BENCH_QUICK=1 into target)
	@scripts/sdk-clients
	@server=$$(scripts/nats-server) && \
	cargo build --locked --release --bin nats-dingtalk && \
	mkdir -p target/released && cp -f target/release/nats-dingtalk target/released/ && \
	BENCH_BRIDGE="$(CURDIR)/target/released/nats-dingtalk" BRIDGE_TEST_NATS_SERVER="$$server" cargo bench --locked --bench performance

guard: ## The hot path's instructions against their baseline (RENEW=1 writes it anew); needs valgrind
	@RENEW="$(RENEW)" scripts/guard

chaos: ## The loss ledger: all breaks under load, then the books are settled (FULL=1, ONLY=rows, SEED=n, LIST=1, SOAK=1, FUZZ_SECONDS=0)
	@server=$$(scripts/nats-server) && \
	$(if $(SOAK),,cargo build --locked --quiet --features failpoints && \
	mkdir -p target/armed && cp -f target/debug/nats-dingtalk target/armed/ &&) \
	BRIDGE_TEST_NATS_SERVER="$$server" \
	$(if $(SOAK),,CHAOS_ARMED_BRIDGE="$$PWD/target/armed/nats-dingtalk") \
	cargo bench --locked --profile $(or $(PROFILE),dev) --bench chaos
	$(if $(or $(LIST),$(SOAK),$(filter 0,$(FUZZ_SECONDS))),,@SECONDS_EACH=$(or $(FUZZ_SECONDS),20) scripts/fuzz)

fuzz: ## Every way in, fuzzed for SECONDS=60 each; needs a C++ compiler beside Rust
	@SECONDS_EACH=$(or $(SECONDS),60) scripts/fuzz

lint: ## Format, clippy, docs
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet

schema: ## Write schemas/ anew from the Rust types
	@cargo run --quiet -- schema --write schemas

sbom: ## The bill of materials of the release, CycloneDX, into target/sbom.json
	@scripts/sbom

clean: ## Remove what was built and fetched
	@rm -rf target .cache
