//! Where an attempt gets its token, and how to retry it with another.

use std::{os::fd::OwnedFd, rc::Rc};

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    plan::{Attempt, BpffsFd, BpffsLocation, Call, Case, ObjectLoad, Token, TokenPath},
};

use crate::{
    actor::{ActorError, RunningActor},
    batch::{Batch, Gathered},
    context::{AttemptIndex, CaseIndex},
    message::{Extent, FdRole, Job},
    pass::{AttemptError, Pass},
};

/// Where an attempt gets its token.
#[derive(Debug)]
pub(super) struct TokenSource {
    kind: Kind,
    /// The token handed over, by the attempt or by the load of the program that it attaches.
    pub(super) token: Token,
    /// Whether the token or bpffs is already the actor's own.
    pub(super) owned: bool,
}

#[derive(Debug)]
enum Kind {
    /// It hands over a token.
    Token,
    /// It asks for a token.
    Asked,
    /// libbpf looks for a bpffs and makes a token from it.
    Searched,
    /// It attaches a program that was loaded with a token.
    Program { maker: AttemptIndex, gathered: Gathered },
}

impl TokenSource {
    /// Returns the token source of an attempt; `None` if it involves no token.
    pub(super) fn of(
        pass: &mut Pass<'_>,
        case_index: CaseIndex,
        case: &Case,
        attempt: &Attempt,
    ) -> Result<Option<Self>, AttemptError> {
        let token_source = |kind, token: &Token, owned| Some(Self { kind, token: token.clone(), owned });
        Ok(match &attempt.call {
            Call::TokenCreate { from, fd, .. } => {
                let owned = *from == attempt.actor && *fd == BpffsFd::Root && !is_refused_its_bpffs(pass, attempt)?;
                token_source(Kind::Asked, &attempt.token, owned)
            }
            Call::Object(load) => {
                // libbpf finds no bpffs either in a unit that cannot get a token.
                let has_none = pass.actors.player(&attempt.actor)?.no_token().is_some();
                token_source(Kind::Searched, &attempt.token, finds_own(load) && !has_none)
            }
            Call::LinkCreate { prog, .. } | Call::ProgAttach { prog, .. } => {
                let maker = case.attempts.iter().position(|maker| maker.save.as_ref() == Some(prog));
                match maker.map(|index| (index, &case.attempts[index])) {
                    Some((index, maker)) if maker.call.is_judged_by_token() => {
                        let mut gathered = pass.gather(maker)?;
                        gathered.retain(|(role, _)| *role != FdRole::Token);
                        let owned = maker.actor == attempt.actor && has_own_token(case, maker);
                        token_source(Kind::Program { maker: case_index.attempt(index), gathered }, &maker.token, owned)
                    }
                    _ => None,
                }
            }
            call if call.is_judged_by_token() => {
                match attempt.token == Token::Own && pass.actors.player(&attempt.actor)?.no_token().is_some() {
                    true => token_source(Kind::Asked, &attempt.token, !is_refused_its_bpffs(pass, attempt)?),
                    false => token_source(Kind::Token, &attempt.token, has_own_token(case, attempt)),
                }
            }
            _ => None,
        })
    }

    /// Returns the index of the attempt that loaded the program.
    pub(super) fn maker(&self) -> Option<usize> {
        if let Kind::Program { maker, .. } = &self.kind { Some(maker.attempt as usize) } else { None }
    }

    /// Returns whether the attempt itself asks the bpffs for a token.
    pub(super) fn asks_bpffs(&self) -> bool {
        matches!(self.kind, Kind::Asked)
    }

    /// Returns the attempt's descriptors with another bpffs that delegates `options`, or a token of it; `None` if that
    /// is impossible.
    pub(super) fn put(
        &self,
        actor: &mut RunningActor,
        options: &[MountOption],
        gathered: &Gathered,
    ) -> Result<Option<Gathered>, ActorError> {
        let (role, made) = match &self.kind {
            Kind::Token => (FdRole::Token, actor.token_of(options)?),
            Kind::Asked | Kind::Searched => (FdRole::Bpffs, actor.bpffs_of(options)?),
            Kind::Program { maker, gathered: needs } => {
                let token = (FdRole::Token, actor.token_of(options)?);
                let needs = needs.iter().cloned().chain([token]).collect();
                let Some(program) = make(actor, *maker, needs)? else { return Ok(None) };
                // The program is the first object of an attachment (`Call::objects`).
                let first = gathered.iter().position(|(role, _)| *role == FdRole::Object);
                let mut gathered = gathered.clone();
                if let Some(at) = first {
                    gathered[at].1 = Rc::new(program);
                }
                return Ok(Some(gathered));
            }
        };
        let kept = gathered.iter().filter(|(has, _)| *has != role).cloned();
        Ok(Some(kept.chain([(role, made)]).collect()))
    }
}

/// Returns whether a unit was refused a token because of its bpffs's owner: the kernel checks the delegation last
/// (`bpf_token_create`, `kernel/bpf/token.c`).
fn is_refused_its_bpffs(pass: &mut Pass<'_>, attempt: &Attempt) -> Result<bool, AttemptError> {
    let refused = pass.actors.player(&attempt.actor)?.no_token().map(|refused| refused.errno);
    Ok(refused.is_some_and(|errno| errno != Errno::ENOENT))
}

/// Has the privileged executor make an attempt again with these descriptors. Returns what it made, unless the kernel
/// refused.
fn make(actor: &mut RunningActor, index: AttemptIndex, needs: Gathered) -> Result<Option<OwnedFd>, ActorError> {
    let mut batch = Batch::default();
    batch.add(
        Job {
            index,
            caps: None,
            handles: Vec::new(),
            keep: true,
            extent: Extent::Brief,
            steps: Vec::new(),
            target: None,
        },
        needs,
    );
    let done = actor.privileged()?.attempts(batch.jobs, &batch.fds)?;
    Ok(done.into_iter().next().and_then(|(_, made)| made))
}

/// Returns whether an attempt's token comes from a bpffs of its actor's.
fn has_own_token(case: &Case, attempt: &Attempt) -> bool {
    match &attempt.token {
        Token::None => false,
        Token::Own | Token::Of(_) => true,
        Token::Saved(name) => case.attempts.iter().any(|maker| {
            let from = if let Call::TokenCreate { from, .. } = &maker.call { Some(from) } else { None };
            maker.save.as_ref() == Some(name) && from == Some(&attempt.actor)
        }),
    }
}

/// Returns whether libbpf finds the bpffs of its container. The option takes precedence over the variable, and both
/// over the usual path (`bpf_object_open` and `bpf_object_prepare_token` in libbpf).
fn finds_own(load: &ObjectLoad) -> bool {
    match load.token_path.or(load.environment) {
        Some(path) => path == TokenPath::Bpffs,
        None => load.bpffs == BpffsLocation::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libbpf_finds_the_bpffs_by_option_variable_or_the_usual_path() {
        let finds = |token_path, environment, bpffs| {
            finds_own(&ObjectLoad { token_path, environment, bpffs, ..ObjectLoad::default() })
        };
        let (own, none) = (Some(TokenPath::Bpffs), Some(TokenPath::Empty));
        assert!(finds(None, None, BpffsLocation::Usual) && !finds(None, None, BpffsLocation::Elsewhere));
        assert!(finds(own, None, BpffsLocation::Detached) && finds(None, own, BpffsLocation::Elsewhere));
        assert!(!finds(none, own, BpffsLocation::Usual) && finds(own, none, BpffsLocation::Elsewhere));
    }
}
