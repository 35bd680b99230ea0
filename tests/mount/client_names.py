# SPDX-License-Identifier: BSD-3-Clause
"""client_names.py - a library client removes and renames what programs have open in the mount.

The client is $TEST_BIN/pool_client; its paths are below the directory of HOME that is tested.
"""
import errno
import os

from checks import Client, D, fails, get, home, path, pattern, put, run

client = Client()


def _write_open(name, data):
    fd = os.open(path(name), os.O_RDWR | os.O_CREAT, 0o644)
    assert os.pwrite(fd, data, 0) == len(data)
    return fd


def a_file_that_a_client_removes_lives_while_it_is_open():
    data = pattern(50000)
    fd = _write_open("removed", data)
    client.ask("remove", "removed")
    fails(errno.ENOENT, os.stat, path("removed"))
    assert "removed" not in os.listdir(D)
    st = os.fstat(fd)
    assert (st.st_nlink, st.st_size) == (0, 50000)
    assert os.pread(fd, 60000, 0) == data
    os.pwrite(fd, b"more", 50000)
    os.fsync(fd)
    os.ftruncate(fd, 50002)
    put("removed", b"another")
    assert os.pread(fd, 100, 49998) == data[-2:] + b"mo"
    assert get("removed") == b"another"
    os.close(fd)
    assert get("removed") == b"another"


def a_file_that_a_client_renames_goes_on():
    fd = _write_open("from", b"written before, ")
    client.ask("rename", "from", "to")
    fails(errno.ENOENT, os.stat, path("from"))
    assert get("to") == b"written before, "
    os.pwrite(fd, b"and after", 16)
    assert get("to") == b"written before, and after"
    put("from", b"new")
    os.fsync(fd)
    with open(home("to"), "rb") as f:
        assert f.read() == b"written before, and after"
    os.close(fd)
    assert (get("from"), get("to")) == (b"new", b"written before, and after")


def a_file_that_a_client_replaces_lives_while_it_is_open():
    old = _write_open("place", b"old" * 3000)
    new = _write_open("new", b"new" * 3000)
    client.ask("rename", "new", "place")
    assert get("place") == b"new" * 3000
    assert os.fstat(old).st_nlink == 0
    assert os.pread(old, 10000, 0) == b"old" * 3000
    os.pwrite(old, b"OLD", 0)
    os.pwrite(new, b"NEW", 0)
    assert get("place")[:6] == b"NEWnew"
    os.fsync(new)
    with open(home("place"), "rb") as f:
        assert f.read(6) == b"NEWnew"
    assert os.pread(old, 6, 0) == b"OLDold"
    os.close(old)
    os.close(new)


def a_directory_that_a_client_renames_keeps_its_open_files():
    os.makedirs(path("d1/d2"))
    fd = _write_open("d1/d2/f", b"one")
    client.ask("rename", "d1", "e1")
    os.pwrite(fd, b"two", 3)
    assert get("e1/d2/f") == b"onetwo"
    put("e1/d2/g", b"beside it")
    fails(errno.ENOENT, os.stat, path("d1"))
    os.mkdir(path("d1"))
    assert os.listdir(path("d1")) == []
    os.fsync(fd)
    with open(home("e1/d2/f"), "rb") as f:
        assert f.read() == b"onetwo"
    os.close(fd)


def the_client_goes_on_with_what_the_mount_removes_and_renames():
    put("shared", pattern(8192))
    client.ask("open", "shared")
    client.ask("put", text="10 by the client")
    os.rename(path("shared"), path("moved"))
    assert get("moved")[10:23] == b"by the client"
    client.ask("put", text="10 BY THE CLIENT")
    assert get("moved")[10:23] == b"BY THE CLIENT"
    os.unlink(path("moved"))
    assert client.ask("get", text="10 13") == "BY THE CLIENT"
    client.ask("put", text="10 still allowed.")
    put("moved", b"another")
    assert client.ask("get", text="10 14") == "still allowed."
    client.ask("sync")
    assert get("moved") == b"another"


def what_one_removes_the_other_cannot_remove():
    put("once", b"x")
    fd = os.open(path("once"), os.O_RDONLY)
    client.ask("remove", "once")
    fails(errno.ENOENT, os.unlink, path("once"))
    fails(errno.ENOENT, os.rename, path("once"), path("twice"))
    fails(errno.ENOENT, os.link, path("once"), path("twice"))
    assert os.pread(fd, 10, 0) == b"x"
    os.close(fd)


def the_client_ends_well():
    client.end()


run(globals())
