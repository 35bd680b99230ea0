#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Regions through the mount: what two users without privileges see of them, one of the owner's group
# and another, for every mode and in both kinds of shared memory; and that neither removes one.

. "$TEST_SRC/mount/lib.sh"

chmod 755 "$work" "$home"

# as CLASS COMMAND...: as a user of root's group, or as another.
as()
{
	groups=--clear-groups
	[ "$1" = other ] || groups=--groups=0
	shift
	setpriv --reuid=1000 --regid=1001 "$groups" "$@"
}

# can CLASS MODE: may he read what has that mode?
can()
{
	case "$1$2" in
	group06[46]? | other06?[46]) return 0 ;;
	*) return 1 ;;
	esac
}

# reads CLASS MODE KIND: all of what shows the region's bytes, or names and pages of it, or none.
reads()
{
	good=0
	bad=0
	for shown in regions/mpool regions/mpool.layout regions/mpool.clients regions/mpool.heap \
	    stat/files; do
		if as "$1" head -c 100 "$mnt/$shown" >/dev/null 2>&1; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
		fi
	done
	wanted='0 5'
	! can "$1" "$2" || wanted='5 0'
	same "$1_sees_a_region_of_mode_$2_in_a_$3" "$wanted" "$good $bad"
}

# refused COMMAND...: to that user.
refused()
{
	! as "$@" </dev/null >/dev/null 2>&1
}

for kind in file system; do
	for mode in 0600 0640 0644 0660 0664 0666; do
		mount_pool --memory="$kind" --mode="$mode" --cache-size=1M -o allow_other
		for class in group other; do
			reads "$class" "$mode" "$kind"
			check "${class}_does_not_remove_it_${mode}_$kind" \
				refused "$class" rm -f "$mnt/regions/mpool"
			check "${class}_does_not_steer_${mode}_$kind" \
				refused "$class" tee "$mnt/ctl"
			check "${class}_sees_totals_${mode}_$kind" as "$class" cat "$mnt/stat/pool"
		done
		check "it_is_still_there_${mode}_$kind" test -e "$mnt/regions/mpool"
		check "root_removes_it_${mode}_$kind" rm "$mnt/regions/mpool"
		unmount_pool
	done
done

finish
