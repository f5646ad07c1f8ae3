# SPDX-License-Identifier: MIT
# `bench/compare` with a peer that prints fixed speeds in each of the forms that are understood.
. tests/cases/lib.sh
model=tests/golden/models/qwen2
run "$SPUTNIK" bench $model -p 0 -n 1 -r 1 --json
if grep -qi jansson "$tmp/err"; then skip 'built without jansson'; fi

# Notes its arguments, then prints file $1.
cat > "$tmp/peer" << 'END'
printf '%s\n' "$*" >> "$(dirname "$0")/calls"
cat "$1"
END
compare() { run bench/compare -j -t 1 -r 1 -s "$SPUTNIK" "$@"; }
expect_peer() { # SPEED
    expect_rc 0
    json_out
    has_out "\"peer\":$1,"
}

cat > "$tmp/llama.jsonl" << 'END'
{"model": "x", "n_prompt": 8, "n_gen": 0, "n_depth": 0, "avg_ts": 99.0, "samples_ts": [ 70, 90, 80 ]}
{"model": "x", "n_prompt": 0, "n_gen": 4, "n_depth": 0, "avg_ts": 98.0, "samples_ts": [ 10.5 ]}
{"model": "x", "n_prompt": 0, "n_gen": 4, "n_depth": 16, "avg_ts": 97.0, "samples_ts": [ 5, 7 ]}
END
compare -r 2 $model n4 -- sh "$tmp/peer" "$tmp/llama.jsonl" -m %m '-p %p' -n %n -d %d -t %t x%s
expect_peer 10.5
has_out '"cell":"n4","threads":1,"rounds":2,'
[ "$(sort -u "$tmp/calls")" = "$tmp/llama.jsonl -m $model -p 0 -n 4 -d 0 -t 1 x1" ] || fail 'the values of the cell are in the command'
[ "$(wc -l < "$tmp/calls")" -eq 2 ] || fail 'one run a round'
compare $model p8 -- sh "$tmp/peer" "$tmp/llama.jsonl"
expect_peer 80
compare $model n4@16 -- sh "$tmp/peer" "$tmp/llama.jsonl"
expect_peer 6
compare $model n4 n4x2 -- sh "$tmp/peer" "$tmp/llama.jsonl"
expect_rc 1
has_err 'no speed for n4x2'

cat > "$tmp/ik.json" << 'END'
[
  {
    "n_prompt": 16, "n_gen": 0, "avg_ts": 50.0, "test": "pp16",
    "samples_ts": [ 50.0 ]
  },
  {
    "n_prompt": 16, "n_gen": 4, "avg_ts": 40.0, "test": "pp16+tg4",
    "samples_ts": [ 40.0 ]
  },
  {
    "n_prompt": 16, "n_gen": 4, "avg_ts": 30.0, "test": "tg4@pp16",
    "samples_ts": [ 30.0 ]
  }
]
END
compare $model n4@16 p16 -- sh "$tmp/peer" "$tmp/ik.json"
expect_peer 30
has_out '"peer":50,'

echo '{"pp": 8, "tg": 4, "pl": 2, "speed_pp": 190.5, "speed_tg": 44.25}' > "$tmp/batched.jsonl"
compare $model n4x2@8 -- sh "$tmp/peer" "$tmp/batched.jsonl"
expect_peer 44.25
cat > "$tmp/batched.txt" << 'END'
|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|     8 |      4 |    1 |     20 |    0.083 |   191.85 |    0.096 |    41.85 |    0.179 |   111.74 |
|     8 |      4 |    2 |     40 |    0.165 |   194.46 |    0.186 |    43.07 |    0.350 |   114.19 |
END
compare $model n4x2@8 p8 -- sh "$tmp/peer" "$tmp/batched.txt"
expect_peer 43.07
has_out '"peer":191.85,'

# Another build of Sputnik is a peer too; the table for people has one line a cell.
run bench/compare -t 1 -r 1 -s "$SPUTNIK" $model n2 p4 -- "$SPUTNIK" bench %m -p %p -n %n -d %d --sessions %s -t %t -r 1 --json
expect_rc 0
[ "$(wc -l < "$tmp/out")" -eq 3 ] || fail 'a heading and two lines'

run bench/compare -s "$SPUTNIK" $model n4
expect_rc 2
run bench/compare -s "$SPUTNIK" $model q4 -- true
expect_rc 2
compare $model n4 -- false
expect_rc 1
has_err 'the peer failed: false'
finish
