# p2pshare: "make" prints the targets. build, test and demo need nothing but Go
# and make; race needs a C compiler.

MODULE  := github.com/p2pshare/p2pshare
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# Tools are pinned here and run from bin/tools; they stay out of go.mod, since
# importers of this library should not inherit a linter's dependencies.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := mvdan.cc/gofumpt@v0.12.0
BUF      := github.com/bufbuild/buf/cmd/buf@v1.57.2
GENGO    := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GENRPC   := connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1
VULN     := golang.org/x/vuln/cmd/govulncheck@v1.9.0
TOOLS    := $(CURDIR)/bin/tools

FUZZTIME ?= 20s
FUZZJOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
TIMEOUT  ?= 10m

.DEFAULT_GOAL := help

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary, as bin/p2pshare
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/p2pshare ./cmd/p2pshare

demo: build ## two trackers, three clients, a real kill: on this machine, in a temporary folder
	bin/p2pshare demo

lan-demo: build ## a network across hosts: network namespaces of this machine; needs root and iproute2
	examples/lan/run.sh bin/p2pshare

test: ## all tests
	go test -timeout $(TIMEOUT) ./...

# A race in a process that a test starts ends it, which the test notices.
race: ## all tests under the race detector, in random order
	GORACE=halt_on_error=1 go test -race -shuffle=on -count=1 -timeout 20m ./...

long: build ## what takes too long for every change: big files, many kills
	P2PSHARE_LONG=1 go test -count=1 -timeout 60m -v -run 'TestLong' ./...

sim: ## random worlds of trackers: SEEDS=10000, SEED=the first one
	cd tracker/internal/sim && go test -count=1 -timeout 24h -run TestRandom -args -seeds $(or $(SEEDS),1000) -seed $(or $(SEED),1)

.PHONY: soak
soak: ## 50 clients at two trackers for SOAK (1h): do the trackers grow?
	P2PSHARE_SOAK=$(or $(SOAK),1h) go test -count=1 -timeout 0 -v -run TestSoak ./node/internal/crowd

MIB := 1024,4096
memory: ## what a client takes that fetches files of MIB (1024,4096) MiB; they go to TMPDIR
	P2PSHARE_MIB=$(MIB) go test -count=1 -timeout $(TIMEOUT) -v -run '^TestDownloaderMemory$$' ./cmd/p2pshare
.PHONY: memory

e2e: ## the binary, as scripts drive it
	go test -count=1 -timeout $(TIMEOUT) ./cmd/...

bench: ## benchmarks, as text that benchstat reads; those of the transfer use 3 GiB of TMPDIR
	go test -run '^$$' -bench . -benchmem -count $(or $(COUNT),5) ./...

swarm: ## simulated classes of PEERS (8,32,128,500) members that fetch one file, against the lower bound
	P2PSHARE_PEERS=$(or $(PEERS),8) go test -count=1 -timeout 3h -v -run '^TestClassNearsTheLowerBound$$' ./node/internal/swarm

CLIENTS := 1,2,4,8,16
handout: ## the same for 16 MiB, with limits of 8 MiB/s: what compare measures, in virtual time
	P2PSHARE_PEERS=$(or $(PEERS),$(CLIENTS)) go test -count=1 -timeout 1h -v -run '^TestHandoutNearsTheLowerBound$$' ./node/internal/swarm
.PHONY: swarm handout

# One worker each, and as many targets at a time as there are CPUs: most of a
# short run is building.
fuzz: ## every fuzz target for FUZZTIME: a time (20s), or a number of executions (1000000x)
	@all=$$(go test -list '^Fuzz' ./...) && echo "$$all" | awk '/^Fuzz/ { f[n++] = $$1 } /^ok/ { while (n) print $$2, f[--n] }' | \
		xargs -P $(FUZZJOBS) -L 1 sh -c '.ci/fuzz $$0 $$1 $(FUZZTIME)'

cover: ## coverage by package
	go test -timeout $(TIMEOUT) -coverprofile coverage.out -coverpkg ./... ./... && go tool cover -func coverage.out | tail -1

cross: ## builds for the other systems
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build -o /dev/null ./cmd/p2pshare
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/p2pshare
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/p2pshare

tool = $(TOOLS)/$(notdir $(firstword $(subst @, ,$(1))))
define install
@test -x $(call tool,$(1)) && grep -qxF '$(1)' $(call tool,$(1)).pin 2>/dev/null || \
	{ GOBIN=$(TOOLS) GOFLAGS= go install $(1) && echo '$(1)' > $(call tool,$(1)).pin; }
endef

fmt: ## gofumpt over everything
	$(call install,$(GOFUMPT))
	$(TOOLS)/gofumpt -w $$(git ls-files '*.go' | grep -v '^protocol/pb/')

lint: ## golangci-lint with .golangci.yml
	$(call install,$(GOLANGCI))
	$(TOOLS)/golangci-lint run ./...

generate: ## code from the .proto files
	$(call install,$(BUF))
	$(call install,$(GENGO))
	$(call install,$(GENRPC))
	PATH=$(TOOLS):$$PATH buf generate

verify: generate ## generated code and go.mod are up to date
	go mod tidy -diff
	git diff --exit-code -- protocol/pb

vuln: ## known vulnerabilities of what is linked; needs the network, and says so without it
	@test -x $(call tool,$(VULN)) || GOBIN=$(TOOLS) GOFLAGS= go install $(VULN) || \
		{ echo "vuln: NOTHING WAS CHECKED: govulncheck is not here and cannot be fetched, which takes the network"; exit 1; }
	@$(call tool,$(VULN)) ./...; case $$? in \
		0) ;; \
		3) echo "vuln: what is linked has the vulnerabilities above"; exit 1 ;; \
		*) echo "vuln: NOTHING WAS CHECKED: govulncheck failed, most likely because it cannot reach its database, https://vuln.go.dev"; exit 1 ;; \
	esac

check: verify lint race e2e cross ## what CI runs

clean: ## remove bin and profiles
	rm -rf bin coverage.out

.PHONY: help build demo lan-demo test race long sim e2e bench fuzz cover cross fmt lint generate verify vuln check clean
