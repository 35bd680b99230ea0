# SPDX-License-Identifier: BSD-3-Clause
"""posix.py - what programs expect of a file system, tried in one directory of the mount."""
import errno
import fcntl
import mmap
import os
import signal
import socket
import stat
import tempfile
import threading

from checks import (HOME, KEEP_SIZE, KERNEL_CACHES, PUNCH_HOLE, ZERO_RANGE, D, as_user, fails,
                    fallocate, get, home, path, pattern, put, rename_with, run)


# --- data -----------------------------------------------------------------------------------


def a_file_is_read_as_written():
    data = pattern(123457)
    put("f", data)
    assert get("f") == data
    assert os.stat(path("f")).st_size == len(data)


def an_empty_file_is_empty():
    put("empty", b"")
    assert get("empty") == b""
    assert os.stat(path("empty")).st_size == 0


def odd_offsets_are_exact():
    want = bytearray()
    fd = os.open(path("odd"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    for off, n in ((0, 1), (4095, 2), (8191, 1), (8193, 4097), (100, 10000), (12289, 3), (5, 0)):
        data = pattern(n, off)
        assert os.pwrite(fd, data, off) == n
        if n and len(want) < off + n:
            want.extend(b"\0" * (off + n - len(want)))
        want[off:off + n] = data
        assert os.fstat(fd).st_size == len(want)
    for off in (0, 1, 4094, 4096, 12287, len(want) - 1, len(want), len(want) + 10):
        for n in (1, 4096, 5000, 100000):
            assert os.pread(fd, n, off) == bytes(want[off:off + n]), (off, n)
    os.close(fd)


def large_requests_are_whole():
    data = pattern(5 * 1048576 + 17)
    fd = os.open(path("large"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    assert os.pwrite(fd, data, 3) == len(data)
    assert os.pread(fd, len(data) + 3, 0) == b"\0\0\0" + data
    os.close(fd)


def a_gap_reads_as_zeros():
    fd = os.open(path("gap"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    os.pwrite(fd, b"x" * 100, 0)
    os.pwrite(fd, b"y", 300000)
    assert os.pread(fd, 400000, 0) == b"x" * 100 + b"\0" * 299900 + b"y"
    assert os.fstat(fd).st_blocks * 512 < 200000, "the gap has no blocks"
    os.close(fd)


def appends_go_to_the_end():
    put("log", b"")
    fds = [os.open(path("log"), os.O_WRONLY | os.O_APPEND) for _ in range(4)]

    def write(fd, tag):
        for i in range(100):
            os.write(fd, b"%c%03d\n" % (tag, i))

    threads = [threading.Thread(target=write, args=(fd, 65 + i)) for i, fd in enumerate(fds)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    lines = get("log").split()
    assert len(lines) == 400 and len(set(lines)) == 400
    os.pwrite(fds[0], b"end", 0)
    assert get("log").endswith(b"end"), "pwrite on O_APPEND appends, as on Linux"
    for fd in fds:
        os.close(fd)


def an_append_set_later_counts():
    put("late", b"12345")
    fd = os.open(path("late"), os.O_WRONLY)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    os.write(fd, b"67")
    os.close(fd)
    assert get("late") == b"1234567"


def o_direct_reads_and_writes():
    buf = mmap.mmap(-1, 8192)
    buf.write(pattern(8192))
    fd = os.open(path("direct"), os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    assert os.writev(fd, [buf]) == 8192
    assert os.pread(fd, 8192, 0) == pattern(8192)
    os.close(fd)


def o_direct_has_no_alignment():
    fd = os.open(path("unaligned"), os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    for off in (0, 1, 511, 4095, 70001):
        assert os.pwrite(fd, b"abc", off) == 3
        assert os.pread(fd, 5, off) == b"abc"
    os.close(fd)


def o_tmpfile_is_refused_clearly():
    fails(errno.EOPNOTSUPP, os.open, D, os.O_TMPFILE | os.O_RDWR, 0o600)
    with tempfile.TemporaryFile(dir=D) as f:  # goes on with a file that has a name for a moment
        f.write(b"x")


def o_sync_writes_are_in_home_at_once():
    fd = os.open(path("synced"), os.O_WRONLY | os.O_CREAT | os.O_SYNC, 0o644)
    os.write(fd, b"on disk")
    with open(home("synced"), "rb") as f:
        assert f.read() == b"on disk"
    os.close(fd)


def fsync_puts_it_in_home():
    fd = os.open(path("fsynced"), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, pattern(10000))
    os.fsync(fd)
    with open(home("fsynced"), "rb") as f:
        assert f.read() == pattern(10000)
    os.close(fd)


def a_private_mapping_reads():
    put("mapped", pattern(20000))
    fd = os.open(path("mapped"), os.O_RDONLY)
    with mmap.mmap(fd, 20000, mmap.MAP_PRIVATE, mmap.PROT_READ) as m:
        assert m[:] == pattern(20000)
    os.close(fd)


def shared_mappings_are_refused_clearly():
    """Unless the kernel may cache: a program that can do without goes on."""
    put("shared", pattern(4096))
    fd = os.open(path("shared"), os.O_RDWR)
    if KERNEL_CACHES:
        with mmap.mmap(fd, 4096) as m:
            m[0:3] = b"own"
            m.flush()
            assert os.pread(fd, 3, 0) == b"own"
        os.close(fd)
        return
    fails(errno.ENODEV, mmap.mmap, fd, 4096)
    with mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as m:
        m[0:3] = b"own"
        assert get("shared") == pattern(4096)
    os.close(fd)


def what_fuse_has_no_requests_for_is_refused_clearly():
    """As programs expect it of a file system that lacks it: they do it otherwise."""
    put("requests", pattern(16384))
    fd = os.open(path("requests"), os.O_RDWR)
    for mode in (0x08, 0x20):  # to collapse a range, to insert one
        fails(errno.EOPNOTSUPP, fallocate, fd, mode, 0, 4096)
    FICLONE, FIEMAP, GETFLAGS = 0x40049409, 0xc020660b, 0x80086601
    other = os.open(path("clone"), os.O_RDWR | os.O_CREAT, 0o644)
    fails(errno.EOPNOTSUPP, fcntl.ioctl, other, FICLONE, fd)
    fails(errno.EOPNOTSUPP, fcntl.ioctl, fd, FIEMAP, bytearray(32))
    fails(errno.ENOTTY, fcntl.ioctl, fd, GETFLAGS, bytearray(8))
    fails(errno.EOPNOTSUPP, os.preadv, fd, [bytearray(10)], 0, os.RWF_NOWAIT)
    assert get("requests") == pattern(16384) and get("clone") == b""
    os.close(fd)
    os.close(other)


def a_program_runs():
    put("program", b"#!/bin/sh\nexit 7\n")
    os.chmod(path("program"), 0o755)
    assert os.waitstatus_to_exitcode(os.system(path("program"))) == 7


# --- length ---------------------------------------------------------------------------------


def truncate_works_both_ways():
    put("t", pattern(10000))
    os.truncate(path("t"), 5001)
    assert get("t") == pattern(10000)[:5001]
    os.truncate(path("t"), 9000)
    assert get("t") == pattern(10000)[:5001] + b"\0" * 3999
    fd = os.open(path("t"), os.O_RDWR)
    os.ftruncate(fd, 0)
    assert os.fstat(fd).st_size == 0
    os.ftruncate(fd, 1 << 40)
    assert os.fstat(fd).st_size == 1 << 40
    assert os.pread(fd, 10, (1 << 40) - 5) == b"\0" * 5
    os.ftruncate(fd, 3)
    os.close(fd)
    assert os.stat(home("t")).st_size == 3


def o_trunc_empties():
    put("t2", pattern(5000))
    os.close(os.open(path("t2"), os.O_WRONLY | os.O_TRUNC))
    assert get("t2") == b""


def a_length_beyond_all_page_numbers_is_efbig():
    fd = os.open(path("big"), os.O_RDWR | os.O_CREAT, 0o644)
    fails(errno.EFBIG, os.pwrite, fd, b"x", (1 << 62))
    os.close(fd)


def the_file_size_limit_of_the_caller_counts():
    pid = os.fork()
    if pid == 0:
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        fd = os.open(path("limited"), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, b"x", 2000)
        except OSError as e:
            os._exit(0 if e.errno == errno.EFBIG else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def fallocate_extends_or_not():
    fd = os.open(path("fa"), os.O_RDWR | os.O_CREAT, 0o644)
    fallocate(fd, 0, 0, 100000)
    assert os.fstat(fd).st_size == 100000
    assert os.pread(fd, 100001, 0) == b"\0" * 100000
    fallocate(fd, KEEP_SIZE, 0, 1 << 20)
    st = os.fstat(fd)
    assert st.st_size == 100000 and st.st_blocks * 512 >= 1 << 20
    os.close(fd)
    os.posix_fallocate(os.open(path("fa"), os.O_WRONLY), 0, 200000)
    assert os.stat(path("fa")).st_size == 200000


def holes_are_punched():
    data = bytearray(pattern(100000))
    put("punch", data)
    fd = os.open(path("punch"), os.O_RDWR)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 5000, 60001)
    data[5000:65001] = b"\0" * 60001
    assert os.pread(fd, 100000, 0) == bytes(data)
    fallocate(fd, ZERO_RANGE, 90000, 20000)
    data[90000:] = b"\0" * 20000
    assert os.pread(fd, 200000, 0) == bytes(data)
    os.fsync(fd)
    with open(home("punch"), "rb") as f:
        assert f.read() == bytes(data)
    assert os.fstat(fd).st_blocks * 512 < 70000
    os.close(fd)


def seek_finds_data_and_holes():
    fd = os.open(path("sparse"), os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, b"data", 512 * 1024)
    if KERNEL_CACHES:
        # where it is open for writing there may be stores that are not written back
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        os.close(fd)
        fd = os.open(path("sparse"), os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 512 * 1024
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 512 * 1024, os.SEEK_HOLE) == 516 * 1024
    fails(errno.ENXIO, os.lseek, fd, 600 * 1024, os.SEEK_DATA)
    assert os.lseek(fd, 0, os.SEEK_END) == 1 << 20
    os.close(fd)


def copy_file_range_and_sendfile_copy():
    put("src", pattern(300000))
    a = os.open(path("src"), os.O_RDONLY)
    b = os.open(path("dst"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    done = 0
    while done < 300000:
        n = os.copy_file_range(a, b, 300000 - done)
        assert n > 0
        done += n
    assert os.pread(b, 300001, 0) == pattern(300000)
    os.ftruncate(b, 0)
    os.lseek(b, 0, os.SEEK_SET)
    done = 0
    while done < 300000:
        n = os.sendfile(b, a, done, 300000 - done)
        assert n > 0
        done += n
    assert os.pread(b, 300001, 0) == pattern(300000)
    os.close(a)
    os.close(b)


# --- names ----------------------------------------------------------------------------------


def rename_replaces():
    put("a", b"a")
    put("b", b"b")
    keep = os.open(path("b"), os.O_RDONLY)
    os.rename(path("a"), path("b"))
    assert get("b") == b"a" and not os.path.exists(path("a"))
    assert os.pread(keep, 10, 0) == b"b", "the replaced file lives while it is open"
    os.close(keep)


def rename_flags_work():
    put("x", b"xx")
    put("y", b"y")
    fails(errno.EEXIST, rename_with, 1, path("x"), path("y"))
    rename_with(2, path("x"), path("y"))
    assert get("x") == b"y" and get("y") == b"xx"


def a_renamed_directory_keeps_its_open_files():
    os.makedirs(path("d1/d2"))
    put("d1/d2/f", b"one")
    fd = os.open(path("d1/d2/f"), os.O_RDWR | os.O_APPEND)
    os.rename(path("d1"), path("e1"))
    os.write(fd, b"two")
    assert get("e1/d2/f") == b"onetwo"
    os.close(fd)
    fails(errno.EINVAL, os.rename, path("e1"), path("e1/d2/e1"))


def a_removed_file_lives_while_it_is_open():
    fd = os.open(path("gone"), os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, pattern(50000))
    os.unlink(path("gone"))
    fails(errno.ENOENT, os.stat, path("gone"))
    assert os.fstat(fd).st_nlink == 0
    assert os.pread(fd, 60000, 0) == pattern(50000)
    os.pwrite(fd, b"more", 50000)
    os.ftruncate(fd, 50002)
    assert os.fstat(fd).st_size == 50002
    os.fsync(fd)
    os.fchmod(fd, 0o600)
    put("gone", b"another")
    assert get("gone") == b"another"
    assert os.pread(fd, 10, 49995) == pattern(50000)[-5:] + b"mo"
    os.close(fd)


def hard_links_are_one_file():
    put("l1", b"one")
    os.link(path("l1"), path("l2"))
    with open(path("l2"), "ab") as f:
        f.write(b"two")
    assert get("l1") == b"onetwo"
    st = os.stat(path("l1"))
    assert st.st_nlink == 2 and st.st_ino == os.stat(path("l2")).st_ino
    os.unlink(path("l1"))
    assert get("l2") == b"onetwo" and os.stat(path("l2")).st_nlink == 1
    fails(errno.EEXIST, os.link, path("l2"), path("l2"))


def symbolic_links_are_links():
    os.symlink("target/nowhere", path("s"))
    assert os.readlink(path("s")) == "target/nowhere"
    assert os.lstat(path("s")).st_size == len("target/nowhere")
    fails(errno.ENOENT, open, path("s"))
    fails(errno.ELOOP, os.open, path("s"), os.O_RDONLY | os.O_NOFOLLOW)
    put("real", b"real")
    os.symlink("real", path("s2"))
    assert get("s2") == b"real"
    os.link(path("s"), path("s3"), follow_symlinks=False)
    assert os.readlink(path("s3")) == "target/nowhere"
    os.utime(path("s"), ns=(10**18, 10**18), follow_symlinks=False)
    assert os.lstat(path("s")).st_mtime_ns == 10**18
    os.unlink(path("s"))


def o_excl_makes_one():
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(os.open(path("excl"), flags, 0o600))
    fails(errno.EEXIST, os.open, path("excl"), flags, 0o600)
    os.close(os.open(path("excl"), os.O_WRONLY | os.O_CREAT, 0o600))


def directories_behave():
    os.mkdir(path("dir"), 0o751)
    assert stat.S_IMODE(os.stat(path("dir")).st_mode) == 0o751 & ~0o022
    put("dir/f", b"")
    fails(errno.ENOTEMPTY, os.rmdir, path("dir"))
    fails(errno.EISDIR, os.open, path("dir"), os.O_WRONLY)
    fails(errno.ENOTDIR, os.rmdir, path("dir/f"))
    fails(errno.EISDIR, os.unlink, path("dir"))
    fails(errno.ENOTDIR, os.stat, path("dir/f/x"))
    fails(errno.ENAMETOOLONG, os.mkdir, path("n" * 256))
    os.unlink(path("dir/f"))
    fd = os.open(path("dir"), os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.rmdir(path("dir"))
    assert os.listdir(fd) == []
    os.close(fd)


def special_files_are_made():
    os.mkfifo(path("fifo"))
    assert stat.S_ISFIFO(os.stat(path("fifo")).st_mode)
    r = os.open(path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
    w = os.open(path("fifo"), os.O_WRONLY)
    os.write(w, b"x")
    assert os.read(r, 1) == b"x"
    os.close(r)
    os.close(w)
    os.mknod(path("node"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert os.stat(path("node")).st_rdev == os.makedev(1, 3)
    os.mknod(path("plain"), stat.S_IFREG | 0o640)
    assert os.stat(path("plain")).st_size == 0


def ten_thousand_names_are_listed_and_removed():
    os.mkdir(path("many"))
    for i in range(10000):
        os.close(os.open(path("many/n%05d" % i), os.O_WRONLY | os.O_CREAT, 0o644))
    assert sorted(os.listdir(path("many"))) == ["n%05d" % i for i in range(10000)]
    seen = set()
    with os.scandir(path("many")) as entries:
        for e in entries:
            assert e.name not in seen
            assert e.is_file()
            seen.add(e.name)
            os.unlink(e.path)
    assert len(seen) == 10000
    os.rmdir(path("many"))


def every_name_is_a_name():
    names = [b"n" * 255, b"\xff\xfe not UTF-8", b"a\nline", b" ", b"-", b"\\"]
    os.mkdir(path("names"))
    for name in names:
        with open(os.path.join(os.fsencode(path("names")), name), "wb") as f:
            f.write(name)
    assert sorted(os.listdir(os.fsencode(path("names")))) == sorted(names)
    for name in names:
        with open(os.path.join(os.fsencode(home("names")), name), "rb") as f:
            assert f.read() in (b"", name)
        with open(os.path.join(os.fsencode(path("names")), name), "rb") as f:
            assert f.read() == name


def sockets_connect():
    here = os.open(".", os.O_RDONLY)
    os.chdir(D)
    with socket.socket(socket.AF_UNIX) as a, socket.socket(socket.AF_UNIX) as b:
        a.bind("socket")
        a.listen(1)
        b.connect("socket")
        assert stat.S_ISSOCK(os.stat("socket").st_mode)
    os.fchdir(here)
    os.close(here)


def a_directory_deeper_than_path_max_works():
    top = os.open(D, os.O_RDONLY)
    fd = os.dup(top)
    for _ in range(50):
        os.mkdir("d" * 100, dir_fd=fd)
        nxt = os.open("d" * 100, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = nxt
    f = os.open("file", os.O_RDWR | os.O_CREAT, 0o644, dir_fd=fd)
    os.write(f, b"deep")
    assert os.pread(f, 10, 0) == b"deep"
    os.rename("file", "renamed", src_dir_fd=fd, dst_dir_fd=fd)
    os.link("renamed", "linked", src_dir_fd=fd, dst_dir_fd=fd)
    os.unlink("renamed", dir_fd=fd)
    os.write(f, b"er")
    os.fsync(f)
    os.close(f)
    f = os.open("linked", os.O_RDONLY, dir_fd=fd)
    assert os.pread(f, 10, 0) == b"deeper"
    os.close(f)
    os.close(fd)
    os.close(top)


# --- metadata -------------------------------------------------------------------------------


def modes_and_owners_change():
    put("m", b"x")
    os.chmod(path("m"), 0o4751)
    assert stat.S_IMODE(os.stat(path("m")).st_mode) == 0o4751
    os.chown(path("m"), 1234, 4321)
    st = os.stat(path("m"))
    assert (st.st_uid, st.st_gid) == (1234, 4321)
    assert st.st_mode & stat.S_ISUID == 0, "chown clears setuid"
    assert os.stat(home("m")).st_uid == 1234


def times_are_those_of_the_writes():
    put("time", b"x")
    os.utime(path("time"), ns=(10**18 + 1, 10**18 + 123456789))
    st = os.stat(path("time"))
    assert (st.st_atime_ns, st.st_mtime_ns) == (10**18 + 1, 10**18 + 123456789)
    assert os.stat(home("time")).st_mtime_ns == 10**18 + 123456789
    fd = os.open(path("time"), os.O_RDWR)
    os.write(fd, b"y")
    written = os.fstat(fd).st_mtime_ns
    assert written > 10**18 + 10**9
    os.fsync(fd)
    st = os.fstat(fd)
    assert st.st_mtime_ns == written, "write-back does not move the time"
    assert st.st_ctime_ns >= written
    assert os.stat(home("time")).st_mtime_ns == written, "and puts it on the file"
    os.utime(fd, ns=(5, 10**18))
    os.close(fd)
    assert os.stat(path("time")).st_mtime_ns == 10**18
    assert get("time") == b"y"


def a_time_beyond_2262_is_a_time():
    """64 bits of nanoseconds end there; the year is 2400."""
    far = 13569465600 * 10**9
    put("far", b"x")
    with open(home("far2"), "wb") as f:
        os.utime(f.fileno(), ns=(far, far))
    fd = os.open(path("far"), os.O_RDWR)
    os.write(fd, b"y")
    os.utime(path("far"), ns=(far, far))
    want = os.stat(home("far2")).st_mtime_ns
    assert os.fstat(fd).st_mtime_ns == want
    os.fsync(fd)
    os.close(fd)
    assert os.stat(path("far")).st_mtime_ns == want
    assert os.stat(home("far")).st_mtime_ns == want


def reading_moves_the_access_time():
    put("read", b"x")
    os.utime(path("read"), ns=(10**18, 10**18 + 1))
    get("read")
    if KERNEL_CACHES:
        return  # what the kernel has is read without a word to us
    st = os.stat(path("read"))
    assert st.st_atime_ns > 10**18 + 10**9 and st.st_mtime_ns == 10**18 + 1
    fd = os.open(path("read"), os.O_RDONLY)
    os.utime(path("read"), ns=(10**18, 10**18 + 1))
    assert os.pread(fd, 1, 0) == b"x", "from the pool"
    assert os.stat(path("read")).st_atime_ns > 10**18 + 10**9
    os.close(fd)


def a_time_set_after_writing_stays():
    put("time2", pattern(10000))
    os.utime(path("time2"), ns=(10**18, 10**18))
    fd = os.open(path("time2"), os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    assert os.stat(path("time2")).st_mtime_ns == 10**18
    assert os.stat(home("time2")).st_mtime_ns == 10**18


def attributes_are_kept():
    put("xattr", b"x")
    os.setxattr(path("xattr"), "user.one", b"1" * 1000)
    os.setxattr(path("xattr"), "user.two", b"")
    assert os.getxattr(path("xattr"), "user.one") == b"1" * 1000
    assert sorted(os.listxattr(path("xattr"))) == ["user.one", "user.two"]
    fails(errno.EEXIST, os.setxattr, path("xattr"), "user.one", b"", os.XATTR_CREATE)
    os.removexattr(path("xattr"), "user.one")
    fails(errno.ENODATA, os.getxattr, path("xattr"), "user.one")
    assert os.listxattr(home("xattr")) == ["user.two"]


def statfs_is_homes():
    a, b = os.statvfs(D), os.statvfs(HOME)
    assert (a.f_blocks, a.f_bsize, a.f_namemax) == (b.f_blocks, b.f_bsize, b.f_namemax)


def changes_behind_the_pools_back_show_at_open():
    put("behind", b"old" * 1000)
    fd = os.open(path("behind"), os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    assert get("behind") == b"old" * 1000
    with open(home("behind"), "r+b") as f:
        f.write(b"new")
    assert get("behind") == b"new" + b"old" * 999
    os.truncate(home("behind"), 10)
    assert get("behind") == b"newoldoldo"


def metadata_changes_do_not_drop_what_was_written():
    put("meta", pattern(9000))
    os.chmod(path("meta"), 0o600)
    os.link(path("meta"), path("meta2"))
    os.setxattr(path("meta"), "user.x", b"1")
    os.rename(path("meta2"), path("meta3"))
    os.unlink(path("meta"))
    assert get("meta3") == pattern(9000)


def locks_work_between_processes():
    put("locked", b"x")
    fd = os.open(path("locked"), os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX)

    def work():
        other = os.open(path("locked"), os.O_RDWR)
        fails(errno.EAGAIN, fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fails(errno.EAGAIN, fcntl.flock, flocked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder = os.open(path("locked"), os.O_RDWR)
    flocked = os.open(path("locked"), os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    as_user(0, 0, [], work)
    for f in (fd, holder, flocked):
        os.close(f)


run(globals())
