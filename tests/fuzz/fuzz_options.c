/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the command line of poolfs.  The input is its words, one a line.
 */
#include "fuzz.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "poolfs.h"

#define WORDS_MOST 40

void
complain(const char *fmt, ...)
{
	char sentence[2000];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
}

/* Of options_fini. */
void
place_release(struct options *o)
{
	(void)o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text = strndup((const char *)data, bytes), *rest = text, *word;
	char *argv[WORDS_MOST + 2] = { (char *)(uintptr_t) "poolfs" };
	struct options o;
	int argc = 1;

	if (text == NULL)
		return 0;
	while (argc <= WORDS_MOST && (word = strsep(&rest, "\n")) != NULL)
		argv[argc++] = word;
	optind = 0; /* getopt starts anew */
	memset(&o, 0, sizeof(o));
	(void)options_parse(argc, argv, &o);
	options_fini(&o);
	free(text);
	return 0;
}
