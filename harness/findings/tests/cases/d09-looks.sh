#!/bin/sh
incus config set web security.bpffs.path=/sys/fs/bpf security.bpffs.delegate_cmds=map_create security.bpffs.delegate_maps=hash
incus config get web security.bpffs.delegate_cmds
grep -q delegate_cmds /proc/mounts
