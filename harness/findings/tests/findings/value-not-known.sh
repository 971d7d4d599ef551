systemd-run -p PrivateBPF=yes -p PrivateUsers=yes -p DelegateNamespaces=mnt -p BPFDelegateCommands="$COMMANDS" -p BPFDelegateMaps=BPFMapTypeHash true
