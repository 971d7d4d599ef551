//! The effects of a scenario beyond its own namespaces, which matter in host mode.

use crate::plan::{LinkTarget, Scenario};

/// How a scenario affects everybody on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalEffect {
    /// It ends its VM, or wants one of its own.
    Machine,
    /// It changes or tries to change kernel settings.
    Settings,
    /// It attaches programs that may refuse anybody's calls.
    Lsm,
    /// It locks the kernel down, which only a reboot undoes.
    Lockdown,
    /// It puts a guard in front of everybody's `bpf(2)` calls.
    Guard,
    /// It attaches programs that run for all processes.
    Tracing,
    /// It makes the kernel measure all programs.
    Statistics,
    /// It uses hardware.
    Hardware,
    /// It starts services.
    Units,
    /// It runs a program that may do anything.
    Program,
}

impl GlobalEffect {
    /// Returns a phrase that follows `it`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "needs a VM of its own",
            Self::Settings => "writes kernel settings",
            Self::Lsm => "attaches LSM programs, which act on all processes",
            Self::Lockdown => "locks the kernel down, which only a reboot undoes",
            Self::Guard => "puts a guard in front of all bpf(2) calls",
            Self::Tracing => "attaches to kernel functions, tracepoints or structures, which all processes share",
            Self::Statistics => "makes the kernel measure all BPF programs",
            Self::Hardware => "uses a device of the machine",
            Self::Units => "starts systemd units",
            Self::Program => "runs a program, which may do anything",
        }
    }
}

impl Scenario {
    /// Returns its effect beyond its own namespaces and cgroups, if any. Loading programs and making maps has none, nor
    /// has attaching to a cgroup, an interface or a network namespace of its own.
    pub fn global_effect(&self) -> Option<GlobalEffect> {
        let of_scenario = [
            (self.own_vm, GlobalEffect::Machine),
            (
                !self.sysctls.is_empty() || self.cases.iter().any(|case| !case.sysctls.is_empty()),
                GlobalEffect::Settings,
            ),
            (!self.lsm.is_empty(), GlobalEffect::Lsm),
            (self.lockdown.is_some(), GlobalEffect::Lockdown),
            (self.guard.is_some(), GlobalEffect::Guard),
            (self.cases.iter().flat_map(|case| &case.containers).any(|plan| plan.unit.is_some()), GlobalEffect::Units),
        ];
        let of_calls =
            self.cases.iter().flat_map(|case| &case.attempts).find_map(|attempt| attempt.call.global_effect());
        of_scenario.into_iter().find_map(|(does, effect)| does.then_some(effect)).or(of_calls)
    }
}

impl LinkTarget {
    pub(super) fn global_effect(&self) -> Option<GlobalEffect> {
        match self.bare() {
            // Whatever process an event counts, the program at a tracepoint or probe runs for all.
            Self::Nothing | Self::Kprobes(_) | Self::Functions(_) | Self::StructOps | Self::Event(_) => {
                Some(GlobalEffect::Tracing)
            }
            Self::Lirc => Some(GlobalEffect::Hardware),
            // The guest's own program, network, cgroup or maps.
            Self::Uprobe
            | Self::PerfEvent
            | Self::Interface(_)
            | Self::Cgroup
            | Self::RootCgroup
            | Self::Netns
            | Self::Netfilter { .. }
            | Self::Map(_)
            | Self::Elements(_)
            | Self::Of { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Call;
    use crate::plan::{
        Actor, Attempt, Case, Exec, Guard, Lockdown, LsmHook, ObjectLoad, PerfEventSource, Sabotage, Token,
    };

    fn of(calls: Vec<Call>) -> Scenario {
        let attempts = calls.into_iter().map(|call| Attempt::new(Actor::Host, Token::None, call)).collect();
        let case = Case { sysctls: Default::default(), containers: Vec::new(), attempts };
        Scenario::new("a/b".parse().unwrap(), 1, vec![case])
    }

    fn link(target: LinkTarget) -> Call {
        Call::LinkCreate { prog: "p".to_owned(), attach_type: 0, target }
    }

    fn opened(source: PerfEventSource) -> Call {
        Call::PerfEventOpen { source, kernel: false }
    }

    #[test]
    fn what_stays_in_its_own_namespaces_has_no_global_effect() {
        let calls = vec![
            Call::Object(ObjectLoad::default()),
            link(LinkTarget::Cgroup),
            link(LinkTarget::Interface("dummy0".into())),
            opened(PerfEventSource::Tracepoint("a/b".into())),
            Call::Exit,
        ];
        assert_eq!(of(calls).global_effect(), None);
    }

    #[test]
    fn a_global_effect_is_found_in_any_case_and_attempt() {
        let of_host = LinkTarget::Of { whose: Actor::Host, what: Box::new(LinkTarget::Lirc) };
        let found = [
            (vec![Call::BtfLoad, link(LinkTarget::Nothing)], GlobalEffect::Tracing),
            (vec![link(LinkTarget::Kprobes(vec!["f".into()]))], GlobalEffect::Tracing),
            (vec![link(LinkTarget::Event("e".into()))], GlobalEffect::Tracing),
            (vec![opened(PerfEventSource::Kprobe("f".into()))], GlobalEffect::Tracing),
            (vec![link(of_host)], GlobalEffect::Hardware),
            (vec![Call::RawTracepointOpen { prog: "p".into(), name: None }], GlobalEffect::Tracing),
            (vec![Call::Object(ObjectLoad { attach: true, ..Default::default() })], GlobalEffect::Tracing),
            (vec![Call::EnableStats], GlobalEffect::Statistics),
            (vec![Call::Exec(Exec::default())], GlobalEffect::Program),
            (vec![Call::SysctlWrite { name: "a".into(), value: None }], GlobalEffect::Settings),
            (vec![Call::Sabotage(Sabotage::Panic)], GlobalEffect::Machine),
        ];
        for (calls, effect) in found {
            assert_eq!(of(calls.clone()).global_effect(), Some(effect), "{calls:?}");
        }
    }

    #[test]
    fn so_are_the_effects_of_the_scenarios_own_settings() {
        let plain = || of(vec![Call::BtfLoad]);
        let setting = || [("kernel.x".to_owned(), "1".to_owned())].into_iter().collect();
        assert_eq!(Scenario { sysctls: setting(), ..plain() }.global_effect(), Some(GlobalEffect::Settings));
        let mut in_a_case = plain();
        in_a_case.cases[0].sysctls = setting();
        assert_eq!(in_a_case.global_effect(), Some(GlobalEffect::Settings));
        assert_eq!(Scenario { own_vm: true, ..plain() }.global_effect(), Some(GlobalEffect::Machine));
        assert_eq!(
            Scenario { lockdown: Some(Lockdown::Integrity), ..plain() }.global_effect(),
            Some(GlobalEffect::Lockdown)
        );
        let guard = Some(Guard::new("version = 1"));
        assert_eq!(Scenario { guard, ..plain() }.global_effect(), Some(GlobalEffect::Guard));
        assert_eq!(Scenario { lsm: vec![LsmHook::Bpf], ..plain() }.global_effect(), Some(GlobalEffect::Lsm));
    }

    #[test]
    fn effects_are_described_by_a_phrase_that_follows_it() {
        let effects = [
            GlobalEffect::Machine,
            GlobalEffect::Settings,
            GlobalEffect::Lsm,
            GlobalEffect::Lockdown,
            GlobalEffect::Guard,
            GlobalEffect::Tracing,
            GlobalEffect::Statistics,
            GlobalEffect::Hardware,
            GlobalEffect::Units,
            GlobalEffect::Program,
        ];
        insta::assert_snapshot!(effects.map(|effect| format!("it {}", effect.as_str())).join("\n"), @r"
        it needs a VM of its own
        it writes kernel settings
        it attaches LSM programs, which act on all processes
        it locks the kernel down, which only a reboot undoes
        it puts a guard in front of all bpf(2) calls
        it attaches to kernel functions, tracepoints or structures, which all processes share
        it makes the kernel measure all BPF programs
        it uses a device of the machine
        it starts systemd units
        it runs a program, which may do anything
        ");
    }
}
