/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * t.h - what the tests share beyond cmocka: a directory per test, children that can be waited for,
 * killed and stopped, and system calls that fail on demand.
 *
 * Nothing here sleeps.  Who waits, waits for a byte in a pipe or for a process's end, at most
 * T_WAIT_SECONDS, and fails the test with a sentence after that.  A test as a whole has
 * T_TEST_SECONDS.  Both are multiplied by the environment variable T_SLOW (for sanitizers).
 *
 *	static int
 *	holds_a_pin(struct t_child *c, void *arg)
 *	{
 *		... t_check(memp_fget(...) == 0);
 *		t_tell(c, 'p');			// "pinned"
 *		t_await(c, 'g');		// until the parent says go
 *		return (0);			// the child's exit status
 *	}
 *
 *	static void
 *	pool_with_a_pinned_page_keeps_it(void **state)
 *	{
 *		struct t *t = *state;
 *		struct t_child c;
 *
 *		t_fork(&c, holds_a_pin, t);
 *		t_await(&c, 'p');
 *		...
 *		t_tell(&c, 'g');
 *		assert_int_equal(t_join(&c), 0);
 *	}
 *
 *	int
 *	main(void)
 *	{
 *		const struct CMUnitTest tests[] = { t_test(pool_with_a_pinned_page_keeps_it) };
 *
 *		return (cmocka_run_group_tests(tests, NULL, NULL));
 *	}
 */
#ifndef TESTS_T_H
#define TESTS_T_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/os.h"

#define T_WAIT_SECONDS 20 /* for one event */
#define T_TEST_SECONDS 60 /* for one test */

/* What a test finds in *state. */
struct t {
	char dir[256]; /* an empty directory, removed with all that is in it afterwards */
	const char *name; /* of the test */
};

/* A line of the table of tests: fn runs with a fresh struct t and under the watchdog. */
#define t_test(fn)                                                                                 \
	{                                                                                          \
		#fn, fn, t_setup, t_teardown, (void *)#fn                              \
	}
int t_setup(void **state);
int t_teardown(void **state);

/* "dir/name".  From a small ring of static buffers: good for eight calls. */
const char *t_path(const struct t *t, const char *name);

/* Write a file of the test's directory whole; read one whole (from malloc, NUL behind it). */
void t_write_file(const char *path, const void *data, size_t bytes);
char *t_read_file(const char *path, size_t *bytesp);

/* Change bytes of a file. */
void t_poke(const char *path, size_t at, const void *bytes, size_t n);

/* Remove a directory and all that is in it, on this file system; 0 or -1. */
int t_remove_tree(const char *path);

/* T_SLOW; 1 if it is not set. */
unsigned t_slow_factor(void);

/* Give the running test more than T_TEST_SECONDS, from now. */
void t_seconds(unsigned seconds);

/* End the running test as skipped; the sentence says why. */
void t_skip(const char *why);

/*
 * An assertion that also serves in children and threads, where cmocka's would jump into the runner:
 * there it prints the sentence and ends the process with status 99.
 */
#define t_check(e) ((e) ? (void)0 : t_check_failed(__FILE__, __LINE__, #e))
void t_check_failed(const char *file, int line, const char *text);

/* --- children ------------------------------------------------------------------------------ */

struct t_child {
	pid_t pid; /* in the child: its own */
	int in;	   /* bytes from the other side */
	int out;   /* bytes to the other side */
};

/*
 * Fork a child that runs fn and exits with what it returns.  It dies with the test (PDEATHSIG), and
 * assertions of cmocka in it abort it.
 */
void t_fork(struct t_child *c, int (*fn)(struct t_child *c, void *arg), void *arg);

/* Either side: send one byte; wait for one byte, which must be this one. */
void t_tell(struct t_child *c, char byte);
void t_await(struct t_child *c, char byte);
/* Numbers through the same pipes. */
void t_tell_u64(struct t_child *c, uint64_t v);
uint64_t t_await_u64(struct t_child *c);
/* Whether a byte is there already; takes nothing. */
int t_told(struct t_child *c);

/* Wait for the child's end: its exit status, or 128 + the signal that killed it. */
int t_join(struct t_child *c);
/* SIGKILL, and wait until it is gone.  A child that has ended already fails the test. */
void t_kill(struct t_child *c);
/* SIGSTOP, and wait until it stands still; SIGCONT. */
void t_stop(struct t_child *c);
void t_continue(struct t_child *c);

/* --- faults -------------------------------------------------------------------------------- */

#define T_FAULT_KILL (-1) /* instead of an errno: SIGKILL to the calling process */
#define T_FAULT_STOP (-3) /* SIGSTOP to it; when it goes on, the call is made */
#define T_FAULT_ANY OS_CALLS

/*
 * The n-th (from 1) system call of core of this kind from now on fails with error, or kills or
 * stops the process; those after it succeed again.  t_fault_off() returns whether it came to that,
 * so that a test can loop over n until a run has seen every call.
 */
void t_fault(enum os_call kind, unsigned n, int error);
/* Every call of this kind fails until t_fault_off. */
void t_fault_always(enum os_call kind, int error);
int t_fault_off(void);

#endif
