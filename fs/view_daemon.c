/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_daemon.c - stat/daemon, stat/events and stat/check: the process behind the mount.
 *
 * All of it is in the daemon's own memory: no view here touches the pool, so they tell also of a
 * mount whose pool is damaged or gone.
 */
#include "view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "events.h"
#include "state.h"

struct daemon_view {
	uint64_t pid, start_usec, uptime_usec;
	uint64_t requests;
	uint64_t events, last_event_usec;
	uint64_t threads, descriptors, dirty_expire_usec, read_only;
	uint64_t kernel_files, kernel_drops, kernel_merges, kernel_late;
	const char *version, *home, *mountpoint, *memory, *last_error, *cache;
	struct event error;
};

static const struct field daemon_fields[] = {
#define STAT_DAEMON(key, expression, kind, unit, metric, help)                                     \
	{ #key, FIELD_##kind, #unit, metric, 0, help },
#include "stat.def"
};

static uint64_t
requests_served(const struct fs *fs)
{
	uint64_t n = 0;

	for (int r = 0; r < REQUESTS; r++)
		for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
			n += __atomic_load_n(&fs->requests[r].le[i], __ATOMIC_RELAXED);
	return n;
}

static void
describe(struct fs *fs, struct daemon_view *v)
{
	uint64_t now = os_now_usec();

	*v = (struct daemon_view){
		.pid = (uint64_t)getpid(),
		.start_usec = (uint64_t)fs->start_nsec / 1000,
		.requests = requests_served(fs),
		.events = events_last(),
		.last_event_usec = events_last_usec(),
		.threads = fs->opt->threads,
		.dirty_expire_usec = (uint64_t)fs->opt->dirty_expire * 1000000,
		.read_only = fs->opt->read_only,
		.version = POOLFS_VERSION,
		.home = fs->opt->home,
		.mountpoint = fs->opt->mountpoint,
		.memory = fs_memory_words[fs->opt->memory],
	};
	v->uptime_usec = now > v->start_usec ? now - v->start_usec : 0;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	v->descriptors = fs->nodes.open_fds;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	events_last_error(&v->error);
	coherence_look(fs, &v->cache, &v->kernel_files);
	v->kernel_drops = atomic_load(&fs->coherence.dropped);
	v->kernel_merges = atomic_load(&fs->coherence.merged);
	v->kernel_late = coherence_late(fs);
}

static int
fill_daemon(struct fs *fs, struct sheet *s)
{
	struct daemon_view view, *v = &view;

	describe(fs, v);
	v->last_error = v->error.seq == 0 ? "-" : sheet_keep(s, strdup(v->error.text));
	const struct value row[] = {
#define STAT_DAEMON(key, expression, kind, unit, metric, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
	return 0;
}

const struct view view_daemon = { "daemon", daemon_fields,
	sizeof(daemon_fields) / sizeof(daemon_fields[0]), SHEET_KEYS, fill_daemon };

/* --- stat/check ---------------------------------------------------------------------------- */

static const struct field check_fields[] = {
#define STAT_CHECK(key, expression, kind, unit, metric, help)                                      \
	{ #key, FIELD_##kind, #unit, metric, 0, help },
#include "stat.def"
};

struct checked {
	uint64_t usec, took_usec, faults, checks;
	int result;
	const char *first;
};

static int
fill_check(struct fs *fs, struct sheet *s)
{
	struct check_result found;
	struct checked own, *c = &own;

	ctl_checked(fs, &found);
	own = (struct checked){ found.usec, found.took_usec, found.faults, found.checks,
		found.result, found.first[0] == '\0' ? "-" : sheet_keep(s, strdup(found.first)) };
	const struct value row[] = {
#define STAT_CHECK(key, expression, kind, unit, metric, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
	return 0;
}

const struct view view_check = { "check", check_fields,
	sizeof(check_fields) / sizeof(check_fields[0]), SHEET_KEYS, fill_check };

/* --- stat/events --------------------------------------------------------------------------- */

static const struct field events_fields[] = {
#define STAT_EVENTS(key, expression, kind, unit, width, help)                                      \
	{ #key, FIELD_##kind, #unit, "", width, help },
#include "stat.def"
};

static const char *
event_level(int priority)
{
	static const char *const words[] = { "emerg", "alert", "crit", "err", "warning", "notice",
		"info", "debug" };

	return words[priority & 7];
}

static int
fill_events(struct fs *fs, struct sheet *s)
{
	struct event *events;
	unsigned n;

	(void)fs;
	if ((events = calloc(EVENTS_KEPT, sizeof(*events))) == NULL)
		return ENOMEM;
	n = events_copy(events, EVENTS_KEPT);
	for (const struct event *e = events; e < events + n; e++) {
		const struct value row[] = {
#define STAT_EVENTS(key, expression, kind, unit, width, help) VALUE_##kind(expression),
#include "stat.def"
		};

		sheet_add(s, row);
	}
	(void)sheet_keep(s, (char *)events);
	return 0;
}

const struct view view_events = { "events", events_fields,
	sizeof(events_fields) / sizeof(events_fields[0]), SHEET_TABLE, fill_events };
