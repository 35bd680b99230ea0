/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/point.h - places between two steps, of which another process may come in between.  There is
 * nothing at them, but in a test that has its own copy of core/pool, compiled with POOL_POINTS, to
 * let the others come just there.
 */
#ifndef POOL_POINT_H
#define POOL_POINT_H

enum pool_point {
	POINT_NONE,
	POINT_MEASURED,	 /* a file to be mapped has a length; that nobody writes it is not known */
	POINT_BEFORE,	 /* a page is before the end; it is not looked for yet */
	POINT_MAKING,	 /* a page is behind the end; it is about to be made */
	POINT_MADE,	 /* it is there, by this or another; its file may have been cut */
	POINT_WALK,	 /* all frames are about to be looked at */
	POINT_WALKED,	 /* pages of a file were dropped; those left are not compared yet */
	POINT_CHOOSING,	 /* the oldest page of a class is known; which class goes is not */
	POINT_STAMPING,	 /* of a page that is hit it is known when it was used last */
	POINT_NO_ROOM,	 /* no page could be evicted for one that comes; it is tried again */
	POINT_COUNTING,	 /* after a death: no row has an open; those there are will be counted */
	POINT_RETRACTED, /* the end is where it was before; what lies behind it is still there */
	POINT_PUTTING	 /* several pages are about to be put dirty in a pool that was there */
};

#ifdef POOL_POINTS
void pool_at(enum pool_point where); /* the test's */
#define POOL_POINT(where) pool_at(where)
#else
#define POOL_POINT(where) ((void)0)
#endif

#endif
