#!/bin/sh
# Compiles each public header alone, as C11 and (where there is a C++ compiler) as C++.
cd "$(dirname "$0")/.." || exit 1
status=0
for header in include/sputnik/*.h; do
    printf '#include <sputnik/%s>\n' "$(basename "$header")" |
        ${CC:-cc} -std=c11 -Wall -Wextra -Werror -pedantic -Iinclude -fsyntax-only -x c - || { echo "$header fails as C"; status=1; }
    if command -v c++ > /dev/null; then
        printf '#include <sputnik/%s>\n' "$(basename "$header")" |
            c++ -std=c++17 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ - || { echo "$header fails as C++"; status=1; }
    fi
done
exit $status
