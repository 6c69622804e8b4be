# make demo: set-up, then 20 pairs from the starter model.  make test: set-up, then all tests.
# Everything is installed into .venv; set-up does nothing when nothing changed. PYTHON=... chooses another interpreter.
VENV = .venv
PY = $(VENV)/bin/python
STORE = demo.db
PAIRS = demo.jsonl
WORKERS = 2
VLLM_PYTHON = .venv-vllm/bin/python
RAY_PYTHON = .venv-ray/bin/python

USABLE = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.PHONY: help demo test test-vllm test-ray check lint setup setup-dev clean

help:
	@echo 'make demo    set up, write 20 instruction-response pairs into $(STORE) and export them to $(PAIRS)'
	@echo 'make test    set up, run all tests'
	@echo 'make test-vllm  run what needs a real vLLM, in an environment of its own (VLLM_PYTHON=... names another)'
	@echo 'make test-ray   run backends and a packed job on a local Ray cluster, and kill a worker of it (RAY_PYTHON=... names another)'
	@echo 'make check   set up, lint, types, import contracts, all tests'
	@echo 'make clean   remove $(VENV) and what the tools cached'

demo: setup
	$(PY) -m localsynth generate -n 20 --store $(STORE)
	$(PY) -m localsynth export --store $(STORE) --force $(PAIRS)

test: setup-dev
	$(PY) -m pytest -n $(WORKERS) --dist loadfile

test-vllm: $(PY)
	@$(PY) scripts/vllm_env.py $(VLLM_PYTHON)
	@$(VLLM_PYTHON) scripts/vllm_tests.py $(dir $(VLLM_PYTHON))../starter

test-ray: setup-dev $(RAY_PYTHON)
	@$(RAY_PYTHON) -m pytest -q -p no:cacheprovider --durations 5 tests/backends/test_ray.py tests/handoff/test_cluster_ray.py

# Beside $(VENV), whose packages it sees: Ray is large, and only this needs it.
$(RAY_PYTHON):
	@$(PY) -m venv $(dir $(RAY_PYTHON))..
	@$(PY) -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  > "$$($(RAY_PYTHON) -c 'import site; print(site.getsitepackages()[0])')/localsynth-venv.pth"
	@$(RAY_PYTHON) -m pip install --quiet --disable-pip-version-check 'ray>=2.60,<3' || { rm -f $(RAY_PYTHON); exit 1; }

check: lint
	$(PY) -m pytest -n $(WORKERS) --dist loadfile

lint: setup-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

setup: $(PY)
	@$(PY) scripts/setup.py starter

setup-dev: $(PY)
	@$(PY) scripts/setup.py dev

# --clear: a link to a Python that is gone counts as no environment.
$(PY):
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if "$$python" -c '$(USABLE)' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo 'localsynth needs Python 3.11 or newer with its venv module. Install it, then give the same command again:' >&2; \
	echo '  Debian, Ubuntu  sudo apt install python3 python3-venv' >&2; \
	echo '  Fedora          sudo dnf install python3' >&2; \
	echo '  macOS           brew install python@3.13' >&2; \
	echo 'or name one: make PYTHON=/path/to/python3 ...' >&2; \
	exit 1

clean:
	rm -rf $(VENV) .venv-vllm .venv-ray .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
