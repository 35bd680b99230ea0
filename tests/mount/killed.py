# SPDX-License-Identifier: BSD-3-Clause
"""killed.py - writes through the mount until the daemon is killed; says what was acknowledged.

Usage: killed.py DIRECTORY SEED KILL_AFTER DAEMON_PID PLAN_FILE.  Random writes to a few files;
after KILL_AFTER of them the daemon is killed while other threads go on writing.  PLAN_FILE gets
the bytes that each file must have: None where a write was under way.
"""
import os
import pickle
import random
import signal
import sys
import threading

where, seed, kill_after, daemon, plan = sys.argv[1:]
THREADS, LENGTH = 3, 300000
count = 0
counted = threading.Condition()


def writer(n, result):
    global count
    rnd = random.Random(int(seed) * 10 + n)
    want = [0] * LENGTH
    fd = os.open("%s/f%d" % (where, n), os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, LENGTH)
    result[n] = want
    while True:
        size = rnd.choice((1, 100, 4096, 10000))
        off = rnd.randrange(LENGTH - size)
        data = rnd.randbytes(size)
        try:
            done = os.pwrite(fd, data, off)
        except OSError:
            want[off:off + size] = [None] * size
            return
        want[off:off + done] = data[:done]
        # through the kernel's cache a write goes in pieces, and one of them may have failed
        want[off + done:off + size] = [None] * (size - done)
        with counted:
            count += 1
            counted.notify()


result = {}
threads = [threading.Thread(target=writer, args=(n, result)) for n in range(THREADS)]
for t in threads:
    t.start()
with counted:
    counted.wait_for(lambda: count >= int(kill_after), 60)
os.kill(int(daemon), signal.SIGKILL)
for t in threads:
    t.join()
with open(plan, "wb") as f:
    pickle.dump(result, f)
