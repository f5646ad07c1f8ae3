#!/bin/sh
# Tests that need client packages from PyPI, in a throw-away virtual environment. None yet: the server comes later.
echo "check-clients: nothing to run before the server exists"
