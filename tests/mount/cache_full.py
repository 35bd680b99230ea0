# SPDX-License-Identifier: BSD-3-Clause
"""cache_full.py - a pool with 64 rows for files, all of them in use, with the kernel caching.

See checks.py for how it is run.
"""
import errno
import os
import threading
import time

from checks import Client, fails, path, put_home, run

PAGE = b"1" * 4096


def _fill(fds):
    for i in range(64):
        put_home("mine%d" % i, PAGE)
        try:
            fds.append(os.open(path("mine%d" % i), os.O_RDWR))
        except OSError as e:
            assert e.errno == errno.ENFILE, e
            return
        assert os.pread(fds[-1], 1, 0) == b"1"
    raise AssertionError("there was room for all")


def who_finds_no_room_does_not_wait_for_others_who_find_none():
    for name in ["held%d" % i for i in range(36)] + ["more%d" % i for i in range(10)]:
        put_home(name, PAGE)
    c = Client()
    for i in range(36):
        c.ask("hold", "held%d" % i)
    fds, left = [], []
    _fill(fds)

    def open_often(name):
        for _ in range(40):
            fails(errno.ENFILE, os.open, path(name), os.O_RDONLY)
        left.append(name)

    threads = [threading.Thread(target=open_often, args=("more%d" % i,)) for i in range(10)]
    since = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(left) == 10
    # half a second for each open, if they did
    assert time.monotonic() - since < 5, time.monotonic() - since
    for fd in fds:
        os.close(fd)
    c.end()


run(globals())
