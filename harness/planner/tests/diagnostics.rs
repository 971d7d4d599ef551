//! Every kind of mistake in a scenario file is told with its place and what to do.

mod common;

use harness_planner::check::check;
use harness_scenario::file;
use miette::{GraphicalReportHandler, GraphicalTheme};

use common::problems;

/// A scenario with this in place of its attempts and tables.
fn with(rest: &str) -> String {
    format!("summary = 'x'\n{rest}")
}

/// The only problem of a scenario is at this line and column and says all of this.
#[track_caller]
fn only(text: &str, key_path: &str, parts: &[&str]) {
    let found = problems(text);
    let [problem] = found.as_slice() else { panic!("not one problem: {found:#?}") };
    assert!(problem.starts_with(&format!("{key_path}: ")), "not at {key_path}: {problem}");
    for part in parts {
        assert!(problem.contains(part), "{part:?} is not in {problem:?}");
    }
}

const MAP: &str = "[[attempt]]\nop = 'map_create'\ntype = 'hash'\n";

#[test]
fn names() {
    only(
        &with("[delegate]\nmaps = ['hash', 'hsh']\n[[attempt]]\nop = 'btf_load'\n"),
        "3:17",
        &["`hsh`", "map type", "`hash`"],
    );
    only(&with("[delegate]\ncmds = ['xdp']\n[[attempt]]\nop = 'btf_load'\n"), "3:9", &["`xdp` is no bpf command"]);
    only(&with("[[attempt]]\nop = 'map_create'\ntype = 'xdp'\n"), "4:8", &["`xdp` is no map type but a program type"]);
    only(&with("[[attempt]]\nop = 'prog_load'\ntype = 'xdp'\nattach = 'xdpp'\n"), "5:10", &["did you mean `xdp`"]);
    only(&with("[[attempt]]\nop = 'prog_load'\ntype = 'ext'\n"), "2:1", &["`ext`", "write `replaces ="]);
    only(&with("[[attempt]]\nop = 'map_create'\ntype = 'sk_storage'\n"), "2:1", &["`sk_storage`", "write `btf ="]);
    only(&with(&format!("{MAP}flags = ['no_preallok']\n")), "5:10", &["no flag", "did you mean `no_prealloc`?"]);
    only(&with(&format!("{MAP}flags = [65536]\n")), "5:10", &["token", "`token = true`"]);
    only(&with(&format!("{MAP}flags = ['BPF_F_TOKEN_FD']\n")), "5:10", &["cannot be set by hand"]);
    only(&with(&format!("[container]\ncaps = ['sys_admn']\n{MAP}")), "3:9", &["no capability", "`sys_admin`"]);
}

#[test]
fn references() {
    only(&with(&format!("[containers.intruder]\n{MAP}by = 'intruderr'\n")), "6:6", &["did you mean `intruder`?"]);
    only(
        &with("[[attempt]]\nop = 'map_lookup'\nmap = 'm'\n"),
        "4:7",
        &["no earlier attempt saved `m`", "`save = \"m\"`"],
    );
    let late = format!("[[attempt]]\nop = 'map_lookup'\nmap = 'm'\n{MAP}save = 'm'\n");
    only(&with(&late), "4:7", &["no earlier attempt saved `m`"]);
    only(&with(&format!("{MAP}save = 'm'\n{MAP}save = 'm'\n")), "9:8", &["already saved `m`"]);
    only(
        &with(&format!("{MAP}save = 'm'\n[[attempt]]\nop = 'prog_test_run'\nprog = 'm'\n")),
        "8:8",
        &["`m` is a map, not a program"],
    );
    only(&with(&format!("{MAP}save = 'a b'\n")), "5:8", &["cannot be a name"]);
    only(&with("[[attempt]]\nop = 'obj_get'\npath = 'p'\n"), "4:8", &["nothing is pinned as `p`"]);
    only(&with(&format!("[container]\nparent = 'outer'\n{MAP}")), "3:10", &["no container `outer`"]);
    let circle = format!("[containers.a]\nparent = 'b'\n[containers.b]\nparent = 'a'\n{MAP}");
    assert_eq!(problems(&with(&circle)).len(), 2);
}

#[test]
fn a_mistake_is_told_once_and_not_again_where_its_result_is_used() {
    let text =
        with("[[attempt]]\nop = 'map_create'\ntype = 'hsh'\nsave = 'm'\n[[attempt]]\nop = 'map_lookup'\nmap = 'm'\n");
    only(&text, "4:8", &["`hsh`"]);
}

#[test]
fn combinations_that_cannot_be() {
    only(&with(&format!("{MAP}token = true\n")), "5:9", &["nothing is delegated"]);
    only(
        &with(&format!("[delegate]\ncmds = ['any']\n{MAP}by = 'host'\ntoken = true\n")),
        "8:9",
        &["`host` makes no token"],
    );
    only(&with("[[attempt]]\nop = 'token_info'\n"), "2:1", &["asks about a token"]);
    only(&with("[delegate]\ncmds = ['any', 'map_create']\n[[attempt]]\nop = 'btf_load'\n"), "3:8", &["`any` holds"]);
    only(&with("[delegate]\ncmds = ['map_create', 'MAP_CREATE']\n[[attempt]]\nop = 'btf_load'\n"), "3:23", &["twice"]);
    let both = "[delegate]\ncmds = ['any']\nraw = { delegate_cmds = 'any' }\n[[attempt]]\nop = 'btf_load'\n";
    only(&with(both), "3:8", &["both set one mask"]);
    only(&with("[delegate.raw]\ncmds = 'any'\n[[attempt]]\nop = 'btf_load'\n"), "3:8", &["write `delegate_cmds`"]);
    let refused = "[[attempt]]\nop = 'token_create'\nsave = 't'\nexpect = 'denied'\n";
    only(&with(&format!("{refused}{MAP}token = 't'\n")), "9:9", &["there will be no token `t`"]);
    only(&with(&format!("{MAP}inner_map = 'm'\n")), "5:13", &["holds no maps"]);
    only(&with("[[attempt]]\nop = 'map_create'\ntype = 'hash_of_maps'\n"), "2:1", &["another one as its pattern"]);
    only(&with("[[attempt]]\nop = 'mount_delegate'\noptions = []\n"), "4:11", &["creates nothing"]);
    only(&with("[[attempt]]\nop = 'mount_delegate'\noptions = ['delegate_cmds']\n"), "4:12", &["`key=value`"]);
    only(&with(&format!("[containers.host]\n{MAP}")), "2:1", &["full root"]);
    only(&with(&format!("[containers.container]\n{MAP}")), "2:1", &["write `[container]`"]);
    only(&with(&format!("[container]\nnamespaces = ['net', 'net']\n{MAP}")), "3:22", &["twice"]);
}

#[test]
fn links() {
    let link = |prog: &str, rest: &str| {
        with(&format!(
            "[[attempt]]\nop = 'prog_load'\ntype = '{prog}'\nsave = 'p'\n[[attempt]]\nop = 'link_create'\nprog = 'p'\n{rest}\n"
        ))
    };
    only(&link("xdp", "target = 'interface:dummy0'"), "9:10", &["no network namespace", "namespaces = [\"net\"]"]);
    only(&link("xdp", "target = 'cgroup'"), "9:10", &["needs an interface"]);
    only(&link("cgroup_skb", "target = 'interface:lo'"), "9:10", &["needs a cgroup"]);
    only(&link("netfilter", "target = 'netfilter:ipv4:sideways:0'"), "9:10", &["nothing a link can attach to"]);
    only(&link("xdp", "target = 'interface:../eth0'"), "9:10", &["nothing a link can attach to"]);
    assert!(problems(&link("xdp", "target = 'interface:lo'")).is_empty());
}

#[test]
fn elements() {
    let lookup = |map: &str, rest: &str| {
        with(&format!(
            "[[attempt]]\nop = 'map_create'\ntype = '{map}'\nsave = 'm'\n[[attempt]]\nop = 'map_lookup'\nmap = 'm'\n{rest}"
        ))
    };
    only(&lookup("hash", "key = '01'\n"), "9:7", &["1 bytes, but a key of this map has 4"]);
    only(&lookup("hash", "key = 'xy'\n"), "9:7", &["pairs of hexadecimal digits"]);
    only(&lookup("percpu_array", ""), "8:7", &["for each processor"]);
    assert!(problems(&lookup("hash", "key = [1, 2, 3, 4]\n")).is_empty());
}

#[test]
fn paths_stay_in_their_folder() {
    for path in ["../x", "a/b", "/etc/passwd", ".", "..", "a.b", "", "a\\u0000", "ä"] {
        let text = format!("{MAP}save = 'm'\n[[attempt]]\nop = 'obj_pin'\nobject = 'm'\npath = \"{path}\"\n");
        only(&with(&text), "9:8", &["no slash, no dot"]);
    }
}

#[test]
fn settings() {
    let sysctl = |setting: &str| with(&format!("[vm]\nsysctl = {{ {setting} }}\n{MAP}"));
    only(&sysctl("\"../../etc/passwd\" = 1"), "3:33", &["no kernel setting"]);
    only(&sysctl("\"dev.cdrom.lock\" = 1"), "3:31", &["may not change", "`kernel.`"]);
    only(&sysctl("kernel = 1"), "3:21", &["no kernel setting"]);
    only(&sysctl("kernel.x = \"a\\nb\""), "3:23", &["one line"]);
    only(&sysctl("\"kernel.unprivileged_bpf_disabled\" = 1"), "3:10", &["until the next boot", "isolation = \"vm\""]);
    only(&sysctl("\"kernel.x\" = 1, kernel.x = 1"), "3:25", &["set twice"]);
}

#[test]
fn the_rest_of_a_file() {
    only(&format!("summary = ''\n{MAP}"), "1:11", &["one line"]);
    only(&with(&format!("kernels = '6.9'\n{MAP}")), "2:11", &["comparison", ">=6.9"]);
    only(&with(&format!("kernels = '>=7.0, <6.9'\n{MAP}")), "2:11", &["no kernel is in"]);
    only(&with("attempt = []\n"), "2:11", &["this list is empty"]);
    only("[[attempt]]\nop = 'btf_load'\n", "1:1", &["`summary` is missing"]);
    only(
        &with("[[attempt]]\nop = 'btf_load'\n[[attempt]]\nop = 'btf_load'\nop = 'btf_load'\n"),
        "6:1",
        &["duplicate key"],
    );
}

#[test]
fn matrices() {
    let matrix = |matrix: &str, kind: &str| {
        with(&format!("[matrix]\n{matrix}\n[[attempt]]\nop = 'map_create'\ntype = '{kind}'\n"))
    };
    only(&matrix("a = ['hash']", "{b}"), "6:8", &["`b` is no axis", "only `a`"]);
    only(&matrix("a = ['hash', 'hsh']", "{a}"), "6:8", &["`hsh`"]);
    only(&matrix("a = '@map_typs'", "{a}"), "3:5", &["did you mean `@map_types`?"]);
    only(&matrix("a = []", "{a}"), "3:5", &["this list is empty"]);
    only(&matrix("a = ['hash']", "hash"), "3:1", &["used nowhere"]);
    only(&matrix("a = ['hash']", "{a"), "6:8", &["brace"]);
}

#[test]
fn a_million_attempts_are_refused_before_they_are_made() {
    let values: Vec<String> = (0..100).map(|n| format!("'v{n}'")).collect();
    let list = values.join(", ");
    let text = with(&format!(
        "[matrix]\na = [{list}]\nb = [{list}]\nc = [{list}]\n[[attempt]]\nop = 'map_create'\ntype = '{{a}}{{b}}{{c}}'\n"
    ));
    only(&text, "2:1", &["1000000 attempts; 10000 are allowed"]);
    let mut long = with("");
    (0..10_001).for_each(|_| long.push_str("[[attempt]]\nop = 'btf_load'\n"));
    only(&long, "2:1", &["10001 attempts; 10000 are allowed"]);
}

#[test]
fn every_problem_of_a_file_is_told_at_once_in_order() {
    let text = "summary = 'x'\nkernels = 'new'\n[delegate]\nmaps = ['hsh']\n[container]\ncaps = ['bfp']\n[[attempt]]\nop = 'map_create'\ntype = 'arry'\nby = 'me'\n";
    let places: Vec<String> = problems(text).iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["2:11", "4:9", "6:9", "9:8", "10:6"]);
}

/// What a terminal shows, without its colours.
#[test]
fn places_are_underlined() {
    let text = "summary = 'x'\n[delegate]\nmaps = ['hsh']\n[[attempt]]\nop = 'btf_load'\nby = 'me'\n";
    let file = file::parse("scenarios/x.toml", "x".parse().unwrap(), text).unwrap();
    let report = check(&file, &common::known()).unwrap_err();
    let mut shown = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(100);
    handler.render_report(&mut shown, &report.underlined()).unwrap();
    for part in ["2 problems in scenarios/x.toml", "[scenarios/x.toml:3:9]", "3 | maps = ['hsh']", "^^|^^", "help: "] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
}

#[test]
fn instructions_and_targets() {
    let load = |keys: &str| with(&format!("[[attempt]]\nop = 'prog_load'\ntype = 'tracing'\n{keys}\n"));
    only(&load("instructions = ['b7']"), "5:17", &["no instructions of eight bytes", "r0 = 0"]);
    only(&load("instructions = []"), "5:16", &["0 instructions, where 1 to 4096 are allowed"]);
    only(&load("instructions = ['9500000000000000']\nreturns = 1"), "5:16", &["leave `returns` out"]);
    only(&load("target = 'func:a b'"), "5:10", &["`func:a b`", "one of `func:NAME`"]);
    only(&load("functions = [2]"), "5:13", &["write `btf ="]);
    only(&load("maps = ['m']"), "5:9", &["no earlier attempt saved `m`"]);
    let many = format!("instructions = [{}]", "'9500000000000000', ".repeat(4097));
    only(&load(&many), "5:16", &["4097 instructions"]);
}

#[test]
fn what_is_put_where_only_links_go() {
    let attach = |rest: &str| {
        with(&format!(
            "[[attempt]]\nop = 'prog_load'\ntype = 'xdp'\nsave = 'p'\n[[attempt]]\nop = 'prog_attach'\nprog = 'p'\n{rest}\n"
        ))
    };
    only(&attach("target = 'perf-event'"), "9:10", &["by a link only", "use `link_create`"]);
    only(&attach("target = 'map:m'"), "9:10", &["no earlier attempt saved `m`"]);
    only(&attach("target = 'interface:dummy0'"), "9:10", &["no network namespace of its own"]);
}

#[test]
fn attempts_know_their_lines() {
    let text = with(&format!("{MAP}\n# between\n{MAP}[[attempt]]\nop = 'btf_load'\n"));
    let file = file::parse("x.toml", "x".parse().unwrap(), &text).unwrap();
    assert_eq!(check(&file, &common::known()).unwrap().attempt_lines(), [2, 7, 10]);
}
