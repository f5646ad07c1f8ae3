# SPDX-License-Identifier: MIT
# Answers under a JSON schema: valid whatever the draws, the same with and without guesses ahead, refused by name.
. tests/cases/lib.sh
cat > "$tmp/schema" <<'END'
{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
 "colors": {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 1, "maxItems": 2}},
 "required": ["name", "age", "colors"], "additionalProperties": false}
END
run "$SPUTNIK" run nano 'hello' --json-schema "$tmp/schema" --temp 0
if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
for seed in 1 2 3; do
    run "$SPUTNIK" run nano 'hello' --json-schema "$tmp/schema" --temp 1.5 --seed $seed
    expect_rc 0
    json_out
    tr -d ' \n\t' < "$tmp/out" | grep -qE '^\{"name":"[^"]*","age":(1[0-4][0-9]|150|[1-9]?[0-9]),"colors":\["(red|green)"(,"(red|green)")?\]\}$' ||
        fail 'the answer is not what the schema says'
    for who in off mtp lookup; do
        run "$SPUTNIK" run nano 'hello' --json-schema "$tmp/schema" --temp 1.5 --seed $seed --speculate $who --json
        grep '"ids"' "$tmp/out" > "$tmp/ids.$who"
        has_out '"finish":"end"'
    done
    cmp -s "$tmp/ids.off" "$tmp/ids.mtp" || fail '--speculate mtp changes the answer'
    cmp -s "$tmp/ids.off" "$tmp/ids.lookup" || fail '--speculate lookup changes the answer'
done
run "$SPUTNIK" run nano 'hello' --json-object --temp 1 -n 400
expect_rc 0
has_out '{'
echo '{"properties": {"a": {"contains": {}}}}' > "$tmp/schema"
run "$SPUTNIK" run nano 'hello' --json-schema "$tmp/schema"
expect_rc 1
has_err '"contains" is not supported (at "#/properties/a")'
run "$SPUTNIK" run nano 'hello' --json-schema "$tmp/schema" --json-object
expect_rc 2
finish
