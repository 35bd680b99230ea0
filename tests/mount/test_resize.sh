#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Regions that become larger and smaller while they are in use: --cache-max, grow and shrink.

. "$TEST_SRC/mount/lib.sh"

# What the kernel has cached is not read from the pool, and keeps a pool there.
unset MOUNT_CACHE

tell()
{
	printf '%s\n' "$*" >"$mnt/ctl"
}

# last_error: the sentence of the command that failed last.
last_error()
{
	awk '$1 == "last_error" { $1 = ""; print substr($0, 2) }' "$mnt/stat/daemon" |
	    sed 's/ *$//'
}


head -c 8388608 /dev/urandom >"$home/data"

check_fails a_most_that_is_less_is_refused 'less than the pool has' \
	"$POOLFS" --cache-size=4M --cache-max=2M "$home" "$mnt"

for kind in system file; do
	mount_pool --memory="$kind" --cache-size=4M --cache-max=16M --dirty-expire=86400
	same "the_pool_is_as_large_as_was_said_$kind" 4194304 "$(stat_of cachesize)"
	check "it_reads_more_than_it_holds_$kind" cmp "$home/data" "$mnt/files/data"
	check "grow_$kind" tell grow mpool 12M
	same "makes_it_larger_$kind" 12582912 "$(stat_of cachesize)"
	check "all_of_it_is_read_again_$kind" cmp "$home/data" "$mnt/files/data"
	same "and_stays_$kind" 2048 "$(stat_of page_clean)"
	check "as_far_as_was_said_$kind" tell grow mpool 16M
	same "it_grows_$kind" 16777216 "$(stat_of cachesize)"
	check "no_further_$kind" fails_with ENOMEM 'grow mpool 17M'
	check "it_is_that_large_already_$kind" fails_with EINVAL 'grow mpool 16M'
	start_client
	ask open data
	ask put 8000000 changed
	ask pin 1000
	check "what_is_pinned_is_in_the_way_$kind" fails_with EBUSY 'shrink mpool 20K'
	same "which_the_sentence_says_$kind" \
		'ctl: shrink: mpool: pages in the way are pinned or cannot be written' \
		"$(last_error)"
	same "and_it_is_as_it_was_$kind" 16777216 "$(stat_of cachesize)"
	ask unpin
	check "shrink_$kind" tell shrink mpool 1M
	same "makes_it_smaller_$kind" 1048576 "$(stat_of cachesize)"
	same "what_was_dirty_is_written_$kind" changed \
		"$(dd if="$home/data" bs=1 skip=8000000 count=7 status=none)"
	check "all_is_there_$kind" cmp "$home/data" "$mnt/files/data"
	check "not_more_than_it_holds_$kind" test "$(stat_of page_clean)" -le 256
	check "it_is_that_small_already_$kind" fails_with EINVAL 'shrink mpool 2M'
	check "it_cannot_be_so_small_$kind" fails_with EINVAL 'shrink mpool 1K'
	kill -9 "$client"
	wait "$client" 2>/dev/null
	exec 5>&- 4<&-
	check "the_pool_is_in_order_$kind" tell check
	unmount_pool

	mount_pool --memory="$kind" --dirty-expire=86400
	same "a_mount_that_says_nothing_takes_it_as_it_is_$kind" 1048576 "$(stat_of cachesize)"
	unmount_pool
	mount_pool --memory="$kind" --cache-size=8M
	same "one_that_says_more_makes_it_grow_$kind" 8388608 "$(stat_of cachesize)"
	rm "$mnt/regions/mpool"
	unmount_pool
done

# A pool that nobody said may grow does not, and its region is no larger than it need be.
mount_pool --cache-size=4M
check it_does_not_grow_unasked fails_with ENOMEM 'grow mpool 5M'
check words_that_are_no_size_are_refused fails_with EINVAL 'grow mpool much'
check no_region_cannot_grow fails_with ENOENT 'grow nosuch 5M'
check nor_what_is_said_of_one fails_with ENOENT 'grow mpool.layout 5M'
rm "$mnt/regions/mpool"
unmount_pool

# While others read and write through it.
mount_pool --cache-size=4M --cache-max=16M
cat >"$work/busy.py" <<'EOP'
import os, random, sys
path, ctl, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
PAGE = 4096
random.seed(1)
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
n = 2048
model = [i % 251 + 1 for i in range(n)]
for i in range(n):
    os.pwrite(fd, bytes([model[i]]) * PAGE, i * PAGE)
ready, go = os.pipe()
child = os.fork()
if child == 0:
    for i in range(rounds):
        c = os.open(ctl, os.O_WRONLY)
        for verb, size in (("shrink", "1M"), ("grow", "%dM" % (2 + i % 14))):
            while True:
                try:
                    os.write(c, ("%s mpool %s" % (verb, size)).encode())
                    break
                except BlockingIOError:
                    pass
                except OSError as e:
                    if e.errno != 16:        # EBUSY: what a request has pinned just now
                        os._exit(1)
        os.close(c)
    os._exit(0)
done = 0
while done == 0:
    for k in range(500):
        i = random.randrange(n)
        if random.random() < 0.3:
            model[i] = random.randrange(1, 252)
            os.pwrite(fd, bytes([model[i]]) * PAGE, i * PAGE)
        elif os.pread(fd, PAGE, i * PAGE) != bytes([model[i]]) * PAGE:
            sys.exit("page %d is not as it was written" % i)
    done, status = os.waitpid(child, os.WNOHANG)
if status != 0:
    sys.exit("a command failed")
for i in range(n):
    if os.pread(fd, PAGE, i * PAGE) != bytes([model[i]]) * PAGE:
        sys.exit("page %d is not as it was written, at the end" % i)
EOP
check in_use_nothing_is_lost timeout 300 python3 "$work/busy.py" \
	"$mnt/files/busy" "$mnt/ctl" 25
check and_the_pool_is_in_order tell check
unmount_pool
check it_is_on_disk test "$(stat -c %s "$home/busy")" = 8388608
remove_pool
finish
