#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A region that a group may write, of a mount that root runs.  Who is in that group can make a row
# of the pool's file table say that his dirty page is of a file of HOME that he may not write; the
# daemon does not write it there.  What it has been asked to write by somebody who may, it writes,
# and so the pages that members of the group have put into files that all of them may write.

. "$TEST_SRC/mount/lib.sh"

chmod 755 "$work"
cp "$TEST_BIN/forger" "$TEST_BIN/pool_client" "$work"
echo 'nobody else writes here' >"$home/roots"
cp "$home/roots" "$home/readable"
cp "$home/roots" "$home/listed"
chown :1000 "$home/readable" "$home/listed"
chmod 600 "$home/roots"
chmod 640 "$home/readable"
chmod 660 "$home/listed"
setfacl -m u:1001:r "$home/listed"
for name in a b c d e; do
	echo "twenty bytes of $name .." >"$home/$name"
	chown 1000:1000 "$home/$name"
done
chmod 660 "$home/e"

# As root, but of the group that the region is to have.
umask 007
setpriv --regid=1000 --clear-groups timeout 60 "$POOLFS" --mode=0660 --cache-size=1M \
	--dirty-expire=86400 -o allow_other "$home" "$mnt" || { ok mounts 1; finish; }
umask 022
same the_region_is_the_groups "0 1000 660" "$(stat -c '%u %g %a' "$home/__db_mpool.share")"

# forge FILE VICTIM: FILE's row becomes VICTIM's; then all is to be written.
forge()
{
	as 1000 "$work/forger" "$home" "$1" "$home/$2" "$home/$2" 2>"$work/why"
	same "a_member_forges_$2" 137 $?
	echo sync >"$mnt/ctl" 2>/dev/null
}

untouched()
{
	[ "$(cat "$home/$1")" = 'nobody else writes here' ]
}

forge a roots
check a_file_of_roots_is_not_written untouched roots
forge b readable
check nor_one_that_the_group_may_read untouched readable
forge c listed
check nor_one_with_a_list_that_names_others untouched listed
check the_daemon_says_why grep -q "home/listed: .* not everybody who may write the pool may write" \
	"$mnt/stat/events"
check their_pages_stay test "$(stat_of page_dirty)" -ge 3

# Those of whom the daemon knows, or who trust each other.
echo 'root was here' >"$mnt/files/notes"
chmod 600 "$home/notes"
forge d roots
same what_root_writes_is_written 'root was here' "$(cat "$home/notes")"
start_partner as 1000 "$work/pool_client" "$home"
client=$partner
ask open e
ask put 0 put by a member
exec 5>&- 4<&-
wait "$client"
echo sync >"$mnt/ctl" 2>/dev/null
same what_a_member_puts_into_the_groups_file_is_written 'put by a member' \
	"$(head -c 15 "$home/e")"
forge - roots
check all_rows_forged_at_once untouched roots
check the_daemon_lives test -s "$mnt/stat/pool"
timeout 100 "$POOLFS" -u "$mnt" >/dev/null 2>&1 || umount -l "$mnt"
check nor_is_it_written_at_the_end untouched roots
finish
