#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# JSON and Prometheus: what the text files say, as somebody else's parsers read it.

. "$TEST_SRC/mount/lib.sh"

# A home whose name a careless writer of labels and strings would trip over.
home="$work/a \"home\" with \\ and é"
mkdir "$home"
mount_pool --cache-size=1M
head -c 300000 /dev/urandom >"$home/data"
cat "$mnt/files/data" "$mnt/files/data" >/dev/null
printf 'quoted' >"$mnt/files/a \"quoted\" \\ name"
printf 'not utf-8' >"$mnt/files/$(printf 'b\377d')"
check the_formats_agree env HOME_DIR="$home" PYTHONIOENCODING=utf-8 \
	/usr/bin/python3 "$TEST_SRC/mount/formats.py" "$mnt" # Debian's, which has the parser

sizes()
{
	(cd "$mnt/stat" && stat -c '%n %s' pool pool.json poolfs.prom)
}

before=$(sizes)
cat "$mnt/files/data" >/dev/null
same sizes_do_not_depend_on_the_numbers "$before" "$(sizes)"
check a_scrape_is_fresh test "$(stat -c %Y "$mnt/stat/poolfs.prom")" -ge \
	"$(stat -c %Y "$mnt/stat/pool")"
rm "$mnt/regions/mpool"
same nothing_is_known_without_a_pool null \
	"$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["cache_hit"]))' \
	    <"$mnt/stat/pool.json")"
same and_no_number_to_scrape NaN "$(awk '/^poolfs_cache_hits_total/ { print $NF }' \
	"$mnt/stat/poolfs.prom")"
same sizes_stay_without_a_pool "$before" "$(sizes)"
unmount_pool
finish
