/* The fewest types that a vocabulary can be read from. */
enum bpf_cmd { BPF_MAP_CREATE, BPF_TOKEN_CREATE = 36, __MAX_BPF_CMD } cmd;
enum bpf_map_type { BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_HASH, __MAX_BPF_MAP_TYPE } map;
enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_XDP = 6, __MAX_BPF_PROG_TYPE } prog;
enum bpf_attach_type { BPF_CGROUP_INET_INGRESS, BPF_XDP = 37, __MAX_BPF_ATTACH_TYPE } attach;
enum bpf_func_id { BPF_FUNC_unspec, BPF_FUNC_map_lookup_elem, __BPF_FUNC_MAX_ID } helper;
union bpf_attr { struct { unsigned map_type; unsigned map_token_fd; }; unsigned long long insns; } attr;
