#!/bin/bash
printf '%s\n' "bpffs /run/bpf bpf delegate_cmds=any 0 0" | sudo tee -a /etc/fstab
