//! Random policies and random `bpf(2)` calls, drawn so that every reason to refuse a call comes up.

use std::{collections::BTreeMap, fmt::Write as _};

use fastrand::Rng;
use guard_policy::{Compiled, Names};
use harness_protocol::{
    mount_option::{MountOption, OPTIONS},
    plan::{
        Actor, Attempt, Body, BpffsFd, Call, Case, Container, Guard, KernelType, MapTypes, ObjectKind, ProgTarget,
        Scenario, Token,
    },
};

/// How many calls an attempt makes.
pub(crate) const CALLS_AT_ONCE: usize = 50;

/// Functions of the kernel, by their ids in its BTF.
pub(crate) type Ids = BTreeMap<&'static str, u32>;

/// Kfuncs that both default kernels have.
pub(crate) const KFUNCS: [&str; 4] = ["bpf_rdonly_cast", "bpf_task_from_pid", "bpf_task_release", "bpf_rcu_read_lock"];
/// What programs are attached to; the guard depends on the last two.
pub(crate) const TARGETS: [&str; 5] =
    ["bpf_fentry_test1", "do_exit", "bpf_lsm_file_open", "security_bpf", "bpf_lsm_bpf"];

/// The user of the container, and of the process that shares the namespaces of the host.
const CONTAINER_UID: u32 = 1000;
const USER_UID: u32 = 1001;

/// `bpf`, `net_admin`, `perfmon` and `sys_admin`.
const CAPS: [u32; 4] = [39, 12, 38, 21];

/// Commands that calls are drawn of.
const CMDS: [&str; 7] =
    ["map_create", "prog_load", "btf_load", "map_get_next_id", "prog_get_next_id", "link_get_next_id", "token_create"];
/// Program types with attach types, as the kernel knows them (`bpf_prog_load_check_attach`, `kernel/bpf/syscall.c`).
const PROGS: [(u32, u32, &str, &str); 14] = [
    (1, 0, "socket_filter", "none"),
    (2, 0, "kprobe", "none"),
    (3, 0, "sched_cls", "none"),
    (5, 0, "tracepoint", "none"),
    (6, 37, "xdp", "xdp"),
    (6, 0, "xdp", "none"),
    (8, 1, "cgroup_skb", "cgroup_inet_egress"),
    (8, 0, "cgroup_skb", "cgroup_inet_ingress"),
    (9, 2, "cgroup_sock", "cgroup_inet_sock_create"),
    (13, 3, "sock_ops", "cgroup_sock_ops"),
    (17, 0, "raw_tracepoint", "none"),
    (18, 10, "cgroup_sock_addr", "cgroup_inet4_connect"),
    (26, 24, "tracing", "trace_fentry"),
    (29, 27, "lsm", "lsm_mac"),
];
/// Map types with sizes of keys that the kernel accepts, and whether values have a size.
const MAPS: [(u32, u32, bool, &str); 9] = [
    (1, 4, true, "hash"),
    (2, 4, true, "array"),
    (5, 8, true, "percpu_hash"),
    (6, 4, true, "percpu_array"),
    (9, 3, true, "lru_hash"),
    (22, 0, true, "queue"),
    (23, 0, true, "stack"),
    (27, 0, false, "ringbuf"),
    (31, 0, false, "user_ringbuf"),
];

/// Something to draw from.
pub(crate) struct Draw<'a> {
    pub(crate) rng: Rng,
    pub(crate) ids: &'a Ids,
}

/// A scenario with its policy.
pub(crate) struct Drawn {
    pub(crate) scenario: Scenario,
    pub(crate) policy: String,
    pub(crate) compiled: Compiled,
}

impl Draw<'_> {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.rng.u32(..many) == 0
    }

    /// Some of these names as a list of TOML.
    fn some(&mut self, of: &[&str]) -> String {
        let some: Vec<String> = of.iter().filter(|_| self.rng.u32(..3) > 0).map(|name| format!("\"{name}\"")).collect();
        format!("[{}]", some.join(", "))
    }

    /// `any` more often than some of these names, so that later checks are reached.
    fn any_or_some(&mut self, of: &[&str]) -> String {
        if self.one_in(3) { self.some(of) } else { "\"any\"".to_owned() }
    }

    fn helpers(&mut self) -> String {
        let names = ["map_lookup_elem", "ktime_get_ns", "get_current_pid_tgid", "trace_printk", "get_prandom_u32"];
        match self.rng.u32(..5) {
            0 => self.some(&names),
            1 | 2 => format!("{{ except = {} }}", self.some(&names)),
            _ => "\"any\"".to_owned(),
        }
    }

    fn progs(&mut self) -> String {
        if !self.one_in(2) {
            return "\"any\"".to_owned();
        }
        let mut list = Vec::new();
        for (_, _, name, attach) in PROGS {
            match self.rng.u32(..4) {
                0 => {}
                1 => list.push(format!("{{ type = \"{name}\", attach = [\"{attach}\"] }}")),
                2 => list.push(format!("{{ type = \"{name}\", attach = [\"none\", \"xdp_devmap\"] }}")),
                _ => list.push(format!("\"{name}\"")),
            }
        }
        format!("[{}]", list.join(", "))
    }

    fn profile(&mut self, name: usize) -> String {
        let caps = ["bpf", "net_admin", "perfmon", "sys_admin"];
        let mut text = format!("[profiles.p{name}]\n");
        let mut put = |key: &str, value: String| writeln!(text, "{key} = {value}").expect("a string takes it");
        put("cmds", self.any_or_some(&CMDS));
        put("progs", self.progs());
        put("helpers", self.helpers());
        put("kfuncs", if self.rng.bool() { self.some(&KFUNCS) } else { "\"any\"".to_owned() });
        put("targets", self.any_or_some(&TARGETS[..3]));
        put("token_caps", self.any_or_some(&caps));
        put("token", if self.one_in(4) { "\"required\"" } else { "\"optional\"" }.to_owned());
        put("modules", self.rng.bool().to_string());
        put("own_maps", self.rng.bool().to_string());
        if self.one_in(3) {
            put("max_insns", self.one(&[2, 5, 8, 9]).to_string());
        }
        let types: Vec<&str> = MAPS.iter().map(|(.., name)| *name).collect();
        put("maps.types", self.any_or_some(&types));
        if self.one_in(3) {
            put("maps.max_entries", self.one(&[1, 8, 64, 4096]).to_string());
        }
        if self.one_in(3) {
            put("maps.max_bytes", self.one(&["8", "128", "1024", "4096", "\"8KiB\""]).to_owned());
        }
        text
    }

    fn rule(&mut self, profiles: usize) -> String {
        let mut text = "[[rule]]\n".to_owned();
        let mut put = |key: &str, value: &str| writeln!(text, "{key} = {value}").expect("a string takes it");
        match self.rng.u32(..6) {
            0 => put("uid", "[\"0\"]"),
            1 => put("uid", "[\"1000\", \"2000-3000\"]"),
            2 => put("uid", "[\"1001-1002\"]"),
            3 => put("uid", "[\"0-1000\"]"),
            _ => {}
        }
        match self.rng.u32(..6) {
            0 => put("userns", "\"initial\""),
            1 => put("userns", "\"not-initial\""),
            _ => {}
        }
        match self.rng.u32(..8) {
            0 => put("cgroup", "\"/elsewhere\""),
            1 => put("cgroup", "[\"/bpf-token-guest/none\", \"/bpf-token-guest\"]"),
            _ => {}
        }
        if self.one_in(3) {
            put("cmds", &self.some(&CMDS));
        }
        match self.rng.u32(..10) {
            0 => put("allow", "true"),
            1 => put("deny", "true"),
            _ => put("profile", &format!("\"p{}\"", self.rng.usize(..profiles))),
        }
        match self.rng.u32(..4) {
            0 => put("mode", "\"audit\""),
            1 => put("mode", "\"enforce\""),
            _ => {}
        }
        text
    }

    fn policy(&mut self) -> String {
        let mode = self.one(&["audit", "enforce"]);
        let default = self.one(&["allow", "deny"]);
        let mut text = format!("version = 1\nmode = \"{mode}\"\ndefault = \"{default}\"\n[guard]\ncount_only = []\n");
        let profiles = self.rng.usize(2..5);
        (0..profiles).for_each(|number| text.push_str(&self.profile(number)));
        (0..self.rng.usize(3..8)).for_each(|_| text.push_str(&self.rule(profiles)));
        text
    }

    fn map(&mut self) -> Call {
        let (map_type, key_size, has_value, _) = self.one(&MAPS);
        let (value_size, max_entries) = match has_value {
            true => (self.one(&[1, 8, 9, 64, 100]), self.one(&[1, 2, 7, 8, 9, 16, 63, 64, 65])),
            false => (0, self.one(&[4096, 8192, 16384])),
        };
        // The kernel does not know the type 200, and asks no hook.
        let map_type = if self.one_in(50) { 200 } else { map_type };
        map_of(map_type, key_size, value_size, max_entries)
    }

    fn target(&mut self, prog_type: u32) -> ProgTarget {
        let name = match prog_type {
            26 => self.one(&TARGETS),
            29 => self.one(&TARGETS[2..3]),
            _ => return ProgTarget::None,
        };
        ProgTarget::Kernel(KernelType::Func(name.to_owned()))
    }

    fn prog(&mut self) -> Call {
        let (prog_type, attach_type, ..) = self.one(&PROGS);
        // Often not one that the kernel accepts: then no hook is asked.
        let attach_type = if self.one_in(8) { self.rng.u32(..60) } else { attach_type };
        let mut body = Vec::new();
        let calls = self.rng.bool();
        for _ in 0..self.rng.usize(..8) {
            body.push(match self.rng.u32(..if calls { 3 } else { 1 }) {
                0 => mov(),
                1 => helper(self.one(&[1, 5, 6, 7, 14, 35, 130, 220, 255, 256, 300, 100_000])),
                _ => {
                    let name = self.one(&KFUNCS);
                    kfunc(self.ids[name], self.one_in(4))
                }
            });
        }
        body.extend([mov(), EXIT]);
        let target = self.target(prog_type);
        prog_of(prog_type, attach_type, body, target, Vec::new())
    }

    fn call(&mut self) -> Call {
        match self.rng.u32(..20) {
            0..8 => self.map(),
            8..17 => self.prog(),
            17 => Call::BtfLoad,
            _ => Call::NextId { kind: self.one(&[ObjectKind::Map, ObjectKind::Prog, ObjectKind::Link]), after: 0 },
        }
    }

    /// Draws a scenario in which each of the actors makes many calls.
    pub(crate) fn scenario(&mut self, number: usize, attempts: usize) -> Drawn {
        let policy = self.policy();
        let parsed = guard_policy::parse("drawn.guard.toml", &policy);
        let (checked, _) = parsed.unwrap_or_else(|report| panic!("{report}\n{policy}"));
        let containers = vec![container("main", CONTAINER_UID, true), container("user", USER_UID, false)];
        let main = || Actor::Container("main".parse().expect("it is a name"));
        let user = || Actor::Container("user".parse().expect("it is a name"));
        let mut list = Vec::new();
        for (actor, name) in [(Actor::Host, "of-root"), (main(), "of-main")] {
            let token = if actor == Actor::Host { Token::None } else { Token::Own };
            let made = Attempt::new(actor, token, map_of(2, 4, 8, 1));
            list.push(Attempt { save: Some(name.to_owned()), ..made });
        }
        for (actor, token, map) in [
            (Actor::Host, Token::None, "of-root"),
            (Actor::Host, Token::None, "of-main"),
            (main(), Token::Own, "of-main"),
            (main(), Token::Own, "of-root"),
        ] {
            let body = vec![MAP_OF_LIST, 0, mov(), EXIT];
            let calls = vec![prog_of(1, 0, body, ProgTarget::None, vec![map.to_owned()])];
            list.push(Attempt::new(actor, token, Call::Several(calls)));
        }
        list.push(Attempt::new(main(), Token::None, Call::TokenCreate { from: main(), fd: BpffsFd::Root, flags: 0 }));
        for turn in 0..attempts {
            let (actor, token) = match turn % 4 {
                0 => (Actor::Host, Token::None),
                1 => (user(), Token::None),
                2 => (main(), Token::None),
                _ => (main(), Token::Own),
            };
            let calls = (0..CALLS_AT_ONCE).map(|_| self.call()).collect();
            list.push(Attempt::new(actor, token, Call::Several(calls)));
        }
        let case = Case { sysctls: BTreeMap::new(), containers, attempts: list };
        let name = format!("drawn/{number}").parse().expect("it is a name");
        let scenario = Scenario { guard: Some(Guard::new(&policy)), ..Scenario::new(name, 300_000, vec![case]) };
        Drawn { scenario, compiled: checked.compile(), policy }
    }

    /// The names of the kernel's functions, as a decision needs them.
    pub(crate) fn names(&self) -> Names {
        let mut names = Names::default();
        self.ids.iter().for_each(|(name, id)| names.insert(name, *id));
        names
    }
}

/// The user of an actor, and whether it is in the initial user namespace.
pub(crate) fn identity(actor: &Actor) -> (u32, bool) {
    match actor {
        Actor::Host => (0, true),
        Actor::Container(name) if name.as_str() == "main" => (CONTAINER_UID, false),
        Actor::Container(_) => (USER_UID, true),
    }
}

fn container(name: &str, uid: u32, unshare: bool) -> Container {
    let any = |key: &str| MountOption { key: key.to_owned(), value: "any".to_owned() };
    Container {
        name: name.parse().expect("it is a name"),
        parent: None,
        unshare,
        uid,
        gid: uid,
        namespaces: Vec::new(),
        caps: CAPS.to_vec(),
        options: OPTIONS.map(any).to_vec(),
        token: unshare,
        loginuid: None,
        restrictions: Default::default(),
        unit: None,
    }
}

fn map_of(map_type: u32, key_size: u32, value_size: u32, max_entries: u32) -> Call {
    Call::MapCreate {
        map_type,
        key_size,
        value_size,
        max_entries,
        map_flags: 0,
        inner_map: None,
        map_extra: 0,
        types: MapTypes::None,
        exclusive: None,
    }
}

fn prog_of(prog_type: u32, attach_type: u32, body: Vec<u64>, target: ProgTarget, maps: Vec<String>) -> Call {
    Call::ProgLoad {
        prog_type,
        expected_attach_type: attach_type,
        prog_flags: 0,
        body: Body::Instructions(body),
        license: "GPL".to_owned(),
        target,
        types: None,
        maps,
        signature: None,
    }
}

/// `exit`, in the instruction encoding of RFC 9669, as are the following.
pub(crate) const EXIT: u64 = 0x95;

/// The first half of `r1 = the first map of the list` (`BPF_PSEUDO_MAP_IDX`).
const MAP_OF_LIST: u64 = 0x18 | 0x51 << 8;

/// `r0 = 0`
fn mov() -> u64 {
    0xb7
}

fn helper(id: u32) -> u64 {
    0x85 | u64::from(id) << 32
}

/// A call of a kfunc, of a module if the offset says so.
fn kfunc(id: u32, of_module: bool) -> u64 {
    helper(id) | 0x20 << 8 | u64::from(of_module) << 16
}
