# SPDX-License-Identifier: MIT
"""Random texts of grammars against an independent validator (the package jsonschema): all that can be written under a
schema is valid under it, and no beginning is a dead end."""
import json
import os
import subprocess

import pytest

jsonschema = pytest.importorskip("jsonschema")

SAMPLES = int(os.environ.get("SP_SCHEMA_SAMPLES", "100"))
SCHEMAS = [json.loads(text) for text in (
    r'''{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}, "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 1, "maxItems": 3}}, "required": ["name", "age"], "additionalProperties": false}''',
    r'''{"type": "number", "minimum": -12.75, "exclusiveMaximum": 3.5}''',
    r'''{"type": "number", "exclusiveMinimum": 0.05, "maximum": 0.9}''',
    r'''{"type": "number", "minimum": 100, "maximum": 100000}''',
    r'''{"type": "number", "exclusiveMinimum": 99.9}''',
    r'''{"type": "number", "maximum": -0.001}''',
    r'''{"type": "integer", "minimum": -37, "maximum": 1204}''',
    r'''{"type": "integer", "exclusiveMinimum": 999, "multipleOf": 7}''',
    r'''{"type": "integer", "exclusiveMaximum": -999, "multipleOf": 12}''',
    r'''{"allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "type": "integer"}''',
    r'''{"type": "string", "minLength": 3, "maxLength": 5}''',
    r'''{"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$", "maxLength": 12}''',
    r'''{"type": "string", "pattern": "\\d{3}"}''',
    r'''{"type": "string", "pattern": "^(\\+\\d{1,3} )?[1-9]\\d{4,8}$"}''',
    r'''{"type": "string", "pattern": "^[^\"\\\\]{2,4}$"}''',
    r'''{"type": "string", "pattern": "^[\\s\\S]{1,3}$"}''',
    r'''{"type": "string", "pattern": "^\\S+@\\S+\\.\\w{2,}$"}''',
    r'''{"type": "string", "pattern": "a|^b|c$"}''',
    r'''{"type": "string", "pattern": "^.{2}[\\u4e00-\\u9fff]+$"}''',
    r'''{"type": "string", "format": "date"}''',
    r'''{"type": "string", "format": "time"}''',
    r'''{"type": "string", "format": "date-time"}''',
    r'''{"type": "string", "format": "uuid"}''',
    r'''{"type": "string", "format": "ipv4"}''',
    r'''{"type": "string", "format": "ipv6"}''',
    r'''{"type": "string", "format": "email"}''',
    r'''{"type": "string", "format": "hostname"}''',
    r'''{"type": "string", "format": "uri"}''',
    r'''{"type": "string", "format": "duration"}''',
    r'''{"anyOf": [{"type": "object", "properties": {"kind": {"const": "x"}, "v": {"type": "integer"}}, "required": ["kind", "v"], "additionalProperties": false}, {"type": "object", "properties": {"kind": {"const": "y"}, "w": {"type": "string"}}, "required": ["kind", "w"], "additionalProperties": false}]}''',
    r'''{"oneOf": [{"type": "object", "properties": {"kind": {"const": "x"}, "v": {"type": "integer"}}, "required": ["kind", "v"]}, {"type": "object", "properties": {"kind": {"const": "y"}, "w": {"type": "string"}}, "required": ["kind", "w"]}]}''',
    r'''{"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2, "maxProperties": 2, "additionalProperties": false}''',
    r'''{"type": "object", "properties": {"a": {"type": "null"}}, "minProperties": 3, "additionalProperties": {"type": "boolean"}}''',
    r'''{"type": "object", "patternProperties": {"^x-": {"type": "integer"}, "z$": {"minimum": 5}}, "additionalProperties": {"type": "string", "maxLength": 3}}''',
    r'''{"type": "object", "propertyNames": {"enum": ["p", "q", "r"]}, "minProperties": 2}''',
    r'''{"type": "object", "propertyNames": {"pattern": "^[ab]{1,2}$"}, "minProperties": 4, "additionalProperties": {"type": "null"}}''',
    r'''{"type": "object", "propertyNames": {"maxLength": 1}, "minProperties": 6, "additionalProperties": {"type": "null"}}''',
    r'''{"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "required": ["value", "children"], "additionalProperties": false}}, "$ref": "#/$defs/node"}''',
    r'''{"$defs": {"t": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 1}]}}, "$ref": "#/$defs/t"}''',
    r'''{"enum": ["a", "ab", 1, null, [1, {"x": 2}], {"k": [true]}]}''',
    r'''{"type": "object", "properties": {"a": {"type": "string"}}, "dependentRequired": {"a": ["b", "c"], "d": ["a"]}}''',
    r'''{"type": "object", "properties": {"a": {"type": "string", "maxLength": 2}}, "dependentSchemas": {"a": {"properties": {"b": {"type": "null"}}, "required": ["b"]}}, "additionalProperties": {"type": "null"}}''',
    r'''{"allOf": [{"type": "object", "properties": {"a": {"type": ["string", "integer"]}}, "required": ["a"]}, {"properties": {"a": {"minimum": 3, "maxLength": 2}}}]}''',
    r'''{"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": {"type": "null"}, "minItems": 3, "maxItems": 4}''',
    r'''{"not": {"type": ["string", "object"]}}''',
    r'''{"type": "object", "not": {"required": ["a"]}, "properties": {"a": {}, "b": {}}}''',
    r'''{"anyOf": [{"type": "number", "minimum": 5}, {"type": "number", "maximum": -5}]}''',
    r'''{"type": "number", "minimum": 0.005, "maximum": 100.0}''',
    r'''{"type": "object", "properties": {"a\"b": {"type": "null"}, "c\\d": {"type": "null"}, "é\n": {"type": "null"}}, "required": ["a\"b", "é\n"]}''',
)]


def unique(pairs):
    assert len({name for name, _ in pairs}) == len(pairs), "a name occurs twice"
    return dict(pairs)


def draw(schemas):
    build = os.environ.get("SP_BUILD_DIR", "build/default")
    lines = "".join(json.dumps({"schema": s, "texts": [], "samples": SAMPLES}) + "\n" for s in schemas)
    out = subprocess.run([os.path.join(build, "grammar_check")], input=lines, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr  # a dead end, for one
    return [json.loads(line) for line in out.stdout.splitlines()]


def test_all_that_is_written_is_valid():
    drawn = 0
    for schema, answer in zip(SCHEMAS, draw(SCHEMAS), strict=True):
        assert answer["status"] == "SP_OK", (schema, answer["error"])
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        for text in answer["samples"]:
            validator.validate(json.loads(text, object_pairs_hook=unique))
        drawn += len(answer["samples"])
    assert drawn > SAMPLES * len(SCHEMAS) * 0.8
