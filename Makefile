VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
JOBS   ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# A worker on each core; threads of their own would only wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help demo test test-all lint bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Installed again only when the declared or the pinned packages change.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,train,nna,triton]' -c constraints.txt
	@touch $@

# The root is the package `asrc` whatever its folder is called; mypy sees it through this link.
.mypy/asrc:
	@mkdir -p $(@D)
	@ln -s .. $@

CLOSED := --sentences models/commands/sentences.txt
demo: $(READY) ## check, inspect, stream, hear, compile: the tour
	@printf '\n== A model is a page of text. Its types and budgets are checked before a weight exists:\n\n'
	$(BIN)/asrc check models/rnnt.asr
	@printf '\n== What the LSTM transducer is: shape @ period, look-ahead, state, parameters, work:\n\n'
	$(BIN)/asrc inspect models/rnnt.asr
	@printf '\n== One Conformer file is offline or streaming; here its `stream` pipeline, look-ahead in ms:\n\n'
	$(BIN)/asrc inspect models/conformer_transducer.asr --pipeline stream
	@printf '\n== A stream is derived from the same text. Is it equal to the whole utterance?\n\n'
	$(BIN)/asrc verify models/small/rnnt.asr
	@printf '\n== A trained Conformer hears real recordings as a stream, among the words and prompts it was made for\n'
	@printf '(without --sentences it spells freely, and errs more: docs/results/commands.md):\n\n'
	$(BIN)/asrc transcribe models/pretrained/commands-conformer models/demo/*.flac $(CLOSED)
	@printf '\n== Compiled for an accelerator, it is integers in one file, and listens as well:\n\n'
	$(BIN)/asrc compile models/pretrained/commands-conformer --target nna --calibrate models/demo/demo.jsonl \
		--weights 5 --machine ethos-u55-256 --out build/commands.asrc
	$(BIN)/asrc transcribe build/commands.asrc models/demo/*.flac $(CLOSED)
	@printf '\n== What was said, and how much of it was heard:\n\n'
	$(BIN)/asrc eval build/commands.asrc models/demo/demo.jsonl --stream $(CLOSED) --worst 3
	@printf '\n== Next: edit a file in models/ and run `%s check` on it, or `%s new`.\n' $(BIN)/asrc $(BIN)/asrc

test: lint ## lint, then every test that takes seconds
	$(ONE_THREAD) $(BIN)/pytest -n $(JOBS)

test-all: lint ## lint, then every test there is
	$(ONE_THREAD) $(BIN)/pytest -n $(JOBS) -m "long or not long"

lint: $(READY) .mypy/asrc ## ruff and mypy
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy

# What measures on a corpus is run by hand: its first lines say how.
bench: $(READY) ## run benchmarks/*.py, one after the other
	@set -e; for script in $(filter-out $(WITH_DATA),$(sort $(wildcard benchmarks/*.py))); do \
		echo "== $$script"; $(BIN)/python $$script; done

WITH_DATA := benchmarks/codebooks.py benchmarks/triton_zoo.py benchmarks/nna_ablation.py benchmarks/nna_agree.py benchmarks/nna_bits.py benchmarks/nna_compile.py \
	benchmarks/nna_sizes.py \
	benchmarks/nna_speed.py benchmarks/nna_stream.py \
	benchmarks/peers.py benchmarks/tosa_oracle.py

clean: ## remove what make made
	rm -rf $(VENV) .mypy .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist asrc.egg-info
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
