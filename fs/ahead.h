/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ahead.h - files that are read in order are read ahead of their readers, by a thread.
 */
#ifndef FS_AHEAD_H
#define FS_AHEAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "node.h"

struct file;
struct fs;

#define AHEAD_STREAMS 4u

/* A place in a file where somebody reads in order. */
struct stream {
	uint64_t next;	/* atomic: where its next request would begin; 0: there is none */
	uint64_t mark;	/* atomic: a request that gets there asks for more; 0: nothing was asked */
	uint64_t began; /* [a] */
	uint64_t done;	/* [a] read ahead up to here */
	uint64_t to;	/* [a] to be read ahead up to here */
};

/* The streams of a file. */
struct ahead_file {
	struct stream streams[AHEAD_STREAMS];
	unsigned turn;	  /* [a] the one that is given up for another */
	struct link link; /* [a] in ahead.files, with a reference to the node; else alone */
};

/* [a]: guarded by ahead.lock, under which nothing but nodes.lock is taken. */
struct ahead {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct link files; /* [a] of which something is to be read */
	uint64_t most;	   /* atomic: bytes, ahead of one reader */
	bool stop;	   /* [a] */
	bool runs;
	pthread_t thread;
};

void ahead_init(struct fs *fs);
int ahead_start(struct fs *fs);
void ahead_stop(struct fs *fs);

/* The pool holds so many bytes. */
void ahead_set_room(struct fs *fs, uint64_t cache_bytes);

void ahead_file_init(struct ahead_file *a);

/* A request for [from, to) of a file; the caller holds it. */
void ahead_request(struct fs *fs, struct file *f, uint64_t from, uint64_t to);
/* The same once it is known that pages of it are missing. */
void ahead_missing(struct fs *fs, struct file *f, uint64_t from, uint64_t to);

#endif
