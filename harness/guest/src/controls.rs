//! The actors of the controls: a container that lacks nothing, and root.
//!
//! One case after the other uses them. They are as good as fresh ones and save two thirds of a case's time: what a case
//! saves is closed at its end. Attempts can leave only pins in a container, and after those the caller has the actors
//! made anew.

use harness_protocol::{
    mount_option::delegate_any,
    plan::{Attempt, Case, Container, Namespace, Token},
};
use rustix::process::Pid;

use crate::{
    actor::{ActorError, Needs, RunningActor},
    context::GuestContext,
};

/// Both actors, as far as they are set up.
#[derive(Debug)]
pub(crate) struct Controls {
    context: GuestContext,
    container: Option<(Container, Needs, RunningActor)>,
    root: Option<(Needs, RunningActor)>,
}

/// An actor, or why there is none.
type Made<'a> = Result<&'a mut RunningActor, ActorError>;

impl Controls {
    /// Starts with none set up.
    pub(crate) fn new(context: &GuestContext) -> Self {
        Self { context: context.clone(), container: None, root: None }
    }

    /// Returns the control container and root for a case.
    pub(crate) fn actors(&mut self, case: &Case, needs: Needs) -> (Made<'_>, Made<'_>) {
        (
            container(&mut self.container, &self.context, plan_for(case), needs),
            root(&mut self.root, &self.context, needs),
        )
    }

    /// Ends both; the next case gets new ones.
    pub(crate) fn clear(&mut self) {
        self.container = None;
        self.root = None;
    }

    /// Returns whether a process belongs to them.
    pub(crate) fn has_process(&self, pid: Pid) -> bool {
        self.running().any(|actor| actor.belongings().0.any(|its| its == pid))
    }

    /// Returns whether a cgroup of ours belongs to them.
    pub(crate) fn has_cgroup(&self, name: &str) -> bool {
        self.running().any(|actor| actor.belongings().1 == name)
    }

    fn running(&self) -> impl Iterator<Item = &RunningActor> {
        self.container.iter().map(|(_, _, actor)| actor).chain(self.root.iter().map(|(_, actor)| actor))
    }
}

fn container<'a>(
    slot: &'a mut Option<(Container, Needs, RunningActor)>,
    context: &GuestContext,
    plan: Container,
    needs: Needs,
) -> Made<'a> {
    let made = match slot.take() {
        Some(made) if (&made.0, made.1) == (&plan, needs) => made,
        other => {
            // The old one must be gone before the new one takes its cgroup's name.
            drop(other);
            let mut actor = RunningActor::container(context, "control", &plan, None, needs)?.actor;
            actor.confine(&plan)?;
            (plan, needs, actor)
        }
    };
    Ok(&mut slot.insert(made).2)
}

fn root<'a>(slot: &'a mut Option<(Needs, RunningActor)>, context: &GuestContext, needs: Needs) -> Made<'a> {
    let made = match slot.take() {
        Some(made) if made.0 == needs => made,
        other => {
            drop(other);
            (needs, RunningActor::host(context, "root", needs)?)
        }
    };
    Ok(&mut slot.insert(made).1)
}

/// Plans a container with everything delegated, every capability, and all namespaces that any container of the case
/// has.
fn plan_for(case: &Case) -> Container {
    let first = case.containers.first();
    let mut namespaces: Vec<Namespace> = case.containers.iter().flat_map(|plan| plan.namespaces.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    let hands_own = |attempt: &Attempt| matches!(attempt.token, Token::Own | Token::Of(_));
    Container {
        name: "control".parse().expect("the word is a name"),
        parent: None,
        uid: first.map_or(USER, |plan| plan.uid),
        gid: first.map_or(USER, |plan| plan.gid),
        namespaces,
        caps: (0..u64::BITS).collect(),
        options: delegate_any(),
        token: case.attempts.iter().any(hands_own),
        unshare: true,
        loginuid: None,
        restrictions: Default::default(),
        unit: None,
    }
}

/// The owner of the control container in a case without containers.
const USER: u32 = 1000;

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{Actor, Call};

    use super::*;

    fn container(uid: u32, namespaces: &[Namespace]) -> Container {
        Container {
            name: "main".parse().unwrap(),
            parent: None,
            uid,
            gid: uid + 1,
            namespaces: namespaces.to_vec(),
            caps: vec![],
            options: vec![],
            token: false,
            unshare: true,
            loginuid: None,
            restrictions: Default::default(),
            unit: None,
        }
    }

    fn attempt(token: Token) -> Attempt {
        Attempt::new(Actor::Host, token, Call::BtfLoad)
    }

    #[test]
    fn the_control_container_has_what_any_of_the_case_has_and_no_restrictions() {
        let containers =
            vec![container(7, &[Namespace::Net, Namespace::Pid]), container(8, &[Namespace::Net, Namespace::Uts])];
        let plan = plan_for(&Case {
            sysctls: Default::default(),
            containers,
            attempts: vec![attempt(Token::None), attempt(Token::Own)],
        });
        assert_eq!((plan.uid, plan.gid, plan.token), (7, 8, true));
        assert_eq!(plan.namespaces, [Namespace::Net, Namespace::Pid, Namespace::Uts]);
        assert_eq!(plan.options.len(), 4);
        assert!(plan.options.iter().all(|option| option.value == "any") && plan.caps.len() == 64);
    }

    #[test]
    fn a_case_without_containers_has_controls_too() {
        let plan = plan_for(&Case {
            sysctls: Default::default(),
            containers: vec![],
            attempts: vec![attempt(Token::Saved("t".to_owned()))],
        });
        assert_eq!((plan.uid, plan.token), (USER, false));
    }
}
