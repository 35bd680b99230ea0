#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tabulator key does in bash, zsh and fish, in the shells themselves.

exec python3 "${TEST_SRC:?}/unit/completion.py" "$TEST_SRC/../src/completions" "${POOLSTAT:?}"
