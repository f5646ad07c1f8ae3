# SPDX-License-Identifier: MIT
# Man pages, help and completions are true: every option is in its page, no page has another, the examples run.
. tests/cases/lib.sh
run "$SPUTNIK" help --options-dump
expect_rc 0
cp "$tmp/out" "$tmp/options"
run "$SPUTNIK" help --commands-dump
cp "$tmp/out" "$tmp/commands"
tab=$(printf '\t')

while IFS=$tab read -r command summary; do
    [ "$command" = help ] && continue
    page=man/sputnik-$command.1
    last=$page
    [ -f "$page" ] || { fail 'no such page'; continue; }
    grep -qF "$command" man/sputnik.1 || fail 'not in sputnik.1'
    { awk -F '\t' -v c="$command" '$1 == c { print $3; if ($2 != "-") print "-" $2 }' "$tmp/options"; echo help; echo -h; } | sort > "$tmp/real"
    awk '/^\.SH OPTIONS/ { on = 1; next } /^\.SH/ { on = 0 }
        on && after { gsub(/\\fB|\\fR|\\/, ""); gsub(/fI.*/, ""); n = split($0, w, /[ ,]+/)
            for (i = 1; i <= n; i++) if (w[i] ~ /^--/) print substr(w[i], 3); else if (w[i] ~ /^-[a-z]$/) print w[i] }
        { after = $0 == ".TP" }' "$page" | sort > "$tmp/written"
    cmp -s "$tmp/real" "$tmp/written" || { fail "options differ (< real, > written)"; diff "$tmp/real" "$tmp/written"; }
done < "$tmp/commands"

# Completions ask the program, so they cannot differ from it; here, that bash's does.
if command -v bash > /dev/null; then
    cat > "$tmp/complete.bash" << 'END'
. completions/sputnik.bash
COMP_WORDS=("$SPUTNIK" "${@}") COMP_CWORD=$#
_sputnik
printf '%s\n' "${COMPREPLY[@]}"
END
    run bash "$tmp/complete.bash" be
    expect_out bench
    run bash "$tmp/complete.bash" run model.gguf --rep
    expect_out --repetition-penalty
    run bash "$tmp/complete.bash" run model.gguf --cache-type b
    expect_out bf16
    run bash "$tmp/complete.bash" pull deepseek-v3.
    expect_out deepseek-v3.1
    run bash "$tmp/complete.bash" convert a b --type q4_k_m
    expect_out q4_k_m
    run bash "$tmp/complete.bash" data ge
    expect_out generate
    run bash "$tmp/complete.bash" train --res
    has_out --restart
    run bash "$tmp/complete.bash" chat na
    expect_out nano
fi
for shell in zsh fish; do
    command -v $shell > /dev/null || continue
    file=completions/sputnik.fish
    [ $shell = zsh ] && file=completions/_sputnik
    run $shell -n $file
    expect_rc 0
done

# The pages' examples, in a folder with the files that they name.
tiny_model "$tmp/model.gguf"
mkdir "$tmp/bin" "$tmp/work"
ln -s "$(command -v "$SPUTNIK")" "$tmp/bin/sputnik"
mv "$tmp/model.gguf" "$tmp/work"
awk 'BEGIN { for (i = 0; i < 40; i++) printf "The sky is blue, and number %d is not. ", i }' > "$tmp/work/text.txt"
for page in man/*.1; do
    awk '/^\.EX/ { on = 1; next } /^\.EE/ { on = 0 } on { gsub(/\\-/, "-"); gsub(/\\\\/, "\\"); print }' "$page" > "$tmp/examples"
    [ -s "$tmp/examples" ] || { last=$page; fail 'no examples'; }
    while IFS= read -r line; do
        last="$page: $line"
        (cd "$tmp/work" && PATH=$tmp/bin:$PATH sh -c "$line") > "$tmp/out" 2> "$tmp/err" < /dev/null
        rc=$?
        if grep -q 'built without SQLite' "$tmp/err"; then continue; fi
        expect_rc 0
        [ -s "$tmp/out" ] || case $line in *'>'*) ;; *) fail 'no output' ;; esac
    done < "$tmp/examples"
done
finish
