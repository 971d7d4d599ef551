//! What a token grants, in plain words: each statement holds for some grants, and scenarios show it.

use std::{collections::BTreeSet, fmt::Write as _};

use harness_diagnostics::report::without_controls;
use harness_frontend::Configuration;
use harness_protocol::name::KernelName;
use harness_uapi::{
    names,
    permission::{Capability, Grant, Request, requirement},
    release::Release,
    vocabulary::Kind,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use crate::{
    input::{self, KernelFacts, Origin},
    report,
};

/// The version of the document; it increases when readers of the previous one would misread the new one.
const FORMAT: u32 = 1;

/// The most exposure there is, in tenths.
const MOST: u32 = 100;

/// How far something reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It stays in the container.
    Inside,
    /// It reaches beyond the container.
    Beyond,
    /// It is refused.
    Refused,
}

/// Something that a token grants or does not grant.
#[derive(Debug)]
pub struct Statement {
    /// How far it reaches.
    pub reach: Reach,
    /// What the processes can do, or cannot; in words that follow "the processes can" or "cannot".
    pub words: &'static str,
    /// The scenarios that show it, by name.
    pub scenarios: &'static [&'static str],
    /// What it adds to the exposure, in tenths.
    pub weight: u32,
    /// When it holds, in words.
    pub when: &'static str,
    holds: fn(&Held<'_>) -> bool,
}

/// A grant on one kernel.
struct Held<'a> {
    grant: &'a Grant,
    release: Release,
    origin: Origin,
}

impl Held<'_> {
    fn has(&self, kind: Kind, name: &str) -> bool {
        names::number(kind, name)
            .is_some_and(|number| self.grant.has_bit(harness_uapi::permission::Bit { kind, number }))
    }

    fn is_capable(&self, capability: Capability) -> bool {
        self.grant.is_capable(capability)
    }

    /// Whether the kernel allows a request with the token.
    fn allows(&self, request: &Request) -> bool {
        let needed = requirement(request, self.release);
        let lacks = self.grant.lacks(&needed, self.release);
        lacks.missing.is_empty() && lacks.undelegable.is_empty() && lacks.unknown.is_empty() && lacks.since.is_none()
    }

    /// Whether a program of this type loads for one of these attach types; without any, for none.
    fn loads(&self, prog_type: &str, attach_types: &[&str]) -> bool {
        let Some(prog_type) = names::number(Kind::Prog, prog_type) else { return false };
        let numbers = attach_types.iter().filter_map(|name| names::number(Kind::Attach, name));
        let mut numbers: Vec<u32> = numbers.collect();
        if attach_types.is_empty() {
            numbers.push(0);
        }
        numbers.into_iter().any(|expected_attach_type| {
            self.allows(&Request::ProgLoad { prog_type, expected_attach_type, uses: BTreeSet::new() })
        })
    }

    fn loads_any(&self, prog_types: &[&str]) -> bool {
        let all: Vec<&str> = names::all().list(Kind::Attach).iter().map(|name| name.name.as_str()).collect();
        prog_types.iter().any(|prog_type| self.loads(prog_type, &all))
    }

    fn loads_something(&self) -> bool {
        let all: Vec<&str> = names::all().list(Kind::Prog).iter().map(|name| name.name.as_str()).collect();
        self.loads_any(&all)
    }
}

/// Attach types with which tracing programs watch functions.
const FUNCTIONS: [&str; 6] =
    ["trace_fentry", "trace_fexit", "trace_raw_tp", "trace_fsession", "trace_fentry_multi", "trace_fexit_multi"];

/// Program types that attach to a cgroup without a capability.
const CGROUP: [&str; 6] =
    ["cgroup_device", "cgroup_sock", "cgroup_sock_addr", "cgroup_sockopt", "cgroup_sysctl", "sock_ops"];

/// Every statement.
pub const STATEMENTS: &[Statement] = &[
    Statement {
        reach: Reach::Inside,
        words: "create maps of the delegated types, and of no others",
        scenarios: &["maps/wrong-map-type", "capabilities/map-types"],
        weight: 0,
        when: "map_create and map types are delegated",
        holds: |held| held.has(Kind::Cmd, "map_create") && held.grant.delegation.masks()[Kind::Map as usize] != 0,
    },
    Statement {
        reach: Reach::Inside,
        words: "load programs of the delegated types for the delegated attach types, and no others",
        scenarios: &["progs/wrong-prog-type", "progs/wrong-attach-type", "capabilities/prog-types"],
        weight: 0,
        when: "some program type loads",
        holds: |held| held.loads_something(),
    },
    Statement {
        reach: Reach::Inside,
        words: "load BTF",
        scenarios: &["btf/load"],
        weight: 0,
        when: "btf_load is delegated",
        holds: |held| held.allows(&Request::BtfLoad),
    },
    Statement {
        reach: Reach::Inside,
        words: "list the processes of their pid namespace by an iterator",
        scenarios: &["links/iterator-over-processes"],
        weight: 0,
        when: "tracing loads for trace_iter",
        holds: |held| held.loads("tracing", &["trace_iter"]),
    },
    Statement {
        reach: Reach::Inside,
        words: "read what their token delegates",
        scenarios: &["token/info"],
        weight: 0,
        when: "since 6.17",
        holds: |held| held.release >= Release { major: 6, minor: 17 },
    },
    Statement {
        reach: Reach::Beyond,
        words: "watch functions or system calls of the whole kernel, for every process on the machine",
        scenarios: &["libbpf/attached-fentry", "links/kprobe-multi"],
        weight: 40,
        when: "tracing loads for functions, raw_tracepoint loads, or kprobe for many functions",
        holds: |held| {
            held.loads("tracing", &FUNCTIONS)
                || held.loads("raw_tracepoint", &[])
                || held.loads("kprobe", &["trace_kprobe_multi", "trace_kprobe_session"])
        },
    },
    Statement {
        reach: Reach::Beyond,
        words: "list the maps of the whole machine by an iterator",
        scenarios: &["links/iterator-over-maps"],
        weight: 10,
        when: "tracing loads for trace_iter",
        holds: |held| held.loads("tracing", &["trace_iter"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "load programs that change the result of kernel functions, shown for bpf_modify_return_test only",
        scenarios: &["guard/targets"],
        weight: 10,
        when: "tracing loads for modify_return",
        holds: |held| held.loads("tracing", &["modify_return"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "open the event of a tracepoint, whose program sees every process on the machine",
        scenarios: &["links/perf-events"],
        weight: 30,
        when: "tracepoint loads, and kernel.perf_event_paranoid is at most 2, unlike on Debian",
        holds: |held| held.loads("tracepoint", &[]) && held.origin != Origin::Debian,
    },
    Statement {
        reach: Reach::Beyond,
        words: "read the memory of the kernel by their programs",
        scenarios: &["helpers/memory-of-others", "helpers/every-type"],
        weight: 30,
        when: "CAP_PERFMON, and some program type loads",
        holds: |held| held.is_capable(Capability::Perfmon) && held.loads_something(),
    },
    Statement {
        reach: Reach::Beyond,
        words: "write the memory of user processes by their programs",
        scenarios: &["helpers/memory-of-others", "helpers/every-type"],
        weight: 40,
        when: "CAP_SYS_ADMIN, since 6.14, and a type of program for tracing loads",
        holds: |held| {
            held.is_capable(Capability::SysAdmin)
                && held.release >= Release { major: 6, minor: 14 }
                && held.loads_any(&["kprobe", "tracepoint", "perf_event", "raw_tracepoint", "tracing"])
        },
    },
    Statement {
        reach: Reach::Beyond,
        words: "load programs of security modules, which refuse calls of root, too, where they are attached",
        scenarios: &["capabilities/prog-types", "lsm/every-command"],
        weight: 50,
        when: "lsm loads",
        holds: |held| held.loads("lsm", &["lsm_mac", "lsm_cgroup"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "load programs for structures of the kernel, such as a congestion control",
        scenarios: &["progs/member-of-a-structure"],
        weight: 40,
        when: "struct_ops loads",
        holds: |held| held.loads_any(&["struct_ops"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "attach XDP programs to the interfaces of their network namespace, which are the host's without one of their own",
        scenarios: &["links/xdp", "links/loopback-of-the-machine"],
        weight: 20,
        when: "xdp loads",
        holds: |held| held.loads("xdp", &["xdp"]) || held.loads("xdp", &[]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "attach traffic classifiers and netfilter programs in their network namespace without a further capability",
        scenarios: &["links/tcx", "links/netfilter"],
        weight: 20,
        when: "sched_cls or netfilter loads",
        holds: |held| held.loads_any(&["sched_cls", "netfilter"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "attach programs to any cgroup of which they get a descriptor, without a capability",
        scenarios: &["links/cgroup-device", "links/of-another"],
        weight: 20,
        when: "a program type for cgroups loads, other than cgroup_skb",
        holds: |held| held.loads_any(&CGROUP),
    },
    Statement {
        reach: Reach::Beyond,
        words: "take a privileged port of the host by a program at their cgroup, if they are in its network",
        scenarios: &["links/privileged-port"],
        weight: 20,
        when: "cgroup_sock_addr loads for cgroup_inet4_bind",
        holds: |held| held.loads("cgroup_sock_addr", &["cgroup_inet4_bind"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "attach a flow dissector to their network namespace",
        scenarios: &["links/flow-dissector-of-the-network"],
        weight: 10,
        when: "flow_dissector loads",
        holds: |held| held.loads("flow_dissector", &["flow_dissector"]),
    },
    Statement {
        reach: Reach::Beyond,
        words: "open any BTF by its id",
        scenarios: &["btf/open-by-id"],
        weight: 10,
        when: "btf_get_fd_by_id and CAP_SYS_ADMIN, since 6.15",
        holds: |held| held.allows(&Request::BtfGetFdById),
    },
    Statement {
        reach: Reach::Beyond,
        words: "use the token after the process that created it has ended, also from outside as the owner of the namespace",
        scenarios: &["token/outlives-its-maker", "token/outlives-its-container"],
        weight: 5,
        when: "always",
        holds: |_| true,
    },
    Statement {
        reach: Reach::Refused,
        words: "attach a kprobe by a perf event, which requires CAP_PERFMON on the host",
        scenarios: &["libbpf/attached-kprobe"],
        weight: 0,
        when: "kprobe loads",
        holds: |held| held.loads("kprobe", &[]),
    },
    Statement {
        reach: Reach::Refused,
        words: "attach a cgroup_skb program without CAP_NET_ADMIN",
        scenarios: &["links/cgroup-skb"],
        weight: 0,
        when: "cgroup_skb loads, and CAP_NET_ADMIN is missing",
        holds: |held| held.loads_any(&["cgroup_skb"]) && !held.is_capable(Capability::NetAdmin),
    },
    Statement {
        reach: Reach::Refused,
        words: "create a bpffs of their own, or change what theirs delegates",
        scenarios: &["mount/creation-by-the-container", "mount/options-by-the-container", "mount/remount"],
        weight: 0,
        when: "always",
        holds: |_| true,
    },
    Statement {
        reach: Reach::Refused,
        words: "give the token to another container, which it is useless to",
        scenarios: &["token/sent-to-another-container"],
        weight: 0,
        when: "always",
        holds: |_| true,
    },
    Statement {
        reach: Reach::Refused,
        words: "create a token in a user namespace within theirs",
        scenarios: &["token/made-in-a-child-namespace"],
        weight: 0,
        when: "always",
        holds: |_| true,
    },
    Statement {
        reach: Reach::Refused,
        words: "create a hash map with a zero seed, or use more JIT memory than the limit",
        scenarios: &["maps/zero-seed", "verifier/jit-limit"],
        weight: 0,
        when: "always",
        holds: |_| true,
    },
];

/// What a configuration grants on one kernel.
#[derive(Debug)]
pub struct Granted {
    /// The kernel's name.
    pub kernel: String,
    /// The statements that hold; none if no token can be created.
    pub statements: Vec<&'static Statement>,
}

impl Granted {
    /// What the token of a configuration grants on a kernel.
    pub fn of(configuration: &Configuration, kernel: &KernelFacts) -> Self {
        let delegation = kernel.delegation(configuration).ok().filter(|_| kernel.has_tokens());
        let grant = delegation.map(|delegation| input::grant(configuration, delegation)).unwrap_or_default();
        Self { kernel: kernel.name.to_string(), statements: statements(&grant, kernel.release, kernel.origin) }
    }

    /// The exposure in tenths, from 0 to 100: the sum of the weights of what reaches beyond the container.
    pub fn exposure(&self) -> u32 {
        self.statements.iter().map(|statement| statement.weight).sum::<u32>().min(MOST)
    }

    /// What it amounts to, in a word.
    pub fn word(&self) -> &'static str {
        match self.exposure() {
            0 => "none",
            1..=19 => "low",
            20..=49 => "medium",
            50..=79 => "high",
            _ => "highest",
        }
    }
}

fn statements(grant: &Grant, release: Release, origin: Origin) -> Vec<&'static Statement> {
    if !grant.makes_token() {
        return Vec::new();
    }
    let held = Held { grant, release, origin };
    STATEMENTS.iter().filter(|statement| (statement.holds)(&held)).collect()
}

/// Formats the exposure as `4.5`.
pub fn shown(tenths: u32) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Formats what a configuration grants for people, once for kernels that agree.
pub fn human<'a>(name: &str, all: impl IntoIterator<Item = (&'a KernelName, &'a Granted)>) -> String {
    let name = without_controls(name);
    let texts = all.into_iter().map(|(kernel, granted)| (kernel, words(granted)));
    report::alike(texts).into_iter().map(|(kernels, text)| format!("{name} on {kernels}: {text}")).collect()
}

fn words(granted: &Granted) -> String {
    if granted.statements.is_empty() {
        return "no token, so nothing is granted\n".to_owned();
    }
    let mut text = format!("exposure {} ({})\n", shown(granted.exposure()), granted.word());
    let parts = [
        (Reach::Inside, "the processes can"),
        (Reach::Beyond, "beyond the container they can"),
        (Reach::Refused, "they cannot"),
    ];
    for (reach, head) in parts {
        let of = granted.statements.iter().filter(|statement| statement.reach == reach);
        let lines: Vec<String> = of.map(|statement| format!("        {}\n", statement.words)).collect();
        if !lines.is_empty() {
            let _ = write!(text, "    {head}\n{}", lines.concat());
        }
    }
    text
}

/// The output of `cargo xtask grants --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Grants")]
struct Document {
    /// The version of this format.
    format: u32,
    /// Each configuration, in the order of the command line and of its file.
    configurations: Vec<OneConfiguration>,
}

/// A configuration.
#[derive(Serialize, JsonSchema)]
struct OneConfiguration {
    /// The unit, instance, profile or mount point, or else the file.
    name: String,
    /// What it grants on each kernel, in the order of the command line.
    kernels: Vec<OneKernel>,
}

/// What a configuration grants on a kernel.
#[derive(Serialize, JsonSchema)]
struct OneKernel {
    /// The kernel.
    name: String,
    /// Whether a token can be created.
    token: bool,
    /// The exposure, from 0.0 to 10.0.
    exposure: f64,
    /// What holds.
    statements: Vec<OneStatement>,
}

/// Something that is granted or refused.
#[derive(Serialize, JsonSchema)]
struct OneStatement {
    /// How far it reaches.
    reach: Reach,
    /// What the processes can do, or cannot.
    words: String,
    /// The scenarios that show it.
    scenarios: Vec<String>,
    /// What it adds to the exposure.
    weight: f64,
}

/// Returns the JSON document.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub fn document(all: &[(String, Vec<Granted>)]) -> Result<String, serde_json::Error> {
    let tenths = |number: u32| f64::from(number) / 10.0;
    let statement = |one: &&'static Statement| OneStatement {
        reach: one.reach,
        words: one.words.to_owned(),
        scenarios: one.scenarios.iter().map(|name| (*name).to_owned()).collect(),
        weight: tenths(one.weight),
    };
    let kernel = |granted: &Granted| OneKernel {
        name: granted.kernel.clone(),
        token: !granted.statements.is_empty(),
        exposure: tenths(granted.exposure()),
        statements: granted.statements.iter().map(statement).collect(),
    };
    let configuration = |(name, kernels): &(String, Vec<Granted>)| OneConfiguration {
        name: name.clone(),
        kernels: kernels.iter().map(kernel).collect(),
    };
    let configurations = all.iter().map(configuration).collect();
    serde_json::to_string_pretty(&Document { format: FORMAT, configurations })
}

/// Returns the JSON Schema of the document.
pub fn schema() -> Schema {
    schema_for!(Document)
}

/// Returns the tables of `docs/what-a-token-grants.md`, each row with links to its scenarios.
pub fn page() -> String {
    let mut text = String::new();
    let parts = [
        (Reach::Inside, "In the container", "The processes can"),
        (Reach::Beyond, "Beyond the container", "The processes can"),
        (Reach::Refused, "What no token grants", "The processes cannot"),
    ];
    for (reach, title, head) in parts {
        let _ = write!(text, "### {title}\n\n| {head} | if | exposure | shown by |\n| --- | --- | ---: | --- |\n");
        for one in STATEMENTS.iter().filter(|one| one.reach == reach) {
            let link = |name: &&str| format!("[`{name}`](../scenarios/{name}.toml)");
            let links: Vec<String> = one.scenarios.iter().map(link).collect();
            let _ = writeln!(text, "| {} | {} | {} | {} |", one.words, one.when, shown(one.weight), links.join(", "));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use harness_uapi::delegation::Delegation;

    use super::*;

    fn grant(bits: &[(Kind, &str)], capabilities: &[Capability]) -> Grant {
        let mut masks = [0_u64; 4];
        for (kind, name) in bits {
            masks[*kind as usize] |= 1 << names::number(*kind, name).unwrap();
        }
        Grant {
            delegation: Delegation::from_masks(masks),
            capabilities: capabilities.iter().copied().chain([Capability::Bpf]).collect(),
        }
    }

    fn granted(grant: &Grant, release: &str) -> Granted {
        let statements = statements(grant, release.parse().unwrap(), Origin::Built);
        Granted { kernel: release.to_owned(), statements }
    }

    #[test]
    fn every_statement_names_scenarios_that_exist() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        for statement in STATEMENTS {
            assert!(!statement.scenarios.is_empty(), "{}", statement.words);
            for name in statement.scenarios {
                assert!(scenarios.join(name).with_extension("toml").is_file(), "{name}");
            }
            assert_eq!(statement.weight > 0, statement.reach == Reach::Beyond, "{}", statement.words);
        }
    }

    #[test]
    fn every_statement_holds_for_everything_or_says_what_is_missing() {
        let all = [Capability::NetAdmin, Capability::SysAdmin, Capability::Perfmon];
        let mut everything = grant(&[], &all);
        everything.delegation = Delegation::from_masks([u64::MAX; 4]);
        let on = granted(&everything, "7.3");
        let missing: Vec<&str> = STATEMENTS
            .iter()
            .filter(|one| !on.statements.iter().any(|other| one.words == other.words))
            .map(|one| one.words)
            .collect();
        assert_eq!(missing, ["attach a cgroup_skb program without CAP_NET_ADMIN"]);
        assert_eq!((on.exposure(), on.word()), (100, "highest"));
    }

    #[test]
    fn the_exposure_grows_with_what_is_granted() {
        let [map, load] = [(Kind::Cmd, "map_create"), (Kind::Cmd, "prog_load")];
        let maps = grant(&[map, (Kind::Map, "array")], &[]);
        assert_eq!(granted(&maps, "7.3").exposure(), 5);
        let xdp = [load, (Kind::Prog, "xdp"), (Kind::Attach, "xdp")];
        assert_eq!(granted(&grant(&xdp, &[]), "7.3").exposure(), 5, "without CAP_NET_ADMIN it does not load");
        assert_eq!(granted(&grant(&xdp, &[Capability::NetAdmin]), "7.3").exposure(), 25);
        let tracing = grant(&[load, (Kind::Prog, "tracing"), (Kind::Attach, "trace_fentry")], &[Capability::Perfmon]);
        assert_eq!(granted(&tracing, "7.3").exposure(), 75);
        // Without CAP_BPF there is no token.
        let mut none = maps;
        none.capabilities.clear();
        assert!(granted(&none, "7.3").statements.is_empty());
        assert!(granted(&none, "7.3").exposure() == 0 && words(&granted(&none, "7.3")).starts_with("no token"));
    }

    #[test]
    fn the_release_decides_what_a_token_covers() {
        let bits = [(Kind::Cmd, "btf_get_fd_by_id")];
        let of = |release| granted(&grant(&bits, &[Capability::SysAdmin]), release).exposure();
        assert_eq!((of("6.12"), of("6.15")), (5, 15));
    }
}
