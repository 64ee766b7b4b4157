# make build   bin/in_office365.so, the plugin, and bin/office365-check, which tells what keeps it from collecting
# make demo    the plugin at work against an emulated tenant, no account needed
# make test    every test; those in a real Fluent Bit where one is found (FLUENT_BIT_BINARY or PATH), those with a Prometheus likewise (PATH)
# make faults  22 faults that lose or repeat data in collectors, one at a time, and a table of what became of the records
# make crash   kill -9 at random moments over one backlog, N=100 times, and once more with a tenant that fails; in a real Fluent Bit where one is found
# make handover   what is handed over while an output is down and a volume full, broken or out of limits, N=100000 records in each of a dozen ways;
#              then records a second and memory by hand_over_rate, and latency; in a real Fluent Bit where one is found, and as root, who may mount volumes
# make throttled   ten minutes against a tenant that allows less than rate_limit, and how much of that was used
# make backlog   200,000 small blobs at once: how long they take, and what memory and ledger
# make tenants   500 tenants in one instance, one of them broken: what arrives, and what it takes; TENANTS=500, FOR=2m
# make soak    half an hour of everything at once, in a real Fluent Bit where one is found; FOR=5m, ARGS=-soak-seed=1
# make bench   the record path against the obvious way and against parsers; ARGS=-all for every family of records
# make bench-pipe   CPU time and memory of the whole pipe, in a real Fluent Bit where one is found; ARGS=-quick for a first look
# make lint    golangci-lint and govulncheck, fetched on demand

GO         ?= go
CC         ?= cc
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FLUENT_BIT := $(or $(FLUENT_BIT_BINARY),$(shell command -v fluent-bit 2>/dev/null))
PROMETHEUS := $(and $(shell command -v prometheus 2>/dev/null),$(shell command -v promtool 2>/dev/null))

# netgo and osusergo keep the C library's resolver out: it needs a newer glibc, and files that minimal images lack.
BUILD_FLAGS := -trimpath -tags netgo,osusergo -ldflags '-s -w -X main.version=$(VERSION)'
# Everything but the C surface must do without cgo.
PURE_GO     := ./o365/... ./normalize/... ./plugin/config/... ./plugin/ledger/... ./plugin/collector/... ./plugin/handover/... ./plugin/storage/... \
	./plugin/monitor/... ./plugin/diagnosis/... ./plugin/hostfile/... ./plugin/pitfalls/... ./plugin/office365-check/... ./test/proxy/... ./test/tenant/... ./test/pipe/...

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.DEFAULT_GOAL := build
.PHONY: build demo test faults crash handover throttled backlog tenants soak bench bench-pipe lint generate clean

build: bin/in_office365.so bin/office365-check

# Go knows best what has changed; so does a rule that always runs.
.PHONY: bin/in_office365.so bin/office365-check bin/test-host bin/emulated-tenant
bin/in_office365.so:
	CGO_ENABLED=1 $(GO) build $(BUILD_FLAGS) -buildmode=c-shared -o $@ ./plugin
	@rm -f bin/in_office365.h

bin/office365-check:
	CGO_ENABLED=0 $(GO) build $(BUILD_FLAGS) -o $@ ./plugin/office365-check

bin/test-host:
	@mkdir -p bin
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -rdynamic -o $@ test/host/*.c -ldl -lpthread

bin/emulated-tenant:
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./test/tenant/cmd/emulated-tenant

demo: bin/in_office365.so bin/test-host
	@$(GO) run ./test/demo -plugin bin/in_office365.so -test-host bin/test-host -fluent-bit '$(FLUENT_BIT)'

test: bin/in_office365.so bin/test-host bin/emulated-tenant
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) test $(PURE_GO)
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v /test/e2e$$)
	@# By themselves: they hold the plugin to times that a machine busy with other tests cannot keep. Without -race, which would watch the tests and the
	@# emulated tenant here, not the plugin in its host's process. They wait more than they work, so more of them go side by side than there are processors.
	@# What they test is built by another process: -count=1, as go test does not see it change.
	CGO_ENABLED=1 $(GO) test -count=1 -parallel 6 -timeout 30m ./test/e2e
	cd test/bench && CGO_ENABLED=1 $(GO) vet ./... && CGO_ENABLED=1 $(GO) test ./...
ifeq ($(FLUENT_BIT),)
	@echo
	@echo '*** SKIPPED: the end-to-end tests in a real Fluent Bit, as none was found.'
	@echo '*** Install Fluent Bit, or set FLUENT_BIT_BINARY to its path, and run make test again.'
endif
ifeq ($(PROMETHEUS),)
	@echo
	@echo '*** SKIPPED: the tests of the alerts and the dashboard, as no prometheus and promtool were found.'
	@echo '*** Install Prometheus and run make test again.'
endif

# Without a package to name, go test shows what the test prints.
faults:
	@cd test/e2e && CGO_ENABLED=1 $(GO) test -run '^TestUndisturbed$$/^faults$$'

crash: N ?= 100
crash:
	@$(if $(FLUENT_BIT),,echo '*** No Fluent Bit found: in the minimal host, where there is no storage behind the hand-over.')
	CGO_ENABLED=1 $(GO) test ./test/e2e -v -count=1 -timeout 2h -run '^TestCrash$$/^$(if $(FLUENT_BIT),Fluent_Bit,minimal_host)' -kills $(N) $(ARGS)

# Rows wait more than they work, so more of them go side by side than there are processors.
handover: N ?= 100000
handover: bin/in_office365.so bin/test-host bin/emulated-tenant
	@$(if $(FLUENT_BIT),,echo '*** No Fluent Bit found: only what the minimal host can do is shown, where nothing is ever full. Set FLUENT_BIT_BINARY to its path.')
	CGO_ENABLED=1 $(GO) test ./test/e2e -v -count=1 -parallel 6 -timeout 1h -run '^TestHandOver$$' -handover-records $(N) $(ARGS)
	@$(GO) run ./test/pipe -fluent-bit '$(FLUENT_BIT)' -run '^plugin: a backlog'
	@$(GO) run ./test/pipe -fluent-bit '$(FLUENT_BIT)' -latency 40

throttled:
	CGO_ENABLED=1 $(GO) test ./test/e2e -v -count=1 -timeout 1h -run '^TestUndisturbed$$/^throttled_tenant$$' -throttled 10m

backlog:
	CGO_ENABLED=1 $(GO) test ./test/e2e -v -count=1 -timeout 1h -run '^TestBacklog$$' -backlog 200000

TENANTS ?= 500
tenants: FOR = 2m
tenants:
	CGO_ENABLED=1 $(GO) test ./test/e2e -v -count=1 -timeout 1h -run '^TestManyTenants$$' -tenants $(TENANTS) -tenants-for $(FOR)

soak: FOR = 30m
soak:
	@cd test/e2e && CGO_ENABLED=1 $(GO) test -run '^TestSoak$$' -timeout 0 -soak=$(FOR) $(ARGS)

# A module of its own, so that the parsers compared with are none of the plugin's.
bench:
	cd test/bench && CGO_ENABLED=1 $(GO) run . $(ARGS)

bench-pipe: bin/in_office365.so bin/test-host bin/emulated-tenant
	@$(GO) run ./test/pipe -fluent-bit '$(FLUENT_BIT)' $(ARGS)

# govulncheck ends with 3 when it has found something, and otherwise when it could not look.
lint:
	$(GO) run $(GOLANGCI_LINT) run ./...
	GOBIN=$(CURDIR)/bin $(GO) install $(GOVULNCHECK)
	@bin/govulncheck ./... || { [ $$? -ne 3 ] && echo '*** NOT CHECKED for known vulnerabilities: govulncheck could not run.'; }

generate:
	$(GO) generate ./...

clean:
	rm -rf bin
