# SPDX-License-Identifier: MIT
# `sputnik chat` through pipes: every line is a message or a command.
. tests/cases/lib.sh
model=$tmp/tiny.gguf
tiny_model "$model"
stdin=$tmp/typed
chat() { run "$SPUTNIK" chat "$model" --seed 1 -n 12 -t 1 "$@"; }

printf 'hi\n' > "$stdin"
chat --think off
expect_rc 0
expect_err ''
cp "$tmp/out" "$tmp/first"
run "$SPUTNIK" run "$model" hi --seed 1 -n 12 --think off
cmp -s "$tmp/out" "$tmp/first" || fail 'chat and run differ'

# Commands.
cat > "$stdin" << 'END'
/system
/system Be brief.
/system
/system -
/system
/think
/think 5
/think
/set temp 0
/set
/nonsense
/set temp abc
/set no-such 1
/think maybe
/regen
/quit
not reached
END
chat
expect_rc 0
expect_out 'system: (none)
note: R1 models are meant to be used without a system message
system: Be brief.
system: (none)
thinking: auto
thinking: 5
temp 0, top-p 0.95, top-k 0, min-p 0, repetition-penalty 1, frequency-penalty 0,
presence-penalty 0, max-tokens 12, think 5, seed 1'
expect_err 'sputnik: unknown command "/nonsense"
hint: /help lists the commands
sputnik: option --temp: found "abc", expected a number from 0 to 100
hint: /set shows the settings
sputnik: unknown option "--no-such"
hint: /set shows the settings
sputnik: thinking: found "maybe", expected off, auto or a number of tokens
hint: /think off, /think auto, /think N, /think show, /think hide, /think fold
sputnik: /regen: there is no message to reply to'
printf '/help\n' > "$stdin"
chat
for word in /system /think /set /save /load /regen /tokens /clear /quit; do has_out "$word"; done

# Several lines are one message; the conversation is kept, saved, read back and goes on the same way.
cat > "$stdin" << END
/think off
one \\
two
"""
three
  four
"""
/save $tmp/a.json
/tokens
five
END
chat
expect_rc 0
has_out 'saved 4 messages'
grep -q '"content":"one \\ntwo"' "$tmp/a.json" || fail 'the continued line'
grep -q '"content":"three\\n  four"' "$tmp/a.json" || fail 'the block'
cp "$tmp/out" "$tmp/whole"
cp "$tmp/a.json" "$tmp/out.keep"
printf '/load %s\n/save %s\nfive\n' "$tmp/a.json" "$tmp/b.json" > "$stdin"
chat
has_out 'loaded 4 messages'
cmp -s "$tmp/a.json" "$tmp/b.json" || fail 'saved, loaded and saved again is not the same'
sed '/^context: /,$!d' "$tmp/whole" | sed 1d > "$tmp/reply1"
sed '1,/^saved/d' "$tmp/out" | cmp -s - "$tmp/reply1" || fail 'a loaded conversation goes on in another way'
run "$SPUTNIK" chat "$model" --load "$tmp/a.json" -t 1
expect_rc 0
cp "$tmp/a.json" "$tmp/out"
json_out

# The second turn evaluates only what is new.
printf '/think off\nhello\nagain\n/tokens\n' > "$stdin"
chat
has_out 'cached'
grep -q ' 0 of them cached' "$tmp/out" && fail 'nothing was reused'

# Another reply to the same message, then the same message anew.
printf '/think off\nhello\n/regen\n/clear\n/set seed 1\nhello\n' > "$stdin"
chat
expect_rc 0

# Reasoning is written on request.
printf 'hello\n' > "$stdin"
chat --think 5 --show-thinking
has_out '<think>'
has_out '</think>'
printf 'hello\n/think show\n' > "$stdin"
chat --think 5
expect_rc 0

# Files that are no conversations change nothing.
printf '{"sputnik_chat":1,"messages":[{"role":"assistant","content":"x"}]}' > "$tmp/bad1.json"
printf '{"sputnik_chat":1,"messages":[{"role":"user","content":5}]}' > "$tmp/bad2.json"
printf '{"sputnik_chat":1,"messages":[],"settings":{"temp":1000}}' > "$tmp/bad3.json"
printf '[]' > "$tmp/bad4.json"
printf '/load %s\n/load %s\n/load %s\n/load %s\n/load %s\n/load\n' \
    "$tmp/bad1.json" "$tmp/bad2.json" "$tmp/bad3.json" "$tmp/bad4.json" "$tmp/absent.json" > "$stdin"
chat
expect_err "sputnik: $tmp/bad1.json: message 0: role \"assistant\", expected \"user\"
sputnik: $tmp/bad2.json: message 0: expected \"content\", a text without NUL bytes
sputnik: $tmp/bad3.json: option --temp: found \"1000\", expected a number from 0 to 100
sputnik: $tmp/bad4.json: not a saved conversation: expected \"sputnik_chat\": 1
sputnik: cannot open \"$tmp/absent.json\": No such file or directory
sputnik: /load: expected a file name"

# A reply that never leaves its reasoning is explained, and a /regen that fails keeps the old reply.
printf 'hello\n' > "$stdin"
chat --think on -n 2
expect_rc 0
expect_out ''
has_err 'before its reasoning did: there is no answer'
awk 'BEGIN { printf "{\"sputnik_chat\":1,\"messages\":[{\"role\":\"user\",\"content\":\""
    for (i = 0; i < 400; i++) printf "word "
    print "\"},{\"role\":\"assistant\",\"content\":\"the old reply\"}]}" }' > "$tmp/long.json"
printf '/load %s\n/regen\n/save %s\n' "$tmp/long.json" "$tmp/kept.json" > "$stdin"
chat -c 128 --think off
has_err 'the context holds 128'
has_out 'saved 2 messages'
grep -q 'the old reply' "$tmp/kept.json" || fail 'the old reply is lost'

# A message longer than the context is refused, and the conversation goes on; a full context drops its oldest turns.
awk 'BEGIN { for (i = 0; i < 400; i++) printf "word "; print ""; print "hi" }' > "$stdin"
chat -c 128 --think off
expect_rc 0
has_err 'the context holds 128'
awk 'BEGIN { for (i = 0; i < 8; i++) print "a message that takes some tokens of the context" }' > "$stdin"
chat -c 160 --think off
expect_rc 0
has_err 'oldest messages were left out'
stdin=/dev/null
run "$SPUTNIK" chat tests/golden/models/qwen2
expect_rc 1
has_err 'no vocabulary'
finish
