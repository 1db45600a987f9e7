#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What fuzzing found once: each input of tests/corpus, without a fuzzer.

exec "$AFORK_TEST_BUILDDIR/tests/fuzz-rpc" "$AFORK_TEST_SRCDIR/tests/corpus/rpc"
