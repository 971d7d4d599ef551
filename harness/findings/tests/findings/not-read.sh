#!/bin/sh
incus config set web security.bpffs.path=/sys/fs/bpf security.bpffs.delegate_cmds=map_create security.bpffs.delegate_maps=hash
sed -i '/ExecStart/a BPFDelegateMaps=any' /etc/systemd/system/agent.service
