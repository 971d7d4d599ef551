{ config, ... }:
{
  systemd.services.agent = {
    serviceConfig.PrivateBPF = true;
    serviceConfig.BPFDelegateCommands = [ "BPFMapCreate" ];
  };
  fileSystems."/run/bpf" = { device = "bpffs"; fsType = "bpf"; options = [ "delegate_cmds=any" ]; };
}
