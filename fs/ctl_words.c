/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ctl_words.c - the words of a command.
 *
 * Blanks separate words.  A name with blanks in it is put into double quotes, where a backslash
 * takes the next character as it is; outside of quotes a backslash does too.  # at the beginning
 * of a word ends the line.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/* One word from *fromp on, unquoted in place; *fromp moves behind it. */
static int
take_word(char **fromp, char **wordp)
{
	char *from = *fromp, *to = from;
	bool quoted = false;

	*wordp = to;
	for (; *from != '\0' && (quoted || !isblank((unsigned char)*from)); from++) {
		if (*from == '"') {
			quoted = !quoted;
			continue;
		}
		if (*from == '\\' && from[1] != '\0')
			from++;
		*to++ = *from;
	}
	if (quoted)
		return EINVAL;
	*fromp = *from != '\0' ? from + 1 : from;
	*to = '\0';
	return 0;
}

int
ctl_split(char *line, char *words[CTL_WORDS], int *np)
{
	int n = 0, err;

	for (;;) {
		while (isblank((unsigned char)*line))
			line++;
		if (*line == '\0' || *line == '#')
			break;
		if (n == CTL_WORDS)
			return E2BIG;
		if ((err = take_word(&line, &words[n])) != 0)
			return err;
		n++;
	}
	*np = n;
	return 0;
}

static bool
parse(const char *word, uint64_t most, uint64_t *np, const char **endp)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)*word))
		return false;
	errno = 0;
	n = strtoull(word, &end, 10);
	if (errno != 0 || n > most)
		return false;
	*np = n;
	*endp = end;
	return true;
}

bool
ctl_number(const char *word, bool percent, uint64_t most, uint64_t *np)
{
	const char *end;
	uint64_t n;

	if (!parse(word, most, &n, &end) || strcmp(end, percent && *end != '\0' ? "%" : "") != 0)
		return false;
	*np = n;
	return true;
}

bool
ctl_size(const char *word, uint64_t *bytesp)
{
	static const char letters[] = "KMGT";
	const char *end, *letter;
	unsigned shift = 0;
	uint64_t n;

	if (!parse(word, INT64_MAX, &n, &end))
		return false;
	if (*end != '\0' && (letter = strchr(letters, toupper((unsigned char)*end))) != NULL) {
		shift = 10 * (unsigned)(letter - letters + 1);
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end != '\0' || n > (uint64_t)INT64_MAX >> shift)
		return false;
	*bytesp = n << shift;
	return true;
}
