# Everything runs in an environment of its own, made on first use (see tools/environment.py).
# COMFYUI_PATH=DIR uses an existing ComfyUI.

PYTHON ?= python3
PREPARE := $(PYTHON) tools/environment.py
RUN = "$$($(PREPARE))"

# Waiting threads sleep: where cores are shared, spinning ones make torch many times slower.
export OMP_WAIT_POLICY ?= PASSIVE

TAKE ?=
METHOD ?=
BACKGROUND ?=
MODELS ?=
STAND_INS ?=
STEPS ?=
WORKERS ?= 2
DEMO_ARGUMENTS = $(if $(METHOD),--method "$(METHOD)") $(if $(TAKE),--take "$(TAKE)") $(if $(BACKGROUND),--background "$(BACKGROUND)") \
	$(if $(MODELS),--models "$(MODELS)") $(if $(STAND_INS),--stand-ins) $(if $(STEPS),--steps "$(STEPS)")

.PHONY: help environment demo test pocket lint format benchmark

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "%-14s%s\n", $$1, $$2 }'

environment: ## prepare the Python environment and ComfyUI
	@$(PREPARE)

demo: environment ## make an ego video: make demo [METHOD=exo2egosyn] [TAKE=DIR[#NAME]] [BACKGROUND=mean|per_frame] [MODELS=DIR | STAND_INS=1] [STEPS=N]
	@$(RUN) tools/run.py demo $(DEMO_ARGUMENTS)

test: environment ## run all tests, in two processes: make test [WORKERS=N]
	@$(PREPARE) --frontend >/dev/null
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

pocket: environment ## make the pocket model from nothing, which takes hours
	@$(RUN) tools/run.py pocket

lint: environment ## check style and formatting
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

format: environment ## format and fix what can be fixed
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

benchmark: environment ## measure speed on this machine
	@for file in $$(grep -l __main__ tools/benchmarks/*.py); do echo "== $$file"; $(RUN) "$$file" || exit 1; done
