# Each target sets up what it needs: nothing but a Debian 12 with Rust is assumed.
.DEFAULT_GOAL := help
.PHONY: help setup build test lint demo bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the Debian packages the build needs (as root), or say which command does
	@.ci/setup.sh

build: setup ## Build the compiler, target/release/pamc
	cargo build --release

test: setup ## Run every test of the workspace
	cargo test --workspace

# Warnings are made errors by argument: RUSTFLAGS would replace the flags in .cargo/config.toml.
lint: setup ## Check the formatting, and clippy without a warning
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

demo: build ## Train a small GPT on public-domain text without multiplying, and as usual beside it
	target/release/pamc demo --out target/demo

bench: setup ## Time kernels and training steps, PAM beside ordinary floats
	cargo bench --bench bench
