/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * litmus.h - what the litmus tests share: the words through which the two sides speak, and what
 * each of them does to the file.
 */
#ifndef TESTS_LITMUS_H
#define TESTS_LITMUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <poolfs/mpool.h>

#include "base/atomics.h"
#include "base/os.h"

#define PAGE 4096u
#define PAGES 64u
#define WATCHDOG_SEC 100

struct shared {
	uint32_t turn;
	uint32_t stop;
	uint64_t done;	/* the number that was put last */
	uint64_t other; /* the number that was written last */
	uint64_t acted[16];
};

extern struct shared *sh;
extern const char *home;
extern const char *name; /* of the test, and of its file */
extern char path[4096];	 /* of the file, in the mount */
extern char path_in_home[4096];
extern const char *names[2]; /* of acts, or NULL */
extern unsigned long rounds;
extern uint64_t seed;

#define MUST(cond)                                                                                 \
	do                                                                                         \
		if (!(cond))                                                                       \
			fail(__FILE__, __LINE__, #cond);                                           \
	while (0)

void fail(const char *in, int line, const char *what) __attribute__((noreturn));
void must_see(const char *who, unsigned long round, uint64_t wanted, uint64_t got);
uint64_t dice(void);

/* Wait until the turn is ours; if the other one has given up this process ends. */
void await(uint32_t turn);
/* Until somebody has passed on that turn; it may be another's again by then. */
void await_not(uint32_t turn);
void pass(uint32_t turn);

/* --- the two sides --------------------------------------------------------------------------- */

extern DB_MPOOL *pool;
extern DB_MPOOLFILE *file;
extern int fd;
extern char *map;

void open_in_mount(int flags);
void make_file(void);
void map_file(void);
void attach(void);
void open_in_pool(void);
void leave_pool(void);

uint64_t get_number(unsigned pgno, unsigned at);
void put_number(unsigned pgno, unsigned at, uint64_t n);
uint64_t read_number(unsigned pgno, unsigned at);
void write_number(unsigned pgno, unsigned at, uint64_t n);

static inline off_t
place(unsigned pgno, unsigned at)
{
	return (off_t)pgno * PAGE + (off_t)at;
}

/* As it is mapped. */
static inline volatile uint64_t *
word_at(unsigned pgno, unsigned at)
{
	return (volatile uint64_t *)(void *)(map + place(pgno, at));
}

/* --- ends.c ---------------------------------------------------------------------------------- */

void program_sees_growth(void);
void client_grows(void);
void program_is_cut(void);
void client_cuts_stores(void);
void program_writes_cut(void);
void client_cuts_writes(void);
void program_cuts_beside(void);
void client_puts_beside_cut(void);
void program_punches(void);
void client_puts_beside_hole(void);

/* --- pairs.c --------------------------------------------------------------------------------- */

/* The two that are named, beside each other: does anything wait for ever? */
void cross_pair(void);

/*
 * The one that is named, or all.  Says "running"; when "ended" comes in the mount has, and clients
 * still have to get on; when anything else does, all have to.
 */
void go_on_beside(void);

/*
 * Says "stop it"; when a line comes in, the mount is stopped: a put returns though, and after the
 * next line, when the mount goes on, and has answered an open, nothing is stale.
 */
void be_patient(void);

#endif
