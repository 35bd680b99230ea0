/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: the power goes off.  What reaches the files of three processes at seeded work (puts,
 * evictions, truncations, syncs) is recorded at the system calls, which this program defines
 * itself; then the power is cut behind each record: what a file's fsync(2) covered is there, of
 * what came later all, or any sectors, in the order of their writing.  Each time the disk must hold
 * what memp_sync, memp_fsync and the mount's fsync had promised by then.
 *
 * A sector holds who wrote it: file, place and a number that rises with every put.  Processes work
 * in turns, so that what was put before a sync is exact; or all at once, and then each page is put
 * by one process, and a sync promises what had been put when it began.
 *
 * POWER_RUNS=N runs N seeds instead of a few.
 */
#include "../pool_t.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "pool/look.h"

#define PS 4096u
#define SECTOR 512u
#define SECTORS (PS / SECTOR)
#define FILES 2u
#define PAGES 24u
#define FILE_BYTES (PAGES * PS)
#define WORKERS 3u
#define OPS 150u
#define RECORDS_MOST 20000u
#define SLOW_USEC 100u
#define DATA_MOST ((size_t)64 << 20)

enum what { R_WRITE, R_CUT, R_FSYNC, R_LENGTH, R_PROMISE, R_NOTHING };

/* R_LENGTH: the file is about to have so many pages.  R_PROMISE: number[] is on disk now. */
struct record {
	uint32_t ready;
	enum what what;
	unsigned file;
	uint64_t offset; /* R_CUT: the length; R_FSYNC: records before this one are covered */
	size_t bytes;	 /* of R_WRITE */
	size_t data;	 /* where in the recorder's */
	uint32_t number[PAGES];
	uint32_t highest; /* number so far */
	unsigned pages;
};

/* Shared by all processes of a run. */
struct recorder {
	uint64_t ino[FILES];
	uint32_t on;
	uint32_t slow_usec; /* a write takes so long, so that others come meanwhile */
	uint32_t highest;
	uint32_t put[FILES][PAGES]; /* the number last put */
	unsigned pages[FILES];
	uint32_t used;
	size_t data_used;
	struct record records[RECORDS_MOST];
	uint8_t data[DATA_MOST];
};

static struct recorder *rec;

/* --- recording ------------------------------------------------------------------------------- */

static int
file_of_fd(int fd)
{
	struct stat st;

	if (rec == NULL || !load_acquire(&rec->on) || fstat(fd, &st) != 0)
		return -1;
	for (unsigned i = 0; i < FILES; i++)
		if (rec->ino[i] == st.st_ino)
			return (int)i;
	return -1;
}

static struct record *
record_new(enum what what, unsigned file)
{
	uint32_t i = add_seq(&rec->used, 1);
	struct record *r = &rec->records[i];

	t_check(i < RECORDS_MOST);
	r->what = what;
	r->file = file;
	return r;
}

ssize_t
pwrite(int fd, const void *buf, size_t bytes, off_t offset)
{
	int file = file_of_fd(fd);
	struct record *r;
	ssize_t n;

	if (file != -1)
		os_sleep_usec(rec->slow_usec);
	n = syscall(SYS_pwrite64, fd, buf, bytes, offset);
	if (n <= 0 || file == -1)
		return n;
	r = record_new(R_WRITE, (unsigned)file);
	r->offset = (uint64_t)offset;
	r->bytes = (size_t)n;
	r->data = add_seq(&rec->data_used, (size_t)n);
	t_check(r->data + r->bytes <= DATA_MOST);
	memcpy(rec->data + r->data, buf, r->bytes);
	store_release(&r->ready, 1);
	return n;
}

int
ftruncate(int fd, off_t length)
{
	int ret = (int)syscall(SYS_ftruncate, fd, length), file = file_of_fd(fd);
	struct record *r;

	if (ret != 0 || file == -1)
		return ret;
	r = record_new(R_CUT, (unsigned)file);
	r->offset = (uint64_t)length;
	store_release(&r->ready, 1);
	return ret;
}

int
fsync(int fd)
{
	uint64_t before = rec == NULL ? 0 : load_seq(&rec->used);
	int ret = (int)syscall(SYS_fsync, fd), file = file_of_fd(fd);
	struct record *r;

	if (ret != 0 || file == -1)
		return ret;
	r = record_new(R_FSYNC, (unsigned)file);
	r->offset = before;
	store_release(&r->ready, 1);
	return ret;
}

/* --- the work -------------------------------------------------------------------------------- */

struct worker {
	struct t_child child;
	struct t *t;
	unsigned self;
	uint64_t seed;
	bool in_turns;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f[FILES];
};

static const char *const names[FILES] = { "f", "g" };

static unsigned
draw(uint64_t *seed, unsigned n)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)((*seed >> 33) % n);
}

static void
stamp_page(uint8_t *page, unsigned file, unsigned n, uint32_t number)
{
	for (unsigned s = 0; s < SECTORS; s++)
		for (unsigned i = 0; i < SECTOR; i += 16) {
			const uint32_t stamp[4] = { file + 1, n, number, s };

			memcpy(page + s * SECTOR + i, stamp, sizeof(stamp));
		}
}

static void
length_will_be(struct worker *w, unsigned file, unsigned pages)
{
	struct record *r;

	if (!w->in_turns || rec->pages[file] == pages)
		return;
	r = record_new(R_LENGTH, file);
	r->pages = pages;
	for (unsigned n = pages; n < rec->pages[file]; n++)
		rec->put[file][n] = 0;
	rec->pages[file] = pages;
	store_release(&r->ready, 1);
}

static void
put_page(struct worker *w, unsigned file, unsigned n)
{
	uint32_t number = add_seq(&rec->highest, 1) + 1;
	uint8_t *page;

	if (n >= rec->pages[file])
		length_will_be(w, file, n + 1);
	page = get(w->f[file], n, DB_MPOOL_CREATE);
	stamp_page(page, file, n, number);
	put(w->f[file], page, DB_MPOOL_DIRTY);
	store_seq(&rec->put[file][n], number);
}

/* A page that is made and not changed makes the file longer, too. */
static void
make_page(struct worker *w, unsigned file, unsigned n)
{
	if (n >= rec->pages[file])
		length_will_be(w, file, n + 1);
	put(w->f[file], get(w->f[file], n, DB_MPOOL_CREATE), 0);
}

struct snapshot {
	uint32_t number[FILES][PAGES];
	unsigned pages[FILES];
	uint32_t highest;
};

static void
take_snapshot(struct snapshot *s)
{
	s->highest = load_seq(&rec->highest);
	for (unsigned file = 0; file < FILES; file++) {
		s->pages[file] = rec->pages[file];
		for (unsigned n = 0; n < PAGES; n++)
			s->number[file][n] = load_seq(&rec->put[file][n]);
	}
}

static void
promised(const struct snapshot *s, unsigned file)
{
	struct record *r = record_new(R_PROMISE, file);

	memcpy(r->number, s->number[file], sizeof(r->number));
	r->pages = s->pages[file];
	r->highest = s->highest;
	store_release(&r->ready, 1);
}

static const struct os_ident *
ident_of(struct worker *w, unsigned file)
{
	static struct os_stat st;

	must(os_stat(t_path(w->t, names[file]), &st));
	return &st.ident;
}

/* DB_INCOMPLETE promises nothing, and is only for those who are not alone. */
static void
sync_something(struct worker *w, unsigned how, unsigned file)
{
	struct snapshot s;
	int ret;

	take_snapshot(&s);
	ret = how == 0 ? memp_sync(w->mp, NULL) :
	    how == 1   ? memp_fsync(w->f[file]) :
	    how == 2   ? mpool_file_sync(w->f[file], false) :
			 mpool_sync_ident(w->mp, ident_of(w, file));
	t_check(ret == 0 || (ret == DB_INCOMPLETE && !w->in_turns));
	for (unsigned i = 0; i < FILES && ret == 0; i++)
		if (how == 0 || i == file)
			promised(&s, i);
}

static void
open_again(struct worker *w, unsigned file)
{
	if (w->f[file] != NULL)
		must(memp_fclose(w->f[file]));
	w->f[file] = file_of(w->mp, names[file], PS);
}

static void
cut_file(struct worker *w, unsigned file, unsigned pages)
{
	length_will_be(w, file, pages);
	must(memp_ftruncate(w->f[file], (off_t)pages * PS));
}

/* A page that this worker may put. */
static unsigned
own_page(struct worker *w)
{
	unsigned n = draw(&w->seed, PAGES);

	return w->in_turns ? n : n - n % WORKERS + w->self;
}

static void
one_operation(struct worker *w)
{
	unsigned file = draw(&w->seed, FILES), wrote, what = draw(&w->seed, 32);

	if (what < 20)
		put_page(w, file, own_page(w));
	else if (what < 24)
		sync_something(w, what % 4, file);
	else if (what == 24)
		must(memp_trickle(w->mp, 100, (int *)&wrote));
	else if (what == 25)
		must(mpool_file_sync(w->f[file], true));
	else if (what == 26)
		open_again(w, file);
	else if (what < 29)
		make_page(w, file, own_page(w));
	else if (w->in_turns)
		cut_file(w, file, draw(&w->seed, PAGES + 1));
}

static int
works(struct t_child *c, void *arg)
{
	struct worker *w = arg;

	w->mp = pool_of(w->t, 48 * KIB);
	for (unsigned file = 0; file < FILES; file++)
		open_again(w, file);
	t_tell(c, 'r');
	if (w->in_turns)
		while (t_await_u64(c) != 0) {
			one_operation(w);
			t_tell(c, 'd');
		}
	else {
		t_await(c, 'g');
		for (unsigned i = 0; i < OPS; i++)
			one_operation(w);
	}
	for (unsigned file = 0; file < FILES; file++)
		must(memp_fclose(w->f[file]));
	must(memp_close(w->mp));
	return 0;
}

static void
start_workers(struct t *t, struct worker *w, uint64_t seed, bool in_turns)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){
			.t = t, .self = i, .in_turns = in_turns, .seed = seed * WORKERS + i
		};
		t_fork(&w[i].child, works, &w[i]);
		t_await(&w[i].child, 'r');
	}
}

static void
let_them_work(struct worker *w, uint64_t seed, bool in_turns)
{
	for (unsigned i = 0; in_turns && i < WORKERS * OPS; i++) {
		struct worker *one = &w[draw(&seed, WORKERS)];

		t_tell_u64(&one->child, 1);
		t_await(&one->child, 'd');
	}
	for (unsigned i = 0; i < WORKERS; i++)
		if (in_turns)
			t_tell_u64(&w[i].child, 0);
		else
			t_tell(&w[i].child, 'g');
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(t_join(&w[i].child), 0);
}

/* --- the disk -------------------------------------------------------------------------------- */

struct disk {
	uint64_t length;
	uint8_t bytes[FILE_BYTES];
};

static struct disk safe[FILES], now;
static uint32_t safe_until[FILES]; /* records before this one are in safe[] */

static void
set_length(struct disk *d, uint64_t length)
{
	t_check(length <= FILE_BYTES);
	if (length < d->length)
		memset(d->bytes + length, 0, d->length - length);
	d->length = length;
}

/* which: of the sectors that a write has; all if it is NULL. */
static void
apply(struct disk *d, const struct record *r, uint64_t *which)
{
	if (r->what == R_CUT && (which == NULL || draw(which, 2) == 0))
		set_length(d, r->offset);
	for (size_t i = 0; r->what == R_WRITE && i < r->bytes; i += SECTOR) {
		if (which != NULL && draw(which, 2) == 0)
			continue;
		t_check(r->offset + i + SECTOR <= FILE_BYTES);
		if (d->length < r->offset + i + SECTOR)
			d->length = r->offset + i + SECTOR;
		memcpy(d->bytes + r->offset + i, rec->data + r->data + i, SECTOR);
	}
}

static void
apply_range(struct disk *d, unsigned file, uint32_t from, uint32_t to, uint64_t *which)
{
	for (uint32_t i = from; i < to; i++)
		if (rec->records[i].file == file)
			apply(d, &rec->records[i], which);
}

/* The sector's number, 0 for zeros; not a sector of this place fails the test. */
static uint32_t
number_of(const struct disk *d, unsigned file, unsigned n, unsigned s)
{
	const uint8_t *sector = d->bytes + n * PS + s * SECTOR;
	uint32_t stamp[4];

	memcpy(stamp, sector, sizeof(stamp));
	if (stamp[0] == 0) {
		t_check(others(sector, SECTOR, 0) == 0);
		return 0;
	}
	t_check(stamp[0] == file + 1 && stamp[1] == n && stamp[3] == s && stamp[2] > 0);
	t_check(memcmp(sector, sector + 16, SECTOR - 16) == 0);
	return stamp[2];
}

/*
 * The same where all work at once: a sync writes a page that somebody has pinned as it is just
 * then, half stamped perhaps.  The least of the numbers.
 */
static uint32_t
least_number_of(const struct disk *d, unsigned file, unsigned n, unsigned s)
{
	const uint8_t *sector = d->bytes + n * PS + s * SECTOR;
	uint32_t stamp[4], least = UINT32_MAX;

	for (unsigned i = 0; i < SECTOR; i += sizeof(stamp)) {
		memcpy(stamp, sector + i, sizeof(stamp));
		t_check(stamp[0] == 0 || stamp[0] == file + 1);
		t_check(stamp[1] == 0 || stamp[1] == n);
		t_check(stamp[3] == 0 || stamp[3] == s);
		if (stamp[2] < least)
			least = stamp[2];
	}
	return least;
}

/* --- what must be there ---------------------------------------------------------------------- */

struct promise {
	const struct record *r; /* NULL: none yet */
	unsigned least, most;	/* pages that the file may have had since */
};

static bool
is_kept(const struct promise *p, unsigned n, uint32_t number, bool in_turns)
{
	if (number == p->r->number[n])
		return true;
	if (!in_turns)
		return number > p->r->number[n];
	return number > p->r->highest || (number == 0 && n >= p->least);
}

static unsigned cuts_checked;

static void
check_disk(const struct disk *d, unsigned file, const struct promise *p, bool in_turns)
{
	cuts_checked++;
	for (unsigned n = 0; n < PAGES; n++)
		for (unsigned s = 0; s < SECTORS; s++) {
			uint32_t number =
			    in_turns ? number_of(d, file, n, s) : least_number_of(d, file, n, s);

			if (p->r == NULL || n >= p->r->pages || is_kept(p, n, number, in_turns))
				continue;
			(void)dprintf(STDOUT_FILENO,
			    "# file %u page %u sector %u: number %u, promised %u by record %u\n",
			    file, n, s, number, p->r->number[n], (unsigned)(p->r - rec->records));
			t_check(!"what was promised is on disk");
		}
	if (p->r == NULL || !in_turns)
		return;
	if (d->length < (uint64_t)p->least * PS || d->length > (uint64_t)p->most * PS)
		(void)dprintf(STDOUT_FILENO,
		    "# file %u has %u pages; %u were promised by record %u, and %u to %u since\n",
		    file, (unsigned)(d->length / PS), p->r->pages, (unsigned)(p->r - rec->records),
		    p->least, p->most);
	t_check(d->length >= (uint64_t)p->least * PS);
	t_check(d->length <= (uint64_t)p->most * PS);
}

/* The record was made: what does it change for the disk, and for what was promised? */
static void
account(const struct record *r, uint32_t i, struct promise *p)
{
	if (r->what == R_FSYNC && r->offset > safe_until[r->file]) {
		apply_range(
		    &safe[r->file], r->file, safe_until[r->file], (uint32_t)r->offset, NULL);
		safe_until[r->file] = (uint32_t)r->offset;
	} else if (r->what == R_PROMISE)
		*p = (struct promise){ &rec->records[i], r->pages, r->pages };
	else if (r->what == R_LENGTH) {
		p->least = r->pages < p->least ? r->pages : p->least;
		p->most = r->pages > p->most ? r->pages : p->most;
	}
}

static void
cut_everywhere(uint64_t seed, bool in_turns)
{
	struct promise p[FILES] = { 0 };

	for (uint32_t i = 0; i < rec->used; i++) {
		const struct record *r = &rec->records[i];
		unsigned file = r->file;

		t_check(load_acquire(&r->ready));
		account(r, i, &p[file]);
		for (unsigned k = 0; k < 3; k++) {
			now = safe[file];
			apply_range(&now, file, safe_until[file], i + 1, k == 0 ? NULL : &seed);
			check_disk(&now, file, &p[file], in_turns);
		}
	}
}

/* Nothing reached the files but what was recorded. */
static void
all_was_recorded(struct t *t)
{
	for (unsigned file = 0; file < FILES; file++) {
		size_t have;
		char *data = t_read_file(t_path(t, names[file]), &have);

		now = safe[file];
		apply_range(&now, file, safe_until[file], rec->used, NULL);
		t_check(have == now.length && memcmp(data, now.bytes, have) == 0);
		free(data);
	}
}

/* --- runs ------------------------------------------------------------------------------------ */

static void
begin(struct t *t, bool in_turns)
{
	rec = mmap(NULL, sizeof(*rec), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	t_check(rec != MAP_FAILED);
	memset(safe, 0, sizeof(safe));
	memset(safe_until, 0, sizeof(safe_until));
	for (unsigned file = 0; file < FILES; file++) {
		struct stat st;

		t_write_file(t_path(t, names[file]), "", 0);
		t_check(stat(t_path(t, names[file]), &st) == 0);
		rec->ino[file] = st.st_ino;
		rec->pages[file] = in_turns ? 0 : PAGES;
	}
	rec->slow_usec = in_turns ? 0 : SLOW_USEC;
	store_release(&rec->on, 1);
}

static void
run_once(struct t *t, uint64_t seed, bool in_turns)
{
	struct worker w[WORKERS];

	begin(t, in_turns);
	start_workers(t, w, seed, in_turns);
	let_them_work(w, seed, in_turns);
	cut_everywhere(seed, in_turns);
	all_was_recorded(t);
	must(memp_unlink(NULL, 1, env_of(t, 0)));
	t_check(munmap(rec, sizeof(*rec)) == 0);
	rec = NULL;
}

static void
run_seeds(struct t *t, bool in_turns)
{
	const char *runs = getenv("POWER_RUNS");
	unsigned n = runs != NULL ? (unsigned)atoi(runs) : 4;

	cuts_checked = 0;
	for (uint64_t seed = 1; seed <= n; seed++) {
		t_seconds(T_TEST_SECONDS);
		run_once(t, seed, in_turns);
	}
	print_message("# %u seeds, %u disks after a cut\n", n, cuts_checked);
}

static void
mpool_power_cut_loses_nothing_that_a_sync_promised(void **state)
{
	run_seeds(*state, true);
}

static void
mpool_power_cut_under_concurrent_work_loses_nothing_that_a_sync_promised(void **state)
{
	run_seeds(*state, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_power_cut_loses_nothing_that_a_sync_promised),
		t_test(mpool_power_cut_under_concurrent_work_loses_nothing_that_a_sync_promised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
