# A short front for CMake, which holds the only build logic (CMakePresets.json). `make` builds, `make check` tests.
PRESET ?= default
BUILD = build/$(PRESET)

all: $(BUILD)/CMakeCache.txt
	cmake --build $(BUILD)

$(BUILD)/CMakeCache.txt: tools/install_deps.sh
	sh tools/install_deps.sh
	cmake --preset $(PRESET)

check: all
	ctest --test-dir $(BUILD) --output-on-failure -j 2

check-all:
	sh tools/check_all.sh

bench: all
	sh tools/bench.sh $(BUILD)/sputnik

install: all
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)

clean:
	rm -rf build

.PHONY: all check check-all bench install clean
