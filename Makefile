# SentinelD. `make run` and `make test` need Go and make, nothing else.
export CGO_ENABLED = 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/sentineld/sentineld/internal/cli.version=$(VERSION)
GO      := go
TOOL    := $(GO) tool -modfile=tools/go.mod

# Where CI vets and builds: GOOS/GOARCH.
PLATFORMS := linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 openbsd/amd64

.PHONY: build run test scenarios race cover bench test-kernels generate check-generated lint cross fuzz clean help

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

build: ## both programs into bin/
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/procmond ./cmd/sentineld

run: build ## build, then record this host and show what happens (root: eBPF; else: polling)
	@echo 'Recording. In another terminal:  /bin/true marker-xyz'
	@echo '  bin/sentineld query "SELECT time, pid, cmdline FROM execs WHERE cmdline LIKE '"'%marker-xyz%'"'"'
	@echo 'Ctrl-C ends it.'
	bin/sentineld run --live

test: ## every test that can run here; what cannot is listed with its reason
	@sh scripts/test.sh

scenarios: ## the scenario files against every backend (root, and a C compiler for the helpers)
	$(GO) test -count=1 -timeout 60m -v -run TestScenarios ./scenario

race: ## the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -count=1 -timeout 60m -race -short ./...

cover: ## the tests, and coverage of internal/, which must be 85 % or more
	@COVER=1 sh scripts/test.sh

bench: build ## what recording costs, side by side (root, and a C compiler for the load)
	@mkdir -p .cache
	$(GO) build -o .cache/bench ./bench
	.cache/bench $(BENCH)

test-kernels: ## the tests in stock Debian kernels under QEMU; KERNELS="6.1 arm64-6.1" for some of them
	@mkdir -p .cache
	$(GO) build -o .cache/kernels-lab ./kernels
	.cache/kernels-lab $(LAB) $(KERNELS)

generate: ## the BPF objects anew (needs clang, llvm-strip and libbpf's headers)
	$(GO) generate ./...

check-generated: ## are the committed BPF objects what the sources give?
	@sh scripts/check-generated.sh

lint: ## gofmt, golangci-lint with the import rules, procmond's dependencies
	@test -z "$$(gofmt -l cmd internal bench scenario kernels)" || { gofmt -l cmd internal bench scenario kernels; echo 'run gofmt -w on these'; exit 1; }
	$(TOOL) golangci-lint run ./...
	@sh scripts/check-deps.sh

cross: ## vet and build for every platform
	@set -e; for p in $(PLATFORMS); do \
		echo "$$p"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./...; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/procmond; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/sentineld; \
	done

fuzz: ## every fuzz target for FUZZTIME each (default 10s)
	@sh scripts/fuzz.sh

clean: ## what was built
	rm -rf bin .cache coverage.out
