#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What is installed is enough: a program that knows only `pkg-config poolfs` compiles, links with
# the shared library and runs; and that library exports the published calls and nothing else.
# $BUILD is the build directory; the arguments are the C compiler's command.

# shellcheck disable=SC2317 # functions are called through check()
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0
failed=0

# check NAME COMMAND...
check()
{
	name=$1
	shift
	n=$((n + 1))
	if "$@" >"$work/log" 2>&1; then
		echo "ok $n - $name"
	else
		sed 's/^/# /' "$work/log"
		echo "not ok $n - $name"
		failed=1
	fi
}

cat >"$work/user.c" <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poolfs/lock.h>
#include <poolfs/mpool.h>

#define MUST(call)                                                                        \
	do {                                                                              \
		int ret_ = (call);                                                        \
		if (ret_ != 0) {                                                          \
			fprintf(stderr, "%s: %s\n", #call, db_strerror(ret_));            \
			return (1);                                                       \
		}                                                                         \
	} while (0)

int
main(int argc, char **argv)
{
	DB_MPOOL *mp;
	DB_MPOOLFILE *mpf;
	DB_MPOOL_STAT *st;
	db_pgno_t pgno;
	void *page;

	if (argc != 2)
		return (2);
	MUST(memp_open(NULL, DB_MPOOL_PRIVATE, 0, NULL, &mp));
	MUST(memp_fopen(mp, argv[1], 0, DB_CREATE, 0600, 1024, -1, NULL, NULL, &mpf));
	MUST(memp_fget(mpf, &pgno, DB_MPOOL_NEW, &page));
	memset(page, 'x', 1024);
	MUST(memp_fput(mpf, page, DB_MPOOL_DIRTY));
	MUST(memp_fsync(mpf));
	MUST(memp_stat(mp, &st, NULL, NULL));
	if (pgno != 0 || st->st_page_out != 1)
		return (3);
	free(st);
	MUST(memp_fclose(mpf));
	MUST(memp_close(mp));
	return (0);
}
EOF

installs()
{
	meson install -C "${BUILD:?}" --no-rebuild --quiet --destdir "$work/root"
}

# The .pc file says the real prefix; the sysroot puts it below the staging directory.
compiles()
{
	pc=$(find "$work/root" -name poolfs.pc)
	export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$work/root"
	export PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
	# shellcheck disable=SC2046 # a list of flags
	"$@" -Wall -Wextra -Werror -o "$work/user" "$work/user.c" \
		$(pkg-config --cflags --libs poolfs)
}

runs()
{
	lib=$(find "$work/root" -name libpoolfs.so)
	LD_LIBRARY_PATH="${lib%/*}" "$work/user" "$work/file" &&
		[ "$(tr -d x <"$work/file" | wc -c)" = 0 ] && [ "$(wc -c <"$work/file")" = 1024 ]
}

exports_the_published_calls_only()
{
	lib=$(find "$work/root" -name libpoolfs.so)
	sed -n 's/^POOLFS_API [A-Za-z_0-9 *]*[ *]\([a-z_]*\)[([].*/\1/p' \
		"$work"/root/*/*/include/poolfs/*.h \
		"$work"/root/*/include/poolfs/*.h 2>/dev/null | sort >"$work/published"
	nm -D --defined-only "$lib" | awk '$2 ~ /[TDBRVW]/ { print $3 }' | sort >"$work/exported"
	[ -s "$work/published" ] && diff "$work/published" "$work/exported"
}

installs_the_program()
{
	[ -x "$(find "$work/root" -path '*bin/poolfs')" ]
}

# Every file, by the place where it belongs below the prefix.
installs_all_of_it()
{
	lib=$(find "$work/root" -name libpoolfs.so)
	missing=
	for f in bin/poolfs bin/poolstat share/man/man1/poolfs.1 share/man/man1/poolstat.1 \
	    share/man/man5/poolfs.5 share/bash-completion/completions/poolfs \
	    share/bash-completion/completions/poolstat share/zsh/site-functions/_poolfs \
	    share/fish/vendor_completions.d/poolfs.fish \
	    share/fish/vendor_completions.d/poolstat.fish lib/systemd/system/poolfs@.service \
	    include/poolfs/env.h include/poolfs/mpool.h; do
		[ -s "$(find "$work/root" -path "*/$f")" ] || missing="$missing $f"
	done
	[ -n "$lib" ] && [ -z "$missing" ] || { echo "missing:$missing"; false; }
}

the_unit_names_the_program()
{
	unit=$(find "$work/root" -name 'poolfs@.service')
	grep -qE '^ExecStart=/.*bin/poolfs -f ' "$unit" && ! grep -q '@bindir@' "$unit"
}

echo 1..7
check installs installs
check program_is_there installs_the_program
check all_of_it_is_there installs_all_of_it
check the_unit_names_the_program the_unit_names_the_program
check a_user_compiles compiles "$@"
check a_user_runs runs
check exports_the_published_calls_only exports_the_published_calls_only
exit "$failed"
