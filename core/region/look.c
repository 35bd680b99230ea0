/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/look.c - the bytes of a region, for whoever wants to see them without taking part.
 *
 * A file is read with pread(2) and never mapped, because it may be truncated under the reader; a
 * segment cannot, and is attached read-only.  Nothing is written, no lock is taken, and what is
 * read is nobody's promise: the region may be changing, damaged, or half made.
 *
 * The report judges a copy of RLAYOUT as an attach would, and keeps the judge's sentence; what a
 * panic has left is believed as soon as the header is of our format, whatever else is wrong.
 */
#include "region_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/atomics.h"
#include "../base/os_shm.h"

int
region_look_init(struct region_look *look, int fd)
{
	struct region_look own = { .fd = fd };
	const RLAYOUT *inside;
	uint64_t size;
	struct os_stat st;
	RLAYOUT named;
	size_t n;
	int ret;

	if ((ret = os_fstat(fd, &st)) != 0 ||
	    (ret = os_pread(fd, &named, sizeof(named), 0, &n)) != 0)
		return ret;
	own.bytes = st.size;
	if (n == sizeof(named) && layout_is_system(&named, st.size))
		own.segment = segment_attach_quietly(&named, &st.ident, &own.segment_error);
	if ((inside = own.segment) != NULL) {
		size = load_relaxed(&inside->size);
		own.bytes = size < named.max ? size : named.max;
	}
	*look = own;
	return 0;
}

void
region_look_fini(struct region_look *look)
{
	os_shm_detach(look->segment);
	*look = (struct region_look){ .fd = -1 };
}

int
region_look_read(
    const struct region_look *look, void *buf, size_t bytes, uint64_t offset, size_t *donep)
{
	if (look->segment == NULL)
		return os_pread(look->fd, buf, bytes, offset, donep);
	if (offset >= look->bytes)
		bytes = 0;
	else if (bytes > look->bytes - offset)
		bytes = (size_t)(look->bytes - offset);
	if (bytes > 0)
		memcpy(buf, (const uint8_t *)look->segment + offset, bytes);
	*donep = bytes;
	return 0;
}

/* --- the report ---------------------------------------------------------------------------- */

static void
copy_panic(struct region_report *report, const RLAYOUT *copy)
{
	report->panicked = true;
	report->error = DB_RUNRECOVERY;
	report->pid = copy->panic_pid;
	report->uid = copy->panic_uid;
	report->usec = copy->panic_usec;
	layout_printable(
	    report->name, sizeof(report->name), copy->panic_name, sizeof(copy->panic_name));
	layout_printable(
	    report->why, sizeof(report->why), copy->panic_why, sizeof(copy->panic_why));
}

static void
say_left(DB_ENV *env, enum layout_verdict verdict, const RLAYOUT *seen)
{
	if (verdict == LAYOUT_OTHER_VERSION)
		env_err(env, "closed by version %d.%d.%d (format %u), this is format %u",
		    seen->majver, seen->minver, seen->patch, seen->format, REGION_FORMAT);
	else
		env_err(env, "%s",
		    verdict == LAYOUT_LEFTOVER ? "left half made by a process that died" :
						 "left by an earlier boot");
}

/* As an attach would: its sentence goes into a file in memory. */
static int
judge(const struct region_look *look, const RLAYOUT *seen, char *why, size_t n)
{
	struct region_spec spec = { .subsystem_stamp = seen->subsystem_stamp };
	enum layout_verdict verdict = LAYOUT_VALID;
	DB_ENV env = { 0 };
	RLAYOUT copy;
	int ret;

	if ((env.db_errfile = fmemopen(why, n, "w")) == NULL)
		return errno;
	spec.dbenv = &env;
	ret = look->segment == NULL ?
	    layout_judge(&spec, "the file", look->fd, look->bytes, &copy, &verdict) :
	    layout_judge_copy(&spec, "the segment", look->fd, seen->max, seen, &verdict);
	if (ret == 0 && verdict != LAYOUT_VALID) {
		ret = ENOENT;
		say_left(&env, verdict, seen);
	}
	(void)fclose(env.db_errfile);
	return ret;
}

static int
judge_segment(int error, char *why, size_t n)
{
	(void)snprintf(why, n, "%s",
	    error == ENXIO     ? "its memory is in another IPC namespace" :
		error == EIDRM ? "its segment is gone" :
				 "its segment cannot be attached");
	return error;
}

int
region_look_report(const struct region_look *look, struct region_report *report)
{
	struct region_report own = { 0 };
	char why[1024] = "";
	RLAYOUT copy = { 0 };
	size_t n;
	int ret;

	if ((ret = region_look_read(look, &copy, sizeof(copy), 0, &n)) != 0)
		return ret;
	if (n == sizeof(copy) && layout_stamp_is_ours(&copy) && copy.panic != 0)
		copy_panic(&own, &copy);
	else {
		own.error = judge(look, &copy, why, sizeof(why));
		if (own.error == 0 && look->segment_error != 0)
			own.error = judge_segment(look->segment_error, why, sizeof(why));
		why[strcspn(why, "\n")] = '\0';
		layout_printable(own.why, sizeof(own.why), why, sizeof(why));
	}
	*report = own;
	return 0;
}
