# Every target is a script of scripts/, which sets up what it needs. `make help` lists them.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run stop env test testversions fuzz install deb testdeb bench fmt lint clean

help: ## this list
	@sed -n 's/^\([a-z]*\): ## /\1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15
	@echo
	@echo 'Settings, from the environment or as arguments: PG_VERSION=15, PG_CONFIG, SSDB_RUN_DIR=.run, SSDB_PGPORT=54329,'
	@echo 'SSDB_HTTP_ADDR=127.0.0.1, SSDB_HTTP_PORT=9000.'

run: ## build, start a private cluster under .run/ and deploy examples/shop to it
	@scripts/run

stop: ## stop that cluster; its data stay
	@scripts/stop

env: ## print the variables for reaching it, to be taken in with eval
	@scripts/env

test: ## everything that CI runs
	@scripts/test

testversions: ## the same on PostgreSQL 17 and 18, in roots of the Debians that carry them (as root)
	@scripts/test-versions

fuzz: ## look for inputs that break what reads bytes of strangers, a minute per target
	@scripts/fuzz

install: ## put the release build into the directories of PostgreSQL
	@scripts/install

deb: ## Debian packages of the extension and the command line, into target/deb/
	@scripts/deb

testdeb: ## install, use and remove these packages in a fresh Debian (as root)
	@scripts/test-deb

bench: ## measure calls against pgbench, memory, many tenants, deployments, and fleets (needs 20 GB)
	@scripts/bench && echo && bench/deploy/run && echo && bench/fleet/run

fmt: ## format the Rust code
	@cargo fmt --all

lint: ## formatting, clippy and shellcheck
	@scripts/lint

clean: ## stop the cluster of `make run` and delete it
	@scripts/clean
