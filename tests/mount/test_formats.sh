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

# --- node_exporter --------------------------------------------------------------------------

# start_exporter: the textfile collector on stat/, at $exporter.
start_exporter()
{
	prometheus-node-exporter --collector.disable-defaults --collector.textfile \
		--collector.textfile.directory="$mnt/stat" --web.listen-address=127.0.0.1:0 \
		2>"$work/exporter" &
	exporter_pid=$!
	exporter=$(timeout 60 sh -c 'until grep -om 1 "address=127.0.0.1:[0-9]*" "$1"; do :; done' \
		sh "$work/exporter" | cut -d = -f 2)
}

# scraped METRIC: its value in what the exporter says.
scraped()
{
	python3 -c 'import sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
said = direct.open("http://%s/metrics" % sys.argv[1], timeout=60).read().decode()
for line in said.splitlines():
    if line.split("{")[0].split(" ")[0] == sys.argv[2]:
        print("%.15g" % float(line.split()[-1]))' "$exporter" "$1"
}

if command -v prometheus-node-exporter >/dev/null 2>&1; then
	start_exporter
	same node_exporter_reads_it 0 "$(scraped node_textfile_scrape_error)"
	same and_passes_it_on "$(stat_of page_in)" "$(scraped poolfs_pages_in_total)"
else
	skip node_exporter_reads_it "prometheus-node-exporter is not installed"
fi

rm "$mnt/regions/mpool"
same nothing_is_known_without_a_pool null \
	"$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["cache_hit"]))' \
	    <"$mnt/stat/pool.json")"
same and_no_number_to_scrape NaN "$(awk '/^poolfs_cache_hits_total/ { print $NF }' \
	"$mnt/stat/poolfs.prom")"
same sizes_stay_without_a_pool "$before" "$(sizes)"
check a_parser_reads_that_too /usr/bin/python3 -c '
import sys
from prometheus_client.parser import text_string_to_metric_families
assert len(list(text_string_to_metric_families(sys.stdin.read()))) > 50' <"$mnt/stat/poolfs.prom"
if [ -n "${exporter_pid:-}" ]; then
	same so_does_node_exporter "0 nan" \
		"$(scraped node_textfile_scrape_error) $(scraped poolfs_cache_hits_total)"
	kill "$exporter_pid"
	wait "$exporter_pid" 2>/dev/null
fi
unmount_pool
finish
