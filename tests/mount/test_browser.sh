#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# map.svg and map.html in a real browser: in its screenshot known clean, dirty, pinned and absent
# pages have their colours where they are, and the page names the pages under the mouse.

. "$TEST_SRC/mount/lib.sh"

browser=$(command -v chromium || command -v chromium-headless-shell || :)
if [ -z "$browser" ]; then
	skip a_browser_shows_the_map "chromium is not installed"
	finish
fi

# browse ARGUMENT...
browse()
{
	HOME=$work timeout 120 "$browser" --headless --no-sandbox --disable-gpu \
		--disable-dev-shm-usage --no-first-run --hide-scrollbars \
		--force-device-scale-factor=1 --force-color-profile=srgb \
		--user-data-dir="$work/profile" --window-size=1200,700 "$@" 2>"$work/browser"
}

mount_pool --cache-size=8M --dirty-expire=86400
head -c 1638400 /dev/urandom >"$home/a"
head -c 1228800 /dev/urandom >"$home/b & <c>"
start_client
cat "$mnt/files/a" "$mnt/files/b & <c>" >/dev/null
echo 'evict a 10 199' >"$mnt/ctl"
echo 'evict "b & <c>" 100 163' >"$mnt/ctl"
ask open a
ask put 1228800 dirty
ask put 1232896 dirty
ask pin 299
letters=$(awk '!/^#/ { printf "%s", $0 }' "$mnt/map.txt")
same map_is_as_meant "2 1 254 443" "$(for c in d p . c; do
	printf %s "$letters" | tr -cd "$c" | wc -c; done | tr '\n' ' ' | sed 's/ $//')"

# shown FORM: that map, in a screenshot of it
shown()
{
	rm -f "$work/shot.png"
	browse --screenshot="$work/shot.png" "file://$mnt/map.$1" && [ -s "$work/shot.png" ] &&
		python3 "$TEST_SRC/mount/browser.py" "$work/shot.png" "$letters" || {
		tail -n 5 "$work/browser"
		return 1
	}
}

check map_svg_is_shown shown svg
check map_html_is_shown shown html

# A mouse over the first dirty page: 300 of the first file, in row 1 of the picture.
sed 's,</body>,<script>var b=m.getBoundingClientRect();m.onmousemove({clientX:b.left+44*4+2\,\
clientY:b.top+1*4+2});</script></body>,' "$mnt/map.html" >"$work/mouse.html"
same the_page_under_the_mouse_is_named "$home/a, page 300" \
	"$(browse --dump-dom "file://$work/mouse.html" |
	    sed -n 's,.*<b id="where">\([^<]*\)</b>.*,\1,p')"
ask unpin
exec 5>&- 4<&-
wait "$client"
unmount_pool
finish
