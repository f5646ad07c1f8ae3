# SPDX-License-Identifier: MIT
# docs/training.md: every command in its shell blocks runs, in the page's order, at a small size; the first block is the five
# commands from text to a chat. Commands and configuration are taken from the page, and each size that is changed must be found there.
. tests/cases/lib.sh
page=docs/training.md
awk '/^```json$/ { on = 1; next } /^```$/ { if (on) exit } on' $page > "$tmp/small.json"
awk '/^```sh$/ { on = 1; n++; next } /^```$/ { on = 0 } on { print n "\t" $0 }' $page > "$tmp/blocks"

words=$(awk -F '\t' '$1 == 1 { split($2, w, " "); printf "%s ", w[2] == "data" ? w[3] : w[2] }' "$tmp/blocks")
[ "$words" = 'generate tokenizer pack train chat ' ] || { last=$page rc=- fail "the first block is no longer five commands: $words"; }
cut -f 2 "$tmp/blocks" > "$tmp/commands"

# shrink FILE FROM TO...
shrink() {
    file=$1
    shift
    while [ $# -gt 1 ]; do
        grep -qF -- "$1" "$file" || { last=$page rc=- fail "no longer in the page: $1"; }
        sed -i "s/$1/$2/" "$file"
        shift 2
    done
}
shrink "$tmp/commands" '--count 20000' '--count 300' '--count 300 --split test' '--count 9 --split test' 'step-00000600' 'step-00000004'
shrink "$tmp/small.json" '"steps": 600' '"steps": 4' '"rows": 8' '"rows": 2' '"hidden_size": 128' '"hidden_size": 64' \
    '"num_hidden_layers": 4' '"num_hidden_layers": 2' '"seed": 1' '"seed": 1, "log_every": 1'

# What the page leaves to the reader: own files.
mkdir "$tmp/bin" "$tmp/home"
ln -s "$(command -v "$SPUTNIK")" "$tmp/bin/sputnik"
cd "$tmp/home" || exit 1
mv "$tmp/small.json" .
awk 'BEGIN { for (i = 0; i < 40; i++) print "The sea was calm that night, and wave " i " was not.\n***" }' > book.txt
awk '/^    {"text"|^    {"messages"/ { print substr($0, 5) }' "$SP_SOURCE_DIR/$page" > talks.jsonl
[ "$(wc -l < talks.jsonl)" -eq 2 ] || { last=$page rc=- fail 'two example lines of JSONL'; }

if command -v mpirun > /dev/null && mpirun --allow-run-as-root --oversubscribe -n 2 true > /dev/null 2>&1; then
    cat > "$tmp/bin/launch" << 'END'
#!/bin/sh
export OMPI_MCA_btl=^tcp OMPI_MCA_pml=ob1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_NUM_THREADS=1
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" # the launcher and MPI leak at their end
exec mpirun --allow-run-as-root --oversubscribe "$@"
END
    chmod +x "$tmp/bin/launch"
fi

steps=4
while IFS= read -r command; do
    case $command in
    *--resume) # there must be something left to do
        sed -i "s/\"steps\": $steps/\"steps\": $((steps + 2))/" small.json
        steps=$((steps + 2))
        ;;
    esac
    case $command in
    mpirun*)
        [ -x "$tmp/bin/launch" ] || continue
        command=launch${command#mpirun}
        ;;
    *chat*) command="printf 'What is 27 + 45?\\n/quit\\n' | $command -n 8" ;;
    *eval*) command="$command --max-tokens 8" ;;
    esac
    last=$command
    PATH=$tmp/bin:$PATH sh -c "$command" > "$tmp/out" 2> "$tmp/err" < /dev/null
    rc=$?
    case $command in launch*) if grep -q 'this build has no MPI' "$tmp/err"; then continue; fi ;; esac
    if [ "$rc" -ne 0 ] && grep -qiE 'built without|jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
    expect_rc 0
    case $command in *--resume) has_out "step $steps/$steps" ;; esac
done < "$tmp/commands"
last='after the page'
for made in lessons.shard book.shard talks.shard small/report.html compare.html small-hf/config.json small.gguf; do
    [ -s "$made" ] || fail "$made was not made"
done
cd "$SP_SOURCE_DIR" || exit 1
finish
