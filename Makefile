# Two commands do all set-up on a fresh Debian machine: `make demo` and `make test`.

BUILD_PACKAGES = libucx-dev libibverbs-dev librdmacm-dev pkg-config

.PHONY: build test demo format clean

build:
	@.ci/install $(BUILD_PACKAGES)
	.ci/build build

test:
	@.ci/install $(BUILD_PACKAGES)
	.ci/build test

format:
	swift format --in-place --recursive Package.swift Sources Tests

clean:
	rm -rf .build
