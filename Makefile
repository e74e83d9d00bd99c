# weft: build, test and measure. `make help` lists the targets.

GO         ?= go
FUZZTIME   ?= 5s
TOOL       := $(GO) tool -modfile=tools/go.mod

# The tests that start programs need a processor of their own kind; the rest runs under emulation.
ARM64_PKGS  = $(shell $(GO) list ./... | grep -vE '^weft/(cmd|experiments|internal)(/|$$)')

.DEFAULT_GOAL := help
.PHONY: help build demo test race fuzz arm64 lint fmt gen bench bench-peers roofline oracle deploy benchstat clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/weft
	$(GO) build -trimpath -o bin/weft ./cmd/weft

demo: build ## train, search and serve a small supernet, and write a report
	bin/weft demo

test: ## vet, and the whole test suite
	$(GO) vet ./...
	cd kernel/_gen && $(GO) test ./...
	$(GO) test ./...

race: ## the short suite under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short ./...

fuzz: ## every fuzz target for FUZZTIME (5s) each
	@set -e; grep -rHoE --include='*_test.go' --exclude-dir=_gen --exclude-dir=bench '^func Fuzz[A-Za-z0-9_]+' . | sort | \
	while IFS=: read -r file func; do \
		echo "== $$(dirname $$file) $${func#func }"; \
		$(GO) test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$(dirname $$file)" </dev/null; \
	done

arm64: ## build for arm64 and run the tests there under emulation
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	@command -v qemu-aarch64-static >/dev/null || { \
		[ "$$(id -u)" = 0 ] || { echo "make arm64 needs qemu-aarch64-static: install qemu-user-static"; exit 1; }; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-user-static; }
	GOARCH=arm64 CGO_ENABLED=0 $(GO) test -short -exec qemu-aarch64-static $(ARM64_PKGS)

lint: ## golangci-lint as pinned in tools/go.mod, and gofmt
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(TOOL) golangci-lint run ./...

fmt: ## format the code
	$(TOOL) golangci-lint fmt ./...

gen: ## regenerate the assembly in kernel
	cd kernel/_gen && $(GO) run .

bench: ## speed of kernels, training, scheduling and HTTP on an idle machine (7 minutes), into bin/bench.txt
	@mkdir -p bin; { \
	uptime; \
	for threads in 1 2; do $(GO) test ./kernel/kerneltest -count 1 -run TestSpeedTable -speed $$threads -v -timeout 30m | grep -v '^=== '; done; \
	$(GO) test ./kernel -run '^$$' -bench Pool; \
	$(GO) test ./nn ./train -run '^$$' -bench 'Pass|Step' -benchtime 3s -count 3; \
	$(GO) test ./sched ./workload -run '^$$' -bench 'Step|Generator' -benchmem; \
	$(GO) test ./oip -run '^$$' -bench 'HTTP' -benchtime 3000x -count 3; \
	uptime; } 2>&1 | tee bin/bench.txt

bench-peers: ## weft beside ONNX Runtime and PyTorch, which it installs, into bench/results (10 minutes); ARGS="-only mbv3" shows a part
	bench/install.sh
	cd bench && CGO_ENABLED=1 $(GO) build -o ../bin/bench/ ./cmd/... && ../bin/bench/peers $(or $(ARGS),-out results)

roofline: ## every layer of three subnets beside what the machine can do, into docs/roofline.svg
	cd bench && $(GO) run ./cmd/roofline

oracle: ## check exported and imported networks against ONNX Runtime, which it installs (needs node)
	bench/install.sh onnxruntime
	$(GO) test ./onnx -count 1 -run 'ONNXRuntime|Operators|ResNet4b' -v

deploy: ## check dashboard, alerts and manifests by Prometheus', Kubernetes' and KEDA's own code (minutes the first time)
	cd deploy && $(GO) test .
	cd deploy/validate && $(GO) test .

benchstat: ## compare two benchmark files: make benchstat OLD=a.txt NEW=b.txt
	$(TOOL) benchstat $(OLD) $(NEW)

clean: ## remove what was built
	rm -rf bin
