/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/fs.c - the life of a mounted pool.
 *
 * fs_create opens HOME and its pool before anything is mounted, so that what can fail has failed
 * by then.  fs_run serves requests on libfuse's worker threads (or this one); a thread asks the
 * mount something through its path meanwhile, and reports when it has answered.  After a signal
 * or an unmount everything is written and the pool closed (fs_finish) before the mount point is
 * given back.
 *
 * Signals are the main thread's: libfuse's handler ends the loop, and stays installed while the
 * rest is written, so a second signal changes nothing.
 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "events.h"
#include "files.h"
#include "locks.h"
#include "ops.h"
#include "pin_age.h"
#include "pool.h"
#include "probe.h"
#include "region_dir.h"
#include "state.h"
#include "warm.h"

#define NOFILE_ROOT 1048576u
#define FDS_LEAST 64u
#define FDS_MOST 16384u

const char *const fs_cache_words[] = {
	[FS_CACHE_NONE] = "none",
	[FS_CACHE_OPEN] = "open",
	[FS_CACHE_KEEP] = "keep",
	NULL,
};
const char *const fs_memory_words[] = {
	[FS_MEMORY_SYSTEM] = "system",
	[FS_MEMORY_FILE] = "file",
	[FS_MEMORY_PRIVATE] = "private",
	NULL,
};

/* --- making -------------------------------------------------------------------------------- */

/* As many descriptors as the system allows: each open file needs two. */
static unsigned
raise_descriptor_limit(void)
{
	struct rlimit rl;
	rlim_t soft;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		return 1024;
	soft = rl.rlim_cur;
	rl.rlim_cur = rl.rlim_max;
	if (geteuid() == 0 && rl.rlim_max < NOFILE_ROOT)
		rl.rlim_cur = rl.rlim_max = NOFILE_ROOT;
	if (setrlimit(RLIMIT_NOFILE, &rl) == 0)
		return (unsigned)rl.rlim_cur;
	/* Not even root may everywhere: then up to the hard limit. */
	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		return (unsigned)soft;
	rl.rlim_cur = rl.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &rl) == 0 ? (unsigned)rl.rlim_cur : (unsigned)soft;
}

/*
 * The kernel has checked the caller's own limit; the daemon's is none of his business.  Where it
 * cannot be lifted it is the limit for everybody: what is left of it, in bytes.
 */
static uint64_t
lift_file_size_limit(void)
{
	struct rlimit rl = { RLIM_INFINITY, RLIM_INFINITY };

	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &rl) == 0 || getrlimit(RLIMIT_FSIZE, &rl) == -1)
		return UINT64_MAX;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_FSIZE, &rl);
	return rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rl.rlim_cur;
}

static unsigned
fd_limit(unsigned nofile)
{
	unsigned limit = nofile / 4;

	if (limit < FDS_LEAST)
		return FDS_LEAST;
	return limit > FDS_MOST ? FDS_MOST : limit;
}

static int
init_locks(struct fs *fs)
{
	pthread_rwlockattr_t rwattr;
	pthread_condattr_t cattr;
	int err;

	(void)pthread_rwlockattr_init(&rwattr);
	/*
	 * Else requests that overlap without end keep the removal of a region waiting for ever.
	 */
	(void)pthread_rwlockattr_setkind_np(&rwattr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	err = pthread_rwlock_init(&fs->pool_lock, &rwattr);
	(void)pthread_rwlockattr_destroy(&rwattr);
	(void)pthread_condattr_init(&cattr);
	(void)pthread_condattr_setclock(&cattr, CLOCK_MONOTONIC);
	if (err == 0)
		err = pthread_cond_init(&fs->writer_wake, &cattr);
	(void)pthread_condattr_destroy(&cattr);
	if (err == 0)
		err = pthread_mutex_init(&fs->writer_lock, NULL);
	if (err == 0)
		err = pthread_mutex_init(&fs->steering.lock, NULL);
	return err;
}

static int
open_regions(struct fs *fs)
{
	const char *dir = region_dir(fs);
	int err;

	if ((fs->region_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) != -1)
		return 0;
	err = errno;
	fs_log(LOG_ERR, "cannot open the directory %s: %s", dir, strerror(err));
	return err;
}

/*
 * A byte of our own, which nobody had and nobody will have: whoever sees that it is not locked any
 * more knows that the daemon has ended, from whatever PID or IPC namespace, with whatever memory.
 */
static void
lock_own_byte(struct fs *fs)
{
	uint64_t byte = OS_BYTES_OF_NOBODY + os_random() % OS_BYTES_OF_NOBODY;

	fs->home_byte = os_lock_share(fs->home_fd, byte) == 0 ? byte : 0;
}

static int
open_home(struct fs *fs)
{
	int err;

	if ((fs->home_fd = open(fs->opt->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
		err = errno;
		fs_log(LOG_ERR, "cannot open the directory %s: %s", fs->opt->home, strerror(err));
		return err;
	}
	lock_own_byte(fs);
	if ((err = open_regions(fs)) != 0)
		return err;
	if ((fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)) == -1) {
		err = errno;
		fs_log(LOG_ERR, "cannot open /proc/self/fd, without which there is no mount: %s",
		    strerror(err));
		return err;
	}
	if ((err = files_root(fs, &fs->nodes.home)) != 0)
		fs_log(
		    LOG_ERR, "cannot look at the directory %s: %s", fs->opt->home, strerror(err));
	else
		probe_home(fs);
	return err;
}

static void
init_env(struct fs *fs)
{
	pool_listen(fs);
	fs->env.db_verbose = fs->opt->debug ? 2 : 1;
	fs->env.mp_size = fs->opt->cache_bytes;
	fs->env.mp_pagesize = fs->opt->page_bytes;
	fs->env.region_max =
	    mpool_region_max(fs->opt->cache_bytes, fs->opt->cache_max, fs->opt->page_bytes);
	if (!fs->opt->cache_given)
		fs->env.region_flags |= DB_SIZE_IF_NEW;
	fs->env.mp_writer = 1;
	fs->env.db_home = fs->opt->home;
	fs->env.region_dir = fs->opt->region_dir;
	fs->env.policy =
	    fs->opt->policy != 0 ? fs->opt->policy : DB_POLICY_ADAPTIVE | DB_POLICY_IF_NEW;
	if (fs->opt->memory == FS_MEMORY_SYSTEM)
		fs->env.region_flags |= DB_SYSTEM_MEM;
	else if (fs->opt->memory == FS_MEMORY_PRIVATE)
		fs->env.region_flags |= DB_PRIVATE;
	fs->env.region_flags |= DB_REGION_GUARD;
}

/* It is allowed, and what one writes the other shows; but seldom meant. */
static void
warn_of_other_mount(const struct fs *fs)
{
	const struct region *r = mpool_region(fs->pool);
	struct client other;

	for (uint32_t i = 0; i < r->nclients; i++) {
		if (i == r->self || !client_is_alive(r, i))
			continue;
		other = r->clients[i];
		/* A mount calls itself by its program's name, as we do. */
		if (strncmp(other.name, r->clients[r->self].name, sizeof(other.name)) != 0)
			continue;
		fs_log(LOG_WARNING, "another mount of HOME %s is at work (process %d)",
		    fs->opt->home, (int)other.pid);
		return;
	}
}

/* One sentence, with core's reason in it if it gave one. */
static int
open_pool(struct fs *fs)
{
	char why[512];
	int err;

	fs_log_hold();
	err = pool_get(fs);
	fs_log_release(why, sizeof(why));
	if (err == 0) {
		warn_of_other_mount(fs);
		pool_put(fs);
		return 0;
	}
	fs_log(LOG_ERR, "cannot open the pool of %s: %s", fs->opt->home,
	    why[0] != '\0' ? why : db_strerror(err));
	return err;
}

static int
fill(struct fs *fs)
{
	int err;

	fs->uid = geteuid();
	fs->gid = getegid();
	fs->start_nsec = os_now_nsec_coarse();
	init_env(fs);
	fs->nodes.fd_limit = fd_limit(raise_descriptor_limit());
	fs->longest_file = lift_file_size_limit();
	if ((err = init_locks(fs)) != 0 || (err = node_table_init(fs)) != 0 ||
	    (err = status_init(fs)) != 0) {
		fs_log(LOG_ERR, "cannot start: %s", strerror(err));
		return err;
	}
	if ((err = open_home(fs)) != 0)
		return err;
	/* After the limits were raised, which takes a capability that is given up here. */
	identity_init();
	if (fs->opt->allow_other && !identity_can_switch()) {
		fs_log(LOG_ERR,
		    "allow_other: this root may not act as other users (it has no "
		    "CAP_SETUID or no CAP_SETGID)");
		return EPERM;
	}
	return open_pool(fs);
}

int
fs_create(const struct fs_options *options, struct fs **fsp)
{
	struct fs *fs;
	int err;

	if ((fs = calloc(1, sizeof(*fs))) == NULL)
		return ENOMEM;
	fs->opt = options;
	coherence_init(fs);
	ahead_init(fs);
	fs->home_fd = fs->region_fd = fs->proc_fd = -1;
	if ((err = fill(fs)) != 0) {
		fs_destroy(fs);
		return err;
	}
	*fsp = fs;
	return 0;
}

/* --- mounting ------------------------------------------------------------------------------ */

static int
add_words(const struct fs_options *o, char **words)
{
	char fsname[4200];

	if (snprintf(fsname, sizeof(fsname), "fsname=%s", o->home) >= (int)sizeof(fsname))
		return ENAMETOOLONG;
	if (fuse_opt_add_opt_escaped(words, fsname) != 0 ||
	    fuse_opt_add_opt(words, "subtype=poolfs,default_permissions") != 0)
		return ENOMEM;
	if (o->allow_other && fuse_opt_add_opt(words, "allow_other") != 0)
		return ENOMEM;
	if (o->read_only && fuse_opt_add_opt(words, "ro") != 0)
		return ENOMEM;
	if (o->debug && fuse_opt_add_opt(words, "debug") != 0)
		return ENOMEM;
	if (o->mount_words != NULL && fuse_opt_add_opt(words, o->mount_words) != 0)
		return ENOMEM;
	return 0;
}

static int
make_session(struct fs *fs)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *words = NULL;
	int err;

	if ((err = add_words(fs->opt, &words)) == 0 &&
	    (fuse_opt_add_arg(&args, "poolfs") != 0 || fuse_opt_add_arg(&args, "-o") != 0 ||
		fuse_opt_add_arg(&args, words) != 0))
		err = ENOMEM;
	if (err == 0) {
		fs->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), fs);
		err = fs->session == NULL ? EINVAL : 0;
	}
	fuse_opt_free_args(&args);
	free(words);
	return err;
}

/* One sentence, with libfuse's reason in it. */
static int
mount_session(struct fs *fs)
{
	char why[512];
	int ret;

	fs_log_hold();
	ret = fuse_session_mount(fs->session, fs->opt->mountpoint);
	fs_log_release(why, sizeof(why));
	if (ret == 0)
		return 0;
	fs_log(LOG_ERR, "cannot mount on %s%s%s", fs->opt->mountpoint, why[0] != '\0' ? ": " : "",
	    why);
	return EIO;
}

int
fs_mount(struct fs *fs)
{
	int err;

	if ((err = make_session(fs)) != 0) {
		fs_log(LOG_ERR, "cannot make a FUSE session: %s", strerror(err));
		return err;
	}
	if (fuse_set_signal_handlers(fs->session) != 0) {
		fs_log(LOG_ERR, "cannot set signal handlers");
		return EINVAL;
	}
	return mount_session(fs);
}

/* --- serving ------------------------------------------------------------------------------- */

/* Somebody who came at the same time may have mounted on top. */
static int
ask_who_answers(const struct fs *fs)
{
	char pid[16] = "";

	if (getxattr(fs->opt->mountpoint, "user.poolfs.pid", pid, sizeof(pid) - 1) == -1)
		return errno;
	return strtol(pid, NULL, 10) == (long)getpid() ? 0 : EBUSY;
}

static int
ask_mount(const struct fs *fs)
{
	char *path;
	struct stat st;
	int err;

	if (asprintf(&path, "%s/README", fs->opt->mountpoint) == -1)
		return ENOMEM;
	err = stat(path, &st) == -1 ? errno : 0;
	free(path);
	return err != 0 ? err : ask_who_answers(fs);
}

static void *
asker_main(void *arg)
{
	struct fs *fs = arg;
	int err = ask_mount(fs);

	fs->ready(fs->ready_arg, err);
	if (err == EBUSY) {
		fs_log(LOG_ERR, "another pool was mounted on %s at the same time",
		    fs->opt->mountpoint);
		(void)kill(getpid(), SIGTERM);
	}
	return NULL;
}

static int
start_asker(struct fs *fs)
{
	int err;

	err = os_thread_start(&fs->asker, asker_main, fs);
	fs->asker_runs = err == 0;
	return err;
}

/*
 * How many threads may wait for requests.  The kernel hands a request to the one that has waited
 * longest: if all that a crowd has once needed went on waiting, one program's requests would go to
 * each of them in turn, whose stack and megabyte of buffer no processor's cache has any more
 * (writes of 128 KiB took half as long again with 16).  With fewer, threads are made and ended all
 * the time when several programs ask.
 */
static unsigned
idle_threads(const struct fs *fs)
{
	unsigned idle = 2 * os_processors();

	return idle < fs->opt->threads ? idle : fs->opt->threads;
}

static int
serve(struct fs *fs)
{
	struct fuse_loop_config *config;
	int ret;

	if (fs->opt->threads == 1)
		return fuse_session_loop(fs->session);
	if ((config = fuse_loop_cfg_create()) == NULL)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(config, fs->opt->threads);
	fuse_loop_cfg_set_idle_threads(config, idle_threads(fs));
	fuse_loop_cfg_set_clone_fd(config, 1);
	ret = fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	return ret;
}

int
fs_run(struct fs *fs, void (*ready)(void *arg, int error), void *arg)
{
	int err, ret;

	fs->ready = ready;
	fs->ready_arg = arg;
	if ((err = coherence_start(fs)) != 0 || (err = ahead_start(fs)) != 0 ||
	    (err = locks_init(fs)) != 0 || (err = pool_writer_start(fs)) != 0 ||
	    (err = warm_start(fs)) != 0 || (err = start_asker(fs)) != 0) {
		fs_log(LOG_ERR, "cannot start a thread: %s", strerror(err));
		return err;
	}
	/* A positive value is the signal that ended it: as good as an unmount. */
	ret = serve(fs);
	coherence_flush(fs);
	return ret < 0 ? -ret : 0;
}

/* --- ending -------------------------------------------------------------------------------- */

int
fs_finish(struct fs *fs)
{
	locks_fini(fs);
	ahead_stop(fs);
	coherence_stop(fs);
	pool_writer_stop(fs);
	warm_stop(fs);
	return pool_finish(fs);
}

void
fs_unmount(struct fs *fs)
{
	if (fs->session != NULL)
		fuse_session_unmount(fs->session);
}

static void
end_session(struct fs *fs)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM };

	if (fs->asker_runs)
		(void)pthread_join(fs->asker, NULL);
	if (fs->session == NULL)
		return;
	events_fini();
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_IGN);
	fuse_remove_signal_handlers(fs->session);
	fuse_session_destroy(fs->session);
}

static void
close_fd(int fd)
{
	if (fd != -1)
		(void)close(fd);
}

void
fs_destroy(struct fs *fs)
{
	if (fs == NULL)
		return;
	end_session(fs);
	if (fs->pool != NULL)
		(void)fs_finish(fs);
	node_table_fini(fs);
	status_fini(fs);
	close_fd(fs->proc_fd);
	close_fd(fs->region_fd);
	close_fd(fs->home_fd);
	(void)pthread_rwlock_destroy(&fs->pool_lock);
	(void)pthread_mutex_destroy(&fs->writer_lock);
	(void)pthread_mutex_destroy(&fs->steering.lock);
	pin_ages_free(fs->pin_ages);
	(void)pthread_cond_destroy(&fs->writer_wake);
	free(fs);
}

const char *
fs_library_version(void)
{
	return fuse_pkgversion();
}
