{ ... }: {
  systemd.services.agent.serviceConfig = { PrivateBPF = true; BPFDelegateMaps = "any"; };
}
