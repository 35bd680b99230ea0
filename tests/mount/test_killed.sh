#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The daemon is killed in the middle of writes that do not fit in its pool: every write that had
# returned is in HOME after poolfs -u, or after another daemon came and went.

. "$TEST_SRC/mount/lib.sh"

holds_what_was_acknowledged()
{
	python3 - "$work/plan" "$home" <<-'EOP'
		import pickle, sys
		plan = pickle.load(open(sys.argv[1], "rb"))
		for n, want in plan.items():
		    got = open("%s/f%d" % (sys.argv[2], n), "rb").read()
		    assert len(got) == len(want), (n, len(got))
		    bad = [i for i, b in enumerate(want) if b is not None and got[i] != b]
		    assert not bad, "file %d: %d bytes, first at %d" % (n, len(bad), bad[0])
	EOP
}

for round in 1 2 3 4 5 6; do
	rm -f "$home"/f*
	mount_pool --cache-size=256K
	check "killed_while_writing_$round" python3 "$TEST_SRC/mount/killed.py" "$mnt/files" \
		"$round" $((round * 50)) "$(daemon_pid)" "$work/plan"
	if [ $((round % 2)) = 0 ]; then
		umount -l "$mnt"
		mount_pool --cache-size=256K
	fi
	unmount_pool
	check "nothing_acknowledged_is_lost_$round" holds_what_was_acknowledged
done
finish
