/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/usdt.h - places where a tracer may look in, by name: bpftrace, perf, systemtap.
 *
 * A probe is one no-operation instruction and a note in the program that says where it is and
 * where its arguments are; nothing is called unless a tracer has put a breakpoint there.  Built
 * without <sys/sdt.h> it is nothing at all.  Names and arguments are an interface; poolfs(5) has
 * them.  Arguments are values that are at hand anyway, never computed for the probe.
 */
#ifndef BASE_USDT_H
#define BASE_USDT_H

#if defined(__has_include) && __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
/* Its macros leave an argument out, of which clang complains where they are used. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#define USDT2(name, a, b) DTRACE_PROBE2(poolfs, name, a, b)
#define USDT3(name, a, b, c) DTRACE_PROBE3(poolfs, name, a, b, c)
#define USDT4(name, a, b, c, d) DTRACE_PROBE4(poolfs, name, a, b, c, d)
#else
#define USDT2(name, a, b) ((void)(a), (void)(b))
#define USDT3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define USDT4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
