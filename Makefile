.DEFAULT_GOAL := help
TOOL := GOWORK=off go tool -modfile=$(CURDIR)/tools/go.mod
FUZZTIME ?= 30s

.PHONY: help check fmt vet lint test race fuzz e2e bench tidy vuln ci

help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: fmt vet lint test ## everything quick

fmt: ## format the tree
	gofmt -w $$(git ls-files '*.go')

vet: ## go vet over the workspace
	go vet work

lint: ## staticcheck over the root
	$(TOOL) staticcheck ./...

test: ## all tests of the workspace
	go test work

race: ## tests with the race detector
	go test -race . ./crypto ./store/... ./token ./webhook/... ./ratelimit ./providers/... ./integrationstest

e2e: ## tests against databases
	cd internal/e2e && go test ./...

fuzz: ## every fuzz target for FUZZTIME
	FUZZTIME=$(FUZZTIME) bash .ci/fuzz.sh

bench: ## the benchmarks
	go test -run '^$$' -bench . -benchmem ./crypto ./token ./providers ./ratelimit ./webhook

tidy: ## go mod tidy in every module
	for m in $$(git ls-files '*go.mod'); do (cd $$(dirname $$m) && GOWORK=off go mod tidy) || exit 1; done

vuln: ## known vulnerabilities; needs the vulnerability database
	$(TOOL) govulncheck ./...

ci: ## what CI runs
	bash .ci/run
