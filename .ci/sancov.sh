#!/bin/sh
# A wrapper for rustc that adds the counters libFuzzer reads to what is fuzzed, not to what runs while
# it is built; the options are cargo-fuzz's, without a sanitizer, which the stable compiler has none of.
case "$*" in
    *"--crate-name build_script_"* | *"--crate-type proc-macro"*) exec "$@" ;;
esac
exec "$@" --cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
