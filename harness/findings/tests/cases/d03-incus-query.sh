#!/bin/sh
incus query --request PATCH -d '{"config": {"security.bpffs.path": "/sys/fs/bpf", "security.bpffs.delegate_cmds": "map_creat"}}' /1.0/instances/web
