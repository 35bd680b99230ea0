#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The Debian packages: built by ./run deb from a copy of the sources, without a complaint of
# lintian's, installed by dpkg over this system (in a mount namespace, so that nothing is left of
# it), used, and removed again.  Only where CI says so: it takes a while.

if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS:-}" ]; then
	export OWN_MOUNTS=yes
	exec unshare --mount sh "$0" "$@"
fi
. "$TEST_SRC/mount/lib.sh"

if [ "${CI:-}" != true ]; then
	skip packages_are_built "only with CI=true; ./run deb builds them"
	finish
fi
source=$work/source
mkdir "$source"
(cd "$TEST_SRC/.." && tar cf - meson.build run README.md LICENSE .ci core fs src tests) |
	tar xf - -C "$source"

build_them()
{
	(cd "$source" && DEB_BUILD_OPTIONS=noopt timeout 600 ./run deb) >"$work/built" \
		2>"$work/log" || { cat "$work/built" "$work/log"; return 1; }
}

check packages_are_built build_them
same lintian_has_nothing_to_say "" "$(grep '^[EW]:' "$work/built")"
debs=$source/build/deb
version=$(sed -n "s/^  version: '\\(.*\\)',/\\1/p" "$source/meson.build")
same there_are_three "libpoolfs-dev_$version libpoolfs0_$version poolfs_$version" \
	"$(cd "$debs" && printf '%s\n' *.deb | grep -v dbgsym | sed 's/_[^_]*$//' | sort |
	    tr '\n' ' ' | sed 's/ $//')"
check and_a_source_package test -s "$debs/poolfs_$version.dsc"

# Over the system's own directories; what is written there is gone with the namespace.
overlay()
{
	mkdir "$work/over" && mount -t tmpfs none "$work/over" || return
	for at in usr var etc; do
		mkdir -p "$work/over/$at" "$work/over/.$at" &&
		    mount -t overlay -o \
			"lowerdir=/$at,upperdir=$work/over/$at,workdir=$work/over/.$at" none \
			"/$at" || return
	done
}

if ! overlay >"$work/said" 2>&1; then
	sed 's/^/# /' "$work/said"
	skip packages_can_be_installed "no overlay over this system"
	finish
fi
# shellcheck disable=SC2046 # a list of files
check packages_can_be_installed dpkg -i $(find "$debs" -name '*.deb' ! -name '*dbgsym*')
same programs_are_in_the_path "/usr/bin/poolfs /usr/bin/poolstat" \
	"$(command -v poolfs) $(command -v poolstat)"
cat >"$work/user.c" <<'EOF'
#include <poolfs/mpool.h>
int
main(void)
{
	DB_MPOOL *mp;

	return memp_open(NULL, DB_MPOOL_PRIVATE, 0, NULL, &mp) != 0 || memp_close(mp) != 0;
}
EOF
check the_library_can_be_used sh -ec 'cc -o "$1" "$1.c" $(pkg-config --cflags --libs poolfs)
	"$1"' sh "$work/user"
POOLFS=/usr/bin/poolfs
mount_pool --cache-size=1M
echo text >"$mnt/files/file"
unmount_pool
same the_daemon_works text "$(cat "$home/file")"
check poolstat_too poolstat --remove "$home"
same with_manuals 4 "$(dpkg -L poolfs libpoolfs-dev | grep -c '/man[135]/[a-z]*\.[135]')"
check packages_can_be_removed dpkg -r poolfs libpoolfs-dev libpoolfs0
same nothing_of_them_stays "" "$(find /usr/bin /usr/lib /usr/share /usr/include -name '*poolfs*' \
	-o -name 'poolstat*')"
cd /
finish
