# Each target sets up what it needs: nothing but a Debian 12 with Rust is assumed.
.DEFAULT_GOAL := help
.PHONY: help setup build test test-gpu audit conformance prove lint demo bench bench-gpu bench-peers fuzz fuzz-coverage onnxruntime

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the Debian packages the build needs (as root), or say which command does
	@.ci/setup.sh

build: setup ## Build the compiler, target/release/pamc, and the plug-in for mlir-opt beside it
	cargo build --release -p pamc -p pamc-plugin

test: setup ## Run every test of the workspace
	PAMC_REQUIRE_VULKAN=1 cargo test --workspace

# The folder is found by the shell once the package is there.
conformance: setup ## Run all node tests of ONNX 1.20.1 (from PyPI) and compare with tests/conformance/exceptions.md
	.ci/python.sh target/python-onnx onnx==1.20.1
	PAMC_ONNX_NODE_TESTS=$$(echo $(CURDIR)/target/python-onnx/lib/python3*/site-packages/onnx/backend/test/data/node) \
		cargo test --test main -- --ignored --nocapture conformance::everything

# NVIDIA's assembler and disassembler, which PyPI has; what needs them says so where they are missing.
GPU_TOOLS = target/python-gpu
.PHONY: gpu-tools
gpu-tools: setup
	-.ci/python.sh $(GPU_TOOLS) nvidia-cuda-nvcc==13.5.37 nvidia-cuda-nvdisasm==13.5.37
	-chmod +x $(GPU_TOOLS)/lib/python3*/site-packages/nvidia/cu13/bin/*

# The path is found by the shell once the packages are there.
WITH_GPU_TOOLS = PATH=$$(echo $(CURDIR)/$(GPU_TOOLS)/lib/python3*/site-packages/nvidia/cu13/bin):$$PATH

test-gpu: gpu-tools ## Assemble GPU code of every filetest and of generated programs for NVIDIA and AMD
	$(WITH_GPU_TOOLS) PAMC_TEST_GPU=1 PAMC_REQUIRE_VULKAN=1 cargo test --test main -- filetest gpu:: cli::gpu_code

audit: gpu-tools ## Emit every model at full size in every format and audit what was written
	$(WITH_GPU_TOOLS) cargo test --release --test main -- --ignored --nocapture cli::audit

# Warnings are made errors by argument: RUSTFLAGS would replace the flags in .cargo/config.toml.
lint: setup ## Check the formatting, and clippy without a warning
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

demo: build ## Train a small GPT on public-domain text without multiplying, and as usual beside it
	target/release/pamc demo --out target/demo

bench: setup ## Time kernels and training steps, PAM beside ordinary floats
	cargo bench --bench bench -- $(ARGS)

bench-peers: setup ## The same with PyTorch, from PyPI, in turns with it
	.ci/python.sh target/python-torch torch==2.15.0 numpy
	cargo bench --bench bench -- --peer target/python-torch/bin/python $(ARGS)

bench-gpu: gpu-tools ## Tell what contractions cost on GPUs from their machine code (ARGS=--json for JSON); needs no GPU
	@$(WITH_GPU_TOOLS) cargo bench --profile dev --bench gpu -- $(ARGS)

N ?= 1000000
fuzz: setup ## Read N=1000000 mutated files; FILES= are more seeds
	cargo test --release --test fuzz -- $(N) $(FILES)

SEED ?= tests/fuzz/corpus/gradient.onnx
fuzz-coverage: setup ## The same under libFuzzer, guided by coverage, from SEED= for SECONDS=60
	mkdir -p target/fuzz/corpus
	cp $(SEED) target/fuzz/corpus
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/.ci/sancov.sh PAMC_FUZZ_SEED=$(CURDIR)/$(SEED) \
		cargo run --release --features libfuzzer --example fuzz_coverage -- $(CURDIR)/target/fuzz/corpus \
		-max_total_time=$(or $(SECONDS),60) -timeout=10 -rss_limit_mb=1024

onnxruntime: build ## Execute what --emit onnx writes in ONNX Runtime (from PyPI) and compare the bits
	@.ci/python.sh target/python-onnxruntime onnxruntime==1.31.1 numpy \
		|| { echo "skipped: ONNX Runtime cannot be installed"; exit 0; }; \
	target/python-onnxruntime/bin/python tests/executed_elsewhere.py target/release/pamc

prove: build ## Prove rewrite rules, emitted code and error bounds, with solvers and by trying all values
	target/release/pamc prove --record passes/docs/rules.md
