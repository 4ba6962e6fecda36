# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test nightly bench lint clean

demo: .venv/ready
	OMP_NUM_THREADS=2 $(BIN)/counterpoint demo runs/demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not nightly" tests

nightly: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests

bench: .venv/ready
	$(BIN)/python benchmarks/run.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv takes seconds where pip takes minutes; pip does the same from the same constraints where uv cannot be had.
# Bytecode is compiled once here, because some environments forbid Python to do it on import.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	if $(BIN)/pip install --quiet uv==0.13.9; then \
		UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python \
			--compile-bytecode -c constraints.txt -e '.[all,dev]'; \
	else \
		$(BIN)/pip install --quiet -c constraints.txt -e '.[all,dev]'; \
	fi
	touch .venv/ready

clean:
	rm -rf .venv build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
