# SPDX-License-Identifier: MIT
# What the program says when it is used wrongly, and its help. Exit status 2 is wrong usage.
. tests/cases/lib.sh

run "$SPUTNIK"
expect_rc 2
has_err 'Usage: sputnik COMMAND'
run "$SPUTNIK" --version
expect_rc 0
has_out 'sputnik 0.'
run "$SPUTNIK" help
expect_rc 0
for command in chat run pull inspect tokenize logits perplexity convert synth bench data; do
    has_out "  $command "
    run "$SPUTNIK" help $command
    expect_rc 0
    cp "$tmp/out" "$tmp/help"
    has_out "Usage: sputnik $command"
    run "$SPUTNIK" $command -h
    expect_rc 0
    cmp -s "$tmp/out" "$tmp/help" || fail 'help and -h differ'
    run "$SPUTNIK" $command --no-such-option
    expect_rc 2
    expect_err "sputnik: $command: unknown option \"--no-such-option\"
hint: sputnik help $command"
    run "$SPUTNIK" help
done

run "$SPUTNIK" tokenise x
expect_rc 2
expect_err 'sputnik: unknown command "tokenise"
hint: did you mean "sputnik tokenize"?'
run "$SPUTNIK" xyzzyplugh
expect_rc 2
expect_err 'sputnik: unknown command "xyzzyplugh"
hint: "sputnik help" lists the commands'
run "$SPUTNIK" help xyzzyplugh
expect_rc 2

run "$SPUTNIK" run m p --temp abc
expect_rc 2
expect_err 'sputnik: run: option --temp: found "abc", expected a number from 0 to 100
hint: sputnik help run'
run "$SPUTNIK" run m p --temp=-1
expect_err 'sputnik: run: option --temp: found "-1", expected a number from 0 to 100
hint: sputnik help run'
run "$SPUTNIK" run m p --temp nan
expect_rc 2
run "$SPUTNIK" run m p -t 1.5
expect_err 'sputnik: run: option -t: found "1.5", expected a whole number from 0 to 256
hint: sputnik help run'
run "$SPUTNIK" run m p -t4x
expect_rc 2
run "$SPUTNIK" run m p --top-k 99999999999999999999
expect_rc 2
run "$SPUTNIK" run m p --tempp 1
has_err 'unknown option "--tempp", did you mean --temp?'
run "$SPUTNIK" run m p --json=yes
has_err 'option --json takes no value, found "yes"'
run "$SPUTNIK" run m p -n
expect_err 'sputnik: run: option -n: expected a value (N) after it
hint: sputnik help run'
run "$SPUTNIK" run m p --cache-type f64
has_err 'option --cache-type: found "f64", expected one of f32|f16|bf16|q8_0'
run "$SPUTNIK" logits m --tokens 1,,2
has_err 'option --tokens: found "", expected whole numbers separated by commas'
run "$SPUTNIK" logits m --tokens 1 --tokens-file x
expect_rc 2
run "$SPUTNIK" logits
expect_err 'sputnik: logits: expected MODEL, found nothing
hint: sputnik help logits'
run "$SPUTNIK" perplexity m
expect_err 'sputnik: perplexity: expected MODEL FILE, found only the first of them
hint: sputnik help perplexity'
run "$SPUTNIK" inspect a b
expect_err 'sputnik: inspect: expected MODEL, found one more: "b"
hint: sputnik help inspect'
run "$SPUTNIK" inspect -- --json
expect_rc 1
has_err 'model "--json": No such file or directory'
run "$SPUTNIK" run m
expect_rc 2
run "$SPUTNIK" run m p --logprobs 3
expect_rc 2
run "$SPUTNIK" tokenize m --decode --bos
expect_rc 2
run "$SPUTNIK" convert a
expect_rc 2
run "$SPUTNIK" synth a
expect_rc 2
run "$SPUTNIK" pull
expect_rc 2

# A program that lost the model which belongs beside it.
cp "$SPUTNIK" "$tmp/sputnik"
run "$tmp/sputnik" chat
expect_rc 1
expect_err 'sputnik: nano: the model that comes with the program, share/sputnik/nano.gguf, is not there
hint: "sputnik pull deepseek-r1-distill-qwen-1.5b" fetches a small model'
run "$SPUTNIK" inspect no-such.gguf
expect_rc 1
expect_err 'sputnik: model "no-such.gguf": No such file or directory
hint: expected a GGUF file, a Hugging Face directory or a name that "sputnik pull" knows'
run "$SPUTNIK" inspect deepseek-r1
expect_rc 1
has_err 'hint: sputnik pull deepseek-r1'

# A full disk is an error, not silence.
if [ -w /dev/full ]; then
    "$SPUTNIK" help > /dev/full 2> "$tmp/err"
    rc=$?
    last='help > /dev/full'
    : > "$tmp/out"
    expect_rc 1
    has_err 'standard output: No space left on device'
fi
finish
