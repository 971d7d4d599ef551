#!/bin/sh
systemd-run -E LIBBPF_BPF_TOKEN_PATH= -p PrivateUsers=yes -p DelegateNamespaces=mnt -p PrivateBPF=yes \
    -p BPFDelegateCommands=BPFMapCreate -p BPFDelegateMaps=BPFMapTypeHash /bin/agent
