# SPDX-License-Identifier: BSD-3-Clause
"""used_number.py DIRECTORY - a file that gets the inode number of a removed directory is a file.

Somebody still knows the directory, by a descriptor that keeps only the name.  Prints "fine".
"""
import os
import sys

os.chdir(sys.argv[1])
others = os.listdir(".")
os.mkdir("removed")
known = os.open("removed", os.O_PATH)
number = os.fstat(known).st_ino
os.rmdir("removed")
for name in others:  # for which the daemon gives up what it has of the directory
    os.stat(name)
for i in range(1000):
    fd = os.open("new%d" % i, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"x")
    if os.fstat(fd).st_ino == number:
        with open("new%d" % i, "rb") as f:
            assert f.read() == b"x"
        break
    os.close(fd)
print("fine")
