/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is a file with LLVMFuzzerTestOneInput, linked with libFuzzer where clang has it (./run
 * fuzz), and with replay.c, which gives it the files of the corpus, in the suite.  Input must not
 * reach out of the target's own directory, whatever it says: the fuzzer may be root's.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/*
 * A directory of the process's own, made at the first call; removed with all that is in it when the
 * process exits.
 */
const char *fuzz_home(void);

/* "home/name", in a static buffer of its own for each of the last four calls. */
const char *fuzz_path(const char *name);

/* The next bytes of the input, 0 behind its end. */
struct input {
	const uint8_t *at;
	size_t left;
};
uint64_t input_number(struct input *in, unsigned bytes);

#endif
