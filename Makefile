# kinesis for Lua. `make help` says what can be done; everything built goes to build/.
PREFIX      ?= /usr/local
LUA_VERSION ?= 5.4
CC          = gcc
OPTIMIZE    = -O2 -g

SOURCES := $(shell sed -n 's|^ *"\(csrc/[^"]*\.c\)",*$$|\1|p' rockspec/kinesis-scm-1.rockspec)
ENGINE_SOURCES := $(filter-out csrc/lua/%,$(SOURCES))
SPEC_SOURCES := $(wildcard spec/support/*.c)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CFLAGS_ALL := -std=gnu11 -fPIC -pthread -fvisibility=hidden -Icsrc $(WARNINGS)

# config NAME FALLBACK: the compiler flags that pkg-config has for a package, else the fallback.
config = $(shell if command -v pkg-config >/dev/null && pkg-config --exists $(1); then pkg-config --cflags $(1); else echo $(2); fi)
CFLAGS_lua5.4 := $(call config,lua5.4,-I/usr/include/lua5.4)
CFLAGS_luajit := $(call config,luajit,-I/usr/include/luajit-2.1)
CFLAGS_LIBS := $(call config,libcurl libcrypto,)
LIBS := -lcurl -lcrypto -pthread

comma := ,
ASAN := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
TSAN := -O1 -g -fno-omit-frame-pointer -fsanitize=thread

.DEFAULT_GOAL := help
.PHONY: demo repl env stop test asan tsan valgrind lint layers docs bench felt soak load interop fuzz install installable uninstall clean help

help:
	@echo 'make demo      two producers and a consumer on this machine, in 20 seconds'
	@echo '               (KINESIS_DEMO=aws: against the real service)'
	@echo 'make repl      a Lua prompt with a local stream behind it (KINESIS_REPL=aws: with your own settings)'
	@echo 'make env       settings for a shell:  eval "$$(make -s env)"'
	@echo 'make stop      ends the service that env started'
	@echo 'make test      the whole suite, Lua 5.4 and LuaJIT'
	@echo 'make asan      the suite under ASan and UBSan, then under the fiercest garbage collection'
	@echo 'make tsan      the suite under ThreadSanitizer'
	@echo 'make valgrind  under valgrind, the specs that watch neither clock nor memory nor exit'
	@echo 'make lint      clang-format, luacheck, compiler warnings as errors'
	@echo 'make layers    who includes whom, and whether the rockspec lists every file'
	@echo 'make docs      the manual of the API as HTML, build/docs/index.html'
	@echo 'make bench     CPU a record beside aws-sdk-js and the Go SDK; [ROUNDS=5] [BENCH="put_many read"]'
	@echo 'make felt      how soon a script has put, and a record is read; whether a far service is kept busy'
	@echo 'make soak      a million records each way, 1,000 shards, long sleeps: memory, descriptors, threads stay flat, and'
	@echo '               nothing is lost; [RECORDS=1000000] [SECONDS_OF_SHARDS=600]'
	@echo '               [SECONDS_OF_WORKERS=3600]'
	@echo 'make load      nginx under wrk: is anything blocked, or lost through reloads; [SECONDS_OF_LOAD=60]'
	@echo 'make interop   beside the Kinesis Client Library 1, 2 and 3 on one table of leases (JDK, Maven);'
	@echo '               [SECONDS_OF_INTEROP=300] [SCENES="relay:kcl2 figures:kcl3x"]'
	@echo 'make fuzz      libFuzzer on every reader of foreign bytes; [SECONDS_EACH=600] [FUZZ="json config"]'
	@echo 'make install   PREFIX=$(PREFIX) LUA_VERSION=$(LUA_VERSION) (5.1: for LuaJIT); make uninstall takes it away again'
	@echo 'make clean     removes what was built (build/node stays)'

# Whose allocations fail, or end at a fence, by order of what it is linked with.
WRAP := $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc)

# flavour NAME INTERPRETER COMPILER FLAGS LINK-FLAGS: one build of the core, its objects apart.
# build/NAME is the target that a person or a script asks for.
define flavour
.PHONY: build/$(1)
build/$(1): build/$(1)/kinesis/core.so $$(if $$(wildcard spec/support/stepped.c),build/$(1)/stepped.so build/$(1)/tortured/kinesis/core.so)

build/$(1)/kinesis/core.so: $$(SOURCES:%.c=build/$(1)/obj/%.o)
	@mkdir -p $$(@D)
	$(3) -shared $(5) -o $$@ $$^ $$(LIBS)

build/$(1)/stepped.so: $$(patsubst %,build/$(1)/obj/spec/support/%.o,stepped stepped_codec stepped_commands stepped_leases stepped_messages stepped_metrics stepped_producer torture) $$(ENGINE_SOURCES:%.c=build/$(1)/obj/%.o)
	@mkdir -p $$(@D)
	$(3) -shared -Wl,-z,nodelete $$(WRAP) $(5) -o $$@ $$^ $$(LIBS)

build/$(1)/tortured/kinesis/core.so: build/$(1)/obj/spec/support/torture.o $$(SOURCES:%.c=build/$(1)/obj/%.o)
	@mkdir -p $$(@D)
	$(3) -shared $$(WRAP) -Wl,--wrap=EVP_DigestInit_ex2 $(5) -o $$@ $$^ $$(LIBS)

build/$(1)/obj/%.o: %.c Makefile
	@mkdir -p $$(@D)
	$(3) $$(CFLAGS_ALL) $(4) $$(CFLAGS_$(2)) $$(CFLAGS_LIBS) $$(CFLAGS) -MMD -MP -c -o $$@ $$<

-include $$(SOURCES:%.c=build/$(1)/obj/%.d) $$(SPEC_SOURCES:%.c=build/$(1)/obj/%.d)
endef

$(eval $(call flavour,lua5.4,lua5.4,$$(CC),$$(OPTIMIZE),))
$(eval $(call flavour,luajit,luajit,$$(CC),$$(OPTIMIZE),))
$(eval $(call flavour,asan-lua5.4,lua5.4,gcc,$(ASAN),$(ASAN)))
$(eval $(call flavour,asan-luajit,luajit,gcc,$(ASAN),$(ASAN)))
$(eval $(call flavour,tsan-lua5.4,lua5.4,gcc,$(TSAN),$(TSAN)))
$(eval $(call flavour,tsan-luajit,luajit,gcc,$(TSAN),$(TSAN)))
$(eval $(call flavour,lint-gcc-lua5.4,lua5.4,gcc,-O2 -Werror,))
$(eval $(call flavour,lint-gcc-luajit,luajit,gcc,-O2 -Werror,))
$(eval $(call flavour,lint-clang-lua5.4,lua5.4,clang,-O2 -Werror,))

# The sanitizer's runtime is meant for the interpreter alone, see there.
build/asan-lua5.4 build/asan-luajit build/tsan-lua5.4 build/tsan-luajit: build/%: build/%/unpreload.so
build/%/unpreload.so: spec/support/unpreload.c Makefile
	@mkdir -p $(@D)
	gcc $(CFLAGS_ALL) -O2 -shared -o $@ $<

demo:
	@spec/support/setup.sh demo
	@$(MAKE) --no-print-directory -s -j2 build/lua5.4
	@examples/demo.sh

repl:
	@spec/support/setup.sh demo
	@$(MAKE) --no-print-directory -s -j2 build/lua5.4
	@spec/support/local.sh repl

# Its output is evaluated, and must not be empty when a step fails: local.sh takes all of them.
env:
	@spec/support/local.sh env

stop:
	@spec/support/local.sh stop

test:
	@spec/support/setup.sh test
	@spec/support/run.sh lua5.4,luajit

asan:
	@spec/support/setup.sh test
	@spec/support/run.sh asan-lua5.4,asan-lua5.4+gc

tsan:
	@spec/support/setup.sh test
	@spec/support/run.sh tsan-lua5.4

# Left out are those that count on time, measure memory, or look at how a process begins and ends: valgrind is 30
# times slower, uses memory of its own, tells no program that it was not there, and at exit finds all that exit does
# not free. Torture repeats all for each allocation; the rules of endpoints are Lua alone; setlocale leaks.
WATCHFUL = life hang torture lease_torture file_store docs rock openresty openresty_wake interrupted locale oracles storm faults \
  reader_faults reader_storm reader_sleep positions reshard run prompt provider_io keys operations configuration endpoint_rules producer producer_errors \
  producer_exit producer_failures producer_faults tail consumer examples seal demo
valgrind:
	@spec/support/setup.sh test
	@spec/support/setup.sh bench
	@spec/support/run.sh lua5.4+valgrind $(filter-out $(WATCHFUL:%=spec/%_spec.lua),$(wildcard spec/*_spec.lua))

LINT_C = $(wildcard csrc/*/*.c csrc/*/*.h spec/support/*.c spec/bench/*.c spec/fuzz/*.[ch])
LINT_LUA = $(wildcard lua examples spec rockspec/*.rockspec)
# With LuaJIT's headers only what includes them.
LINT_FLAVOURS = lint-gcc-lua5.4 $(if $(shell command -v clang),lint-clang-lua5.4)
LINT_OBJECTS = $(foreach f,$(LINT_FLAVOURS),$(patsubst %.c,build/$(f)/obj/%.o,$(wildcard csrc/*/*.c) $(SPEC_SOURCES))) \
  $(patsubst %.c,build/lint-gcc-luajit/obj/%.o,$(wildcard csrc/lua/*.c) $(SPEC_SOURCES))

lint:
	@spec/support/setup.sh test
	@$(MAKE) --no-print-directory -s -k -j$(shell nproc) $(LINT_OBJECTS)
	@clang-format --dry-run -Werror $(LINT_C)
	@luacheck --quiet $(LINT_LUA)
	@for f in spec/*/*.sh examples/*.sh .ci/run; do bash -n $$f || exit 1; done
	@if command -v shellcheck >/dev/null; then shellcheck -x spec/*/*.sh examples/*.sh .ci/run; fi
	@echo 'lint: clean'

layers:
	@spec/support/setup.sh demo
	@lua5.4 spec/support/layers.lua

docs:
	@spec/support/setup.sh docs
	@mkdir -p build/docs-src
	@lua5.4 spec/support/docs.lua build/docs-src/kinesis.lua
	@ldoc -q --fatalwarnings --testing -p kinesis -t 'kinesis for Lua' -d build/docs build/docs-src/kinesis.lua
	@lua5.4 spec/support/guide.lua build/docs
	@echo 'docs: build/docs/index.html'

build/bench/stub: spec/bench/stub.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -pthread $(WARNINGS) -o $@ $< -lssl -lcrypto

# The floor: our wire rooms and libcurl, no engine.
build/bench/floor: spec/bench/floor.c $(filter csrc/base/% csrc/wire/%,$(SOURCES))
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(CFLAGS_LIBS) $(OPTIMIZE) -o $@ $^ $(LIBS)

build/bench/luajit/wakes_thread.so: spec/bench/wakes.c csrc/engine/wake.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(CFLAGS_luajit) -O2 -shared -o $@ $^

# Debian's Go libraries are source, found by the old way of GOPATH.
GO_PATH = /usr/share/gocode
build/bench/go: spec/bench/go/main.go
	@mkdir -p $(@D)
	cd $(<D) && GO111MODULE=off GOPATH=$(GO_PATH) GOFLAGS= go build -o $(abspath $@) .

# The library's own objects are shared by all targets; those of Lua need none.
FUZZ = json base64 getrecords putrecords aggregate cursor shardlist dynamo eventstream answer leases config shards positions
FUZZ_FLAGS = -std=gnu11 -O1 -g -Icsrc -Ispec/fuzz $(WARNINGS) -fsanitize=address,undefined -fno-sanitize-recover=undefined
build/fuzz/obj/%.o: %.c spec/fuzz/fuzz.h
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(CFLAGS_LIBS) -MMD -MP -c -o $@ $<

build/fuzz/config.bin build/fuzz/shards.bin build/fuzz/positions.bin: build/fuzz/%.bin: spec/fuzz/lua.c spec/fuzz/%.lua
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer $(CFLAGS_lua5.4) -DFUZZ_TARGET='"$*"' -o $@ $< -llua5.4

build/fuzz/%.bin: build/fuzz/obj/spec/fuzz/%.o $(ENGINE_SOURCES:%.c=build/fuzz/obj/%.o)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# Every prefix of the seeds, without libFuzzer: this much belongs to the suite.
-include $(wildcard build/lua5.4/obj/spec/fuzz/*.d build/fuzz/obj/*/*/*.d)
FENCED := $(patsubst %,build/fenced/%,json base64 getrecords putrecords aggregate cursor shardlist dynamo eventstream answer leases)
.PHONY: build/fenced
build/fenced: $(FENCED)
$(FENCED): build/fenced/%: build/lua5.4/obj/spec/fuzz/%.o build/lua5.4/obj/spec/fuzz/fence.o $(ENGINE_SOURCES:%.c=build/lua5.4/obj/%.o)
	@mkdir -p $(@D)
	$(CC) $(WRAP) -Wl,--wrap=free -o $@ $^ $(LIBS)

SECONDS_EACH = 600
fuzz:
	@spec/support/setup.sh test
	@spec/support/setup.sh fuzz
	@$(MAKE) --no-print-directory -s -j2 build/lua5.4 $(FUZZ:%=build/fuzz/%.bin)
	@spec/fuzz/run.sh $(SECONDS_EACH) $(FUZZ)

bench soak felt: export LUA_PATH = lua/?.lua;lua/?/init.lua;spec/?.lua;;
bench soak felt: export LUA_CPATH = build/lua5.4/?.so;;
bench soak felt: export LUA_PATH_5_4 = $(LUA_PATH)
bench soak felt: export LUA_CPATH_5_4 = $(LUA_CPATH)

ROUNDS = 5
bench: export NODE_MODULES = $(CURDIR)/build/node/node_modules
bench: export AWS_CA_BUNDLE = build/certs/ca.pem
bench:
	@spec/support/setup.sh test
	@spec/support/setup.sh bench
	@spec/support/certs.sh
	@$(MAKE) --no-print-directory -s build/lua5.4 build/luajit build/bench/stub build/bench/floor build/bench/luajit/wakes_thread.so $(if $(wildcard $(GO_PATH)/src/github.com/aws/aws-sdk-go-v2),build/bench/go)
	@lua5.4 spec/bench/bench.lua $(ROUNDS) $(BENCH)
	@lua5.4 spec/bench/instructions.lua
	@spec/bench/wakes.sh

RECORDS = 1000000
SECONDS_OF_SHARDS = 600
SECONDS_OF_WORKERS = 3600
soak:
	@spec/support/setup.sh test
	@spec/support/certs.sh
	@$(MAKE) --no-print-directory -s build/lua5.4 build/bench/stub
	@lua5.4 spec/soak/soak.lua $(RECORDS)
	@lua5.4 spec/soak/shards.lua $(SECONDS_OF_SHARDS)
	@spec/soak/workers.sh $(SECONDS_OF_WORKERS)
	@SPEC_FULL=1 spec/support/run.sh lua5.4 spec/aggregate_spec.lua spec/positions_spec.lua spec/reader_storm_spec.lua \
		spec/lease_interleavings_spec.lua spec/worker_kill_spec.lua
	@SPEC_FULL=1 spec/support/run.sh lua5.4,luajit spec/reshard_spec.lua
	@SPEC_SLEEP=310 spec/support/run.sh lua5.4 spec/reader_sleep_spec.lua

load:
	@spec/support/setup.sh test
	@spec/support/setup.sh bench
	@spec/support/certs.sh
	@$(MAKE) --no-print-directory -s build/lua5.4 build/luajit
	@spec/soak/clicks.sh $(SECONDS_OF_LOAD)

SECONDS_OF_INTEROP = 300
SCENES = $(foreach scene,relay beside,$(foreach kcl,kcl2 kcl3 kcl3p kcl1,$(scene):$(kcl))) latest:kcl2 member:kcl3x \
  leader:kcl3x alone:kcl3x refused:kcl3x figures:kcl2,kcl3x
interop:
	@spec/support/setup.sh test
	@$(MAKE) --no-print-directory -s build/lua5.4
	@spec/interop/run.sh $(SECONDS_OF_INTEROP) $(SCENES)

felt:
	@spec/support/setup.sh test
	@spec/support/certs.sh
	@$(MAKE) --no-print-directory -s build/lua5.4 build/bench/stub
	@spec/bench/felt.sh

# LUA_VERSION=5.1 is for LuaJIT. Not every shell expands a ~ after PREFIX=.
override PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
INSTALL = DESTDIR='$(DESTDIR)' spec/support/install.sh
INSTALLED = $(patsubst %,build/%/kinesis/core.so,$(if $(filter 5.4,$(LUA_VERSION)),lua5.4,$(if $(filter 5.1,$(LUA_VERSION)),luajit)))
install: installable $(INSTALLED)
	@$(INSTALL) copy '$(PREFIX)' '$(LUA_VERSION)'

installable:
	@$(INSTALL) check '$(PREFIX)' '$(LUA_VERSION)'

uninstall:
	@$(INSTALL) remove '$(PREFIX)' '$(LUA_VERSION)'

clean: stop
	rm -rf $(filter-out build/node,$(wildcard build/*))
