/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/atomics.h - atomic access to shared words, the memory order in the name.
 *
 * All shared words are plain fixed-width integers that are touched through these helpers alone.
 * "seq" operations take part in the one total order of sequentially consistent operations: a seq
 * store followed by a seq load is never reordered (on x86 the store is an xchg, the load a mov).
 */
#ifndef BASE_ATOMICS_H
#define BASE_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define load_seq(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define store_seq(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define exchange_seq(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define add_seq(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define sub_seq(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST)
#define or_seq(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define and_seq(p, v) __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
#define add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)

/* Strong compare-and-swap; on failure *expected is what was found. */
#define cas_seq(p, expected, desired)                                                              \
	__atomic_compare_exchange_n(                                                               \
	    (p), (expected), (desired), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* A counter that only its owner raises and anybody may read: no locked instruction. */
#define counter_add(p, v) store_relaxed((p), load_relaxed(p) + (v))

/* What a branch does nearly always, where that matters. */
#define likely(x) __builtin_expect((x) != 0, 1)
#define unlikely(x) __builtin_expect((x) != 0, 0)

static inline void
cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

#endif
