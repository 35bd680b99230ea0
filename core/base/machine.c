/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/machine.c - what core asks about the machine and its processes: clocks, the boot, memory,
 * chance.
 *
 * All of it comes from the kernel, nothing from the environment of the process, and nothing here
 * fails: each function says in os.h what it returns when the kernel does not know.  The few files
 * of /proc are read without the fault hook.
 */
#include "atomics.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t
clock_nsec(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t
os_now_usec(void)
{
	return clock_nsec(CLOCK_REALTIME) / 1000;
}

int64_t
os_now_nsec_coarse(void)
{
	return (int64_t)clock_nsec(CLOCK_REALTIME_COARSE);
}

uint64_t
os_monotonic_usec(void)
{
	return clock_nsec(CLOCK_MONOTONIC) / 1000;
}

uint64_t
os_monotonic_nsec(void)
{
	return clock_nsec(CLOCK_MONOTONIC);
}

void
os_sleep_usec(unsigned usec)
{
	struct timespec t = { .tv_sec = usec / 1000000, .tv_nsec = (long)(usec % 1000000) * 1000 };
	int saved = errno;

	while (nanosleep(&t, &t) == -1 && errno == EINTR)
		continue;
	errno = saved;
}

void
os_yield(void)
{
	(void)sched_yield();
}

void
os_read_text(const char *path, char *text, size_t bytes)
{
	int saved = errno;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd != -1) {
		n = read(fd, text, bytes - 1);
		(void)close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	errno = saved;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static void
read_boot_id(uint8_t id[16])
{
	char text[64];
	const char *p;
	int digits = 0;

	os_read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text));
	memset(id, 0, 16);
	for (p = text; *p != '\0' && digits < 32; p++)
		if (hex_digit(*p) >= 0) {
			id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | hex_digit(*p));
			digits++;
		}
	if (digits < 32)
		memset(id, 0, 16);
}

static uint8_t boot_id[16];

static void
find_boot_id(void)
{
	read_boot_id(boot_id);
}

/* It outlives the process: asked for once. */
void
os_boot_id(uint8_t id[16])
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, find_boot_id);
	memcpy(id, boot_id, sizeof(boot_id));
}

uint64_t
os_process_start(pid_t pid)
{
	char path[32], text[1024], *p;
	int field;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	os_read_text(path, text, sizeof(text));
	/* Field 2, the program's name, may hold blanks and parentheses; the others do not. */
	if ((p = strrchr(text, ')')) == NULL)
		return 0;
	for (field = 2; field < 22; field++)
		if ((p = strchr(p + 1, ' ')) == NULL)
			return 0;
	return strtoull(p + 1, NULL, 10);
}

uint64_t
os_random(void)
{
	uint64_t v;

	/* Only unpredictability would be lost, and the callers want difference. */
	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != (ssize_t)sizeof(v))
		v = clock_nsec(CLOCK_REALTIME) * 0x9e3779b97f4a7c15 ^ (uint64_t)getpid() << 32;
	return v;
}

size_t
os_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

unsigned
os_processors(void)
{
	cpu_set_t may;

	/* More of them than the set has bits for is refused: then they are many. */
	if (sched_getaffinity(0, sizeof(may), &may) != 0)
		return CPU_SETSIZE;
	return CPU_COUNT(&may) > 0 ? (unsigned)CPU_COUNT(&may) : 1;
}

size_t
os_huge_page_size(void)
{
	static const char key[] = "Hugepagesize:";
	char text[4096], *p;

	os_read_text("/proc/meminfo", text, sizeof(text));
	if ((p = strstr(text, key)) == NULL)
		return 0;
	return (size_t)strtoull(p + sizeof(key) - 1, NULL, 10) << 10;
}

/* The word in brackets is the one that holds. */
static bool
huge_is_on(const char *path)
{
	char text[128];

	os_read_text(path, text, sizeof(text));
	return strchr(text, '[') != NULL && strstr(text, "[never]") == NULL &&
	    strstr(text, "[deny]") == NULL;
}

bool
os_huge_pages_granted(bool shared)
{
	return huge_is_on(shared ? "/sys/kernel/mm/transparent_hugepage/shmem_enabled" :
				   "/sys/kernel/mm/transparent_hugepage/enabled");
}

uint64_t
os_memory_bytes(void)
{
	static uint64_t bytes; /* as it was when this was asked first */
	uint64_t n = load_relaxed(&bytes);

	if (n == 0) {
		n = (uint64_t)sysconf(_SC_PHYS_PAGES) * os_page_size();
		store_relaxed(&bytes, n);
	}
	return n;
}

static uint64_t
machine_available(void)
{
	static const char key[] = "MemAvailable:";
	uint64_t kib;
	char text[1024], *p;

	os_read_text("/proc/meminfo", text, sizeof(text));
	if ((p = strstr(text, key)) == NULL)
		return UINT64_MAX;
	kib = strtoull(p + sizeof(key) - 1, NULL, 10);
	return kib < UINT64_MAX >> 10 ? kib << 10 : UINT64_MAX;
}

uint64_t
os_memory_available(void)
{
	uint64_t machine = machine_available(), group = os_cgroup_available();

	return machine < group ? machine : group;
}

uint64_t
os_ipc_namespace(void)
{
	struct stat st;
	int saved = errno;
	uint64_t ino = stat("/proc/self/ns/ipc", &st) == 0 ? (uint64_t)st.st_ino : 0;

	errno = saved;
	return ino;
}

bool
os_barrier_wanted(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void
os_barrier(void)
{
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static int
barrier_call(int command)
{
	int saved = errno, ret = os_fault(OS_BARRIER, "");

	if (ret == 0 && syscall(SYS_membarrier, command, 0, 0) != 0)
		ret = errno;
	errno = saved;
	return ret;
}

/* It lasts as long as the process, and a forked child asks for itself. */
int
os_barrier_join(void)
{
	static unsigned asked; /* in that generation + 1; atomic */
	unsigned now = os_fork_generation() + 1;
	int ret;

	if (load_relaxed(&asked) == now)
		return os_fault(OS_BARRIER, "");
	if ((ret = barrier_call(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)) == 0)
		store_relaxed(&asked, now);
	return ret;
}

int
os_barrier_all(void)
{
	return barrier_call(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}
