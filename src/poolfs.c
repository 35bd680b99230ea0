/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs.c - the program poolfs: mounts a directory through a shared pool of file pages.
 *
 * main only orders the steps: options, the places, the daemon, the mount, and after the mount's
 * end everything back in its place.  The exit status is 0 if all that was written through the
 * mount is in HOME, 1 if something failed (a sentence has said what), 2 for a wrong command line.
 */
#include "poolfs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "region/rlayout.h"

void
complain(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fs_log(LOG_ERR, "%s", text);
}

static void
print_version(void)
{
	(void)printf("poolfs %s\nlibpoolfs %s\nlibfuse %s\nregion format %u\n", POOLFS_VERSION,
	    db_version(NULL, NULL, NULL), fs_library_version(), REGION_FORMAT);
}

struct service {
	struct options *options;
	struct daemon *daemon;
	int error; /* why the mount could not answer; atomic */
};

/* fs_run's callback. */
static void
ready(void *arg, int error)
{
	struct service *s = arg;

	__atomic_store_n(&s->error, error, __ATOMIC_RELEASE);
	place_release(s->options);
	daemon_ready(s->daemon, error);
}

static int
serve(struct fs *fs, struct service *s)
{
	int err, finished;

	if (fs_mount(fs) != 0)
		return EXIT_FAILURE;
	err = fs_run(fs, ready, s);
	/* While it is still mounted: when the mount point is free again, HOME is complete. */
	finished = fs_finish(fs);
	if (__atomic_load_n(&s->error, __ATOMIC_ACQUIRE) == EBUSY)
		return EXIT_FAILURE; /* what is mounted there now is another's */
	fs_unmount(fs);
	return err == 0 && finished == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
mount_and_serve(struct options *o)
{
	struct service s = { .options = o };
	struct fs *fs;
	int ret;

	if ((ret = place_check(o)) != 0 || (ret = daemon_start(o->foreground, &s.daemon)) != 0)
		return ret;
	fs_log_take_over_fuse();
	if (fs_create(&o->fs, &fs) != 0) {
		daemon_fini(s.daemon);
		return EXIT_FAILURE;
	}
	ret = serve(fs, &s);
	fs_destroy(fs);
	daemon_fini(s.daemon);
	return ret;
}

int
main(int argc, char **argv)
{
	struct options o;
	int ret;

	if ((ret = options_parse(argc, argv, &o)) == 0) {
		if (o.what == DO_HELP)
			options_help();
		else if (o.what == DO_VERSION)
			print_version();
		else if (o.what == DO_UNMOUNT)
			ret = unmount_and_wait(&o);
		else
			ret = mount_and_serve(&o);
	}
	options_fini(&o);
	return ret;
}
