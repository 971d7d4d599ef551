#!/bin/bash
printf '[Service]\nPrivateBPF=yes\nBPFDelegateMaps=hash\n' > /etc/systemd/system/a.service.d/bpf.conf
