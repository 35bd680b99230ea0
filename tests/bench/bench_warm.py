#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The first minute after a restart of the machine: hits with and without the warm list.

usage: bench_warm.py POOLFS
Random reads of a page each, zipfian (0.99) over a file four times the pool, so many a second,
through the mount.  The pool is filled by the same kind of reads and removed, as a restart of the
machine removes it; the warm list is written by -o warm_on_exit and read by --warm.  BENCH_SECONDS
and BENCH_RATE change the minute and the reads a second.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

PAGE = 4096
FILE_PAGES = 65536
POOL_MIB = 64
SECONDS = int(os.environ.get("BENCH_SECONDS", "60"))
RATE = int(os.environ.get("BENCH_RATE", "500"))


class Pages:
    """Page numbers; the popular ones lie anywhere."""

    def __init__(self, seed):
        self.order = list(range(FILE_PAGES))
        random.Random(1).shuffle(self.order)
        self.random = random.Random(seed)
        self.cumulative, total = [], 0.0
        for rank in range(1, FILE_PAGES + 1):
            total += rank ** -0.99
            self.cumulative.append(total)

    def take(self, n):
        return self.random.choices(self.order, cum_weights=self.cumulative, k=n)


def counters(mnt):
    with open(mnt + "/stat/pool", encoding="ascii") as f:
        said = dict(line.split() for line in f)
    return int(said["cache_hit"]), int(said["cache_miss"])


def ratio(before, after):
    hit, miss = after[0] - before[0], after[1] - before[1]
    return 100.0 * hit / (hit + miss)


def first_minute(mnt, pages):
    """Hits in per cent: of the first six seconds, of all."""
    fd = os.open(mnt + "/files/file", os.O_RDONLY)
    start, early = counters(mnt), None
    begun = time.monotonic()
    for n, page in enumerate(pages.take(SECONDS * RATE)):
        if n == SECONDS * RATE // 10:
            early = counters(mnt)
        time.sleep(max(0.0, begun + n / RATE - time.monotonic()))
        os.pread(fd, PAGE, page * PAGE)
    end = counters(mnt)
    os.close(fd)
    return ratio(start, early), ratio(start, end)


def fill(mnt, pages):
    fd = os.open(mnt + "/files/file", os.O_RDONLY)
    for page in pages.take(200000):
        os.pread(fd, PAGE, page * PAGE)
    os.close(fd)


def main():
    poolfs = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="poolfs-bench-") as work:
        home, mnt, warm = work + "/home", work + "/mnt", work + "/list"
        os.mkdir(home)
        os.mkdir(mnt)
        with open(home + "/file", "wb") as f:
            for _ in range(FILE_PAGES // 256):
                f.write(os.urandom(256 * PAGE))

        def mounted(options, use):
            subprocess.run([poolfs, "--cache-size=%dM" % POOL_MIB, *options, home, mnt],
                           check=True)
            try:
                return use()
            finally:
                if "warm_on_exit" in options:  # what is in the pool is the list: before it goes
                    subprocess.run([poolfs, "-u", mnt], check=True)
                    subprocess.run([poolfs, home, mnt], check=True)
                os.unlink(mnt + "/regions/mpool")
                subprocess.run([poolfs, "-u", mnt], check=True)

        mounted(["--warm=" + warm, "-o", "warm_on_exit"], lambda: fill(mnt, Pages(2)))
        print("| hits, per cent | first %d s | first %d s |" % (SECONDS // 10, SECONDS))
        print("|---|---:|---:|")
        for label, options in (("without a warm list", []), ("--warm", ["--warm=" + warm])):
            early, whole = mounted(options, lambda: first_minute(mnt, Pages(3)))
            print("| %s | %.1f | %.1f |" % (label, early, whole), flush=True)
        print("\n%d reads a second of 4 KiB, zipfian (0.99) over %d MiB, pool %d MiB." %
              (RATE, FILE_PAGES * PAGE >> 20, POOL_MIB))


main()
