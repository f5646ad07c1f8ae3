#!/bin/sh
# Tests of the server with real clients (tests/clients/test_*.py): packages from PyPI in a throw-away virtual environment under build/, a
# browser from the system. BUILD names the build folder; arguments go to pytest (tests/clients/test_openai.py -k tool). SECONDS_OF_LOAD=300 for the long run.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build/default}
venv=build/clients-venv
[ -x "$BUILD/sputnik" ] && [ -x "$BUILD/serve_load" ] || { echo "check-clients: build first (no $BUILD/sputnik)" >&2; exit 1; }
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check openai anthropic pydantic playwright pytest jsonschema rfc3339-validator
# The suite of JSON Schema comes with the source of the package jsonschema.
if ! ls build/jsonschema-*/ > /dev/null 2>&1; then
    "$venv/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation -d build jsonschema 2> /dev/null ||
        "$venv/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary :all: -d build jsonschema ||
        echo "check-clients: no source of jsonschema; its suite is left out" >&2
    for archive in build/jsonschema-*.tar.gz; do [ -f "$archive" ] && tar -xzf "$archive" -C build; done
fi
sh tools/install_deps.sh chromium > /dev/null || echo "check-clients: no chromium; the page's test is left out" >&2
build=$(cd "$BUILD" && pwd)
export SPUTNIK="$build/sputnik" SP_SOURCE_DIR="$PWD" SP_BUILD_DIR="$build" PYTHONDONTWRITEBYTECODE=1
python=$PWD/$venv/bin/python
run_tests() { "$python" -m pytest -q -p no:cacheprovider -W ignore::ResourceWarning "$@"; }
if [ $# -gt 0 ]; then
    run_tests "$@"
    exit
fi
run_tests tests/clients --ignore=tests/clients/test_json_schema_suite.py
for suite in build/jsonschema-*/json; do
    [ -d "$suite" ] || continue
    SPUTNIK_GRAMMAR_CHECK=$build/grammar_check JSON_SCHEMA_SUITE=$suite "$python" tests/clients/test_json_schema_suite.py
done
