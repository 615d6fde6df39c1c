#pragma once
#include <stddef.h>
#include <stdint.h>

/// Feeds a test the inputs that libFuzzer finds; without libFuzzer in the program, the files named
/// and random changes of them. Options are those of libFuzzer; of them `-runs` and `-max_len` count
/// without it.
int fuzz_drive(int argc, char **argv, int (*test)(const uint8_t *data, size_t size));
