/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the warm list.  The input is the list.
 */
#include "fuzz_mounted.h"

#include "warm.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fs *fs = fuzz_mounted();

	fuzz_write(fuzz_path("list"), data, bytes);
	(void)warm_load(fs, fuzz_path("list"));
	return 0;
}
