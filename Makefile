# `make help` lists what can be made.
#
# Everything works under sudo too. What is built is then built as the user who
# called sudo, so that nothing in the clone comes to belong to root.

SHELL       := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

PREFIX  ?= /usr/local
DESTDIR ?=
# Where systemd, man and the shells look, below DESTDIR.
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR  ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
BIN     := $(CURDIR)/bin
# Tools that are no part of the module are kept here, each at its version.
TOOLS   ?= $(CURDIR)/.cache/tools
# What the host must have is a skip on somebody's desk, and a failure where
# CI=true says that it is all there. `make check` installs it, so says so.
TIMEOUT ?= 60m

GOLANGCI_LINT      := golangci-lint@v2.15.0
GOFUMPT            := gofumpt@v0.12.0
BUF                := buf@v1.75.0
PROTOC_GEN_GO      := protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC := protoc-gen-go-grpc@v1.6.2
SBOM_UTILITY       := sbom-utility@v0.16.0

# Set only when root was asked by sudo for somebody whose clone this is.
INVOKER := $(shell [ "$$(id -u)" = 0 ] && [ -n "$${SUDO_USER:-}" ] && [ "$${SUDO_USER:-}" != root ] \
	&& [ "$$(stat -c %U .)" = "$${SUDO_USER:-}" ] && printf %s "$$SUDO_USER")
KEEP    := GOPROXY,GOFLAGS,GOSUMDB,GONOSUMDB,GOPRIVATE,HTTP_PROXY,HTTPS_PROXY,NO_PROXY,http_proxy,https_proxy,no_proxy
AS      := $(if $(INVOKER),sudo -u $(INVOKER) -H --preserve-env=$(KEEP))

GO       = $(or $(GO_FOUND),$(eval GO_FOUND := $(shell packaging/find-go))$(GO_FOUND),$(error there is no usable go))
# Static and without a trace of where it was built: the same source gives the
# same bytes. GOTOOLCHAIN: Fedora's go is set not to fetch the one go.mod names.
GO_ENV   = PATH="$(dir $(GO)):$$PATH" CGO_ENABLED=0 GOTOOLCHAIN=auto
GIT     := git -c safe.directory=$(CURDIR)
VERSION ?= $(or $(shell $(GIT) describe --tags --always --dirty --match 'v*' 2>/dev/null),devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD    = $(AS) env $(GO_ENV) $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
TEST     = env $(GO_ENV) $(GO) test

PLUGINS      := $(patsubst plugins/%/main.go,%,$(wildcard plugins/*/main.go))
PLUGIN_FILES := $(PLUGINS:%=nspawn-build-plugin-%)
PROTO        := core/sdk/proto
# Plugins that are examples, each as it would be in a repository of its own:
# modules, and one that is no Go.
MODULES      := $(patsubst %/go.mod,%,$(wildcard examples/plugins/*/go.mod))
PYTHON_PLUGIN := examples/plugins/tarball-python
WITH_TAG     = $(TEST) -tags integration -count=1 -timeout $(TIMEOUT)
# The packages that have tests behind the build tag, with all of their tests.
WITH_MACHINES = $(shell grep -rlE '^//go:build integration' --include='*_test.go' cmd core integration plugins | xargs -n 1 dirname | sort -u | sed 's,^,./,')
SCRIPTS      := .ci/run examples/ci/build-tools.sh packaging/find-go packaging/install-deps packaging/quickstart.sh
INSTALLED    := $(DESTDIR)$(PREFIX)
UNITS        := nspawn-build-expire.service nspawn-build-expire.timer
ASIDE        := $(UNITS:%=$(UNITDIR)/%) $(MANDIR)/man8/nspawn-build.8 \
	$(BASHDIR)/nspawn-build $(ZSHDIR)/_nspawn-build $(FISHDIR)/nspawn-build.fish

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

## Building

# Who can write to a plugin or to a directory on the way to it decides what root
# runs, so nspawn-build refuses what a group can write to. Under umask 002, which
# sudo too sets where PAM says so, that is everything.
.PHONY: build
build: ## build the program and its plugins into bin/
	$(AS) mkdir -p $(BIN)/plugins
	$(BUILD) -o $(BIN)/nspawn-build ./cmd/nspawn-build
	for p in $(PLUGINS); do $(BUILD) -o "$(BIN)/plugins/nspawn-build-plugin-$$p" "./plugins/$$p"; done
	$(AS) chmod go-w . && $(AS) chmod -R go-w $(BIN)
	$(AS) $(BIN)/nspawn-build plugin-lock $(BIN)/plugins

.PHONY: install
install: build ## install below PREFIX (/usr/local) and DESTDIR
	install -d -m 0755 $(INSTALLED)/bin $(INSTALLED)/lib/nspawn-build/plugins
	install -m 0755 $(BIN)/nspawn-build $(INSTALLED)/bin/
	install -m 0755 $(PLUGIN_FILES:%=$(BIN)/plugins/%) $(INSTALLED)/lib/nspawn-build/plugins/
	umask 022; $(BIN)/nspawn-build plugin-lock $(INSTALLED)/lib/nspawn-build/plugins $(INSTALLED)/lib/nspawn-build/plugins/plugins.lock $(PLUGINS)
	umask 022; for f in $(ASIDE:%=$(DESTDIR)%); do mkdir -p "$${f%/*}"; done
	umask 022; for u in $(UNITS); do sed 's,@BINDIR@,$(PREFIX)/bin,' "packaging/systemd/$$u" >"$(DESTDIR)$(UNITDIR)/$$u"; done
	umask 022; $(BIN)/nspawn-build man >$(DESTDIR)$(MANDIR)/man8/nspawn-build.8
	umask 022; $(BIN)/nspawn-build completion bash >$(DESTDIR)$(BASHDIR)/nspawn-build
	umask 022; $(BIN)/nspawn-build completion zsh >$(DESTDIR)$(ZSHDIR)/_nspawn-build
	umask 022; $(BIN)/nspawn-build completion fish >$(DESTDIR)$(FISHDIR)/nspawn-build.fish

# What plugin install brought stays, and so does what vouches for it.
.PHONY: uninstall
uninstall: ## remove what install put there; machines stay
	rm -f $(INSTALLED)/bin/nspawn-build $(PLUGIN_FILES:%=$(INSTALLED)/lib/nspawn-build/plugins/%)
	rm -f $(ASIDE:%=$(DESTDIR)%)
	ls $(INSTALLED)/lib/nspawn-build/plugins/nspawn-build-plugin-* >/dev/null 2>&1 || \
		rm -f $(INSTALLED)/lib/nspawn-build/plugins/plugins.lock
	if [ -d $(INSTALLED)/lib/nspawn-build ]; then \
		rmdir --ignore-fail-on-non-empty $(INSTALLED)/lib/nspawn-build/plugins $(INSTALLED)/lib/nspawn-build; fi

.PHONY: quickstart
quickstart: ## make a machine on this host and log in to it (as root)
	packaging/quickstart.sh

.PHONY: clean
clean: ## remove what was built; the key of the quickstart's machine stays
	rm -rf $(BIN) $(CURDIR)/.cache
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name quickstart -exec rm -rf {} +; fi

## Testing

.PHONY: test
test: ## unit tests: no root, no network, seconds
	$(TEST) ./...
	for m in $(MODULES); do (cd "$$m" && $(TEST) ./...); done
	if [ -x /usr/bin/python3 ] || [ "$${CI:-}" = true ]; then cd $(PYTHON_PLUGIN) && /usr/bin/python3 -B -m unittest --quiet; \
		else echo 'there is no python3: the plugin in Python was not tested' >&2; fi

# Most packages wait more than they work, so two go at a time; ./integration,
# whose tests do so among themselves, and modules of others follow. What fails
# does not keep the rest from being run.
.PHONY: integration
integration: $(TOOLS)/$(SBOM_UTILITY) ## tests with real tools and machines (as root)
	PATH="$$PATH:$(TOOLS)/$(SBOM_UTILITY)"; failed=0; \
	$(WITH_TAG) -p 2 $(filter-out ./integration,$(WITH_MACHINES)) || failed=1; \
	$(WITH_TAG) ./integration || failed=1; \
	for m in $(MODULES); do (cd "$$m" && $(WITH_TAG) ./...) || failed=1; done; \
	exit $$failed

.PHONY: check
check: ## install what the tests need, then run all of them (as root)
	packaging/install-deps test
	CI=$${CI-true} $(MAKE) test
	CI=$${CI-true} $(MAKE) integration

.PHONY: vm
vm: ## tests on a kernel of their own, in software emulation (as root, on Debian)
	packaging/install-deps vm
	CI=$${CI-true} $(TEST) -tags vm -count=1 -v -timeout $(TIMEOUT) ./integration/

.PHONY: bench
bench: TIMEOUT = 120m
bench: ## measure (as root, for those with machines)
	packaging/install-deps test
	$(TEST) -run '^$$' -bench . -benchmem -p 1 -timeout $(TIMEOUT) ./core/... ./plugins/... ./cmd/...
	$(TEST) -tags integration -run '^$$' -bench . -benchtime 3x -timeout $(TIMEOUT) ./integration/

.PHONY: cover
cover: ## how much of the code the unit tests run
	$(AS) mkdir -p build
	$(AS) $(TEST) -coverprofile=build/cover.out -coverpkg=./... ./...
	$(GO) tool cover -func=build/cover.out | tail -n 1

## Code

.PHONY: lint
lint: $(TOOLS)/$(GOLANGCI_LINT) ## check the code, the import directions and the scripts
	for m in . $(MODULES); do (cd "$$m" && $(AS) env $(GO_ENV) GOLANGCI_LINT_CACHE=$(CURDIR)/.cache/golangci-lint \
		$(TOOLS)/$(GOLANGCI_LINT)/golangci-lint run --allow-parallel-runners --build-tags integration,vm ./...); done
	for m in $(MODULES); do (cd "$$m" && $(AS) env $(GO_ENV) $(GO) mod tidy -diff); done
	for s in $(SCRIPTS); do bash -n "$$s"; done
	if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo 'shellcheck is not installed: scripts were only parsed' >&2; [ "$${CI:-}" != true ]; fi

.PHONY: fmt
fmt: $(TOOLS)/$(GOFUMPT) ## format the code
	$(AS) $(TOOLS)/$(GOFUMPT)/gofumpt -w cmd core integration plugins $(MODULES)

.PHONY: proto
proto: proto-tools ## generate the protocol's Go code
	cd $(PROTO) && $(AS) env PATH="$(PROTO_PATH):$$PATH" buf generate
	$(DESCRIPTORS) | $(AS) $(PYTHON_PLUGIN)/embed

.PHONY: proto-check
proto-check: proto-tools ## is the protocol clean and what was promised, and its generated code that of the protocol?
	cd $(PROTO) && $(TOOLS)/$(BUF)/buf lint && $(TOOLS)/$(BUF)/buf breaking --against $(PROMISED)/protocol.binpb
	fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; cp -R $(PROTO)/. "$$fresh"; \
		(cd "$$fresh" && find . -name '*.pb.go' -delete && PATH="$(PROTO_PATH):$$PATH" buf generate); \
		diff -r $(PROTO) "$$fresh" || { echo 'hint: run `make proto` and commit what it changes' >&2; exit 1; }
	$(DESCRIPTORS) | $(PYTHON_PLUGIN)/embed --check

DESCRIPTORS = $(TOOLS)/$(BUF)/buf build $(PROTO) --as-file-descriptor-set --exclude-source-info -o -

# What plugins of other teams rely on is compared with what was promised last:
# the protocol by proto-check, the SDK by a test of its own.
PROMISED := $(CURDIR)/core/sdk/testdata/promised
.PHONY: promise
promise: $(TOOLS)/$(BUF) ## promise plugins the protocol and the SDK as they are, for a release
	cd $(PROTO) && $(AS) $(TOOLS)/$(BUF)/buf build --exclude-source-info -o $(PROMISED)/protocol.binpb
	$(AS) $(TEST) -count=1 -run Promise ./core/sdk -promise

PROTO_PATH := $(TOOLS)/$(BUF):$(TOOLS)/$(PROTOC_GEN_GO):$(TOOLS)/$(PROTOC_GEN_GO_GRPC)
.PHONY: proto-tools
proto-tools: $(TOOLS)/$(BUF) $(TOOLS)/$(PROTOC_GEN_GO) $(TOOLS)/$(PROTOC_GEN_GO_GRPC)

# Each tool is a directory NAME@VERSION that appears only when it is complete.
MODULE_golangci-lint      := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
MODULE_gofumpt            := mvdan.cc/gofumpt
MODULE_buf                := github.com/bufbuild/buf/cmd/buf
MODULE_protoc-gen-go      := google.golang.org/protobuf/cmd/protoc-gen-go
MODULE_protoc-gen-go-grpc := google.golang.org/grpc/cmd/protoc-gen-go-grpc

$(TOOLS)/%:
	$(AS) mkdir -p $@.new
	$(AS) env $(GO_ENV) GOBIN=$@.new $(GO) install $(MODULE_$(firstword $(subst @, ,$*)))@$(lastword $(subst @, ,$*))
	$(AS) mv -T $@.new $@

# Its requirements and their digests are in a module of its own: by version alone
# it cannot be had where the list of its versions is not served.
$(TOOLS)/$(SBOM_UTILITY):
	$(AS) mkdir -p $@.new
	$(AS) env $(GO_ENV) GOBIN=$@.new $(GO) -C packaging/sbom-utility install github.com/CycloneDX/sbom-utility
	$(AS) mv -T $@.new $@
