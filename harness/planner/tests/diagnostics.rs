//! Whole reports about scenario files, as a terminal without colours shows them.
//!
//! Each file in `tests/fixtures` has its report in `tests/snapshots`, under the same name.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_diagnostics::report::Report;
use harness_planner::check::check;
use harness_scenario::file;
use miette::{GraphicalReportHandler, GraphicalTheme};

use common::problems;

/// A folder below `tests`, found at run time, because the compiled test may have been moved.
fn below_tests(folder: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("tests").join(folder)
}

fn report(name: &str) -> Report {
    let text = fs::read_to_string(below_tests("fixtures").join(format!("{name}.toml"))).unwrap();
    let parsed = file::parse(&format!("{name}.toml"), name.parse().unwrap(), &text);
    parsed.and_then(|file| check(&file, &common::known())).expect_err(name)
}

#[test]
fn every_fixture_has_the_report_of_its_snapshot() {
    let fixtures = harness_fixtures::find(&below_tests("fixtures"), |file| file.strip_suffix(".toml"));
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_links(false).with_width(100);
    harness_fixtures::compare(&fixtures, &below_tests("snapshots"), |fixture| {
        let mut shown = String::new();
        let name = fixture.file_stem().unwrap().to_str().unwrap();
        handler.render_report(&mut shown, &report(name).underlined()).unwrap();
        shown
    });
}

/// Every problem has one line where the output is not a terminal.
#[test]
fn a_report_without_a_terminal_has_one_line_per_problem() {
    insta::assert_snapshot!(report("key-and-name-errors"), @r#"
    key-and-name-errors.toml:3:1: unknown key `isolaton` (did you mean `isolation`?)
    key-and-name-errors.toml:4:11: `6.9` does not begin with one of >=, >, <=, <, = (for example `">=6.9, <7.0"`)
    key-and-name-errors.toml:7:9: `map_creat` is not a bpf command; did you mean `map_create`?
    key-and-name-errors.toml:8:1: unknown key `types` (one of `attachs`, `cmds`, `maps`, `progs`, `raw`)
    key-and-name-errors.toml:11:16: `net_admn` is not a capability (did you mean `net_admin`?)
    key-and-name-errors.toml:12:1: unknown key `user` (one of `caps`, `drop_ins`, `instance`, `kind`, `loginuid`, `manager`, `namespaces`, `no_new_privs`, `nspawn`, `parent`, `seccomp`, `uid`, `unit`, `unit_file`, `unshare`)
    key-and-name-errors.toml:16:8: `hsh` is not a map type; did you mean `hash`?
    key-and-name-errors.toml:17:1: `map_create` has no key `entries` (did you mean `max_entries`?)
    key-and-name-errors.toml:22:6: there is no container `contaner` (did you mean `container`?)
    key-and-name-errors.toml:23:10: `alowed` is not a value of this key (did you mean `allowed`?)
    key-and-name-errors.toml:28:8: no earlier attempt saved `q` (the only one is `p`)
    "#);
}

#[test]
fn valid_targets_and_keys_are_accepted() {
    let head = "summary = 'x'\n[[attempt]]\nop = 'prog_load'\ntype = 'xdp'\nsave = 'p'\n\
                [[attempt]]\nop = 'map_create'\ntype = 'hash'\nsave = 'm'\n[containers.other]\n";
    for rest in [
        "[[attempt]]\nop = 'link_create'\nprog = 'p'\ntarget = 'interface:lo'\n",
        "[[attempt]]\nop = 'prog_query'\nattach = 'tcx_ingress'\ntarget = 'interface:lo of other'\n",
        "[[attempt]]\nop = 'map_lookup'\nmap = 'm'\nkey = [1, 2, 3, 4]\n",
    ] {
        assert_eq!(problems(&format!("{head}{rest}")), Vec::<String>::new(), "{rest}");
    }
}

#[test]
fn too_many_attempts_are_refused_before_they_are_expanded() {
    let values: Vec<String> = (0..100).map(|n| format!("'v{n}'")).collect();
    let list = values.join(", ");
    let text = format!(
        "summary = 'x'\n[matrix]\na = [{list}]\nb = [{list}]\nc = [{list}]\n\
         [[attempt]]\nop = 'map_create'\ntype = '{{a}}{{b}}{{c}}'\n"
    );
    insta::assert_snapshot!(problems(&text).join("\n"), @"2:1: this matrix makes 1000000 attempts; the limit is 10000 (split it into several scenarios)");
    let long = format!("summary = 'x'\n{}", "[[attempt]]\nop = 'btf_load'\n".repeat(10_001));
    insta::assert_snapshot!(problems(&long).join("\n"), @"2:1: this scenario makes 10001 attempts; the limit is 10000 (split it into several scenarios)");
}

#[test]
fn too_many_instructions_are_refused() {
    let many = "'9500000000000000', ".repeat(4097);
    let text = format!("summary = 'x'\n[[attempt]]\nop = 'prog_load'\ntype = 'xdp'\ninstructions = [{many}]\n");
    insta::assert_snapshot!(problems(&text).join("\n"), @"5:16: expected 1 to 4096 instructions, found 4097");
}

#[test]
fn attempts_know_their_lines() {
    const MAP: &str = "[[attempt]]\nop = 'map_create'\ntype = 'hash'\n";
    let text = format!("summary = 'x'\n{MAP}\n# between\n{MAP}[[attempt]]\nop = 'btf_load'\n");
    let file = file::parse("x.toml", "x".parse().unwrap(), &text).unwrap();
    assert_eq!(check(&file, &common::known()).unwrap().attempt_lines(), [2, 7, 10]);
}
