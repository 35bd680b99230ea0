/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_options.c - the command line.
 *
 * Every long option has a twin for -o (its name, dashes as underscores or as they are), so that a
 * line of fstab can say all that a command line can.  Words that mount(8) knows are passed on
 * where they mean something to the kernel, and ignored where they are for mount(8) itself.  A
 * word that nobody knows is an error here, before anything was done.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolfs/env.h>

#include "base/os.h"
#include "poolfs.h"

#define MIB ((uint64_t)1 << 20)
#define CACHE_DEFAULT_MOST (256 * MIB)
#define CACHE_LEAST 20480u
#define PAGE_DEFAULT 4096u
#define EXPIRE_DEFAULT 30u
#define THREADS_DEFAULT 16u
#define TIMEOUT_DEFAULT 60u
#define DIR_TIMEOUT_CACHED 1u

/* For the kernel, through libfuse. */
static const char *const kernel_words[] = { "rw", "suid", "nosuid", "dev", "nodev", "exec",
	"noexec", "async", "atime", "noatime", "nodiratime", "norelatime", "nostrictatime",
	"dirsync", "auto_unmount", NULL };

/* For mount(8), systemd and their like. */
static const char *const ignored_words[] = { "defaults", "auto", "noauto", "user", "nouser",
	"users", "nousers", "owner", "group", "_netdev", "nofail", "relatime", "strictatime",
	"diratime", "default_permissions", NULL };

static bool
is_one_of(const char *word, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(word, *list) == 0)
			return true;
	return false;
}

static bool
has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* --- values -------------------------------------------------------------------------------- */

static bool
parse_number(const char *s, int base, uint64_t most, uint64_t *np, const char **endp)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*np = strtoull(s, &end, base);
	*endp = end;
	return errno == 0 && *np <= most;
}

/* The shift behind 512, 64K, 1.5 is not a size, 64KiB, 1G, 1GB, and so on; -1: none of these. */
static int
suffix_shift(const char *s)
{
	static const char letters[] = "KMGT";
	const char *letter;
	int shift = 0;

	if (*s != '\0' && (letter = strchr(letters, toupper((unsigned char)*s))) != NULL) {
		shift = 10 * (int)(letter - letters + 1);
		s++;
		if (*s == 'i')
			s++;
	}
	if (*s == 'B' || *s == 'b')
		s++;
	return *s == '\0' ? shift : -1;
}

static int
parse_size(const char *option, const char *s, uint64_t *bytesp)
{
	const char *end;
	uint64_t n;
	int shift;

	if (parse_number(s, 10, UINT64_MAX, &n, &end) && (shift = suffix_shift(end)) >= 0 &&
	    n <= (uint64_t)INT64_MAX >> shift) {
		*bytesp = n << shift;
		return 0;
	}
	complain("%s: \"%s\" is not a size such as 65536, 64K or 1G", option, s);
	return EXIT_USAGE;
}

static int
set_cache_size(struct options *o, const char *value)
{
	uint64_t bytes;
	int ret;

	if ((ret = parse_size("cache-size", value, &bytes)) != 0)
		return ret;
	if (bytes < CACHE_LEAST) {
		complain("cache-size: a pool has at least 20K, not %s", value);
		return EXIT_USAGE;
	}
	o->fs.cache_bytes = (size_t)bytes;
	o->fs.cache_given = true;
	return 0;
}

static int
set_cache_max(struct options *o, const char *value)
{
	uint64_t bytes;
	int ret = parse_size("cache-max", value, &bytes);

	if (ret == 0)
		o->fs.cache_max = (size_t)bytes;
	return ret;
}

static int
set_page_size(struct options *o, const char *value)
{
	uint64_t bytes;
	int ret;

	if ((ret = parse_size("page-size", value, &bytes)) != 0)
		return ret;
	if (bytes < 512 || bytes > 65536 || (bytes & (bytes - 1)) != 0) {
		complain("page-size: a power of two from 512 to 64K, not %s", value);
		return EXIT_USAGE;
	}
	o->fs.page_bytes = (size_t)bytes;
	return 0;
}

static int
set_mode(struct options *o, const char *value)
{
	const char *end;
	uint64_t mode;

	if (!parse_number(value, 8, 0777, &mode, &end) || *end != '\0' || (mode & 0600) != 0600) {
		complain("mode: octal permissions with 0600 in them, such as 0660, not %s", value);
		return EXIT_USAGE;
	}
	o->fs.mode = (unsigned)mode;
	return 0;
}

static int
parse_seconds(const char *name, const char *value, unsigned least, unsigned *secondsp)
{
	const char *end;
	uint64_t seconds;

	if (!parse_number(value, 10, 86400, &seconds, &end) || *end != '\0' || seconds < least) {
		complain("%s: seconds, %u to 86400, not %s", name, least, value);
		return EXIT_USAGE;
	}
	*secondsp = (unsigned)seconds;
	return 0;
}

static int
set_dirty_expire(struct options *o, const char *value)
{
	return parse_seconds("dirty_expire", value, 0, &o->fs.dirty_expire);
}

static int
set_dir_timeout(struct options *o, const char *value)
{
	o->dir_timeout_given = true;
	return parse_seconds("dir_timeout", value, 0, &o->fs.dir_timeout);
}

static int
set_timeout(struct options *o, const char *value)
{
	return parse_seconds("timeout", value, 1, &o->timeout);
}

/* Which of words value is; -1: it is none of them. */
static int
find_word(const char *const *words, const char *value)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(value, words[i]) == 0)
			return i;
	return -1;
}

static int
set_memory(struct options *o, const char *value)
{
	int i = find_word(fs_memory_words, value);

	if (i == -1) {
		complain("memory: system, file or private, not %s", value);
		return EXIT_USAGE;
	}
	o->fs.memory = (enum fs_memory)i;
	return 0;
}

/* Absolute: the daemon changes to the root directory. */
static int
set_warm(struct options *o, const char *value)
{
	char *cwd = value[0] == '/' ? NULL : getcwd(NULL, 0), *path;

	if (*value == '\0' || (value[0] != '/' && cwd == NULL)) {
		free(cwd);
		complain("warm: the path of a list, not \"%s\"", value);
		return EXIT_USAGE;
	}
	if (asprintf(&path, "%s%s%s", cwd != NULL ? cwd : "", cwd != NULL ? "/" : "", value) == -1)
		path = NULL;
	free(cwd);
	free((char *)(uintptr_t)o->fs.warm);
	o->fs.warm = path;
	return path != NULL ? 0 : EXIT_FAILURE;
}

static int
set_policy(struct options *o, const char *value)
{
	if (strcmp(value, "lru") == 0) {
		o->fs.policy = DB_POLICY_LRU;
	} else if (strcmp(value, "adaptive") == 0) {
		o->fs.policy = DB_POLICY_ADAPTIVE;
	} else {
		complain("policy: lru or adaptive, not %s", value);
		return EXIT_USAGE;
	}
	return 0;
}

static int
set_cache(struct options *o, const char *value)
{
	int i = find_word(fs_cache_words, value);

	if (i == -1) {
		complain("cache: none, open or keep, not %s", value);
		return EXIT_USAGE;
	}
	o->fs.cache = (enum fs_cache)i;
	return 0;
}

/* Copied: a word of -o does not last. */
static int
set_region_dir(struct options *o, const char *value)
{
	char *copy;

	if (*value == '\0') {
		complain("region-dir: a directory, not nothing");
		return EXIT_USAGE;
	}
	if ((copy = strdup(value)) == NULL) {
		complain("not enough memory");
		return EXIT_FAILURE;
	}
	free(o->region_dir);
	o->region_dir = copy;
	return 0;
}

/* --- -o ------------------------------------------------------------------------------------ */

static int
add_kernel_word(struct options *o, const char *word)
{
	char *words;

	o->fs.no_atime |= strcmp(word, "noatime") == 0;
	if (asprintf(&words, "%s%s%s", o->mount_words != NULL ? o->mount_words : "",
		o->mount_words != NULL ? "," : "", word) == -1) {
		complain("not enough memory");
		return EXIT_FAILURE;
	}
	free(o->mount_words);
	o->mount_words = words;
	return 0;
}

static int
set_flag(struct options *o, const char *word, bool *knownp)
{
	*knownp = true;
	if (strcmp(word, "ro") == 0)
		o->fs.read_only = true;
	else if (strcmp(word, "allow_other") == 0)
		o->fs.allow_other = true;
	else if (strcmp(word, "sync") == 0)
		o->fs.sync_writes = true;
	else if (strcmp(word, "warm_on_exit") == 0)
		o->fs.warm_on_exit = true;
	else if (strcmp(word, "debug") == 0)
		o->fs.debug = o->foreground = true;
	else if (is_one_of(word, kernel_words))
		return add_kernel_word(o, word);
	else if (!is_one_of(word, ignored_words) && !has_prefix(word, "x-") &&
	    !has_prefix(word, "comment=") && !has_prefix(word, "X-"))
		*knownp = false;
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct options *o, const char *value);
} settings[] = {
	{ "cache_size", set_cache_size },
	{ "cache_max", set_cache_max },
	{ "page_size", set_page_size },
	{ "mode", set_mode },
	{ "memory", set_memory },
	{ "region_dir", set_region_dir },
	{ "policy", set_policy },
	{ "dirty_expire", set_dirty_expire },
	{ "warm", set_warm },
	{ "cache", set_cache },
	{ "dir_timeout", set_dir_timeout },
};

/* "cache-size=1G" and "cache_size=1G" alike. */
static bool
is_setting(const char *word, const char *name, const char **valuep)
{
	for (; *name != '\0'; word++, name++)
		if (*word != *name && !(*word == '-' && *name == '_'))
			return false;
	if (*word != '=')
		return false;
	*valuep = word + 1;
	return true;
}

static int
set_word(struct options *o, const char *word)
{
	const char *value;
	bool known;
	int ret;

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (is_setting(word, settings[i].name, &value))
			return settings[i].set(o, value);
	if ((ret = set_flag(o, word, &known)) != 0 || known)
		return ret;
	complain("unknown option -o %s (poolfs -h lists them)", word);
	return EXIT_USAGE;
}

static int
set_words(struct options *o, const char *list)
{
	char *copy, *word, *rest;
	int ret = 0;

	if ((copy = strdup(list)) == NULL) {
		complain("not enough memory");
		return EXIT_FAILURE;
	}
	rest = copy;
	while (ret == 0 && (word = strsep(&rest, ",")) != NULL)
		if (*word != '\0')
			ret = set_word(o, word);
	free(copy);
	return ret;
}

/* --- the command line ---------------------------------------------------------------------- */

enum long_option {
	LONG_CACHE_SIZE = 256,
	LONG_PAGE_SIZE,
	LONG_MODE,
	LONG_DIRTY_EXPIRE,
	LONG_MEMORY,
	LONG_REGION_DIR,
	LONG_WARM,
	LONG_POLICY,
	LONG_TIMEOUT,
	LONG_CACHE_MAX
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "debug", no_argument, NULL, 'd' },
	{ "unmount", no_argument, NULL, 'u' },
	{ "cache-size", required_argument, NULL, LONG_CACHE_SIZE },
	{ "cache-max", required_argument, NULL, LONG_CACHE_MAX },
	{ "page-size", required_argument, NULL, LONG_PAGE_SIZE },
	{ "mode", required_argument, NULL, LONG_MODE },
	{ "dirty-expire", required_argument, NULL, LONG_DIRTY_EXPIRE },
	{ "memory", required_argument, NULL, LONG_MEMORY },
	{ "region-dir", required_argument, NULL, LONG_REGION_DIR },
	{ "warm", required_argument, NULL, LONG_WARM },
	{ "policy", required_argument, NULL, LONG_POLICY },
	{ "timeout", required_argument, NULL, LONG_TIMEOUT },
	{ NULL, 0, NULL, 0 },
};

static int
set_option(struct options *o, int option, char **argv, int at)
{
	switch (option) {
	case 'h':
		o->what = DO_HELP;
		return 0;
	case 'V':
		o->what = DO_VERSION;
		return 0;
	case 'u':
		o->what = DO_UNMOUNT;
		return 0;
	case 'f':
		o->foreground = true;
		return 0;
	case 'd':
		o->foreground = o->fs.debug = true;
		return 0;
	case 's':
		o->fs.threads = 1;
		return 0;
	case 'o':
		return set_words(o, optarg);
	case LONG_CACHE_SIZE:
		return set_cache_size(o, optarg);
	case LONG_CACHE_MAX:
		return set_cache_max(o, optarg);
	case LONG_PAGE_SIZE:
		return set_page_size(o, optarg);
	case LONG_MODE:
		return set_mode(o, optarg);
	case LONG_DIRTY_EXPIRE:
		return set_dirty_expire(o, optarg);
	case LONG_MEMORY:
		return set_memory(o, optarg);
	case LONG_REGION_DIR:
		return set_region_dir(o, optarg);
	case LONG_WARM:
		return set_warm(o, optarg);
	case LONG_POLICY:
		return set_policy(o, optarg);
	case LONG_TIMEOUT:
		return set_timeout(o, optarg);
	case ':':
		complain("option %s needs a value (poolfs -h explains)", argv[at]);
		return EXIT_USAGE;
	default:
		complain("unknown option %s (poolfs -h lists them)", argv[at]);
		return EXIT_USAGE;
	}
}

static int
parse_places(int argc, char **argv, struct options *o)
{
	int n = argc - optind;

	if (o->what == DO_HELP || o->what == DO_VERSION)
		return 0;
	if (o->what == DO_UNMOUNT && n == 1) {
		o->mountpoint = argv[optind];
		return 0;
	}
	if (o->what == DO_MOUNT && n == 2) {
		o->home = argv[optind];
		o->mountpoint = argv[optind + 1];
		return 0;
	}
	if (o->what == DO_UNMOUNT)
		complain("-u takes one MOUNTPOINT, and %d were given", n);
	else
		complain("usage: poolfs [options] HOME MOUNTPOINT (poolfs -h explains)");
	return EXIT_USAGE;
}

static void
set_defaults(struct options *o)
{
	uint64_t quarter = os_memory_bytes() / 4;

	*o = (struct options){ .what = DO_MOUNT, .place_fd = -1 };
	o->fs.cache_bytes = (size_t)(quarter < CACHE_DEFAULT_MOST ? quarter : CACHE_DEFAULT_MOST);
	o->fs.page_bytes = PAGE_DEFAULT;
	o->fs.dirty_expire = EXPIRE_DEFAULT;
	o->fs.threads = THREADS_DEFAULT;
	o->timeout = TIMEOUT_DEFAULT;
}

int
options_parse(int argc, char **argv, struct options *o)
{
	int option, at = 1, ret;

	set_defaults(o);
	opterr = 0;
	/* getopt does not say where the word began that it did not know: the message names it. */
	while ((option = getopt_long(argc, argv, ":hVfdsuo:", long_options, NULL)) != -1) {
		if ((ret = set_option(o, option, argv, optind > at ? optind - 1 : at)) != 0)
			return ret;
		at = optind;
	}
	if ((ret = parse_places(argc, argv, o)) != 0)
		return ret;
	if (o->fs.cache_max != 0 && o->fs.cache_max < o->fs.cache_bytes) {
		complain("cache-max: %zu bytes are less than the pool has at first, %zu",
		    o->fs.cache_max, o->fs.cache_bytes);
		return EXIT_USAGE;
	}
	if (o->fs.warm_on_exit && o->fs.warm == NULL) {
		complain("-o warm_on_exit needs a list to write: --warm=PATH");
		return EXIT_USAGE;
	}
	if (!o->dir_timeout_given && o->fs.cache != FS_CACHE_NONE)
		o->fs.dir_timeout = DIR_TIMEOUT_CACHED;
	o->fs.mount_words = o->mount_words;
	return 0;
}

void
options_fini(struct options *o)
{
	place_release(o);
	free((char *)(uintptr_t)o->fs.home);
	free((char *)(uintptr_t)o->fs.mountpoint);
	free((char *)(uintptr_t)o->fs.region_dir);
	free((char *)(uintptr_t)o->fs.warm);
	free(o->region_dir);
	free(o->mount_words);
}

void
options_help(void)
{
	(void)printf(
	    "usage: poolfs [options] HOME MOUNTPOINT\n"
	    "       poolfs -u MOUNTPOINT\n"
	    "\n"
	    "Mounts the directory HOME, its files cached in a pool of pages that other processes\n"
	    "share, and shows the pool: MOUNTPOINT/README says what is where.\n"
	    "\n"
	    "  -u, --unmount          write everything, unmount, and wait until HOME is complete\n"
	    "  --timeout=SECONDS      with -u: for a daemon that does not answer or end (60)\n"
	    "  -f, --foreground       stay in the foreground, log to standard error\n"
	    "  -d, --debug            as -f, and trace every request\n"
	    "  -s                     serve with a single thread\n"
	    "  --cache-size=SIZE      of a new pool, such as 64M or 1G (here: %zuM)\n"
	    "  --cache-max=SIZE       to which it may grow (echo grow mpool 2G > ctl)\n"
	    "  --page-size=SIZE       of files new to the pool, 512 to 64K (4K)\n"
	    "  --mode=MODE            octal permissions of a new pool's region (0600)\n"
	    "  --dirty-expire=SECONDS after which changed pages are written (30)\n"
	    "  --memory=KIND          of a new pool: system (a System V segment), file, or "
	    "private\n"
	    "  --region-dir=DIR       where the region files are, if not in HOME\n"
	    "  --warm=PATH            read the pages that the list names; nothing if it is not "
	    "there\n"
	    "  --policy=POLICY        of a new pool, which pages leave first: adaptive or lru\n"
	    "  -o WORD[,WORD...]      the last nine by name (-o cache_size=1G), and\n"
	    "       ro                read-only\n"
	    "       allow_other       let other users in\n"
	    "       warm_on_exit      write the list at the end\n"
	    "       sync              every write is on the disk when it returns\n"
	    "       cache=WHAT        what the kernel keeps of files: none, open or keep (none)\n"
	    "       dir_timeout=SECS  for which it keeps names and attributes of directories (1;\n"
	    "                         with cache=none 0)\n"
	    "       nosuid, noexec, noatime ... and the other words of mount(8)\n"
	    "  -h, --help             print this\n"
	    "  -V, --version          print versions\n",
	    (size_t)(os_memory_bytes() / 4 < CACHE_DEFAULT_MOST ? os_memory_bytes() / 4 / MIB :
								  CACHE_DEFAULT_MOST / MIB));
}
