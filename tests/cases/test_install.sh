# SPDX-License-Identifier: MIT
# An installation is complete: program, library, headers, pkg-config file, man pages, completions; and the examples build
# against it alone.
. tests/cases/lib.sh
: "${SP_BUILD_DIR:?path of the build}"
command -v cmake > /dev/null || skip 'no cmake'
command -v pkg-config > /dev/null || skip 'no pkg-config'
value() { sed -n "s/^$1:[A-Z]*=//p" "$SP_BUILD_DIR/CMakeCache.txt"; }
[ -z "$(value CMAKE_TOOLCHAIN_FILE)" ] || skip 'cross build'

prefix=$(value CMAKE_INSTALL_PREFIX)
DESTDIR=$tmp/root run cmake --install "$SP_BUILD_DIR"
expect_rc 0
root=$tmp/root$prefix
pc=$(find "$root" -name sputnik.pc)
for file in bin/sputnik include/sputnik/sputnik.h share/man/man1/sputnik.1 share/man/man1/sputnik-chat.1 \
    share/bash-completion/completions/sputnik share/zsh/site-functions/_sputnik share/fish/vendor_completions.d/sputnik.fish; do
    [ -f "$root/$file" ] || fail "$file is not installed"
done
[ -n "$pc" ] || { fail 'sputnik.pc is not installed'; finish; }
run "$root/bin/sputnik" --version
expect_rc 0
version=$(sed 's/sputnik //' "$tmp/out")

PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
run pkg-config --modversion sputnik
expect_out "$version"
flags=$(pkg-config --define-variable=prefix="$root" --cflags --libs sputnik)
sanitize=$(value SP_SANITIZE)
tiny_model "$tmp/model.gguf"
for name in generate converse score; do
    [ "$(wc -l < "examples/$name.c")" -le 80 ] || fail "examples/$name.c has more than 80 lines"
    # shellcheck disable=SC2086
    run ${CC:-cc} -Wall -Wextra -Werror ${sanitize:+-fsanitize=$sanitize} "examples/$name.c" -o "$tmp/$name" $flags -lm
    expect_rc 0
done
run "$tmp/generate" "$tmp/model.gguf" 'Once upon a time' 8
expect_rc 0
has_out 'Once upon a time'
has_out '[length]'
printf 'hello\nagain\n' > "$tmp/typed"
stdin=$tmp/typed
run "$tmp/converse" "$tmp/model.gguf"
expect_rc 0
stdin=/dev/null
run "$tmp/score" "$tmp/model.gguf" 'The sky is blue.'
expect_rc 0
has_out perplexity
run "$tmp/score" no-such-file x
expect_rc 1
finish
