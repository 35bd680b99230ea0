# SPDX-License-Identifier: BSD-3-Clause
# fish completion for poolfs(1)
complete -c poolfs -s h -l help -d 'Print the options'
complete -c poolfs -s V -l version -d 'Print versions'
complete -c poolfs -s f -l foreground -d 'Stay in the foreground'
complete -c poolfs -s d -l debug -d 'Trace every request'
complete -c poolfs -s u -l unmount -d 'Write everything and unmount'
complete -c poolfs -l timeout -x -d 'Seconds that -u waits for a daemon'
complete -c poolfs -s s -d 'Serve with a single thread'
complete -c poolfs -l cache-size -x -d 'Of a new pool'
complete -c poolfs -l cache-max -x -d 'To which a new pool may grow'
complete -c poolfs -l page-size -x -a '512 1K 2K 4K 8K 16K 32K 64K' -d 'Of files new to the pool'
complete -c poolfs -l mode -x -d 'Permissions of a new region'
complete -c poolfs -l dirty-expire -x -d 'Seconds after which changed pages are written'
complete -c poolfs -l memory -x -a 'system file private' -d 'Of a new pool'
complete -c poolfs -l region-dir -r -d 'Where the region files are'
complete -c poolfs -l warm -r -d 'The list of pages to begin with'
complete -c poolfs -l policy -x -a 'adaptive lru' -d 'Which pages leave first'
complete -c poolfs -s o -x -d 'Mount options' \
    -a '(__fish_append , ro allow_other sync cache_size= cache_max= page_size= mode= dirty_expire= \
        memory= region_dir= warm= policy= cache= dir_timeout= warm_on_exit)'
