# A short front for CMake, which holds the only build logic (CMakePresets.json). `make` builds, `make check` tests.
PRESET ?= default
BUILD = build/$(PRESET)
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

all: $(BUILD)/CMakeCache.txt
	cmake --build $(BUILD) -j $(JOBS)

$(BUILD)/CMakeCache.txt:
	sh tools/install_deps.sh
	cmake --preset $(PRESET)

demo: all
	sh tools/demo.sh $(BUILD)/sputnik

check: all
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

check-all check-clients bench:
	sh tools/$(subst -,_,$@).sh

install: all
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)

clean:
	rm -rf build

.PHONY: all demo check check-all check-clients bench install clean
