#!/bin/sh
# Installs what is missing to build and test Sputnik from the system's packages (Debian and its relatives). Does nothing
# when everything is there; on other systems it only says what is needed. Extra packages may be named as arguments.
set -eu

missing=""
need() { # need PROBE PACKAGE: the package is missing if the probe fails
    sh -c "$1" > /dev/null 2>&1 || missing="$missing $2"
}

need "command -v gcc" gcc
need "command -v cmake" cmake
need "command -v pkg-config" pkg-config
need "echo '#include <stdio.h>' | gcc -E -" libc6-dev
need "pkg-config --exists jansson" libjansson-dev
need "pkg-config --exists libpcre2-8" libpcre2-dev
need "pkg-config --exists openblas" libopenblas-dev
need "pkg-config --exists ompi-c" libopenmpi-dev
need "command -v mpirun" openmpi-bin
need "pkg-config --exists liburing" liburing-dev
need "pkg-config --exists libmicrohttpd" libmicrohttpd-dev
need "pkg-config --exists sqlite3" libsqlite3-dev
need "test -e /usr/share/nodejs/marked" node-marked
need "test -e /usr/share/nodejs/dompurify" node-dompurify
need "test -e /usr/share/javascript/katex" libjs-katex
need "test -e /usr/share/fonts/truetype/katex" fonts-katex
need "test -e /usr/share/javascript/highlight.js" libjs-highlight.js
need "pkg-config --exists libcurl" libcurl4-openssl-dev
need "pkg-config --exists libedit" libedit-dev
need "pkg-config --exists cmocka" libcmocka-dev
for package in "$@"; do
    need "dpkg-query -W -f '\${Status}' $package | grep -q 'install ok installed'" "$package"
done

[ -n "$missing" ] || exit 0
if ! command -v apt-get > /dev/null; then
    echo "Please install these packages (Debian's names):$missing" >&2
    exit 0
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || { echo "Please install as root:$missing" >&2; exit 1; }
    as_root="sudo"
fi
echo "installing:$missing"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
