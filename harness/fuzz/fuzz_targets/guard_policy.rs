//! Any bytes are a policy of the guard whose values fit its maps, or a report with positions.
#![no_main]

use guard_policy::{
    Caller, Event, Hook, Names, Program, decide, findings,
    layout::{MOST_CGROUPS, MOST_PROFILES, MOST_RULES, Verdict},
    parse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (policy, _) = match parse("x.guard.toml", &text) {
        Ok(read) => read,
        Err(report) => {
            assert!(!report.problems().is_empty());
            report.problems().iter().for_each(|problem| assert!(report.position(problem).0 >= 1));
            assert!(!report.to_string().is_empty());
            return;
        }
    };
    findings(&policy).iter().for_each(|finding| assert!(text.get(finding.span.clone()).is_some()));
    let compiled = policy.compile();
    assert!(compiled.rules.len() <= MOST_RULES && compiled.profiles.len() <= MOST_PROFILES);
    assert!(compiled.cgroups.len() <= MOST_CGROUPS);
    assert_eq!(compiled.rules.len(), compiled.settings.rules as usize);
    for rule in &compiled.rules {
        assert!(usize::from(rule.profile) < compiled.profiles.len().max(1));
        assert!(usize::from(rule.cgroup) <= compiled.cgroups.len());
        assert!(rule.uid_min <= rule.uid_max && rule.loginuid_min <= rule.loginuid_max);
        // A caller that this rule takes is decided about by it, or by a rule before it.
        let caller = Caller {
            uid: rule.uid_min,
            loginuid: rule.loginuid_max,
            initial_userns: rule.userns != 2,
            cgroup: match rule.cgroup {
                0 => "/".to_owned(),
                index => policy.cgroups[usize::from(index) - 1].to_string(),
            },
            // Any known loader is the first of them too.
            loader: if rule.loader == guard_policy::layout::ANY_LOADER { 1 } else { rule.loader },
            is_guard: false,
        };
        for cmd in (0..64).filter(|cmd| rule.cmds >> cmd & 1 == 1) {
            let decision = decide(&compiled, &Names::default(), &caller, &Event::new(cmd, Hook::Bpf));
            assert!((1..=rule.number).contains(&decision.rule));
            let program = Hook::ProgLoad(Program::default());
            let decision = decide(&compiled, &Names::default(), &caller, &Event::new(cmd, program));
            assert_eq!(decision.verdict == Verdict::Allowed, decision.reason.number() == 0);
        }
    }
});
