# SPDX-License-Identifier: BSD-3-Clause
"""cache_slow.py - a page that is slow to come from the disk, with the kernel caching.

See checks.py for how it is run; $MNT is the mount, where the first read of a file of the name slow
hangs (hang_writes.c).
"""
import os
import threading

from checks import Client, client_of, home, path, put_home, run, until

MNT = os.environ["MNT"]
SIZE = 16384


def _number_of(key):
    with open(MNT + "/stat/daemon") as f:
        return [int(line.split()[1]) for line in f if line.startswith(key + " ")][0]


def _file(name):
    put_home(name, b"1" * SIZE)
    fd = os.open(path(name), os.O_RDWR)
    if name != "slow":
        assert os.pread(fd, SIZE, 0) == b"1" * SIZE
    return fd


class _Hanging:
    """with _Hanging(fd): the kernel waits for a page of the file, and is told to drop it."""

    def __init__(self, fd):
        self.reader = threading.Thread(target=os.pread, args=(fd, 1, 0))

    def __enter__(self):
        self.reader.start()
        with open(os.environ["HANG_WRITES_AT"]) as at:
            assert at.readline() == "here\n"
        drops = _number_of("kernel_drops")
        self.opener = Client()
        self.opener.tell("open", "slow")
        until(lambda: _number_of("kernel_drops") > drops)

    def __exit__(self, *_):
        with open(os.environ["HANG_WRITES_GO"], "w") as go:
            go.write("go\n")
        self.reader.join()
        # it may have lost patience
        assert self.opener.process.stdout.readline().split()[0] in (b"ok", b"error")
        self.opener.process.stdin.close()
        self.opener.process.wait()


def a_page_that_is_slow_to_come_holds_up_no_other_file():
    slow, quick, other = _file("slow"), _file("quick"), _file("other")
    os.close(other)
    c = client_of("quick")
    with _Hanging(slow):
        for i in range(20):
            c.ask("put 0 %02d" % i)
            assert os.pread(quick, 2, 0) == b"%02d" % i
            os.pwrite(quick, b"w%d" % i, 100)
            assert c.ask("get 100 2") == ("w%d" % i)[:2]
        with open(home("other"), "rb+") as f:
            f.write(b"new")
        with open(path("other"), "rb") as f:
            assert f.read(3) == b"new"
        assert _number_of("kernel_late") == 0
    c.end()
    c = client_of("slow")
    c.ask("put 0 then")
    assert os.pread(slow, 4, 0) == b"then"
    c.end()
    os.close(slow)
    os.close(quick)


run(globals())
