# SPDX-License-Identifier: MIT
# `sputnik keys` and `sputnik usage`: the store, its tables, and what is said of wrong use.
. tests/cases/lib.sh
export XDG_DATA_HOME="$tmp/data"
store=$tmp/keys.db

run "$SPUTNIK" keys add --store "$store" --name laptop --budget 1.5 --requests-per-minute 60 --expires 30
if grep -q 'built without SQLite' "$tmp/err"; then skip 'built without SQLite'; fi
expect_rc 0
key=$(cat "$tmp/out")
case $key in sk-???????????????????????????????????????????) ;; *) fail 'expected a key' ;; esac
has_err 'hint: keep it: the store has no more than its hash, under the id key-'

run "$SPUTNIK" keys add --store "$store" --name laptop
expect_rc 1
has_err 'is called "laptop" already'
run "$SPUTNIK" keys add --store "$store" --json
expect_rc 0
json_out
id=$(json_get id)
has_out '"budget_usd":null'
has_out '"name":null'

run "$SPUTNIK" keys list --store "$store"
expect_rc 0
has_out laptop
has_out 1.500000
lacks_out "$key"
run "$SPUTNIK" keys list --store "$store" --json
json_out
has_out '"state":"good","requests_per_minute":60,"tokens_per_minute":0,"budget_usd":1.500000000,"spent_usd":0.000000000'
lacks_out "$key"
[ "$(stat -c %a "$store" 2> /dev/null || echo 600)" = 600 ] || fail 'the store is open to others'
if [ "$(id -u)" -eq 0 ]; then # root makes keys for a service that runs as somebody else
    mkdir "$tmp/service"
    chown 4711:4712 "$tmp/service"
    run "$SPUTNIK" keys add --store "$tmp/service/server.db"
    [ "$(stat -c %u:%g:%a "$tmp/service/server.db")" = 4711:4712:600 ] || fail 'the store is not its service'"'"'s'
fi

run "$SPUTNIK" keys revoke "$id" --store "$store"
expect_rc 0
expect_out ''
run "$SPUTNIK" keys revoke "$id" --store "$store"
expect_rc 1
expect_err "sputnik: meter: no key in use has the id or name \"$id\""
run "$SPUTNIK" keys list --store "$store"
has_out revoked

# the default place, and stores that are not there or not ours
run "$SPUTNIK" keys list
expect_rc 1
expect_err "sputnik: store \"$tmp/data/sputnik/server.db\": there is none
hint: \"sputnik keys add\" and \"sputnik serve\" make one"
run "$SPUTNIK" keys add
expect_rc 0
run "$SPUTNIK" keys list
expect_rc 0
awk 'BEGIN { for (i = 0; i < 1000; i++) print "no database" }' > "$tmp/text"
run "$SPUTNIK" usage --store "$tmp/text"
expect_rc 1
has_err "$tmp/text: meter: "

# wrong use
run "$SPUTNIK" keys
expect_rc 2
run "$SPUTNIK" keys remove
expect_rc 2
has_err 'found "remove", expected add, list or revoke'
run "$SPUTNIK" keys list --budget 3
expect_rc 2
has_err 'list takes no --budget'
run "$SPUTNIK" keys revoke
expect_rc 2
run "$SPUTNIK" keys add me
expect_rc 2
run "$SPUTNIK" usage --from 2026-02-30
expect_rc 2
has_err 'option --from: found "2026-02-30", expected a day as 2026-11-28'
run "$SPUTNIK" usage --to 2026-2-3
expect_rc 2
run "$SPUTNIK" usage --csv --json
expect_rc 2

# an empty ledger, then one that is filled by hand
run "$SPUTNIK" usage --store "$store" --json
expect_rc 0
json_out
has_out '"requests":0'
command -v sqlite3 > /dev/null || finish
laptop=$(sqlite3 "$store" "SELECT id FROM keys WHERE name = 'laptop'")
sqlite3 "$store" "INSERT INTO ledger (time, key_id, model, n_hit, n_miss, n_reply, n_reasoning, cost, vendor_cost, seconds, cancelled) VALUES
    (1764288000, '$laptop', 'nano', 64, 6, 100, 40, 116100, 231700, 1, 0),
    (1764288001, '$laptop', 'nano', 0, 10, 5, 0, 8200, 16450, 1, 0),
    (1764374400, NULL, 'a \"b\", c', 1, 2, 3, 0, 1, 2, 1, 1)"
run "$SPUTNIK" usage --store "$store" --csv
expect_rc 0
expect_out "day,key_id,key_name,model,requests,prompt_cache_hit_tokens,prompt_cache_miss_tokens,completion_tokens,reasoning_tokens,cost_usd,vendor_cost_usd
2025-11-28,$laptop,laptop,nano,2,64,16,105,40,0.000124300,0.000248150
2025-11-29,,,\"a \"\"b\"\", c\",1,1,2,3,0,0.000000001,0.000000002"
run "$SPUTNIK" usage --store "$store" --json --by key
json_out
has_out '"total":{"requests":3,"prompt_cache_hit_tokens":65,"prompt_cache_miss_tokens":18,"completion_tokens":108,"reasoning_tokens":40,"cost_usd":0.000124301,"vendor_cost_usd":0.000248152}'
run "$SPUTNIK" usage --store "$store" --csv --by day --to 2025-11-28
has_out '2025-11-28,,,,2,64,16,105,40,0.000124300,0.000248150'
lacks_out 2025-11-29
run "$SPUTNIK" usage --store "$store" --csv --by model --from 2025-11-29
lacks_out nano
run "$SPUTNIK" usage --store "$store" --key laptop
has_out '0.000124     0.000248'
lacks_out 2025-11-29
finish
