#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The JSON Schema test suite (draft 2020-12) against Sputnik's grammars.

    SPUTNIK_GRAMMAR_CHECK=build/grammar_check JSON_SCHEMA_SUITE=DIR python3 tests/clients/test_json_schema_suite.py

DIR holds tests/draft2020-12 (github.com/json-schema-org/JSON-Schema-Test-Suite); without the variable the folder `json`
of an unpacked source distribution of the package `jsonschema` is looked for. Of every schema that is compiled, no
invalid instance may be accepted (unsound); valid ones that are not accepted in any order of their properties are counted
as missed (docs/json-schema.md says why some are). Schemas that are refused must be refused by name.
"""
import glob
import itertools
import json
import os
import subprocess
import sys

# Valid instances that are missed by design: docs/json-schema.md. More than this is a loss.
MISSED_MAX = int(os.environ.get("SP_SUITE_MISSED_MAX", "60"))


def find_suite():
    for path in [os.environ.get("JSON_SCHEMA_SUITE"), "../shared/data/conformance/JSON-Schema-Test-Suite",
                 *glob.glob("jsonschema-*/json")]:
        if path and os.path.isdir(os.path.join(path, "tests", "draft2020-12")):
            return os.path.join(path, "tests", "draft2020-12")
    return None


def orders(value):
    """The value with its objects' members in every order (a few hundred at most)."""
    if isinstance(value, dict):
        names = list(itertools.islice(itertools.permutations(value), 24))
        members = {name: list(itertools.islice(orders(value[name]), 24)) for name in value}
        for order in names:
            for choice in itertools.product(*(members[name] for name in order)):
                yield dict(zip(order, choice))
    elif isinstance(value, list):
        for choice in itertools.product(*(list(itertools.islice(orders(v), 24)) for v in value)):
            yield list(choice)
    else:
        yield value


def texts_of(instance):
    """Texts of the instance, and for each whether it is written with whole numbers as integers."""
    return [json.dumps(v, separators=(",", ":"), ensure_ascii=False) for v in itertools.islice(orders(instance), 400)]


def main():
    suite = find_suite()
    check = os.environ.get("SPUTNIK_GRAMMAR_CHECK", "build/grammar_check")
    if not suite or not os.path.exists(check):
        print("skipped: no suite, or no grammar_check")
        return 77
    cases, lines = [], []
    for path in sorted(glob.glob(os.path.join(suite, "*.json"))):
        keyword = os.path.basename(path)[:-5]
        for group in json.load(open(path, encoding="utf-8")):
            tests = [(t["description"], t["valid"], texts_of(t["data"])) for t in group["tests"]]
            cases.append((keyword, group["description"], tests))
            lines.append(json.dumps({"schema": group["schema"], "texts": [x for t in tests for x in t[2]]}))
    out = subprocess.run([check], input="\n".join(lines) + "\n", capture_output=True, text=True)
    answers = [json.loads(line) for line in out.stdout.splitlines()]
    if out.returncode != 0 or len(answers) != len(cases):
        print(out.stderr, f"grammar_check ended with {out.returncode} after {len(answers)} of {len(cases)} schemas")
        return 1
    return report(cases, answers)


def report(cases, answers):
    verbose = "-v" in sys.argv
    table, unsound, unnamed, missed = {}, [], [], []
    for (keyword, title, tests), answer in zip(cases, answers):
        row = table.setdefault(keyword, [0, 0, 0, 0, 0, 0])
        row[0] += 1
        if answer["status"] != "SP_OK":
            row[1] += 1
            if answer["status"] not in ("SP_E_UNSUPPORTED", "SP_E_LIMIT") or not answer["error"]:
                unnamed.append((keyword, title, answer))
            elif verbose:
                print(f"refused: {keyword}: {title}: {answer['error']}")
            continue
        at = 0
        for description, valid, texts in tests:
            accepted = any(answer["accepted"][at:at + len(texts)])
            at += len(texts)
            row[2] += 1
            row[3] += accepted == valid
            row[4] += valid and not accepted
            row[5] += accepted and not valid
            if accepted and not valid:
                unsound.append((keyword, title, description, texts[0]))
            if valid and not accepted:
                missed.append((keyword, title, description, texts[0]))
    print(f"{'keyword':24}{'schemas':>8}{'refused':>8}{'tests':>8}{'right':>8}{'missed':>8}{'unsound':>8}")
    for keyword, row in table.items():
        print(f"{keyword:24}" + "".join(f"{n:8}" for n in row))
    print(f"{'total':24}" + "".join(f"{sum(row[i] for row in table.values()):8}" for i in range(6)))
    for name, found in (("unsound", unsound), ("refused without a reason", unnamed), ("missed", missed)):
        for one in found if name != "missed" or verbose else []:
            print(f"{name}: {one}")
    return 1 if unsound or unnamed or len(missed) > MISSED_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
