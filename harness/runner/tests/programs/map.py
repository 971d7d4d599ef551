# Makes a hash map, changes it, and attaches a socket filter that changes it, too.
from bcc import BPF

TEXT = """
BPF_HASH(seen, u32, u64);
int filter(struct __sk_buff *packet)
{
    u32 key = 0;
    u64 value = 1;
    seen.update(&key, &value);
    return 0;
}
"""

program = BPF(text=TEXT)
function = program.load_func("filter", BPF.SOCKET_FILTER)
seen = program["seen"]
seen[seen.Key(1)] = seen.Leaf(2)
BPF.attach_raw_socket(function, "lo")
print(len(seen))
