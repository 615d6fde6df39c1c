# Two commands do all set-up on a fresh Debian machine: `make demo` and `make test`. `make help` lists
# every target by the text behind its `##`.

BUILD_PACKAGES = libucx-dev libibverbs-dev librdmacm-dev libssl-dev pkg-config
RDMA_PACKAGES = qemu-system-x86 kmod cpio zstd busybox-static perftest ibverbs-utils \
	ibverbs-providers iproute2 ucx-utils
SSH_PACKAGES = openssh-server openssh-client iproute2 curl
MONITORING_PACKAGES = prometheus
ATTACK_PACKAGES = slowhttptest
PAGE_PACKAGES = chromium chromium-driver fonts-dejavu-core
SLURM_PACKAGES = slurm-wlm munge curl openmpi-bin
TEST_PACKAGES = python3-venv curl iproute2 ucx-utils openmpi-bin libopenmpi-dev

DOCUMENT_PACKAGES = nginx-light curl openssl iproute2 python3-venv

TEXT_PACKAGES = debian-policy
NEON_PACKAGES = qemu-user libc6-dev-arm64-cross libgcc-12-dev-arm64-cross \
	binutils-aarch64-linux-gnu

PACKAGING_PACKAGES = binutils dpkg-dev xz-utils
PACKAGING_TEST_PACKAGES = debootstrap iproute2

# Seconds of processor time of a first `make demo`, as measured at commit 26bb22e on a Zen 3
# (docs/benchmarks.md, "Building and testing"), and of a first `make test`, which is that and an
# estimate of the rest from sampled compiler processes. `time make build` in a fresh clone tells
# what it is elsewhere.
BUILD_SECONDS = 1160
TEST_SECONDS = 2010

# Where `make install` puts things; DESTDIR goes before it.
PREFIX ?= /usr/local

# The question the small model was trained to answer.
QUESTION = Tell me a story about dog and ball.

.PHONY: build demo train-example test test-neon fuzz bench-llama bench-victim test-rdma test-clients \
	test-ssh test-slurm test-page test-monitoring test-attacks lint \
	test-docs test-package benchmarks format clean install package commands help

# Program by program, so that what only tests import is left to `make test`.
build: ## compiles everything the product needs
	@.ci/install $(BUILD_PACKAGES)
	@for program in apus apus-coordinator apus-worker; do .ci/build build --product $$program || exit; done

demo: ## builds, launches a coordinator and 4 workers, streams a story, serves until Ctrl-C
	@.ci/expect "Builds Apus, launches 4 ranks, asks for a story, and serves until Ctrl-C." \
		$(BUILD_SECONDS)
	@$(MAKE) --no-print-directory build
	.build/release/apus launch cluster/local.yaml --ranks 4 --ask "$(QUESTION)"

# A few minutes of DualPipe over two ranks on the Debian Policy Manual; then the model speaks.
train-example: build ## trains a small model on the Debian Policy Manual, then lets it speak
	@.ci/install $(TEXT_PACKAGES)
	.build/release/apus train cluster/training/policy.yaml
	rm -rf .build/policy-model
	.build/release/apus train export .build/policy-run/checkpoints/step-00000300 \
		--tokenizer cluster/models/stories-fp8 --to .build/policy-model
	.build/release/apus generate --model .build/policy-model --prompt "The package must" \
		--temperature 0.7 --top-p 0.9 --seed 2 --max-new-tokens 100

# One test at a time: many hold deadlines, and two cores are few.
test: lint ## builds and runs every test, among them real jobs and PyTorch as the judge
	@.ci/expect "Runs every test, one at a time: several minutes besides building." $(TEST_SECONDS)
	@.ci/install $(BUILD_PACKAGES) $(TEST_PACKAGES)
	.ci/test

# The kernels of aarch64, cross-compiled, run under qemu's user emulation.
test-neon: ## tests the kernels of aarch64
	@.ci/install $(NEON_PACKAGES)
	Tests/Reference/neon_check.sh

# A million inputs for each reader of a checkpoint's files, and for the decoders of the control plane
# and of Transport, under the address sanitizer; and a million JSON schemas, with their cost as target.
fuzz: ## feeds a million hostile inputs to each reader of bytes
	Tests/Fuzz/run
	Tests/Fuzz/run-control
	Tests/Fuzz/run-transport
	Tests/Fuzz/run-schemas

# Prefill and decode beside llama.cpp (PyPI's llama-cpp-python), same weights, on an idle machine:
# about an hour the first time, 15 minutes later. Interrupted, it goes on where it was. With
# LEVEL=avx2 neither side uses AVX-512.
bench-llama: build ## measures prefill and decode beside llama.cpp
	@.ci/install $(TEST_PACKAGES)
	"$$(.ci/python)" Tests/Reference/bench_llama.py .build/release/apus .build/llama-cpp \
		--level $(or $(LEVEL),native)

# Gaps of one client's stream beside hostile clients, on an idle machine: two minutes.
bench-victim: build ## measures a stream beside hostile clients
	python3 Tests/Reference/bench_victim.py .build/release/apus cluster/models/stories-fp8

# RDMA in a virtual machine with Soft-RoCE: links of 2 and 4 ranks, perftest beside them, a killed
# rank. Needs no RDMA device and no KVM.
test-rdma: build ## tests RDMA in a virtual machine
	@.ci/install $(RDMA_PACKAGES)
	Tests/SoftRoCE/test.sh .build/soft-roce .build/release/apus

# Real clients from PyPI against a server: Tests/EndToEnd/Clients/run lists them.
test-clients: build ## tries clients from PyPI against a server
	@.ci/install $(TEST_PACKAGES)
	Tests/EndToEnd/Clients/run

# Four network namespaces as hosts, each with an sshd of its own; as root.
test-ssh: build ## tests jobs on hosts behind ssh
	@.ci/install $(SSH_PACKAGES)
	Tests/Ssh/run

# Daemons of Slurm for four nodes on this machine; as root.
test-slurm: build ## tests jobs that srun, mpirun and others start
	@.ci/install $(SLURM_PACKAGES)
	Tests/Slurm/run

# Headless Chromium from Debian; screenshots in .build/page.
test-page: build ## tries the page at / in a browser
	@.ci/install $(PAGE_PACKAGES)
	Tests/Page/run

# Debian's Prometheus against a job, on ports of its own; the package also starts one at port 9090.
test-monitoring: build ## tests metrics, alerts and the dashboard with Prometheus
	@.ci/install $(MONITORING_PACKAGES)
	Tests/Monitoring/run

# Slow clients by the thousand: Debian's slowhttptest.
test-attacks: build ## tests the HTTP API against slow clients
	@.ci/install $(ATTACK_PACKAGES)
	Tests/Attacks/run

lint: ## checks the format of Swift files
	swift format lint --strict --recursive Package.swift Sources Tests

format: ## rewrites Swift files in the one format
	swift format --in-place --recursive Package.swift Sources Tests

# Runs the commands of every tutorial, of the how-to guides that have some, and of the examples, as a
# reader would. Ports 8080 and 8443 must be free; the lab of a tutorial needs root.
test-docs: build ## runs the commands of the documents and examples
	@.ci/install $(DOCUMENT_PACKAGES)
	Tests/Documents/run docs/tutorials/*.md docs/how-to/convert-a-checkpoint.md \
		docs/how-to/nginx.md Examples/*/README.md Tests/Documents/*.md

# Writes docs/benchmarks.md from the committed results.
benchmarks: ## writes docs/benchmarks.md from the committed results
	docs/benchmarks/render

# Programs that hold the Swift runtime, man pages, completions, the demo's model, examples.
install: build ## installs the programs below PREFIX (/usr/local), with DESTDIR before it
	.ci/link .build/package/apus
	.ci/stage .build/package/apus "$(DESTDIR)$(PREFIX)"

package: build ## makes a Debian package and a tarball in .build/package
	@.ci/install $(PACKAGING_PACKAGES)
	.ci/package

# Needs root, and a Debian mirror.
test-package: package ## installs the package in a fresh Debian without Swift, uses and removes it
	@.ci/install $(PACKAGING_TEST_PACKAGES)
	Tests/Packaging/run

commands: build ## writes docs/reference/commands.md from what the programs say
	docs/reference/render-commands

clean: ## removes everything that was built
	rm -rf .build

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile
