# One word for each thing that one does here. `make run` and `make test` are all that a newcomer needs.

PYTHON ?= python3
BIN := .venv/bin
APT := tools/system-packages.sh
# Tests that run side by side, in whole modules: most of them wait for real programs most of the time.
JOBS ?= 4
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder
# What is compiled once does not have to be compiled by each of the hundreds of programs that tests start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev system-packages bench-packages run test compose-test vulnerabilities sbom check attack chaos observe fuzz gateways bench simulate fmt lock map clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: .venv/.installed ## make .venv with the `vertice` command, from the hash-locked list

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vertice needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(APT) "$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup-dev: .venv/.installed-dev

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

system-packages: ## install the programs that the tests start (as root), or say which are missing
	@$(APT) haproxy dig=bind9-dnsutils kdig=knot-dnsutils curl redis-server redis-sentinel dnsmasq=dnsmasq-base \
		unbound named=bind9 avahi-daemon avahi-browse=avahi-utils dbus-daemon prometheus amtool=prometheus-alertmanager dnsperf gcc musl-gcc=musl-tools ip=iproute2 dot=graphviz nsenter=util-linux libfaketime openssl

run: setup ## start a registry, an agent and a small fleet on loopback (Ctrl-C ends it)
	@exec $(BIN)/vertice dev

test: setup-dev system-packages check ## everything that CI checks: style, types, imports, tests, coverage
	@rm -f .coverage .coverage.*
	$(PYTEST) -p tests.tracing -m "traced and not alone"
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(PYTEST) -m "not traced and not alone"
	@# What starts a Redis has run on Debian's; once more, on Valkey.
	VERTICE_TEST_REDIS=valkey $(PYTEST) -m "redis and not alone"
	$(BIN)/python -m pytest -m alone tests/scenarios

# A script that sets containers up on this machine, for when it has neither Docker nor podman.
CONTAINERS ?= $(wildcard ../shared/tools/containers.sh)

compose-test: setup-dev system-packages ## build the images, bring the compose files up, and break them (Docker or podman)
	@$(BIN)/python -m tools.engine $(CONTAINERS)
	$(BIN)/python -m pytest tests/compose

vulnerabilities: .venv-audit/.installed ## check the packages of the lock files for known vulnerabilities (pip-audit)
	$(BIN)/python -m tools.vulnerabilities

.venv-audit/.installed: requirements-audit.lock .venv/.installed
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	@touch $@

sbom: setup-dev ## write what is in the images to sbom/*.cdx.json (CycloneDX)
	@$(BIN)/python -m tools.engine $(CONTAINERS)
	$(BIN)/python -m tools.sbom

check: setup-dev ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

attack: setup-dev ## attack the ports of a registry and an agent in many ways, and print what a good neighbour sees
	@failed=0; for attack in tests.attacks.run bench.dns_attacks "bench.run neighbour"; do \
		$(BIN)/python -m $$attack || failed=1; done; exit $$failed

chaos: setup-dev system-packages ## break Redis, Sentinels and replicas under load, many times over: one line each
	$(BIN)/python -m tests.chaos.run

observe: setup-dev system-packages ## break a deployment under a real Prometheus: every panel has data, every alert fires and ends
	$(BIN)/python -m tests.observed.run

fuzz: setup-dev system-packages ## send a million odd packets to a real agent's DNS: says the seed, keeps what it objects to
	$(BIN)/python -m tests.fuzz.run

gateways: setup-dev system-packages ## measure how gateways follow a service (half an hour): prints the table of docs/guide/gateways.md
	$(BIN)/python -m tests.gateways.run

bench-packages: ## install the programs that the benchmark compares with (as root), or say which are missing
	@$(APT) dnsperf dnsmasq=dnsmasq-base unbound wrk

bench: setup-dev bench-packages ## measure: prints tables, writes bench/results/*.json
	$(BIN)/python -m bench.run; propagation=$$?; $(BIN)/python -m bench.dns && exit $$propagation

simulate: setup-dev bench-packages system-packages ## measure what each program costs, and judge the cost model by whole systems (a quarter of an hour)
	$(BIN)/python -m bench.scale.simulate; judged=$$?; $(BIN)/python -m tools.documents && exit $$judged

fmt: setup-dev ## format, and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve the dependencies anew, for every Python from 3.11 on (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--extra registry --extra install --extra dev pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--extra registry --extra install -c requirements-dev.lock pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--extra certificates --extra install -c requirements-dev.lock pyproject.toml -o requirements-agent.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--extra traces -c requirements-dev.lock pyproject.toml -o requirements-traces.lock
	echo 'pip-audit>=2.9' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		- -o requirements-audit.lock

map: setup-dev ## write docs/map.md and the generated pages of docs/reference anew from the code
	$(BIN)/python -m tools.documents

clean: ## remove what the other targets made
	rm -rf .venv .venv-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* \
		bench/results sbom *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
