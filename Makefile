# Two commands are all that a fresh machine with Python >= 3.11 needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo results demo-tables test docs-run test-faults fuzz encoders axe helm notebooks docs lint format bench bench-accuracy bench-compare bench-peers clean

demo: $(STAMP)
	$(BIN)/mosaic run --data digits --clients 5 --alpha 0.1 --centralised --out runs/demo --force

# Five sites whose models come from four libraries, and one global model: of biopsies, then of wines.
STACKS := mlp:64,random_forest,xgboost,lightgbm,logistic
demo-tables: $(STAMP)
	$(BIN)/mosaic run --data breast_cancer --clients 5 --alpha 0.5 --models $(STACKS) --out runs/cancer --force
	$(BIN)/mosaic run --data wine --clients 5 --alpha 0.5 --models $(STACKS) --out runs/wine --force

# Files in the order of tests/conftest.py, the longest first; xdist by itself takes those with the most tests first.
test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# Every command and block of Python of the documents, page by page, on small data.
docs-run: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m documents tests/test_docs_run.py

# Every fault in every stage with real processes, TLS and keys on 127.0.0.1: about an hour on two cores.
test-faults: $(STAMP)
	$(BIN)/pytest tests/faults -m faults

# Mutated inputs to every reader, or to one: hours. `make fuzz READER=toml COUNT=1000000 SEED=1`; START goes on where
# another run ended. Inputs that fail are kept in build/fuzz.
READER ?= all
COUNT ?= 1000000
SEED ?= 0
START ?= 0
fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_run.py --reader $(READER) --count $(COUNT) --seed $(SEED) \
		--start $(START) --out build/fuzz

# The files of public encoders that the package holds, bit for bit: two minutes.
encoders: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m mosaic_fl.encoders.making src/mosaic_fl/encoders

# axe-core, which tests of pages in a browser use: by npm, into build/.
AXE := 4.14.1
axe: build/axe-core/axe.min.js
build/axe-core/axe.min.js:
	mkdir -p build/axe-core
	cd build/axe-core && npm pack --silent axe-core@$(AXE)
	cd build/axe-core && tar xzf axe-core-$(AXE).tgz --strip-components=1 package/axe.min.js package/LICENSE

# The Helm chart, by Helm's own library: lint, and what it makes of the values. 85 MB, so not a part of `make test`.
helm: $(VENV)/.helm
	$(BIN)/pytest tests/test_deploy_images.py
$(VENV)/.helm: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt helm-python-sdk
	@touch $@

# The notebooks of examples/, from the first cell to the last. What runs them is installed here, so they are not a part of `make test`.
notebooks: $(VENV)/.notebooks
	OMP_NUM_THREADS=1 $(BIN)/pytest -m notebooks tests/test_notebooks.py
$(VENV)/.notebooks: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt nbclient ipykernel
	@touch $@

# The documentation site, into site/: a warning is an error. What builds it is installed here, not by the two commands above.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'site/index.html'
$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# benchmarks/RESULTS.md from benchmarks/results/, one file a claim.
results: $(STAMP)
	$(BIN)/python benchmarks/results.py

# The demo's figures and those of local training: minutes on two cores. With --save a script fills in its file.
bench: $(STAMP)
	$(BIN)/python benchmarks/demo.py
	$(BIN)/python benchmarks/local_training.py

# Accuracy on MNIST and CIFAR-10: hours. `make bench-accuracy DATA=folder`
DATA ?= ../shared/data
bench-accuracy: $(STAMP)
	$(BIN)/python benchmarks/accuracy.py $(DATA)

# Every method on MNIST: some eight hours of two cores (an estimate), and resumable; one setting a core. Where there are 20 rounds each has 50 local
# steps. DENSE and Co-Boosting have a tenth of their papers' 200 epochs, with which they alone would take days.
bench-compare: $(STAMP)
	$(BIN)/mosaic compare --methods all --data $(DATA)/mnist --clients 5 --alpha 0.01,0.1,0.5 --rounds 1,20 \
		--seeds 0,1,2 --student cnn:16:3 --set data.max_train=10000 --set rounds.steps=50 \
		--set dense:synthesis.epochs=20 --set coboosting:synthesis.epochs=20 \
		--jobs auto --out benchmarks/out/compare --resume

# FedAvg beside a loop by hand, Flower's simulation, fluke and pfl, each in an environment of its own: 20 minutes on two
# cores, and resumable. `make bench-peers CLIENTS=100`
CLIENTS ?= 10
bench-peers: $(STAMP)
	$(BIN)/python benchmarks/peers --data $(DATA)/mnist --clients $(CLIENTS)

clean:
	rm -rf $(VENV) runs global build dist site src/*.egg-info

# Installs when .venv is missing, and again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'mosaic-fl needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)'; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip show -q xgboost-cpu 2>/dev/null || $(BIN)/python -m pip uninstall -q -y xgboost 2>/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
