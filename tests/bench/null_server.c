/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * null_server.c - what FUSE itself costs: a filesystem that does nothing.
 *
 *	null_server none|keep FILE_MIB MOUNTPOINT
 *
 * A directory, "files", with a file in it, "file", of so many MiB in memory, every 4 KiB block of
 * which begins with its number, as bench_read makes them; and empty files, "file.0" and so on,
 * which can be made and removed there.  Same library, same loop, same options and paths of the same
 * length as poolfs: low-level calls, several threads, a channel for each, permissions looked at by
 * the kernel, no time that anything of a file is valid; none answers every open with direct_io,
 * keep lets the kernel keep its pages, and directories for a second.  Serves until it is unmounted.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define FILES_INO 2 /* the directory */
#define FILE_INO 3
#define EMPTY_INO 4 /* and on: the empty files */
#define EMPTY_FILES 16
#define BLOCK 4096u
#define THREADS 16

static char *bytes_of_file;
static size_t file_bytes;
static bool keeps;
static bool exists[EMPTY_FILES]; /* atomic */

/* The number of "file.N"; EMPTY_FILES: of no such name. */
static unsigned
number_of(fuse_ino_t parent, const char *name)
{
	unsigned n = EMPTY_FILES;
	char *end;

	if (parent == FILES_INO && strncmp(name, "file.", 5) == 0 && name[5] != '\0') {
		n = (unsigned)strtoul(name + 5, &end, 10);
		if (*end != '\0' || n > EMPTY_FILES)
			n = EMPTY_FILES;
	}
	return n;
}

/* 0: there is no such name. */
static fuse_ino_t
find(fuse_ino_t parent, const char *name)
{
	unsigned n = number_of(parent, name);

	if (parent == FUSE_ROOT_ID)
		return strcmp(name, "files") == 0 ? FILES_INO : 0;
	if (parent == FILES_INO && strcmp(name, "file") == 0)
		return FILE_INO;
	return n < EMPTY_FILES && __atomic_load_n(&exists[n], __ATOMIC_ACQUIRE) ? EMPTY_INO + n : 0;
}

static bool
is_directory(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID || ino == FILES_INO;
}

/* For how long the kernel need not ask again. */
static double
timeout_of(fuse_ino_t ino)
{
	return keeps && is_directory(ino) ? 1 : 0;
}

static void
fill_stat(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = is_directory(ino) ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_nlink = is_directory(ino) ? 2 : 1;
	st->st_size = ino == FILE_INO ? (off_t)file_bytes : 0;
}

static void
fill_entry(fuse_ino_t ino, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){ .ino = ino,
		.generation = 1,
		.attr_timeout = timeout_of(ino),
		.entry_timeout = timeout_of(ino) };
	fill_stat(ino, &e->attr);
}

static void
null_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_EXPLICIT_INVAL_DATA);
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
	    FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_READDIRPLUS);
}

static void
null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_ino_t ino = find(parent, name);
	struct fuse_entry_param e;

	if (ino == 0) {
		(void)fuse_reply_err(req, ENOENT);
		return;
	}
	fill_entry(ino, &e);
	(void)fuse_reply_entry(req, &e);
}

static void
null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_stat(ino, &st);
	(void)fuse_reply_attr(req, &st, timeout_of(ino));
}

static void
set_caching(struct fuse_file_info *fi)
{
	fi->direct_io = !keeps;
	fi->keep_cache = keeps;
}

static void
null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	set_caching(fi);
	(void)fuse_reply_open(req, fi);
}

static void
null_create(
    fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	unsigned n = number_of(parent, name);
	struct fuse_entry_param e;

	(void)mode;
	if (n == EMPTY_FILES) {
		(void)fuse_reply_err(req, EPERM);
		return;
	}
	__atomic_store_n(&exists[n], true, __ATOMIC_RELEASE);
	fill_entry(EMPTY_INO + n, &e);
	set_caching(fi);
	(void)fuse_reply_create(req, &e, fi);
}

static void
null_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	unsigned n = number_of(parent, name);

	if (n < EMPTY_FILES)
		__atomic_store_n(&exists[n], false, __ATOMIC_RELEASE);
	(void)fuse_reply_err(req, n < EMPTY_FILES ? 0 : EPERM);
}

static void
null_read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, struct fuse_file_info *fi)
{
	size_t end = ino == FILE_INO ? file_bytes : 0;
	size_t from = (size_t)offset < end ? (size_t)offset : end;
	struct iovec iov = { bytes_of_file + from, bytes < end - from ? bytes : end - from };

	(void)fi;
	(void)fuse_reply_iov(req, &iov, 1);
}

static void
null_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t bytes, off_t offset,
    struct fuse_file_info *fi)
{
	(void)fi;
	if (ino != FILE_INO || (size_t)offset > file_bytes || bytes > file_bytes - (size_t)offset) {
		(void)fuse_reply_err(req, ENOSPC);
		return;
	}
	memcpy(bytes_of_file + offset, buf, bytes);
	(void)fuse_reply_write(req, bytes);
}

static void
null_nothing(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	(void)fuse_reply_err(req, 0);
}

static void
null_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	null_nothing(req, ino, fi);
}

static const struct fuse_lowlevel_ops ops = {
	.init = null_init,
	.lookup = null_lookup,
	.getattr = null_getattr,
	.open = null_open,
	.create = null_create,
	.unlink = null_unlink,
	.read = null_read,
	.write = null_write,
	.flush = null_nothing,
	.release = null_nothing,
	.fsync = null_fsync,
};

static int
make_file(size_t mib)
{
	file_bytes = mib << 20;
	bytes_of_file = mmap(NULL, file_bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (bytes_of_file == MAP_FAILED)
		return -1;
	for (uint64_t n = 0, mark; n < file_bytes / BLOCK; n++) {
		mark = BENCH_MARK(n);
		memcpy(bytes_of_file + n * BLOCK, &mark, sizeof(mark));
	}
	return 0;
}

static int
serve(struct fuse_session *se)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int ret;

	if (config == NULL)
		return 1;
	fuse_loop_cfg_set_max_threads(config, THREADS);
	/* As many as poolfs lets wait: with THREADS of them its requests are slower, too. */
	fuse_loop_cfg_set_idle_threads(config, 2 * (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
	fuse_loop_cfg_set_clone_fd(config, 1);
	ret = fuse_session_loop_mt(se, config);
	fuse_loop_cfg_destroy(config);
	return ret != 0;
}

int
main(int argc, char **argv)
{
	char *words[] = { argv[0], "-o", "fsname=null_server,default_permissions" };
	struct fuse_args args = FUSE_ARGS_INIT(3, words);
	struct fuse_session *se;
	int ret = 1;

	if (argc != 4 || make_file((size_t)strtoul(argv[2], NULL, 10)) != 0)
		return 2;
	keeps = strcmp(argv[1], "keep") == 0;
	if ((se = fuse_session_new(&args, &ops, sizeof(ops), NULL)) == NULL)
		return 1;
	if (fuse_session_mount(se, argv[3]) == 0) {
		ret = serve(se);
		fuse_session_unmount(se);
	}
	fuse_session_destroy(se);
	return ret;
}
