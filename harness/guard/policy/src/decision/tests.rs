use super::*;
use crate::parse;

fn compiled(text: &str) -> Compiled {
    let (policy, _) = parse("x.guard.toml", text).unwrap_or_else(|report| panic!("{report}"));
    policy.compile()
}

/// An enforced policy with one rule for all and one profile.
fn with_profile(profile: &str) -> Compiled {
    compiled(&format!("version = 1\nmode = 'enforce'\n[profiles.p]\n{profile}\n[[rule]]\nprofile = 'p'\n"))
}

const MAP_CREATE: u32 = 0;
const LOOKUP: u32 = 1;
const XDP: u32 = 6;
const KPROBE: u32 = 2;

fn root() -> Caller {
    Caller { loginuid: u32::MAX, initial_userns: true, cgroup: "/".to_owned(), ..Caller::default() }
}

fn user(uid: u32) -> Caller {
    Caller { uid, ..root() }
}

fn bpf(compiled: &Compiled, caller: &Caller, cmd: u32) -> Decision {
    decide(compiled, &Names::default(), caller, &Event::new(cmd, Hook::Bpf))
}

fn load(compiled: &Compiled, program: Program) -> (Reason, u64) {
    load_with(compiled, &Names::default(), program)
}

fn load_with(compiled: &Compiled, names: &Names, program: Program) -> (Reason, u64) {
    let decision = decide(compiled, names, &root(), &Event::new(PROG_LOAD, Hook::ProgLoad(program)));
    assert_eq!(decision.verdict == Verdict::Allowed, decision.reason == Reason::NoReason);
    (decision.reason, decision.what)
}

fn xdp() -> Program {
    Program { kind: XDP, attach_type: 37, insns: 2, ..Program::default() }
}

const FINE: (Reason, u64) = (Reason::NoReason, 0);

#[test]
fn a_command_must_be_in_the_profile() {
    let policy = with_profile("cmds = ['map_create', 'prog_load']");
    let answers = [MAP_CREATE, PROG_LOAD, LOOKUP, 63, 64, 1 << 16].map(|cmd| bpf(&policy, &root(), cmd).reason);
    let [fine, refused, no_rule] = [Reason::NoReason, Reason::Cmd, Reason::NoRule];
    assert_eq!(answers, [fine, fine, refused, refused, no_rule, no_rule]);
    let denial = bpf(&policy, &root(), LOOKUP);
    let expected = (Verdict::Denied, 1, 1, Some(0));
    assert_eq!((denial.verdict, denial.what, denial.rule, denial.profile), expected);
    // A token that stands for another command than the current one.
    let token = |cmd| decide(&policy, &Names::default(), &root(), &Event::new(PROG_LOAD, Hook::TokenCmd { cmd }));
    assert_eq!((token(PROG_LOAD).reason, token(LOOKUP).reason, token(LOOKUP).what), (fine, refused, 1));
}

#[test]
fn a_program_type_must_be_in_the_profile() {
    let policy = with_profile("progs = ['xdp']");
    let of = |kind| load(&policy, Program { kind, ..xdp() });
    assert_eq!((of(XDP), of(XDP - 1), of(XDP + 1)), (FINE, (Reason::ProgType, 5), (Reason::ProgType, 7)));
    let any = with_profile("progs = 'any'");
    let of = |kind| load(&any, Program { kind, ..xdp() });
    assert_eq!(
        (of(0), of(63), of(64), of(u32::MAX)),
        (FINE, FINE, (Reason::ProgType, 64), (Reason::ProgType, u64::from(u32::MAX)))
    );
}

#[test]
fn an_attach_type_must_be_in_the_list_of_its_program_type() {
    let policy = with_profile(
        "progs = [{ type = 'xdp', attach = ['xdp', 'xdp_cpumap'] }, { type = 'kprobe', attach = 'none' }, 'sched_cls']",
    );
    let of = |kind, attach_type| load(&policy, Program { kind, attach_type, ..Program::default() });
    assert_eq!((of(XDP, 37), of(XDP, 35), of(XDP, 36)), (FINE, FINE, (Reason::AttachType, 36)));
    assert_eq!((of(KPROBE, 0), of(KPROBE, 42)), (FINE, (Reason::AttachType, 42)));
    assert_eq!((of(3, 0), of(3, 127), of(3, 128)), (FINE, FINE, (Reason::AttachType, 128)));
    // Listed twice: both lists together.
    let twice = with_profile("progs = [{ type = 'xdp', attach = ['xdp'] }, { type = 'xdp', attach = ['xdp_cpumap'] }]");
    let of = |attach_type| load(&twice, Program { attach_type, ..xdp() });
    assert_eq!((of(37), of(35), of(33)), (FINE, FINE, (Reason::AttachType, 33)));
}

#[test]
fn the_number_of_instructions_is_limited() {
    let policy = with_profile("progs = ['xdp']\nmax_insns = 200");
    let of = |insns| load(&policy, Program { insns, ..xdp() });
    assert_eq!((of(199), of(200), of(201)), (FINE, FINE, (Reason::Insns, 201)));
    let unlimited = with_profile("progs = ['xdp']");
    assert_eq!(load(&unlimited, Program { insns: u32::MAX, ..xdp() }), FINE);
}

#[test]
fn programs_and_maps_may_need_a_token() {
    let policy = with_profile("progs = ['xdp']\nmaps.types = ['hash']\ntoken = 'required'");
    let of = |has_token| load(&policy, Program { has_token, ..xdp() });
    assert_eq!((of(true), of(false)), (FINE, (Reason::TokenMissing, 0)));
    assert_eq!(
        (map_of(&policy, 1, (4, 4, 1), true), map_of(&policy, 1, (4, 4, 1), false)),
        (FINE, (Reason::TokenMissing, 0))
    );
}

#[test]
fn a_target_must_be_in_the_profile() {
    let mut names = Names::default();
    names.insert("do_unlinkat", 100);
    names.insert("do_unlinkat", 101);
    names.insert("vfs_read", 102);
    let policy = with_profile("progs = ['tracing']\ntargets = ['do_unlinkat', 'not_in_this_kernel']");
    let program = |btf_id, of_module| Program {
        kind: 26,
        attach_type: 24,
        target: Some(Target { btf_id, of_module }),
        ..Program::default()
    };
    let of = |policy: &Compiled, btf_id, of_module| load_with(policy, &names, program(btf_id, of_module));
    assert_eq!((of(&policy, 100, false), of(&policy, 101, false)), (FINE, FINE));
    assert_eq!((of(&policy, 102, false), of(&policy, 0, false)), ((Reason::Target, 102), FINE));
    assert_eq!(of(&policy, 100, true), (Reason::TargetOfModule, 100));
    // A function of another program, which `ext` replaces.
    let ext = with_profile("progs = ['ext']");
    let replacement = |of_module| Program { kind: EXT, attach_type: 0, ..program(100, of_module) };
    assert_eq!(load_with(&ext, &names, replacement(true)), FINE);
    assert_eq!(load_with(&ext, &names, replacement(false)), (Reason::Target, 100));
    let any = with_profile("progs = ['tracing']\ntargets = 'any'");
    assert_eq!((of(&any, 102, false), of(&any, 102, true)), (FINE, (Reason::TargetOfModule, 102)));
    let modules = with_profile("progs = ['tracing']\nmodules = true");
    assert_eq!((of(&modules, 102, true), of(&modules, 102, false)), (FINE, (Reason::Target, 102)));
}

#[test]
fn each_helper_must_be_in_the_profile() {
    let policy = with_profile("progs = ['xdp']\nhelpers = ['map_lookup_elem', '@time']");
    let of = |ids: &[u32]| load(&policy, Program { calls: ids.iter().copied().map(Call::Helper).collect(), ..xdp() });
    assert_eq!((of(&[]), of(&[1, 5, 125]), of(&[1, 2, 3])), (FINE, FINE, (Reason::Helper, 2)));
    let except = with_profile("progs = ['xdp']\nhelpers = { except = ['probe_write_user'] }");
    let of = |id| load(&except, Program { calls: vec![Call::Helper(id)], ..xdp() });
    assert_eq!((of(35), of(36), of(37)), (FINE, (Reason::Helper, 36), FINE));
}

#[test]
fn a_number_that_no_helper_has_is_not_judged() {
    let none = with_profile("progs = ['xdp']");
    let of = |id| load(&none, Program { calls: vec![Call::Helper(id)], ..xdp() });
    assert_eq!((of(1), of(211), of(212)), ((Reason::Helper, 1), (Reason::Helper, 211), FINE));
    // What libbpf writes in place of an instruction that it cannot relocate.
    assert_eq!(of(195_896_080), FINE);
    assert_eq!(crate::Family::Helper.names().into_iter().map(|(_, number)| number).max(), Some(211));
}

#[test]
fn each_kfunc_must_be_in_the_profile() {
    let mut names = Names::default();
    names.insert("bpf_cpumask_create", 200);
    names.insert("bpf_task_acquire", 201);
    let policy = with_profile("progs = ['xdp']\nkfuncs = ['bpf_cpumask_create']");
    let program = |btf_id, of_module| Program { calls: vec![Call::Kfunc { btf_id, of_module }], ..xdp() };
    let of = |policy: &Compiled, btf_id, of_module| load_with(policy, &names, program(btf_id, of_module));
    assert_eq!((of(&policy, 200, false), of(&policy, 201, false)), (FINE, (Reason::Kfunc, 201)));
    assert_eq!(of(&policy, 200, true), (Reason::KfuncOfModule, 200));
    let any = with_profile("progs = ['xdp']\nkfuncs = 'any'\nmodules = true");
    assert_eq!((of(&any, 201, false), of(&any, 201, true)), (FINE, FINE));
    // The list of one profile is not that of another.
    let other = compiled(
        "version = 1\nmode = 'enforce'\n[profiles.a]\nprogs = ['xdp']\n[profiles.b]\nkfuncs = ['bpf_cpumask_create']\n\
         [[rule]]\nprofile = 'a'\n",
    );
    assert_eq!(of(&other, 200, false), (Reason::Kfunc, 200));
}

fn map_of(policy: &Compiled, kind: u32, sizes: (u32, u32, u32), has_token: bool) -> (Reason, u64) {
    let (key_size, value_size, max_entries) = sizes;
    let hook = Hook::MapCreate { kind, key_size, value_size, max_entries, has_token };
    let decision = decide(policy, &Names::default(), &root(), &Event::new(MAP_CREATE, hook));
    (decision.reason, decision.what)
}

#[test]
fn maps_are_limited_by_type_entries_and_bytes() {
    let policy = with_profile("maps = { types = ['hash', 'ringbuf'], max_entries = 8192, max_bytes = '64KiB' }");
    let of = |kind, sizes| map_of(&policy, kind, sizes, false);
    assert_eq!(
        (of(1, (4, 4, 1)), of(2, (4, 4, 1)), of(64, (4, 4, 1))),
        (FINE, (Reason::MapType, 2), (Reason::MapType, 64))
    );
    assert_eq!(
        (of(1, (0, 8, 8191)), of(1, (0, 8, 8192)), of(1, (0, 8, 8193))),
        (FINE, FINE, (Reason::MapEntries, 8193))
    );
    // Key and value are each rounded up to 8 bytes: 4096 entries of 16 bytes are 64 KiB.
    assert_eq!(
        (of(1, (1, 8, 4095)), of(1, (1, 8, 4096)), of(1, (1, 8, 4097))),
        (FINE, FINE, (Reason::MapBytes, 65552))
    );
    assert_eq!(of(1, (1, 9, 4096)), (Reason::MapBytes, 98304));
    assert_eq!(map_bytes(1, u32::MAX, u32::MAX, u32::MAX), u64::MAX);
    assert_eq!((map_bytes(1, 0, u32::MAX, 1), map_bytes(1, 8, u32::MAX - 15, 2)), (u64::MAX, 2 * ((1 << 32) - 8)));
    assert_eq!(map_bytes(1, 0, u32::MAX, 0), 0);
    // A ring buffer has its size as its number of entries.
    let rings = with_profile("maps = { types = ['ringbuf', 'user_ringbuf'], max_bytes = 4096 }");
    let of = |kind, entries| map_of(&rings, kind, (0, 0, entries), false);
    assert_eq!((of(27, 4096), of(27, 8192), of(31, 4097)), (FINE, (Reason::MapBytes, 8192), (Reason::MapBytes, 4097)));
    let unlimited = with_profile("maps.types = 'any'");
    assert_eq!(map_of(&unlimited, 63, (u32::MAX, u32::MAX, u32::MAX), false), FINE);
}

#[test]
fn a_token_stands_only_for_the_capabilities_of_the_profile() {
    let policy = with_profile("token_caps = ['CAP_BPF', 'net_admin']");
    let of = |cap| {
        let decision = decide(&policy, &Names::default(), &root(), &Event::new(PROG_LOAD, Hook::TokenCapable { cap }));
        assert_eq!(decision.what, u64::from(cap));
        decision.reason
    };
    let (fine, refused) = (Reason::NoReason, Reason::TokenCap);
    assert_eq!([38, 39, 40, 12, 64].map(of), [refused, fine, refused, fine, refused]);
}

#[test]
fn a_token_is_made_by_a_command_of_the_profile() {
    const TOKEN_CREATE: u32 = 36;
    let of = |profile| {
        let event = Event::new(TOKEN_CREATE, Hook::TokenCreate);
        decide(&with_profile(profile), &Names::default(), &root(), &event).reason
    };
    assert_eq!((of("cmds = ['token_create']"), of("cmds = '@map'")), (Reason::NoReason, Reason::Cmd));
}

#[test]
fn programs_may_be_held_to_maps_of_their_user() {
    let policy = with_profile("own_maps = true");
    let of = |policy: &Compiled, cmd, maps: &[(u32, Option<u32>)]| {
        let maps = maps.iter().map(|(id, made_by)| UsedMap { id: *id, made_by: *made_by }).collect();
        let decision = decide(policy, &Names::default(), &user(7), &Event::new(cmd, Hook::Prog { tag: [0; 8], maps }));
        (decision.reason, decision.what)
    };
    assert_eq!((of(&policy, PROG_LOAD, &[]), of(&policy, PROG_LOAD, &[(1, Some(7))])), (FINE, FINE));
    assert_eq!(of(&policy, PROG_LOAD, &[(1, Some(7)), (2, Some(8)), (3, None)]), (Reason::MapOfOther, 2));
    assert_eq!(of(&policy, PROG_LOAD, &[(3, None)]), (Reason::MapOfOther, 3));
    // A descriptor of a program that is loaded already.
    assert_eq!(of(&policy, 13, &[(2, Some(8))]), FINE);
    assert_eq!(of(&with_profile("own_maps = false"), PROG_LOAD, &[(2, Some(8))]), FINE);
}

#[test]
fn rules_take_the_calls_of_their_loaders() {
    let policy = compiled(
        "version = 1\nmode = 'enforce'\n[loaders.a]\nfile = '/a'\nidentity = 'inode'\n[loaders.b]\nfile = '/b'\n\
         identity = 'inode'\n[loaders.c]\nfile = '/c'\nidentity = 'inode'\n\
         [[rule]]\nloader = ['c', 'a']\ncmds = ['map_create']\nallow = true\n\
         [[rule]]\nloader = 'any'\ncmds = ['prog_load']\nallow = true\n[[rule]]\nuid = 5\nallow = true\n",
    );
    let rule = |loader: u8, uid, cmd| bpf(&policy, &Caller { loader, ..user(uid) }, cmd).rule;
    assert_eq!([0, 1, 2, 3].map(|loader| rule(loader, 7, MAP_CREATE)), [0, 1, 0, 1]);
    assert_eq!([0, 1, 2, 3].map(|loader| rule(loader, 7, PROG_LOAD)), [0, 2, 2, 2]);
    assert_eq!([0, 2].map(|loader| rule(loader, 5, MAP_CREATE)), [3, 3]);
}

#[test]
fn programs_may_be_held_to_tags() {
    let with = |keys: &str| with_profile(&format!("own_maps = true\n{keys}"));
    let of = |policy: &Compiled, cmd, tag: u64| {
        let maps = vec![UsedMap { id: 2, made_by: Some(8) }];
        let hook = Hook::Prog { tag: tag.to_be_bytes(), maps };
        decide(policy, &Names::default(), &user(7), &Event::new(cmd, hook)).reason
    };
    let listed = with("tags = ['0123456789abcdef', 'ffffffffffffffff']");
    let reasons = [0x0123456789abcdef, u64::MAX, 0x0123456789abcdee].map(|tag| of(&listed, PROG_LOAD, tag));
    assert_eq!(reasons, [Reason::MapOfOther, Reason::MapOfOther, Reason::Tag]);
    // A descriptor of a program that is loaded already.
    assert_eq!(of(&listed, 13, 0), Reason::NoReason);
    assert_eq!(of(&with("tags = []"), PROG_LOAD, 0), Reason::Tag);
    assert_eq!(of(&with(""), PROG_LOAD, 0), Reason::MapOfOther);
}

#[test]
fn programs_may_have_to_be_signed() {
    let of = |signed: &str, signed_by: Option<u8>| {
        let program = Program { kind: XDP, attach_type: 37, signed_by, ..Program::default() };
        let policy = with_profile(&format!("progs = ['xdp']\nsigned = '{signed}'"));
        let decision = decide(&policy, &Names::default(), &user(7), &Event::new(PROG_LOAD, Hook::ProgLoad(program)));
        (decision.reason, decision.what)
    };
    // By which keyrings each value is satisfied: built-in, secondary, platform's, the user's.
    let table = [("no", [1, 1, 1, 1]), ("any", [1, 1, 1, 1]), ("builtin", [1, 0, 0, 0])];
    for (signed, accepted) in table.into_iter().chain([("secondary", [1, 1, 0, 0]), ("platform", [0, 0, 1, 0])]) {
        let unsigned = if signed == "no" { FINE } else { (Reason::Unsigned, 0) };
        assert_eq!(of(signed, None), unsigned, "{signed}");
        for (keyring, accepted) in (1..).zip(accepted) {
            let wanted = if accepted == 1 { FINE } else { (Reason::Keyring, u64::from(keyring)) };
            assert_eq!(of(signed, Some(keyring)), wanted, "{signed}, keyring {keyring}");
        }
    }
}

#[test]
fn the_first_check_that_fails_is_the_reason() {
    let policy = with_profile(
        "progs = [{ type = 'tracing', attach = ['trace_fentry'] }]\nmax_insns = 1\ntoken = 'required'\n\
         signed = 'builtin'\nmaps = { types = ['hash'], max_entries = 1, max_bytes = 8 }",
    );
    let mut program = Program {
        kind: XDP,
        attach_type: 37,
        insns: 2,
        has_token: false,
        signed_by: None,
        target: Some(Target { btf_id: 9, of_module: false }),
        calls: vec![Call::Kfunc { btf_id: 8, of_module: false }, Call::Helper(1)],
    };
    let mut reasons = Vec::new();
    let mends: [fn(&mut Program); 9] = [
        |program| program.kind = 26,
        |program| program.attach_type = 24,
        |program| program.insns = 1,
        |program| program.has_token = true,
        |program| program.signed_by = Some(4),
        |program| program.signed_by = Some(1),
        |program| program.target = None,
        |program| program.calls = program.calls.split_off(1),
        |program| program.calls.clear(),
    ];
    for mend in mends {
        reasons.push(load(&policy, program.clone()).0);
        mend(&mut program);
    }
    reasons.push(load(&policy, program).0);
    use Reason::{
        AttachType, Helper, Insns, Keyring, Kfunc, NoReason, ProgType, Target as Bound, TokenMissing, Unsigned,
    };
    let all = [ProgType, AttachType, Insns, TokenMissing, Unsigned, Keyring, Bound, Kfunc, Helper, NoReason];
    assert_eq!(reasons, all);
    let maps = [(2, 2, false), (1, 2, false), (1, 1, false), (1, 1, true)];
    let sizes = [4, 9, 4, 4];
    let reasons: Vec<Reason> = maps
        .into_iter()
        .zip(sizes)
        .map(|((kind, entries, token), value)| map_of(&policy, kind, (0, value, entries), token).0)
        .collect();
    assert_eq!(reasons, [Reason::MapType, Reason::MapEntries, Reason::TokenMissing, Reason::NoReason]);
    assert_eq!(map_of(&policy, 1, (0, 9, 1), false).0, Reason::MapBytes);
}

#[test]
fn the_first_rule_that_takes_a_call_decides() {
    let policy = compiled(
        "version = 1\nmode = 'enforce'\n[profiles.p]\ncmds = ['map_create']\n\
         [[rule]]\nuid = ['5-7', 9]\nallow = true\n\
         [[rule]]\ncmds = '@read'\nallow = true\n\
         [[rule]]\nuid = '0-20'\nprofile = 'p'\n\
         [[rule]]\nuid = '21'\ndeny = true\n",
    );
    let of = |uid, cmd| {
        let decision = bpf(&policy, &user(uid), cmd);
        (decision.rule, decision.reason)
    };
    let fine = Reason::NoReason;
    assert_eq!([4, 5, 7, 8, 9, 10].map(|uid| of(uid, PROG_LOAD).0), [3, 1, 1, 3, 1, 3]);
    assert_eq!((of(21, LOOKUP), of(21, PROG_LOAD)), ((2, fine), (4, Reason::Rule)));
    assert_eq!((of(20, PROG_LOAD), of(20, MAP_CREATE)), ((3, Reason::Cmd), (3, fine)));
    assert_eq!((of(22, PROG_LOAD), of(u32::MAX, PROG_LOAD)), ((0, Reason::NoRule), (0, Reason::NoRule)));
    let denial = bpf(&policy, &user(21), PROG_LOAD);
    assert_eq!((denial.verdict, denial.profile, denial.what), (Verdict::Denied, None, 0));
}

#[test]
fn rules_ask_for_login_and_user_namespace() {
    let policy = compiled(
        "version = 1\nmode = 'enforce'\n[[rule]]\nloginuid = '1000-1001'\nallow = true\n\
         [[rule]]\nloginuid = 'unset'\nuserns = 'initial'\nallow = true\n\
         [[rule]]\nuserns = 'not-initial'\nuid = [0, 100000]\nallow = true\n",
    );
    assert!(policy.uses_loginuid && policy.rules.len() == 4);
    let of = |loginuid, initial_userns| {
        let caller = Caller { loginuid, initial_userns, ..user(100_000) };
        bpf(&policy, &caller, MAP_CREATE).rule
    };
    assert_eq!([999, 1000, 1001, 1002].map(|loginuid| of(loginuid, true)), [0, 1, 1, 0]);
    assert_eq!((of(u32::MAX, true), of(u32::MAX, false), of(u32::MAX - 1, true)), (2, 3, 0));
}

#[test]
fn a_cgroup_is_itself_and_all_below_but_not_one_with_a_longer_name() {
    let policy = compiled(
        "version = 1\nmode = 'enforce'\n[[rule]]\ncgroup = ['/machine.slice/web', '/a/b/c/d']\nallow = true\n",
    );
    let of = |cgroup: &str| bpf(&policy, &Caller { cgroup: cgroup.to_owned(), ..root() }, MAP_CREATE).rule;
    let inside = ["/machine.slice/web", "/machine.slice/web/x/y/z", "/a/b/c/d", "/a/b/c/d/e"];
    assert!(inside.iter().all(|path| of(path) == 1), "{:?}", inside.map(of));
    let outside = [
        "/",
        "",
        "/machine.slice",
        "/machine.slice/webs",
        "/machine.slice/we",
        "/web",
        "/x/machine.slice/web",
        "/a/b/c",
    ];
    assert!(outside.iter().all(|path| of(path) == 0), "{:?}", outside.map(of));
}

#[test]
fn the_mode_of_a_rule_precedes_that_of_the_policy() {
    for (mode, of_policy) in [("audit", Verdict::WouldDeny), ("enforce", Verdict::Denied)] {
        let policy = compiled(&format!(
            "version = 1\nmode = '{mode}'\n[[rule]]\nuid = 1\ndeny = true\nmode = 'audit'\n\
             [[rule]]\nuid = 2\ndeny = true\nmode = 'enforce'\n[[rule]]\nuid = 3\ndeny = true\n\
             [[rule]]\nuid = 4\nallow = true\nmode = 'enforce'\n"
        ));
        let verdicts = [1, 2, 3, 4, 5].map(|uid| bpf(&policy, &user(uid), MAP_CREATE).verdict);
        assert_eq!(verdicts, [Verdict::WouldDeny, Verdict::Denied, of_policy, Verdict::Allowed, of_policy]);
    }
}

#[test]
fn what_no_rule_takes_may_be_allowed() {
    let policy = compiled("version = 1\nmode = 'enforce'\ndefault = 'allow'\n[[rule]]\nuid = 1\ndeny = true\n");
    let decision = bpf(&policy, &user(2), MAP_CREATE);
    assert_eq!((decision.verdict, decision.rule, decision.profile), (Verdict::Allowed, 0, None));
    assert_eq!(bpf(&policy, &user(1), MAP_CREATE).verdict, Verdict::Denied);
}

#[test]
fn hard_checks_come_before_everything_and_ignore_the_mode() {
    let policy = compiled("version = 1\nmode = 'audit'\n[[rule]]\nallow = true\n");
    let mut event = Event::new(14, Hook::Map);
    event.hard = Some(Hard { reason: Reason::OwnMap, what: 12 });
    for caller in [root(), Caller { is_guard: true, ..root() }] {
        let decision = decide(&policy, &Names::default(), &caller, &event);
        assert_eq!((decision.verdict, decision.reason, decision.what), (Verdict::Denied, Reason::OwnMap, 12));
        assert_eq!(decision.rule, 0);
    }
    assert!(Reason::ALL.iter().all(|reason| reason.is_hard() == (*reason >= Reason::GuardedFunction)));
}

#[test]
fn the_guard_itself_is_allowed_everything_else() {
    let policy = compiled("version = 1\nmode = 'enforce'\n[guard]\non_no_reader = 'deny'\n[[rule]]\ndeny = true\n");
    let guard = Caller { is_guard: true, ..root() };
    let mut event = Event::new(PROG_LOAD, Hook::ProgLoad(xdp()));
    event.ring.unread_ns = u64::MAX;
    let decision = decide(&policy, &Names::default(), &guard, &event);
    assert_eq!((decision.verdict, decision.rule), (Verdict::Allowed, 0));
}

#[test]
fn allowed_calls_of_some_commands_are_only_counted() {
    let policy = compiled("version = 1\n[[rule]]\nuid = 0\nallow = true\n");
    let counted = |caller: &Caller, cmd| bpf(&policy, caller, cmd).is_counted;
    assert!(counted(&root(), LOOKUP) && !counted(&root(), MAP_CREATE) && !counted(&user(1), LOOKUP));
    let all = compiled("version = 1\n[guard]\ncount_only = []\n[[rule]]\nallow = true\n");
    assert!(!bpf(&all, &root(), LOOKUP).is_counted && all.settings.count_only == 0);
}

#[test]
fn what_cannot_be_recorded_may_be_refused() {
    let text = |guard: &str| format!("version = 1\n[guard]\n{guard}\n[[rule]]\nuid = 0\nallow = true\n");
    let of = |policy: &Compiled, caller: &Caller, cmd, ring| {
        let decision = decide(policy, &Names::default(), caller, &Event { ring, ..Event::new(cmd, Hook::Bpf) });
        (decision.verdict, decision.reason, decision.what)
    };
    let full = Ring { is_full: true, unread_ns: 0 };
    let policy = compiled(&text("when_full = 'deny'"));
    let (allowed, would) = ((Verdict::Allowed, Reason::NoReason, 0), (Verdict::WouldDeny, Reason::NoRule, 0));
    assert_eq!(of(&policy, &root(), MAP_CREATE, full), (Verdict::Denied, Reason::NotRecorded, 0));
    assert_eq!(of(&policy, &user(1), MAP_CREATE, full), (Verdict::Denied, Reason::NotRecorded, 0));
    assert_eq!(of(&policy, &root(), LOOKUP, full), allowed);
    assert_eq!(of(&policy, &root(), MAP_CREATE, Ring::default()), allowed);
    assert_eq!(of(&compiled(&text("")), &user(1), MAP_CREATE, full), would);

    let policy = compiled(&text("on_no_reader = 'deny'\npatience = '2s'"));
    let unread = |unread_ns| Ring { is_full: false, unread_ns };
    assert_eq!(of(&policy, &root(), LOOKUP, unread(2_000_000_000)), allowed);
    let denied = (Verdict::Denied, Reason::NoReader, 2_000_000_001);
    assert_eq!(of(&policy, &root(), LOOKUP, unread(2_000_000_001)), denied);
    assert_eq!(of(&policy, &user(1), LOOKUP, unread(2_000_000_001)), denied);
    assert_eq!(of(&compiled(&text("")), &root(), LOOKUP, unread(u64::MAX)), allowed);
}
