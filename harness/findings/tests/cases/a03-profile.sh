#!/bin/bash
incus profile create bpf
incus profile edit bpf <<EOF
config:
  security.bpffs.delegate_cmds: map_create
  security.bpffs.delegate_maps: hash,arrray
name: bpf
EOF
