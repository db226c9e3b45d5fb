# Everything here is a plain Python command that CONTRIBUTING.md lists as well, for systems without make.
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
# A process for each core. The tests of a file share a sandbox, a browser or a course, and so a process.
PYTEST := $(BIN)/python -m pytest -n logical --dist loadfile --durations 20 $(TESTS)

.DEFAULT_GOAL := help
.PHONY: install book serve test test-slow test-all mutations lab train evidence benchmark release student-bundle publish clean help

install: $(VENV)/.installed ## install the course with all that its commands need

book: $(VENV)/.installed ## build the book: install, execute every page, write book/_build/html
	@$(BIN)/python book/build.py

serve: book ## show the built book on http://127.0.0.1:8000 (PORT=... for another port)
	@echo "http://127.0.0.1:$(PORT)  (stop with Ctrl-C)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory book/_build/html

test: $(VENV)/.installed ## run the linter, the type checker and the tests of every day
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(PYTEST) -m "not slow" $(COVERAGE)

test-slow: $(VENV)/.installed ## run the tests that make test leaves out
	$(PYTEST) -m slow

test-all: test test-slow ## run every test

mutations: $(VENV)/.installed ## break the code on purpose, one patch at a time, and see the tests fail
	$(BIN)/python tests/mutations/run.py

lab: $(VENV)/.installed ## open the course in JupyterLab
	$(BIN)/python -m jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.app_settings_dir=book/_lab --LabApp.default_url=/lab/tree/book/gradients.md

train: $(VENV)/.installed ## train the embedded models again
	$(BIN)/python -m chapter4.training.shape_classifiers
	$(BIN)/python -m chapter4.training.tiny_vit
	$(BIN)/python -m chapter4.training.sentiment

evidence: $(VENV)/.installed ## measure every method again, where the saved study is not up to date
	$(BIN)/python -m chapter4.study

benchmark: $(VENV)/.installed ## time every method against the printed code and three libraries (over an hour)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[benchmark]"
	$(BIN)/python tests/benchmarks/run.py

release: $(VENV)/.installed ## make exercises/ from solutions/
	$(BIN)/python -m autograder release

student-bundle: book ## pack what students get into dist/chapter4-student.zip
	@$(BIN)/python -m autograder bundle

publish: $(VENV)/.installed ## build the book, and put it on the branches gh-pages and notebooks of origin
	@$(BIN)/python book/publish.py

clean: ## remove the built book and every cache, keep the installed environment
	rm -rf book/_build .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# An unchanged pyproject.toml installs nothing again.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing the course into $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check -e ".[book,lab,test]"
	@touch $@

$(BIN)/python:
	@for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$p --version)"; \
	    $$p -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; exit 0; \
	  fi; \
	done; echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python" >&2; exit 1
