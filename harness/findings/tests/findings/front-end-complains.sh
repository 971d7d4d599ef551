systemd-run -p PrivateBPF=yes -p PrivateUsers=yes -p DelegateNamespaces=mnt -p PrivateBPFF=yes -p BPFDelegateMaps true
