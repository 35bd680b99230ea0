# SPDX-License-Identifier: BSD-3-Clause
# bash completion for poolfs(1) and poolstat(1)

# The word to complete ($cur) and what it is an argument of ($prev), also behind --option=, where
# readline may have made three words of one.
_poolfs_words()
{
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD-1]}
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	elif [[ $cur == --*=* ]]; then
		prev=${cur%%=*}
		cur=${cur#*=}
	fi
}

# _poolfs_from WORDS: those that $cur begins; with several, "a,b,c", it is about the last.
_poolfs_from()
{
	local before=
	[[ $cur != *,* ]] || before=${cur%,*},
	mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "${cur##*,}")
	[[ ${COMPREPLY[0]:-} != *= ]] || compopt -o nospace 2>/dev/null
}

# _poolfs_paths -d|-f
_poolfs_paths()
{
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

_poolfs()
{
	local cur prev
	_poolfs_words
	case $prev in
	--memory) _poolfs_from "system file private"; return ;;
	--policy) _poolfs_from "adaptive lru"; return ;;
	--page-size) _poolfs_from "512 1K 2K 4K 8K 16K 32K 64K"; return ;;
	--cache-size | --cache-max | --mode | --dirty-expire) return ;;
	-o)
		_poolfs_from "ro allow_other sync cache_size= cache_max= page_size= mode= dirty_expire=
		    memory= region_dir= warm= policy= cache= dir_timeout= warm_on_exit"
		return
		;;
	--region-dir) _poolfs_paths -d; return ;;
	--warm) _poolfs_paths -f; return ;;
	esac
	case $cur in
	-*)
		_poolfs_from "--help --version --foreground --debug --unmount --cache-size= --cache-max=
		    --page-size= --mode= --dirty-expire= --memory= --region-dir= --warm= --policy=
		    --timeout=
		    -o -s -u -f -d -h -V"
		;;
	*) _poolfs_paths -d ;;
	esac
}

_poolstat()
{
	local cur prev
	_poolfs_words
	case $prev in
	-o | --output) _poolfs_from "$(poolstat --columns 2>/dev/null | cut -d ' ' -f 1)"; return ;;
	--wait | --timeout) return ;;
	--region-dir) _poolfs_paths -d; return ;;
	esac
	case $cur in
	-*)
		_poolfs_from "--help --version --output= --columns --json --raw --bytes --noheadings
		    --top --report --wait= --timeout= --diff --env --remove --force --region-dir=
		    -o -J -r -b -h -V"
		;;
	*) _poolfs_paths -f ;;
	esac
}

complete -F _poolfs poolfs
complete -F _poolstat poolstat
