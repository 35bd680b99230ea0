# SPDX-License-Identifier: BSD-3-Clause
"""users.py - every user gets exactly what HOME itself would give."""
import errno
import os
import stat
import struct

from checks import (D, as_user, fails, fallocate, get, home, path, pattern, put, rename_with,
                    run)


def others_own_what_they_make():
    os.mkdir(path("open"))
    os.chmod(path("open"), 0o777)

    def work():
        put("open/mine", b"x")
        os.mkdir(path("open/dir"))
        os.symlink("x", path("open/link"))
    as_user(1000, 1001, [1002], work)
    for name in ("mine", "dir", "link"):
        st = os.lstat(home("open/" + name))
        assert (st.st_uid, st.st_gid) == (1000, 1001), name


def others_have_their_own_rights():
    put("private", b"x")
    os.chmod(path("private"), 0o600)
    put("group", b"x")
    os.chown(path("group"), 0, 1002)
    os.chmod(path("group"), 0o660)

    def work():
        fails(errno.EACCES, open, path("private"))
        fails(errno.EACCES, os.truncate, path("private"), 0)
        fails(errno.EPERM, os.chmod, path("private"), 0o666)
        fails(errno.EPERM, os.utime, path("private"), (0, 0))
        with open(path("group"), "r+b") as f:
            f.write(b"y")
    as_user(1000, 1001, [1002], work)
    as_user(1000, 1001, [], lambda: fails(errno.EACCES, open, path("group")))
    assert get("group") == b"y"


def writing_by_others_clears_set_id_bits():
    for how in ("write", "truncate", "fallocate"):
        put("suid", b"xx")
        os.chmod(path("suid"), 0o6777)

        def work():
            if how == "truncate":
                os.truncate(path("suid"), 1)
                return
            fd = os.open(path("suid"), os.O_WRONLY)
            if how == "write":
                os.write(fd, b"y")
            else:
                fallocate(fd, 0, 0, 10000)
            os.close(fd)
            fails(errno.EPERM, os.chmod, path("suid"), 0o777)
        as_user(1000, 1001, [], work)
        assert stat.S_IMODE(os.stat(path("suid")).st_mode) == 0o777, how


def acls_are_homes():
    if os.system("command -v setfacl >/dev/null 2>&1") != 0:
        return "no setfacl"
    put("acl", b"secret")
    os.chmod(path("acl"), 0o600)
    if os.system("setfacl -m u:1000:r '%s' 2>/dev/null" % path("acl")) != 0:
        return "HOME has no ACLs"

    def reads():
        assert get("acl") == b"secret"
        fails(errno.EACCES, open, path("acl"), "ab")
    as_user(1000, 1001, [], reads)
    as_user(1003, 1001, [], lambda: fails(errno.EACCES, open, path("acl")))


def _setfacl(words, name):
    return os.system("setfacl %s '%s' 2>/dev/null" % (words, path(name))) == 0


def acls_of_groups_are_homes():
    put("group_acl", b"secret")
    os.chmod(path("group_acl"), 0o600)
    if not _setfacl("-m g:1002:rw", "group_acl"):
        return "HOME has no ACLs"

    def writes():
        with open(path("group_acl"), "r+b") as f:
            f.write(b"S")
    as_user(1000, 1001, [1002], writes)
    as_user(1000, 1001, [], lambda: fails(errno.EACCES, open, path("group_acl"), "rb"))
    assert get("group_acl") == b"Secret"


def default_acls_decide_instead_of_the_umask():
    os.mkdir(path("default_acl"))
    os.chmod(path("default_acl"), 0o777)
    if not _setfacl("-d -m u::rwx,u:1003:rwx,g::rx,o::-", "default_acl"):
        return "HOME has no ACLs"

    def makes():
        os.umask(0o077)
        put("default_acl/file", b"x")
        os.mkdir(path("default_acl/dir"))
    as_user(1000, 1001, [], makes)
    assert stat.S_IMODE(os.stat(home("default_acl/file")).st_mode) == 0o660
    assert stat.S_IMODE(os.stat(home("default_acl/dir")).st_mode) == 0o770
    as_user(1003, 1003, [], lambda: put("default_acl/dir/theirs", b"x"))
    as_user(1004, 1004, [], lambda: fails(errno.EACCES, os.listdir, path("default_acl/dir")))


def the_umask_of_the_caller_counts():
    def makes():
        os.umask(0o027)
        put("masked", b"x")
        os.mkdir(path("masked.d"))
        os.mkfifo(path("masked.p"))
    os.chmod(D, 0o777)
    as_user(1000, 1001, [], makes)
    assert [stat.S_IMODE(os.stat(home("masked" + n)).st_mode) for n in ("", ".d", ".p")] == [
        0o640, 0o750, 0o640]


def a_setgid_directory_hands_its_group_down():
    os.mkdir(path("setgid"))
    os.chown(path("setgid"), 0, 1005)
    os.chmod(path("setgid"), 0o2777)

    def makes():
        put("setgid/file", b"x")
        os.mkdir(path("setgid/dir"))
    as_user(1000, 1001, [], makes)
    file, where = os.stat(path("setgid/file")), os.stat(path("setgid/dir"))
    assert (file.st_uid, file.st_gid) == (1000, 1005)
    assert where.st_gid == 1005 and where.st_mode & stat.S_ISGID


def a_sticky_directory_protects():
    os.mkdir(path("sticky"))
    os.chmod(path("sticky"), 0o1777)
    as_user(1000, 1001, [], lambda: put("sticky/mine", b"x"))

    def tries():
        fails(errno.EPERM, os.unlink, path("sticky/mine"))
        fails(errno.EPERM, os.rename, path("sticky/mine"), path("sticky/yours"))
    as_user(1003, 1001, [], tries)
    as_user(1000, 1001, [], lambda: os.unlink(path("sticky/mine")))


def a_program_that_may_not_be_read_is_run():
    with open("/bin/true", "rb") as f:
        put("true", f.read())
    os.chmod(path("true"), 0o711)

    def tries():
        fails(errno.EACCES, open, path("true"), "rb")
        assert os.spawnv(os.P_WAIT, path("true"), ["true"]) == 0
    as_user(1000, 1001, [], tries)
    os.chmod(path("true"), 0o744)
    as_user(1000, 1001, [], lambda: fails(errno.EACCES, os.execv, path("true"), ["true"]))


def trusted_attributes_are_not_shown_to_others():
    put("trusted", b"x")
    os.setxattr(path("trusted"), "trusted.secret", b"x")
    os.setxattr(path("trusted"), "user.plain", b"x")
    assert sorted(os.listxattr(path("trusted"))) == ["trusted.secret", "user.plain"]

    def looks():
        assert os.listxattr(path("trusted")) == ["user.plain"]
        fails(errno.ENODATA, os.getxattr, path("trusted"), "trusted.secret")
        fails(errno.EPERM, os.setxattr, path("trusted"), "trusted.secret", b"y")
    as_user(1000, 1001, [], looks)


def writing_takes_the_capabilities_of_a_program():
    put("capable", pattern(10000))
    os.chmod(path("capable"), 0o777)
    cap_net_raw = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    fd = os.open(path("capable"), os.O_WRONLY)
    os.pwrite(fd, b"x", 0)
    os.setxattr(path("capable"), "security.capability", cap_net_raw)
    assert os.listxattr(path("capable")) == ["security.capability"]
    os.pwrite(fd, b"y", 0)
    assert os.listxattr(path("capable")) == []
    os.close(fd)


def renamed_with_every_flag_as_the_caller():
    os.mkdir(path("theirs"))
    os.chown(path("theirs"), 1000, 1001)

    def works():
        put("theirs/a", b"a")
        put("theirs/b", b"b")
        a, b = path("theirs/a"), path("theirs/b")
        rename_with(2, a, b)
        fails(errno.EEXIST, rename_with, 1, a, b)
        rename_with(1, a, path("theirs/c"))
        assert (get("theirs/c"), get("theirs/b")) == (b"b", b"a")
    as_user(1000, 1001, [], works)


run(globals())
