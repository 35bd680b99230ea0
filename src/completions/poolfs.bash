# SPDX-License-Identifier: BSD-3-Clause
# bash completion for poolfs(1) and poolstat(1)

_poolfs_dirs()
{
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -d -- "$1")
}

_poolfs()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	case $prev in
	--memory) mapfile -t COMPREPLY < <(compgen -W "system file private" -- "$cur"); return ;;
	-o)
		mapfile -t COMPREPLY < <(compgen -W "ro allow_other sync cache_size= page_size= mode=
		    dirty_expire= memory= region_dir= warm= policy= warm_on_exit" -- "$cur")
		return
		;;
	--region-dir) _poolfs_dirs "$cur"; return ;;
	esac
	case $cur in
	-*)
		mapfile -t COMPREPLY < <(compgen -W "--help --version --foreground --debug --unmount
		    --cache-size= --page-size= --mode= --dirty-expire= --memory= --region-dir=
		    --warm= --policy= -o -s -u -f -d -h -V" -- "$cur")
		[[ ${COMPREPLY[0]:-} != *= ]] || compopt -o nospace 2>/dev/null
		;;
	*) _poolfs_dirs "$cur" ;;
	esac
}

_poolstat()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	case $prev in
	-o | --output)
		mapfile -t COMPREPLY < <(compgen -W "$(poolstat --columns 2>/dev/null |
		    cut -d ' ' -f 1)" -- "$cur")
		return
		;;
	esac
	case $cur in
	-*)
		mapfile -t COMPREPLY < <(compgen -W "--help --version --output= --columns --json --raw
		    --bytes --noheadings --top --report --wait= --timeout= --diff --env --remove
		    --force --region-dir= -o -J -r -b -h -V" -- "$cur")
		[[ ${COMPREPLY[0]:-} != *= ]] || compopt -o nospace 2>/dev/null
		;;
	*) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	esac
}

complete -F _poolfs poolfs
complete -F _poolstat poolstat
