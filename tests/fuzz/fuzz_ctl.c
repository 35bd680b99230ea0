/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: what is written to ctl.  '@' in the input stands for the target's directory; an
 * input with a '/' of its own is not tried, since verbs write where they are told.
 */
#include "fuzz_mounted.h"

#include <string.h>

#include "ctl.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fs *fs = fuzz_mounted();
	char text[4096];
	size_t n = 0;

	if (bytes > 0 && memchr(data, '/', bytes) != NULL)
		return -1;
	for (size_t i = 0; i < bytes && n < sizeof(text) - 100; i++) {
		if (data[i] == '@')
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s/", fuzz_home());
		else
			text[n++] = (char)data[i];
	}
	(void)ctl_run(fs, text, n);
	return 0;
}
