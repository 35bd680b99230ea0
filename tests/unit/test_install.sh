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

# Every file, by its place below the prefix, and no other; the machine's name in lib/ is left out.
installs_all_of_it()
{
	prefix=$(find "$work/root" -path '*/bin/poolfs')
	prefix=${prefix%/bin/poolfs}
	(cd "$prefix" && find . ! -type d) | sed 's,^\./,,; s,^lib64/,lib/,
		s,^lib/[a-z0-9_]*-linux-gnu[a-z0-9]*/,lib/,
		s,\.so\.[0-9.]*\.[0-9]*$,.so.VERSION,' | LC_ALL=C sort >"$work/installed"
	diff - "$work/installed" <<-'EOF'
		bin/poolfs
		bin/poolstat
		include/poolfs/env.h
		include/poolfs/lock.h
		include/poolfs/mpool.h
		include/poolfs/region.h
		lib/libpoolfs.so
		lib/libpoolfs.so.0
		lib/libpoolfs.so.VERSION
		lib/pkgconfig/poolfs.pc
		lib/systemd/system/poolfs@.service
		share/bash-completion/completions/poolfs
		share/bash-completion/completions/poolstat
		share/fish/vendor_completions.d/poolfs.fish
		share/fish/vendor_completions.d/poolstat.fish
		share/man/man1/poolfs.1
		share/man/man1/poolstat.1
		share/man/man3/libpoolfs.3
		share/man/man5/poolfs.5
		share/zsh/site-functions/_poolfs
	EOF
}

the_unit_names_the_program()
{
	unit=$(find "$work/root" -name 'poolfs@.service')
	grep -qE '^ExecStart=/.*bin/poolfs -f ' "$unit" && ! grep -q '@bindir@' "$unit"
}

echo 1..7
check installs installs
check program_is_there installs_the_program
check every_file_and_no_other installs_all_of_it
check the_unit_names_the_program the_unit_names_the_program
check a_user_compiles compiles "$@"
check a_user_runs runs
check exports_the_published_calls_only exports_the_published_calls_only
exit "$failed"
