# demo  installs what is missing, builds, starts Decalog, deploys the example models and predicts
# install  builds the release binary and puts it on the PATH, with completions and manual pages; PREFIX, by default ~/.local
# quick  builds the debug binary and runs the unit tests of all crates, and those of the code's structure
# test  installs what is missing and runs every check that CI runs
# soak  releases, scales, kills, upgrades and faults at random under load, and counts what fails (long; a short form is part of the tests)
# bench compares Decalog with other servers on this machine (long; not part of the tests)
# recording  makes the picture of the first minute in README.md anew
# shots  makes pictures of every page of the dashboard, to look at; SHOTS, by default ./shots
# ui    builds the dashboard, which the next build of the binary takes along
# fmt   formats all code

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/decalog/target
export DECALOG_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/decalog
VENV := $(DECALOG_CACHE)/venvs

PREFIX ?= $(HOME)/.local
SHOTS ?= shots

.PHONY: demo install quick test test-rust test-python test-ui test-e2e soak bench recording shots fmt tools ui build

tools:
	@tools/install.sh

ui: tools
	@tools/ui.sh

build: ui
	cargo build --release -p cli

demo: build
	@examples/demo.sh

install: build
	@tools/place.sh $(CARGO_TARGET_DIR)/release/decalog "$(PREFIX)"

quick: tools
	. $(DECALOG_CACHE)/environment && cargo test --workspace --lib --bins \
		--test rooms --test architecture --test reliability --test manual

test: tools test-ui test-rust test-python test-e2e
	@echo "all checks passed"

test-rust: tools
	cargo fmt --all --check
	cargo clippy --workspace -- -D warnings
	. $(DECALOG_CACHE)/environment && cargo test --workspace

test-python: tools
	$(VENV)/test/bin/python -m pytest -q sdk/python/tests

test-ui: ui
	cd ui && npm run --silent check && npm test --silent && npm run --silent size

# Tests that judge times run alone; of the others, two files at a time.
test-e2e: ui
	cargo build --workspace --bins --examples
	. $(DECALOG_CACHE)/environment && export DECALOG=$(CARGO_TARGET_DIR)/debug/decalog \
		DECALOG_EXAMPLES=$(CARGO_TARGET_DIR)/debug/examples && \
		$(VENV)/test/bin/python -m pytest -q tests -m alone && \
		$(VENV)/test/bin/python -m pytest -q tests -m "not alone" -n 2 --dist loadfile

soak: build
	cargo build --release -p cli --example open_loop
	. $(DECALOG_CACHE)/environment && DECALOG=$(CARGO_TARGET_DIR)/release/decalog \
		DECALOG_EXAMPLES=$(CARGO_TARGET_DIR)/release/examples $(VENV)/test/bin/python tests/soak.py
	. $(DECALOG_CACHE)/environment && DECALOG=$(CARGO_TARGET_DIR)/release/decalog $(VENV)/test/bin/python tests/chaos.py

bench: build
	$(VENV)/test/bin/python bench/run.py --decalog $(CARGO_TARGET_DIR)/release/decalog
	$(VENV)/test/bin/python bench/elastic.py --decalog $(CARGO_TARGET_DIR)/release/decalog
	$(VENV)/test/bin/python bench/access.py --decalog $(CARGO_TARGET_DIR)/release/decalog
	$(VENV)/test/bin/python bench/watching.py --decalog $(CARGO_TARGET_DIR)/release/decalog

recording: build
	. $(DECALOG_CACHE)/environment && tools/recording.py --decalog $(CARGO_TARGET_DIR)/release/decalog --output docs/pictures/first-minute.svg

shots: build
	. $(DECALOG_CACHE)/environment && $(VENV)/test/bin/python tools/shots.py --decalog $(CARGO_TARGET_DIR)/release/decalog --output $(SHOTS)

fmt:
	cargo fmt --all
