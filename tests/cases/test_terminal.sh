# SPDX-License-Identifier: MIT
# `sputnik chat` and its neighbours on a terminal: editing, paste, folded reasoning, Ctrl-C, Ctrl-D, colours.
. tests/cases/lib.sh
model=$tmp/tiny.gguf
tiny_model "$model"
${CC:-cc} -O1 -D_GNU_SOURCE -o "$tmp/terminal" tests/cases/terminal.c 2> "$tmp/err" || skip 'no C compiler, or no terminals here'
LSAN_OPTIONS=detect_leaks=0 # libedit keeps the names of added functions
export LSAN_OPTIONS
on_terminal() { run "$tmp/terminal" "$tmp/script" "$@"; }
has_editing=$(ldd "$SPUTNIK" 2> /dev/null | grep -c libedit)

echo 'a reply: its reasoning folds, a line tells what it cost; /think show prints it; Ctrl-D leaves'
cat > "$tmp/script" << 'END'
wait /help lists the commands
wait >>> 
send hello\r
wait \e[2m
wait thought for
wait tokens\e[22m
wait prompt
wait (0 cached)
wait length
wait >>> 
send /think show\r
wait \e[2m
wait >>> 
send /tokens\r
wait context:
wait >>> 
send \x04
END
on_terminal "$SPUTNIK" chat "$model" --seed 1 -n 40 --think 6 -t 1
expect_rc 0

if [ "$has_editing" -gt 0 ]; then
    echo 'editing, history, a pasted text of two lines, completion'
    cat > "$tmp/script" << END
wait >>> 
send /sytem one\x01\e[C\e[C\e[Cs\r
wait >>> 
send /system\r
wait system: one
wait >>> 
send /to\t\r
wait context:
wait >>> 
send \e[A\e[A\r
wait system: one
wait >>> 
send \e[200~first\nsecond\e[201~
wait second
send \r
wait length
wait >>> 
send /save $tmp/a.json\r
wait saved 2 messages
wait >>> 
send dropped\x03
wait Ctrl-D or /quit leaves
wait >>> 
send /quit\r
END
    on_terminal "$SPUTNIK" chat "$model" --seed 1 -n 8 --think off -t 1
    expect_rc 0
    grep -qF '"content":"first\nsecond"' "$tmp/a.json" || fail 'the pasted text'
    [ -s "$XDG_STATE_HOME/sputnik/history" ] || fail 'no history'
    [ "$(stat -c %a "$XDG_STATE_HOME/sputnik/history")" = 600 ] || fail 'others can read the history'
fi

echo 'Ctrl-C stops the reply and not the program'
run "$SPUTNIK" synth deepseek-r1-distill-qwen-1.5b "$tmp/slow.gguf" --layers 1 --vocab-size 512 --type q8_0 \
    --vocabulary tests/golden/tokenizers/tiny
expect_rc 0
{
    printf 'wait >>> \nsend '
    awk 'BEGIN { for (j = 0; j < 700; j++) printf "word " }'
    printf '\\r\nwait reading\nwait %%\nsend \\x03\nwait cancelled\nwait >>> \nsend /think off\\r\nwait >>> \nsend hello\\r\n'
    printf 'wait length\nwait >>> \nsend /tokens\\r\nwait context:\nwait >>> \nsend /quit\\r\n'
} > "$tmp/script"
on_terminal "$SPUTNIK" chat "$tmp/slow.gguf" --seed 1 -n 8 -t 1 -c 16384 --batch 16 --no-history
expect_rc 0
rm -f "$tmp/slow.gguf"

echo 'NO_COLOR: no escape sequence but those of the line editor'
printf 'wait ]\n' > "$tmp/script"
NO_COLOR=1 on_terminal "$SPUTNIK" run "$model" hello --seed 1 -n 40 --think 6 -t 1
printf '%s' "$(cat "$tmp/out")" | od -An -c | grep -q '033' && fail 'an escape sequence in spite of NO_COLOR'

echo 'control characters of a model never reach the terminal'
printf 'wait x\n' > "$tmp/script"
on_terminal "$SPUTNIK" run "$model" --raw x -n 300 --temp 5 --seed 3 -t 1 --no-loop-guard
od -An -c "$tmp/out" | grep -q '033' && fail 'an escape sequence out of a model'

echo 'logits do not go to a terminal'
printf '' > "$tmp/script"
on_terminal "$SPUTNIK" logits tests/golden/models/qwen2 --tokens 1
expect_rc 2
has_out 'standard output is a terminal'
finish
