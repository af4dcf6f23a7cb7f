.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo pretrained reproduction table1 table1-full dashboard realism triage-report bench faults test test-fast test-browser test-remote test-ray lint format settings lock clean

help: ## Show this help
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) ## Install everything into .venv, as pinned in requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

demo: $(READY) ## Simulate an archive, train the network of photon counts, score, draw, and triage new files: some 4 minutes
	$(BIN)/python -m asim_cvae.train +experiment=events trainer.max_epochs=5 \
		hydra.run.dir='outputs/demo/$${now:%Y-%m-%d_%H-%M-%S}'
	$(BIN)/python -m asim_cvae.table runs=outputs/demo
	$(BIN)/python -m asim_cvae.simulate root=outputs/archives/new observations=30 labelled=0 seed=9 \
		rare.elve=1 rare.sprite=1 rare.blue_jet=1
	$(BIN)/python -m asim_cvae.triage root=outputs/archives/new out=outputs/demo/triage

pretrained: $(READY) ## Make the weights that ship again: some 20 minutes
	rm -rf outputs/pretrained
	OMP_NUM_THREADS=1 $(BIN)/python -m asim_cvae.train +experiment=events hydra.run.dir=outputs/pretrained
	OMP_NUM_THREADS=1 $(BIN)/python -m asim_cvae.heads out=outputs/pretrained
	OMP_NUM_THREADS=1 $(BIN)/python -m asim_cvae.calibrate weights=outputs/pretrained refit=false data=simulated_promise \
		out=outputs/pretrained/promise
	cp outputs/pretrained/promise/* outputs/pretrained/config.yaml asim_cvae/pretrained/events-1/

reproduction: $(READY) ## Write docs/reproduction.md: the thesis's Table 1 and figures beside ours (ASIM_CVAE_REFERENCE)
	$(BIN)/python -m asim_cvae.train +experiment=relu_lr2e-4 trainer.max_epochs=40 $(SHORT) \
		hydra.run.dir=outputs/reproduction/training
	$(BIN)/python -m asim_cvae.reproduction training=outputs/reproduction/training out=docs

SHORT := data.batch_size=20 data.root=outputs/archives/short data.simulation.observations=40 data.simulation.labelled=20
GRID := $(BIN)/python -m asim_cvae.train -m '+experiment=glob(*,exclude=events*)'
OURS := $(BIN)/python -m asim_cvae.train -m +experiment=events,events_code
SEEDS ?= 0

table1: $(READY) ## Train the thesis's ten experiments and ours scaled down (SEEDS=0,1,2: of several seeds), print Table 1
	$(GRID) 'seed=choice($(SEEDS))' trainer.max_epochs=4 $(SHORT) hydra.sweep.dir=outputs/table1; status=$$?; \
	$(OURS) 'seed=choice($(SEEDS))' $(SHORT) hydra.sweep.dir=outputs/table1 || status=$$?; \
	$(BIN)/python -m asim_cvae.table runs=outputs/table1 && exit $$status

table1-full: $(READY) ## The same with the thesis's epochs and as many frames: for a GPU, or weeks
	$(GRID) 'seed=choice($(SEEDS))' data=simulated_full hydra.sweep.dir=outputs/table1_full; status=$$?; \
	$(OURS) 'seed=choice($(SEEDS))' data=simulated_full hydra.sweep.dir=outputs/table1_full || status=$$?; \
	$(BIN)/python -m asim_cvae.table runs=outputs/table1_full && exit $$status

dashboard: $(READY) ## Open TensorBoard on all runs, on http://localhost:6006
	$(BIN)/tensorboard --logdir outputs --host localhost --port 6006

realism: $(READY) ## Report how real the simulated data are (ASIM_CVAE_REFERENCE: folder of real frames and weights)
	$(BIN)/python -m asim_cvae.realism

triage-report: $(READY) ## Report how well pulses, noise and rare kinds are told (ASIM_CVAE_REFERENCE: folder of real frames and weights): some 35 minutes
	$(BIN)/python -m asim_cvae.triage_report

bench: $(READY) ## Measure speed as ratios to references run beside it: some 25 minutes
	$(BIN)/python -m asim_cvae.bench

faults: $(READY) ## Damage thousands of inputs and kill commands, and see what survives: some 20 minutes
	$(BIN)/python -m tests.faults

test: lint ## Lint, types and all tests
	$(BIN)/pytest

test-fast: $(READY) ## The tests that start no processes: a minute
	$(BIN)/pytest -m "not processes"

test-browser: $(READY) ## Install Chromium (Debian, Ubuntu) and test the page in it
	command -v chromium || (apt-get update --quiet && apt-get install --yes --quiet chromium)
	$(BIN)/pytest --numprocesses=0 tests/test_browser.py

test-remote: $(READY) ## Install s3fs, and moto as a server of S3, and test files at addresses
	$(BIN)/pip install --quiet --editable '.[remote]' 'moto[server]>=5'
	$(BIN)/pytest --numprocesses=0 tests/test_remote.py

test-ray: $(READY) ## Install Ray; archives, stores, triage and a sweep on a cluster of three nodes here, with kills: some 8 minutes
	$(BIN)/pip install --quiet --editable '.[ray]'
	$(BIN)/pytest --numprocesses=0 tests/test_ray.py

lint: $(READY) ## Lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

settings: $(READY) ## Write docs/settings.md from conf/
	$(BIN)/python -m asim_cvae.settings.pages conf > docs/settings.md

lock: $(READY) ## Write requirements.lock anew from pyproject.toml
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --allow-unsafe --extra dev --strip-extras --annotation-style line --no-header \
		--no-emit-find-links --no-emit-index-url --no-emit-trusted-host \
		--output-file requirements.lock pyproject.toml
	sed -i -e 's/^torch==2.13.0+cpu/torch==2.13.0/' -e '1i # Exact versions of all that is installed; make lock writes it.' requirements.lock

clean: ## Remove .venv and caches; outputs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
