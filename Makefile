PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= localhost/orchestrator:$(VERSION)
ENGINE ?= $(notdir $(firstword $(wildcard $(foreach name,buildah podman docker,$(addsuffix /$(name),$(subst :, ,$(PATH)))))))
FOLDER ?= examples
PACKAGES := orchestrator workers beat migrations

# Installs what a lock names and tells how far it is: pip alone says a line for each of a hundred packages, or nothing.
define install
	@echo "Installing the $$(grep -c == $(1)) packages of $(1) into $(VENV)"
	@( $(BIN)/pip install --disable-pip-version-check --progress-bar off --require-hashes --requirement $(1) \
		|| echo "pip failed" ) | awk ' \
		/^pip failed/ { exit 1 } \
		/^(Collecting|Requirement already satisfied)/ && ++count % 20 == 0 { print "  " count " found"; fflush() } \
		/^Installing collected/ { print "  unpacking them"; fflush() }'
endef

.DEFAULT_GOAL := help
.PHONY: help demo demo-executions demo-problems notebook notebooks dev check test bench soak image image-name image-test format docs protos lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.lock pyproject.toml setup.py workers/modules/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(call install,requirements.lock)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable . --editable workers/modules
	touch $@

$(VENV)/.notebook: $(VENV)/.runtime requirements-notebook.lock
	$(call install,requirements-notebook.lock)
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(call install,requirements-dev.lock)
	touch $@

demo: $(VENV)/.runtime ## Three hospitals train one model; their data stay at home
	$(BIN)/orchestrator demo

demo-problems: $(VENV)/.runtime ## Six modules solve a user's problem in three ways
	$(BIN)/orchestrator demo --product problems

demo-executions: $(VENV)/.runtime ## Data partners and a central node run stored workflows
	$(BIN)/orchestrator demo --product executions

notebook: $(VENV)/.notebook ## Open the examples in Jupyter
	$(BIN)/jupyter lab --notebook-dir $(FOLDER) $(JUPYTER)

notebooks: $(VENV)/.dev ## Run the examples' notebooks, and store their output
	$(BIN)/python -m tests.kit.notebooks

dev: $(VENV)/.dev ## Install what developers need into .venv

check: $(VENV)/.dev ## Lint and check the types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Twice as many processes as the cores that it is made for: its tests wait for others a third of the time. Bytecode is
# kept, whatever the environment says: some hundred processes would compile the same code again.
test: $(VENV)/.dev ## Run the whole test suite
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 4 --dist loadscope --no-loadscope-reorder

bench: $(VENV)/.dev ## Measure beside yardsticks: docs/performance.md (QUICK=1)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(GROWTH),--growth) \
		$(if $(STEADY),--steady $(STEADY)) $(if $(AGAINST),--against $(AGAINST)) $(if $(PROCESSES),--processes $(PROCESSES)) $(ARGS)

# Monkeys on running plans, with an upgrade, and on problems, MINUTES=10 each, SERVERS=3; then many problems, PROBLEMS=600.
soak: $(VENV)/.dev ## Let monkeys loose on plans and problems (MINUTES=10)
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),10) --servers $(or $(SERVERS),3) --processes $(or $(PROCESSES),1)
	$(BIN)/python -m tests.faults.problems --minutes $(or $(MINUTES),10)
	$(BIN)/python -m tests.faults.many_problems --problems $(or $(PROBLEMS),600)

# The list of its Python packages comes to lie in build/. BASE= is another base, REQUIREMENTS=requirements.lock adds what
# the example functions need, IMAGE_FLAGS= are more flags of the engine.
image: ## Build the image with buildah, podman or docker
	$(or $(ENGINE),$(error buildah, podman or docker is needed)) build $(IMAGE_FLAGS) $(BUILD_ARGS) \
		--target sbom --output type=local,dest=build .
	$(ENGINE) build $(IMAGE_FLAGS) $(BUILD_ARGS) --tag $(IMAGE) .
image: BUILD_ARGS = --file Containerfile --build-arg VERSION=$(VERSION) \
	--build-arg REVISION=$(or $(shell git rev-parse HEAD 2>/dev/null),unknown) \
	$(if $(BASE),--build-arg BASE=$(BASE)) $(if $(REQUIREMENTS),--build-arg REQUIREMENTS=$(REQUIREMENTS))

image-name:
	@echo $(IMAGE)

image-test: $(VENV)/.dev ## Build it without a daemon, and run it (root, Debian)
	.ci/image-test

format: $(VENV)/.dev ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.runtime ## Write the parts of docs/ that are made from the code
	$(BIN)/python docs/generate.py

protos: $(VENV)/.dev ## Generate the Python code of the gRPC contract
	$(BIN)/python -m grpc_tools.protoc -I. --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
		--python_out=. --mypy_out=. --grpc_python_out=. --mypy_grpc_out=. orchestrator/protos/*.proto

lock: $(VENV)/.dev ## Pin the newest versions that fit, with hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra embedded pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra embedded --extra dev --extra substra --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra embedded \
		--extra notebook --constraint requirements-dev.lock pyproject.toml --output-file requirements-notebook.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra kafka --extra kubernetes --extra server --extra telemetry --extra worker --constraint requirements.lock pyproject.toml --output-file requirements-image.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--constraint requirements.lock --group pyproject.toml:image --output-file requirements-image-tools.lock

clean: ## Remove .venv and the data of the embedded federation
	if [ -x $(BIN)/orchestrator ]; then $(BIN)/orchestrator down --destroy || true; fi
	rm -rf $(VENV) .orchestrator
