#!/bin/sh
cat > /etc/systemd/system/agent.service <<'EOF'
[Service]
ExecStart=/bin/agent
PrivateUsers=yes
DelegateNamespaces=mnt
PrivateBPF=yes
BPFDelegateCommands=BPFMapCreate
BPFDelegateMaps=BPFMapTypeHash
EOF
systemctl start agent
