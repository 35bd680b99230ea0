#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The cache as a picture: known clean, dirty, pinned and absent pages are where they are in
# map.txt, and in what a decoder makes of the picture in map.svg and map.html.

. "$TEST_SRC/mount/lib.sh"

# letters FILE: of map.txt, in one line
letters()
{
	awk -v f="$1" '/^#/ { on = substr($0, length($0) - length(f) + 1) == f; next }
		on { printf "%s", $0 }' "$mnt/map.txt"
}

# pins_are N: a worker of the daemon lets go of its pages after it has answered.
pins_are()
{
	[ "$(stat_of pins)" = "$1" ]
}

mount_pool --cache-size=8M --dirty-expire=86400
same an_empty_pool_has_an_empty_map 1 "$(wc -l <"$mnt/map.txt")"
check and_an_empty_picture grep -q "</svg>" "$mnt/map.svg"
check and_an_empty_page grep -q "</html>" "$mnt/map.html"
head -c 409600 /dev/urandom >"$home/a"
head -c 1228800 /dev/urandom >"$home/b & <c>"
head -c 4096 /dev/urandom >"$home/one"
start_client
cat "$mnt/files/a" "$mnt/files/b & <c>" "$mnt/files/one" >/dev/null
check reads_have_let_go within_a_minute pins_are 0
echo 'evict a 10 19' >"$mnt/ctl"
echo 'evict "b & <c>" 0 63' >"$mnt/ctl"
ask open a
ask put 122880 dirty
ask put 126976 dirty
ask pin 99
check only_the_client_has_a_pin within_a_minute pins_are 1

# repeat N LETTER
repeat()
{
	awk -v n="$1" -v c="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", c }'
}

a=$(repeat 10 c)$(repeat 10 .)$(repeat 10 c)dd$(repeat 67 c)p
b=$(repeat 64 .)$(repeat 236 c)
same text_shows_what_is_where "$a" "$(letters "$home/a")"
same of_each_file "$b c" "$(letters "$home/b & <c>") $(letters "$home/one")"
same in_64_columns 64 "$(awk '!/^#/ && length > n { n = length } END { print n }' "$mnt/map.txt")"
for form in svg html; do
	same "${form}_shows_the_same" "$a" \
		"$(python3 "$TEST_SRC/mount/map.py" "$mnt/map.$form" "$home/a")"
	same "${form}_names_are_escaped" "$b" \
		"$(python3 "$TEST_SRC/mount/map.py" "$mnt/map.$form" "$home/b & <c>")"
done
same html_has_a_table "300 236 0 0 4096" "$(sed -n 's/<td[^>]*>/ /g; s/<[^>]*>//g
	/one$/!{/b &#38; &#60;c&#62;$/p;}' "$mnt/map.html" | awk '{ print $1, $2, $3, $4, $5 }')"
same nothing_is_fetched "" "$(grep -oE '(src|href)="[^"]{0,12}' "$mnt/map.html" |
	grep -v 'href="data:image/')"
check there_is_a_line_of_hits timeout 60 sh -c 'until grep -q "points=\"[0-9]" "$1/map.html"; do
	cat "$1/files/one" >/dev/null; done' sh "$mnt"
same maps_are_the_owners_alone "600 600" "$(stat -c %a "$mnt/map.txt" "$mnt/map.html" |
	tr '\n' ' ' | sed 's/ $//')"
ask unpin
exec 5>&- 4<&-
wait "$client"

# --- many pages -----------------------------------------------------------------------------

# More pages than letters, 4 million: then a letter is several, and the worst of them counts.
truncate -s 16G "$home/large"
dd if="$mnt/files/large" bs=4096 skip=100000 count=1 status=none >/dev/null
same a_letter_is_a_run 128 "$(awk 'NR == 1 { print $(NF - 4) }' "$mnt/map.txt")"
same with_its_page "c 782" "$(letters "$home/large" | tr -d '\n' |
	awk '{ print substr($0, 782, 1), index($0, "c") }')"
check large_maps_stay_small test "$(wc -c <"$mnt/map.html")" -le 307200
python3 - "$mnt/map.html" <<'EOP'
import sys, time
begun = time.monotonic()
with open(sys.argv[1], "rb") as f:
    size = len(f.read())
print("# 4.2 million pages: %.0f ms, %d KiB" % ((time.monotonic() - begun) * 1000, size >> 10))
EOP
unmount_pool
finish
