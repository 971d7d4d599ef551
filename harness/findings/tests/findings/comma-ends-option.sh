mount -t bpf none /run/bpf -o delegate_cmds=map_create,prog_load,btf_lod,ro,delegate_maps=hash,array
