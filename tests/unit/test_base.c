/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/base: the wrappers of system calls, the machine's facts, sentences and codes.
 */
#include "t.h"

#include "base/os_shm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomics.h"
#include "base/error.h"

static int
open_new(const struct t *t, const char *name)
{
	int fd = -1;

	t_check(os_open(t_path(t, name), O_RDWR | O_CREAT, 0600, &fd) == 0);
	return fd;
}

/* --- sentences ----------------------------------------------------------------------------- */

static char said_prefix[64], said[2048];
static int said_times;

static void *
hear(char *prefix, char *buffer)
{
	(void)snprintf(said_prefix, sizeof(said_prefix), "%s", prefix == NULL ? "" : prefix);
	(void)snprintf(said, sizeof(said), "%s", buffer);
	said_times++;
	errno = EXDEV;
	return NULL;
}

static void
error_goes_to_callback_with_prefix_and_keeps_errno(void **state)
{
	DB_ENV env = { .db_errcall = hear, .db_errpfx = "me" };

	(void)state;
	said_times = 0;
	errno = ENOSPC;

	env_err(&env, "page %d of %s", 7, "file");

	assert_int_equal(errno, ENOSPC);
	assert_int_equal(said_times, 1);
	assert_string_equal(said_prefix, "me");
	assert_string_equal(said, "page 7 of file");
}

static void
error_goes_to_file_when_there_is_no_callback(void **state)
{
	struct t *t = *state;
	DB_ENV env = { .db_errpfx = "me" };
	char *text;

	env.db_errfile = fopen(t_path(t, "errors"), "we");
	t_check(env.db_errfile != NULL);
	env_err(&env, "first %s", "thing");
	env.db_errpfx = NULL;
	env_err(&env, "second");
	fclose(env.db_errfile);
	text = t_read_file(t_path(t, "errors"), NULL);

	assert_string_equal(text, "me: first thing\nsecond\n");
	free(text);
}

static void
warnings_and_events_depend_on_verbosity(void **state)
{
	DB_ENV env = { .db_errcall = hear };
	static const int warned[] = { 0, 1, 2 }; /* sentences with db_verbose 0, 1, 2 */
	int v;

	(void)state;
	for (v = 0; v <= 2; v++) {
		env.db_verbose = v;
		said_times = 0;
		env_warn(&env, "w");
		env_event(&env, "e");
		assert_int_equal(said_times, warned[v]);
	}
	env_err(NULL, "nobody hears %d", 1);
	env.db_errcall = NULL;
	env_err(&env, "nobody hears %d", 2);
	assert_int_equal(said_times, 2);
}

static void
sentence_too_long_is_cut(void **state)
{
	DB_ENV env = { .db_errcall = hear };
	char name[1600];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';

	env_err(&env, "%s", name);

	assert_int_equal(strlen(said), 1023);
}

static void
strerror_knows_every_code(void **state)
{
	static const int codes[] = { 0, DB_INCOMPLETE, DB_LOCK_DEADLOCK, DB_LOCK_NOTGRANTED,
		DB_LOCK_NOTHELD, DB_RUNRECOVERY, ENOENT, -77 };
	const char *text[8];
	size_t i, j;

	(void)state;
	for (i = 0; i < 8; i++)
		text[i] = strdup(db_strerror(codes[i]));
	for (i = 0; i < 8; i++)
		for (j = 0; j < i; j++)
			assert_string_not_equal(text[i], text[j]);
	assert_string_equal(text[6], strerror(ENOENT));
	for (i = 0; i < 8; i++)
		free((char *)text[i]);
}

static void
version_is_0_1_0(void **state)
{
	int major = -1, minor = -1, patch = -1;

	(void)state;
	assert_string_equal(db_version(&major, &minor, &patch), "poolfs 0.1.0");
	assert_string_equal(db_version(NULL, NULL, NULL), "poolfs 0.1.0");
	assert_int_equal(major, 0);
	assert_int_equal(minor, 1);
	assert_int_equal(patch, 0);
#ifdef POOLFS_VERSION
	assert_string_equal(db_version(NULL, NULL, NULL), "poolfs " POOLFS_VERSION);
#endif
}

/* --- files --------------------------------------------------------------------------------- */

static void
open_is_close_on_exec_and_writes_fd_only_on_success(void **state)
{
	struct t *t = *state;
	int fd = -7;

	assert_int_equal(os_open(t_path(t, "none"), O_RDONLY, 0, &fd), ENOENT);
	assert_int_equal(fd, -7);
	fd = open_new(t, "f");
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	os_close(fd);
	os_close(-1);
}

static void
stat_tells_hard_links_are_one_file_and_copies_are_not(void **state)
{
	struct t *t = *state;
	struct os_stat st[3];
	int fd = open_new(t, "a");

	t_check(link(t_path(t, "a"), t_path(t, "b")) == 0);
	t_check(symlink("a", t_path(t, "c")) == 0);
	t_check(os_pwrite(fd, "12345", 5, 0) == 0);

	assert_int_equal(os_fstat(fd, &st[0]), 0);
	assert_int_equal(os_stat(t_path(t, "b"), &st[1]), 0);
	assert_int_equal(os_stat(t_path(t, "c"), &st[2]), 0);
	assert_memory_equal(&st[0].ident, &st[1].ident, sizeof(st[0].ident));
	assert_memory_equal(&st[0].ident, &st[2].ident, sizeof(st[0].ident));
	assert_int_equal(st[0].size, 5);
	assert_int_equal(st[0].nlink, 2);
	assert_int_equal(st[0].mode & 0777, 0600);
	os_close(fd);
	os_close(open_new(t, "d"));
	assert_int_equal(os_stat(t_path(t, "d"), &st[1]), 0);
	assert_memory_not_equal(&st[0].ident, &st[1].ident, sizeof(st[0].ident));
}

static void
times_outside_of_64_bits_are_clamped(void **state)
{
	struct t *t = *state;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = INT64_MAX / 4 } };
	struct os_stat st;
	int fd = open_new(t, "f");

	t_check(futimens(fd, times) == 0);

	assert_int_equal(os_fstat(fd, &st), 0);
	/* A file system may have cut it down to what it can store before. */
	assert_true(st.mtime_nsec == INT64_MAX || st.mtime_nsec > (int64_t)4000000000 * 1000000000);
	os_close(fd);
}

static void
futimens_sets_mtime_alone_before_1970_too(void **state)
{
	static const int64_t wanted[] = { 1234567890123456789, 0, -1, -1500000000 };
	struct t *t = *state;
	struct os_stat st;
	int fd = open_new(t, "f");
	size_t i;

	for (i = 0; i < 4; i++) {
		assert_int_equal(os_futimens(fd, wanted[i]), 0);
		assert_int_equal(os_fstat(fd, &st), 0);
		assert_true(st.mtime_nsec == wanted[i]);
	}
	os_close(fd);
}

static void
truncate_allocate_and_unlink_do_what_they_say(void **state)
{
	struct t *t = *state;
	struct os_stat st;
	struct stat blocks;
	int fd = open_new(t, "f");

	assert_int_equal(os_ftruncate(fd, 1 << 20), 0);
	t_check(fstat(fd, &blocks) == 0);
	assert_int_equal(blocks.st_blocks, 0);
	assert_int_equal(os_fallocate(fd, 0, 1 << 20), 0);
	t_check(fstat(fd, &blocks) == 0);
	assert_true(blocks.st_blocks >= (1 << 20) / 512);
	assert_int_equal(os_ftruncate(fd, UINT64_MAX), EFBIG);
	assert_int_equal(os_fallocate(fd, UINT64_MAX, 1), EFBIG);
	assert_int_equal(os_fsync(fd), 0);
	assert_int_equal(os_unlink(t_path(t, "f")), 0);
	assert_int_equal(os_unlink(t_path(t, "f")), ENOENT);
	assert_int_equal(os_fstat(fd, &st), 0);
	assert_int_equal(st.nlink, 0);
	os_close(fd);
}

/* --- bytes --------------------------------------------------------------------------------- */

static void
fill(uint8_t *bytes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
}

static void
pread_is_short_only_at_the_end(void **state)
{
	struct t *t = *state;
	uint8_t out[100], in[100];
	size_t n = 99;
	int fd = open_new(t, "f");

	fill(out, sizeof(out));
	assert_int_equal(os_pwrite(fd, out, sizeof(out), 5), 0);
	assert_int_equal(os_pread(fd, in, 40, 5, &n), 0);
	assert_int_equal(n, 40);
	assert_memory_equal(in, out, 40);
	assert_int_equal(os_pread(fd, in, 100, 65, &n), 0);
	assert_int_equal(n, 40);
	assert_memory_equal(in, out + 60, 40);
	assert_int_equal(os_pread(fd, in, 100, 105, &n), 0);
	assert_int_equal(n, 0);
	n = 99;
	assert_int_equal(os_pread(-1, in, 1, 0, &n), EBADF);
	assert_int_equal(n, 99);
	os_close(fd);
}

/* Whatever the lengths of the buffers and of the file, the bytes land as in one buffer. */
static void
preadv_fills_buffers_in_order(void **state)
{
	enum { BUFFERS = 1500, FILE_BYTES = 20000 };
	static uint8_t file[FILE_BYTES], in[FILE_BYTES + 30000];
	static struct iovec iov[BUFFERS];
	struct t *t = *state;
	size_t n, at, offset;
	int fd = open_new(t, "f"), i;

	fill(file, sizeof(file));
	t_check(os_pwrite(fd, file, sizeof(file), 0) == 0);
	for (at = 0, i = 0; i < BUFFERS; i++) {
		iov[i] = (struct iovec){ in + at, (size_t)(i % 5 == 3 ? 0 : i % 23) };
		at += iov[i].iov_len;
	}
	for (offset = 0; offset <= FILE_BYTES; offset += 997) {
		size_t most = FILE_BYTES - offset < at ? FILE_BYTES - offset : at;

		memset(in, 0xee, sizeof(in));
		assert_int_equal(os_preadv(fd, iov, BUFFERS, offset, &n), 0);
		assert_int_equal(n, most);
		assert_memory_equal(in, file + offset, most);
		assert_int_equal(in[most], 0xee);
	}
	assert_int_equal(os_preadv(fd, iov, 0, 0, &n), 0);
	assert_int_equal(n, 0);
	os_close(fd);
}

/* --- memory -------------------------------------------------------------------------------- */

static void
map_is_aligned_shared_and_exact(void **state)
{
	struct t *t = *state;
	uint8_t *a, *b, byte = 0;
	size_t align, n;
	int fd = open_new(t, "f");

	t_check(os_ftruncate(fd, 3 * 4096) == 0);
	for (align = 4096; align <= 4 << 20; align *= 4) {
		assert_int_equal(os_map(fd, 3 * 4096, align, (void **)&a), 0);
		assert_int_equal(os_map(fd, 3 * 4096, align, (void **)&b), 0);
		assert_int_equal((uintptr_t)a % align, 0);
		assert_int_equal((uintptr_t)b % align, 0);
		a[8192] = (uint8_t)(align >> 12);
		assert_int_equal(b[8192], (uint8_t)(align >> 12));
		assert_int_equal(os_pread(fd, &byte, 1, 8192, &n), 0);
		assert_int_equal(byte, a[8192]);
		os_unmap(a, 3 * 4096);
		assert_int_equal(msync(b, 3 * 4096, MS_ASYNC), 0);
		os_unmap(b, 3 * 4096);
		assert_int_equal(msync(b, 4096, MS_ASYNC), -1);
	}
	os_unmap(NULL, 4096);
	os_close(fd);
}

static void
map_without_file_is_zeroed_and_private(void **state)
{
	uint8_t *a = NULL;
	size_t i;

	(void)state;
	assert_int_equal(os_map(-1, 65536, 65536, (void **)&a), 0);
	for (i = 0; i < 65536; i++)
		assert_int_equal(a[i], 0);
	os_unmap(a, 65536);
	a = NULL;
	assert_int_equal(os_map(-1, SIZE_MAX - 4095, 4096, (void **)&a), ENOMEM);
	assert_null(a);
}

static void
calloc_is_zeroed(void **state)
{
	uint8_t *p = NULL;

	(void)state;
	assert_int_equal(os_calloc(10, 10, (void **)&p), 0);
	assert_int_equal(p[99], 0);
	free(p);
	p = NULL;
	t_fault(OS_MALLOC, 1, ENOMEM);
	assert_int_equal(os_calloc(1, 4, (void **)&p), ENOMEM);
	assert_null(p);
}

/* --- locks on bytes ------------------------------------------------------------------------ */

static void
lock_belongs_to_the_open_file_description(void **state)
{
	const uint64_t byte = ((uint64_t)1 << 40) + 17;
	struct t *t = *state;
	int a = open_new(t, "f"), b = open_new(t, "f"), c = dup(a);
	bool taken = true;

	assert_int_equal(os_lock_try(a, byte), 0);
	assert_int_equal(os_lock_try(c, byte), 0);
	assert_int_equal(os_lock_try(b, byte), EAGAIN);
	assert_int_equal(os_lock_try(b, byte + 1), 0);
	assert_int_equal(os_lock_test(a, byte, &taken), 0);
	assert_false(taken);
	assert_int_equal(os_lock_test(b, byte, &taken), 0);
	assert_true(taken);
	os_close(a);
	assert_int_equal(os_lock_try(b, byte), EAGAIN);
	os_close(c);
	assert_int_equal(os_lock_try(b, byte), 0);
	os_unlock(b, byte);
	a = open_new(t, "f");
	assert_int_equal(os_lock_try(a, byte), 0);
	os_close(a);
	os_close(b);
}

static void
lock_test_range_finds_any_byte_in_it(void **state)
{
	const uint64_t first = (uint64_t)1 << 40;
	struct t *t = *state;
	int a = open_new(t, "f"), b = open_new(t, "f");
	bool taken;

	t_check(os_lock_try(a, first + 100) == 0);
	assert_int_equal(os_lock_test_range(b, first, 100, &taken), 0);
	assert_false(taken);
	assert_int_equal(os_lock_test_range(b, first, 101, &taken), 0);
	assert_true(taken);
	assert_int_equal(os_lock_test_range(b, first + 100, 1, &taken), 0);
	assert_true(taken);
	assert_int_equal(os_lock_test_range(b, first + 101, 100, &taken), 0);
	assert_false(taken);
	os_close(a);
	os_close(b);
}

static int
holds_a_lock(struct t_child *c, void *arg)
{
	int fd = open_new(arg, "f");

	t_check(os_lock_try(fd, 9) == 0);
	t_tell(c, 'l');
	t_await(c, 'g');
	os_unlock(fd, 9);
	t_tell(c, 'u');
	t_await(c, 'g');
	return 0;
}

static void
lock_wait_ends_at_unlock_kill_and_time(void **state)
{
	struct t *t = *state;
	struct t_child c;
	int fd = open_new(t, "f");

	t_fork(&c, holds_a_lock, t);
	t_await(&c, 'l');
	assert_int_equal(os_lock_wait(fd, 9, 0), EAGAIN);
	assert_int_equal(os_lock_wait(fd, 9, 20), EAGAIN);
	t_tell(&c, 'g');
	assert_int_equal(os_lock_wait(fd, 9, 10000), 0);
	t_await(&c, 'u');
	os_unlock(fd, 9);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);

	t_fork(&c, holds_a_lock, t);
	t_await(&c, 'l');
	assert_int_equal(os_lock_try(fd, 9), EAGAIN);
	t_kill(&c);
	assert_int_equal(os_lock_wait(fd, 9, 10000), 0);
	os_close(fd);
}

/* --- waiting ------------------------------------------------------------------------------- */

static uint32_t futex_word;

static void *
wakes(void *arg)
{
	(void)arg;
	store_seq(&futex_word, 1);
	os_futex_wake(&futex_word);
	return NULL;
}

static void
futex_wait_returns_at_wake_at_once_if_changed_and_in_time(void **state)
{
	pthread_t thread;

	(void)state;
	futex_word = 0;
	errno = EXDEV;
	os_futex_wait(&futex_word, 7, 60 * 1000000);
	os_futex_wait(&futex_word, 0, 1000);
	assert_int_equal(errno, EXDEV);
	t_check(pthread_create(&thread, NULL, wakes, NULL) == 0);
	while (load_seq(&futex_word) == 0)
		os_futex_wait(&futex_word, 0, 60 * 1000000);
	pthread_join(thread, NULL);
}

/* --- the machine --------------------------------------------------------------------------- */

static void
clocks_agree_with_the_kernel(void **state)
{
	uint64_t before = os_monotonic_usec();
	int64_t apart = (int64_t)os_now_usec() - os_now_nsec_coarse() / 1000;

	(void)state;
	assert_true(os_now_usec() / 1000000 - (uint64_t)time(NULL) + 2 < 4);
	assert_true(apart > -1000000 && apart < 1000000);
	os_sleep_usec(2000);
	assert_true(os_monotonic_usec() >= before + 2000);
}

static void
boot_id_is_the_kernels_and_stable(void **state)
{
	uint8_t a[16], b[16], zero[16] = { 0 };
	char hex[64] = "", *text;
	size_t i, n = 0;

	(void)state;
	os_boot_id(a);
	os_boot_id(b);
	assert_memory_equal(a, b, 16);
	assert_memory_not_equal(a, zero, 16);
	text = t_read_file("/proc/sys/kernel/random/boot_id", NULL);
	for (i = 0; text[i] != '\0'; i++)
		if (text[i] != '-' && text[i] != '\n')
			hex[n++] = text[i];
	free(text);
	for (i = 0; i < 16; i++) {
		char two[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		assert_int_equal(strtol(two, NULL, 16), a[i]);
	}
}

static int
says_its_start(struct t_child *c, void *arg)
{
	(void)arg;
	t_check(prctl(PR_SET_NAME, "a) R 1 (b 2") == 0);
	t_tell_u64(c, os_process_start(getpid()));
	t_await(c, 'g');
	return 0;
}

static void
process_start_survives_any_name_and_differs_from_none(void **state)
{
	struct t_child c;
	uint64_t own = os_process_start(getpid()), childs;

	(void)state;
	assert_true(own > 0);
	t_fork(&c, says_its_start, NULL);
	childs = t_await_u64(&c);
	assert_true(childs >= own);
	assert_true(childs < own + 3600 * 1000);
	assert_true(os_process_start(c.pid) == childs);
	t_kill(&c);
	assert_true(os_process_start(c.pid) == 0);
}

static void
random_differs_and_memory_is_plausible(void **state)
{
	(void)state;
	assert_true(os_random() != os_random());
	assert_true(os_page_size() >= 4096 && (os_page_size() & (os_page_size() - 1)) == 0);
	assert_true(os_memory_bytes() > 16 << 20);
	assert_int_equal(os_memory_bytes() % os_page_size(), 0);
}

static int
forks_again(struct t_child *c, void *arg)
{
	unsigned parents = *(unsigned *)arg, own = os_fork_generation();
	int status;
	pid_t pid;

	(void)c;
	t_check(own != parents);
	pid = fork();
	if (pid == 0)
		_exit(os_fork_generation() != own && os_fork_generation() != parents ? 0 : 1);
	t_check(waitpid(pid, &status, 0) == pid);
	t_check(os_fork_generation() == own);
	return status == 0 ? 0 : 1;
}

static void
fork_generation_changes_in_children_only(void **state)
{
	unsigned own = os_fork_generation();
	struct t_child c;

	(void)state;
	t_fork(&c, forks_again, &own);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(os_fork_generation(), own);
}

/* --- the fault hook ------------------------------------------------------------------------ */

static int
call_of_kind(enum os_call kind, int fd, const char *path)
{
	struct os_stat st;
	char byte = 0;
	void *p = NULL;
	size_t n;

	switch (kind) {
	case OS_OPEN:
		return os_open(path, O_RDONLY, 0, &fd);
	case OS_PREAD:
		return os_pread(fd, &byte, 1, 0, &n);
	case OS_PWRITE:
		return os_pwrite(fd, &byte, 1, 0);
	case OS_TRUNCATE:
		return os_ftruncate(fd, 0);
	case OS_ALLOCATE:
		return os_fallocate(fd, 0, 4096);
	case OS_FSYNC:
		return os_fsync(fd);
	case OS_STAT:
		return os_fstat(fd, &st);
	case OS_UNLINK:
		return os_unlink(path);
	case OS_MAP:
		return os_map(fd, 4096, 4096, &p);
	case OS_LOCK:
		return os_lock_try(fd, 1);
	case OS_MALLOC:
		return os_calloc(1, 1, &p);
	case OS_SHM:
		return os_shm_attach(-1, &p);
	case OS_BARRIER:
		return os_barrier_all();
	case OS_CLOSE:
	case OS_CALLS:
	default:
		return -1;
	}
}

static void
every_kind_of_call_can_be_made_to_fail(void **state)
{
	struct t *t = *state;
	int fd = open_new(t, "f");
	enum os_call kind;
	struct os_stat st;

	for (kind = 0; kind < OS_CALLS; kind++) {
		if (kind == OS_CLOSE)
			continue;
		t_fault(kind, 1, ENFILE);
		assert_int_equal(call_of_kind(kind, fd, t_path(t, "f")), ENFILE);
		assert_true(t_fault_off());
	}
	/* None of them had any effect. */
	assert_int_equal(os_stat(t_path(t, "f"), &st), 0);
	assert_int_equal(st.size, 0);
	t_fault(OS_CLOSE, 1, EIO);
	os_close(fd);
	assert_true(t_fault_off());
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(error_goes_to_callback_with_prefix_and_keeps_errno),
		t_test(error_goes_to_file_when_there_is_no_callback),
		t_test(warnings_and_events_depend_on_verbosity),
		t_test(sentence_too_long_is_cut),
		t_test(strerror_knows_every_code),
		t_test(version_is_0_1_0),
		t_test(open_is_close_on_exec_and_writes_fd_only_on_success),
		t_test(stat_tells_hard_links_are_one_file_and_copies_are_not),
		t_test(times_outside_of_64_bits_are_clamped),
		t_test(futimens_sets_mtime_alone_before_1970_too),
		t_test(truncate_allocate_and_unlink_do_what_they_say),
		t_test(pread_is_short_only_at_the_end),
		t_test(preadv_fills_buffers_in_order),
		t_test(map_is_aligned_shared_and_exact),
		t_test(map_without_file_is_zeroed_and_private),
		t_test(calloc_is_zeroed),
		t_test(lock_belongs_to_the_open_file_description),
		t_test(lock_test_range_finds_any_byte_in_it),
		t_test(lock_wait_ends_at_unlock_kill_and_time),
		t_test(futex_wait_returns_at_wake_at_once_if_changed_and_in_time),
		t_test(clocks_agree_with_the_kernel),
		t_test(boot_id_is_the_kernels_and_stable),
		t_test(process_start_survives_any_name_and_differs_from_none),
		t_test(random_differs_and_memory_is_plausible),
		t_test(fork_generation_changes_in_children_only),
		t_test(every_kind_of_call_can_be_made_to_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
