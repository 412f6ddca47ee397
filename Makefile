# Everything a user types. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SOURCE ?= shop
DATA ?=
PROFILE ?=
PROFILED := $(if $(PROFILE),PORTRAIT_PROFILE=$(PROFILE))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPOSE ?= $(if $(shell docker compose version 2>/dev/null),docker compose,docker-compose)

.PHONY: help setup demo up down secrets images status doctor backup restore format lint types layers sql test test-fast check requirements \
	clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## install everything into .venv
$(STAMP): requirements/portrait.txt requirements/uv.txt pyproject.toml requirements/setup.sh serving/portrait_client/wire.proto serving/model_server/parameters.proto
	@bash requirements/setup.sh $(VENV)
	@touch $@

ifneq ($(PROFILE),compose)
demo: setup ## the whole road: SOURCE=shop (default) or SOURCE=online_retail DATA=folder; PROFILE=services on Postgres, Redis and Celery, PROFILE=compose in containers
	@$(PROFILED) $(BIN)/portrait demo --source $(SOURCE) $(if $(DATA),--data $(DATA))

up: setup ## start the services in the background; PROFILE as for demo
	@$(PROFILED) $(BIN)/portrait up
down: setup ## stop the services
	@$(BIN)/portrait down
backup: setup ## everything stateful into one folder: TO=folder
	@$(BIN)/portrait backup $(or $(TO),$(error name a folder that does not exist yet: make backup TO=folder))
restore: setup ## a house from a backup: FROM=folder, into PORTRAIT_HOME or HOUSE=folder
	@$(BIN)/portrait restore $(or $(FROM),$(error name a backup: make restore FROM=folder)) $(if $(HOUSE),--home $(HOUSE))
status: setup ## what runs, and where
	@$(BIN)/portrait status
doctor: setup ## what is wrong, before you find out
	@$(BIN)/portrait doctor
else
demo: setup up
	@home=$${PORTRAIT_HOME:-var/$(SOURCE)-compose} && install -d -m 700 $$home/api && umask 077 && \
		$(COMPOSE) exec -T api cat /house/api/house_key >$$home/api/house_key
	@$(PROFILED) $(BIN)/portrait demo --source $(SOURCE) $(if $(DATA),--data $(DATA))
up: secrets images
	@$(COMPOSE) up -d
down:
	@$(COMPOSE) --profile monitoring --profile growing --profile tools down
backup:
	@COMPOSE="$(COMPOSE)" bash docker/backup.sh $(or $(TO),$(error name a folder that does not exist yet: make backup PROFILE=compose TO=folder))
restore: secrets images
	@COMPOSE="$(COMPOSE)" bash docker/restore.sh $(or $(FROM),$(error name a backup: make restore PROFILE=compose FROM=folder))
status:
	@$(COMPOSE) ps
doctor:
	@$(COMPOSE) exec -T worker-default portrait doctor
endif
secrets: ## write .env: a fresh random value for each secret of docker-compose.yml that it lacks
	@sh docker/secrets.sh
images: ## build the images of docker-compose.yml
	@REVISION=$$(git rev-parse HEAD 2>/dev/null) $(COMPOSE) build

format: setup ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .
lint: setup ## formatting and lint, Airflow's AIR3 rules included
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .
types: setup ## static types
	@$(BIN)/mypy
layers: setup ## imports point upstream only
	@$(BIN)/lint-imports
sql: setup ## SQL style
	@warehouse=$$(mktemp -d) && PORTRAIT_DBT_WAREHOUSE=$$warehouse/empty.duckdb $(BIN)/sqlfluff lint --disable-progress-bar --nocolor dbt_project; \
		code=$$?; rm -rf $$warehouse; exit $$code
test: setup ## the whole test suite, on two cores
	@$(BIN)/pytest -n 2 --dist loadfile --durations 20
test-fast: setup ## the part of the suite that takes under five minutes
	@$(BIN)/pytest -n 2 --dist loadfile -m "not slow"
check: lint types layers sql test ## all of the above, tests last

requirements: setup ## pin requirements/*.in again
	@for name in portrait serving gpu lifetimes peers risk_peers gan_peers; do \
		$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
			requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## stop the services; remove every house and all that was built (the virtual environment stays)
	@if [ -x $(BIN)/portrait ]; then $(BIN)/portrait down; fi
	@rm -rf var build *.egg-info dbt_project/target dbt_project/logs .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
