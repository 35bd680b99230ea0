/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs.c - the program poolfs: mounts a directory through a shared pool of file pages.
 *
 * main only orders the steps: options, the places, the daemon, the mount, and after the mount's
 * end everything back in its place.  The exit status is 0 if all that was written through the
 * mount is in HOME, 1 if something failed (a sentence has said what), 2 for a wrong command line.
 */
#include "poolfs.h"

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

static int
serve(struct fs *fs, struct daemon *d)
{
	int err, finished;

	if (fs_mount(fs) != 0)
		return EXIT_FAILURE;
	err = fs_run(fs, daemon_ready, d);
	/* While it is still mounted: when the mount point is free again, HOME is complete. */
	finished = fs_finish(fs);
	fs_unmount(fs);
	return err == 0 && finished == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
mount_and_serve(struct options *o)
{
	struct daemon *d;
	struct fs *fs;
	int ret;

	if ((ret = place_check(o)) != 0 || (ret = daemon_start(o->foreground, &d)) != 0)
		return ret;
	fs_log_take_over_fuse();
	if (fs_create(&o->fs, &fs) != 0) {
		daemon_fini(d);
		return EXIT_FAILURE;
	}
	ret = serve(fs, d);
	fs_destroy(fs);
	daemon_fini(d);
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
			ret = unmount_and_wait(o.mountpoint);
		else
			ret = mount_and_serve(&o);
	}
	options_fini(&o);
	return ret;
}
