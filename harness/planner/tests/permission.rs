//! Compares the reference model of permissions with the answers of kernels: the recorded sweeps over all map types,
//! program types and helpers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use harness_uapi::{
    names,
    permission::{Bit, Capability, Element, Grant, Request, Requirement, Use, requirement},
    release::Release,
    vocabulary::Kind,
};

/// The recorded snapshots of a sweep, with the release of the kernel: 6.12 unless the name of the file has another.
fn snapshots(folder: &str, name: &str) -> Vec<(Release, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_snapshot = path.extension().is_some_and(|extension| extension == "snap");
        match stem.split_once('@') {
            // Variants differ in options, not in the release.
            Some((of, kernel))
                if is_snapshot && of == name && !kernel.contains("unpriv") && !kernel.contains("lock") =>
            {
                found.push((kernel.parse().unwrap(), path));
            }
            None if is_snapshot && stem == name => found.push(("6.12".parse().unwrap(), path)),
            _ => {}
        }
    }
    assert!(!found.is_empty(), "no snapshot of {name}");
    found
}

/// The rows of the table whose header starts with this text: the cells of each, by the words of the header.
fn table(path: &Path, first: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let text = fs::read_to_string(path).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with(first));
    let header = cells(lines.next().unwrap_or_else(|| panic!("{} has no table {first:?}", path.display())));
    let header = if first.trim().is_empty() { [vec![String::new()], header].concat() } else { header };
    let rows = lines.take_while(|line| !line.is_empty()).map(cells);
    rows.filter(|row| row.len() == header.len())
        .map(|row| (row[0].clone(), header.iter().cloned().zip(row).collect()))
        .collect()
}

const ALL: [Capability; 4] = [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin, Capability::SysAdmin];

/// The grant of a column's arm; `None` for an arm without a user namespace.
fn grant(column: &str, needed: &Requirement) -> Option<Grant> {
    let without = |left_out: &[Capability]| ALL.into_iter().filter(|one| !left_out.contains(one)).collect::<Vec<_>>();
    let everything = [Kind::Cmd, Kind::Map, Kind::Prog, Kind::Attach];
    let (bits, capabilities): (Vec<Bit>, Vec<Capability>) = match column {
        "granted" => (needed.bits.keys().copied().collect(), ALL.to_vec()),
        "-cmd" | "-type" | "-attach" => {
            let gone = |kind: Kind| match column {
                "-cmd" => kind == Kind::Cmd,
                "-type" => matches!(kind, Kind::Map | Kind::Prog),
                _ => kind == Kind::Attach,
            };
            let all = everything.into_iter().flat_map(|kind| (0..64).map(move |number| Bit { kind, number }));
            let needed_ones = needed.bits.keys().copied().filter(|bit| gone(bit.kind)).collect::<BTreeSet<_>>();
            (all.filter(|bit| !needed_ones.contains(bit)).collect(), ALL.to_vec())
        }
        "-token" => (Vec::new(), ALL.to_vec()),
        "-BPF" => (needed.bits.keys().copied().collect(), without(&[Capability::Bpf, Capability::SysAdmin])),
        "-PERF" => (needed.bits.keys().copied().collect(), without(&[Capability::Perfmon, Capability::SysAdmin])),
        "-NET" => (needed.bits.keys().copied().collect(), without(&[Capability::NetAdmin, Capability::SysAdmin])),
        "-SYS" => (needed.bits.keys().copied().collect(), without(&[Capability::SysAdmin])),
        "SYS" => (needed.bits.keys().copied().collect(), vec![Capability::SysAdmin]),
        "-caps" => (needed.bits.keys().copied().collect(), Vec::new()),
        "none" | "none,2" => (Vec::new(), Vec::new()),
        _ => return None,
    };
    let elements = bits.into_iter().map(Element::Bit).chain(capabilities.into_iter().map(Element::Capability));
    Some(Grant::of(elements))
}

/// Compares every cell of a sweep; returns how many there were.
fn compared(path: &Path, release: Release, request: impl Fn(u32) -> Request, kind: Kind) -> usize {
    let mut count = 0;
    for (name, cells) in table(path, "    ") {
        let Some(number) = names::number(kind, &name) else { panic!("{}: {name}", path.display()) };
        let needed = requirement(&request(number), release);
        // Denied with every permission: this kernel is configured without it.
        if cells.get("granted").is_none_or(|cell| cell != "ok") {
            continue;
        }
        for (column, cell) in &cells {
            let allowed = match (column.as_str(), grant(column, &needed)) {
                ("none,0", _) => needed.only_if_closed,
                (_, Some(grant)) => grant.lacks(&needed, release).is_none(),
                _ => continue,
            };
            assert_eq!(allowed, cell == "ok", "{}: {name} {column}: {needed:?}", path.display());
            count += 1;
        }
    }
    count
}

#[test]
fn the_model_agrees_with_the_kernels_about_every_map_type() {
    let request = |map_type| Request::MapCreate { map_type, traits: BTreeSet::new() };
    let counts = snapshots("sweeps", "map-types")
        .into_iter()
        .map(|(release, path)| compared(&path, release, request, Kind::Map));
    assert!(counts.min().unwrap() >= 400);
}

/// The attach type that a program type needs if it does not accept 0 (as in `recipe::progs`).
fn attach_type(prog_type: u32) -> u32 {
    let name = match names::name(Kind::Prog, prog_type).unwrap() {
        "cgroup_sock_addr" => "cgroup_inet4_connect",
        "cgroup_sockopt" => "cgroup_getsockopt",
        "sk_lookup" => "sk_lookup",
        "netfilter" => "netfilter",
        "tracing" => "trace_fentry",
        "lsm" => "lsm_mac",
        _ => return 0,
    };
    names::number(Kind::Attach, name).unwrap()
}

#[test]
fn the_model_agrees_with_the_kernels_about_every_program_type() {
    let request = |prog_type| Request::ProgLoad {
        prog_type,
        expected_attach_type: attach_type(prog_type),
        uses: BTreeSet::new(),
    };
    let counts = snapshots("sweeps", "prog-types")
        .into_iter()
        .map(|(release, path)| compared(&path, release, request, Kind::Prog));
    assert!(counts.min().unwrap() >= 380);
}

/// The types in a cell: `all`, `all but A, B`, `set N of M`, a list, or none.
fn types(cell: &str, among: &BTreeSet<String>, sets: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    match cell {
        "-" | "." => BTreeSet::new(),
        "all" => among.clone(),
        cell => match cell.strip_prefix("all but ") {
            Some(but) => {
                let but: BTreeSet<&str> = but.split(", ").collect();
                among.iter().filter(|name| !but.contains(name.as_str())).cloned().collect()
            }
            None => sets.get(cell).cloned().unwrap_or_else(|| cell.split(", ").map(str::to_owned).collect()),
        },
    }
}

/// Reads `set N of M: A, B,` and its indented further lines.
fn sets(path: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = None;
    for line in fs::read_to_string(path).unwrap().lines() {
        let rest = match (line.strip_prefix("set "), line.strip_prefix("  "), &current) {
            (Some(set), _, _) => {
                let Some((name, rest)) = set.split_once(": ") else { continue };
                current = Some(format!("set {name}"));
                rest
            }
            (None, Some(rest), Some(_)) => rest,
            _ => {
                current = None;
                continue;
            }
        };
        let names = rest.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        sets.entry(current.clone().unwrap()).or_default().extend(names);
    }
    sets
}

#[test]
fn the_model_agrees_with_the_kernels_about_every_helper() {
    for (release, path) in snapshots("helpers", "every-type") {
        let sets = sets(&path);
        let all: BTreeSet<String> = table(&path, "    ").into_iter().map(|(name, _)| name).collect();
        assert!(all.len() > 25, "{all:?}");
        let mut count = 0;
        for (helper, cells) in table(&path, "helper  ") {
            let Some(number) = (0..400).find(|number| names::helper(*number) == helper) else { panic!("{helper}") };
            let having = types(&cells["types"], &all, &sets);
            let lost = types(&cells["-PERF"], &having, &sets);
            for prog_type in having.iter().filter(|name| all.contains(*name)) {
                let number_of_type = names::number(Kind::Prog, prog_type).unwrap();
                let request = |uses| Request::ProgLoad {
                    prog_type: number_of_type,
                    expected_attach_type: attach_type(number_of_type),
                    uses,
                };
                // Programs of these types do not load at all without CAP_PERFMON.
                if requirement(&request(BTreeSet::new()), release).capabilities.contains_key(&Capability::Perfmon) {
                    continue;
                }
                let needed = requirement(&request([Use::Helper(number)].into()), release);
                let grant = grant("-PERF", &needed).unwrap();
                let denied = !grant.lacks(&needed, release).missing.keys().all(|element| {
                    // The grant has CAP_NET_ADMIN and CAP_BPF, if the type needs them.
                    !matches!(element, Element::Capability(Capability::Perfmon | Capability::SysAdmin))
                }) || !needed.undelegable.is_empty();
                assert_eq!(denied, lost.contains(prog_type), "{}: {helper} in {prog_type}", path.display());
                count += 1;
            }
        }
        assert!(count > 1000, "{} only has {count}", path.display());
    }
}

/// Where `bpf(2)` is open to everybody, a helper that requires a capability is one that nobody without it can call.
#[test]
fn the_model_agrees_with_the_kernels_about_the_helpers_of_everybody() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/helpers/every-type@7.3-unpriv0.snap");
    let sets = sets(&path);
    let all: BTreeSet<String> = ["socket_filter", "cgroup_skb"].map(str::to_owned).into();
    let mut count = 0;
    for (helper, cells) in table(&path, "helper  ") {
        let Some(number) = (0..400).find(|number| names::helper(*number) == helper) else { panic!("{helper}") };
        let having = types(&cells["types"], &all, &sets);
        let lost = types(&cells["none,0"], &having, &sets);
        for prog_type in having.intersection(&all) {
            let request = Request::ProgLoad {
                prog_type: names::number(Kind::Prog, prog_type).unwrap(),
                expected_attach_type: 0,
                uses: [Use::Helper(number)].into(),
            };
            let needed = requirement(&request, "7.3".parse().unwrap());
            assert_eq!(!needed.only_if_closed, lost.contains(prog_type), "{helper} in {prog_type}");
            count += 1;
        }
    }
    assert!(count > 150, "{count}");
}
