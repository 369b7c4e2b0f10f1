# make demo: from nothing to measured pictures. make test: from nothing to a tested tree. make docs: the pages in out/site.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DOCS_STAMP := $(VENV)/.installed-docs
# pip finds the CPU build of the pinned torch; a second resolver is not used on purpose.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test slow lint types smoke docs wheel bench comfy clean

demo: $(STAMP)
	$(BIN)/noiseprompt demo --out demo

test: $(DEV_STAMP)
	$(BIN)/python -m pytest -n 2
	$(MAKE) lint types

# What takes longer: Ray's nodes and drivers that die, every benchmark in its smallest form.
slow: $(DEV_STAMP)
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/pyright

# Every recipe of the paper's tables on the embedded world, a few prompts each.
smoke: $(STAMP)
	$(BIN)/noiseprompt run recipes/tables --on shapes --smoke

# The nodes in ComfyUI itself, on a CPU: COMFYUI_PATH names a checkout of it.
comfy: $(DEV_STAMP)
	test -f "$$COMFYUI_PATH/comfy/samplers.py" || { echo "COMFYUI_PATH names no checkout of ComfyUI"; exit 2; }
	$(PIP) -e ".[comfy]"
	$(BIN)/python -m pytest -rs -m comfy tests/integrations/comfyui/test_real.py

# A link or anchor that leads nowhere fails.
docs: $(DOCS_STAMP)
	$(BIN)/python -m zensical build --clean --strict
	@echo "the pages are in out/site; read them with: $(BIN)/python -m http.server -d out/site"

# The wheel alone in an empty environment, away from this tree: the command line, the world, pictures and a table.
wheel: $(VENV)/bin/python
	rm -rf dist build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch dist/*.whl
	cd build && env -u PYTHONPATH empty/bin/noiseprompt doctor --model shapes
	cd build && env -u PYTHONPATH empty/bin/noiseprompt demo --n 8 --out demo

# Every benchmark; full_size.py in its tiny form, for its own sizes ask for an accelerator.
bench: $(STAMP)
	$(BIN)/python benchmarks/help.py
	$(BIN)/python benchmarks/npd_reads.py
	$(BIN)/python benchmarks/npnet_speed.py
	$(BIN)/python benchmarks/npnet_memory.py
	$(BIN)/python benchmarks/npnet_share.py
	$(BIN)/python benchmarks/collect.py speed
	$(BIN)/python benchmarks/collect.py scored
	$(BIN)/python benchmarks/collect.py apart
	$(BIN)/python benchmarks/collect.py memory
	$(BIN)/python benchmarks/resize.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/scoring_share.py --n 200
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/world.py --n 100 --seeds 4 --seed_prompts 25
	$(BIN)/python benchmarks/picture_price.py
	$(BIN)/python benchmarks/reward_price.py
	$(BIN)/python benchmarks/reward_signal.py
	$(BIN)/python benchmarks/full_size.py --tiny true
	$(BIN)/noiseprompt evaluate --n 50 --num_seeds 2 --report false --out build/bench
	$(BIN)/python benchmarks/scorer_agreement.py build/bench
	$(BIN)/python benchmarks/layouts.py build/bench
	$(BIN)/python benchmarks/feed.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/web.py load
	$(BIN)/python benchmarks/filter_steps.py --n 100
	$(BIN)/noiseprompt collect --prompts shapes:train --n 100 --pictures shapes --seeds_per_prompt 8 --out build/scenes
	$(BIN)/python benchmarks/flow_model.py build/scenes build/flow --steps 20
	$(BIN)/python benchmarks/kills.py --kills 20

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch -c constraints.txt
	$(PIP) -e .
	touch $@

$(DEV_STAMP): $(STAMP)
	$(PIP) -e ".[dev]"
	touch $@ $(DOCS_STAMP)

$(DOCS_STAMP): $(STAMP)
	$(PIP) -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .cache demo out build dist
