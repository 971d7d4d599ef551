//! What an attempt has to do with a bpffs or a token of one, and the same attempt with another.

use std::{os::fd::OwnedFd, rc::Rc};

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    plan::{Attempt, BpffsFd, BpffsPlace, Call, Case, ObjectLoad, Token, TokenPath},
};

use crate::{
    batch::{Batch, Gathered},
    ground::{CasePlace, Place},
    party::{Party, PartyError},
    pass::{AttemptError, Pass},
    protocol::{Extent, Job, Role},
};

/// What an attempt has to do with a bpffs.
#[derive(Debug)]
pub(super) struct Stake {
    kind: Kind,
    /// The token that is handed over, here or where the program was loaded.
    pub(super) token: Token,
    /// Whether that bpffs is one of its actor's own already.
    pub(super) owned: bool,
}

#[derive(Debug)]
enum Kind {
    /// It hands over a token.
    Token,
    /// It asks for a token.
    Asked,
    /// libbpf looks for a bpffs and makes a token of it.
    Searched,
    /// It attaches a program that was loaded with a token.
    Program { maker: Place, gathered: Gathered },
}

impl Stake {
    /// `None` for calls that have nothing to do with one.
    pub(super) fn of(
        pass: &mut Pass<'_>,
        place: CasePlace,
        case: &Case,
        attempt: &Attempt,
    ) -> Result<Option<Self>, AttemptError> {
        let stake = |kind, token: &Token, owned| Some(Self { kind, token: token.clone(), owned });
        Ok(match &attempt.call {
            Call::TokenCreate { from, fd, .. } => {
                let owned = *from == attempt.actor && *fd == BpffsFd::Root && !is_refused_its_bpffs(pass, attempt)?;
                stake(Kind::Asked, &attempt.token, owned)
            }
            Call::Object(load) => {
                // Nor does libbpf find one in a unit of which no token can be made.
                let has_none = pass.cast.player(&attempt.actor)?.no_token().is_some();
                stake(Kind::Searched, &attempt.token, finds_own(load) && !has_none)
            }
            Call::LinkCreate { prog, .. } | Call::ProgAttach { prog, .. } => {
                let maker = case.attempts.iter().position(|maker| maker.save.as_ref() == Some(prog));
                match maker.map(|index| (index, &case.attempts[index])) {
                    Some((index, maker)) if maker.call.is_judged_by_token() => {
                        let mut gathered = pass.gather(maker)?;
                        gathered.retain(|(role, _)| *role != Role::Token);
                        let owned = maker.actor == attempt.actor && has_own_token(case, maker);
                        stake(Kind::Program { maker: place.attempt(index), gathered }, &maker.token, owned)
                    }
                    _ => None,
                }
            }
            call if call.is_judged_by_token() => {
                match attempt.token == Token::Own && pass.cast.player(&attempt.actor)?.no_token().is_some() {
                    true => stake(Kind::Asked, &attempt.token, !is_refused_its_bpffs(pass, attempt)?),
                    false => stake(Kind::Token, &attempt.token, has_own_token(case, attempt)),
                }
            }
            _ => None,
        })
    }

    /// The attempt that loaded the program, by its index.
    pub(super) fn maker(&self) -> Option<usize> {
        if let Kind::Program { maker, .. } = &self.kind { Some(maker.attempt as usize) } else { None }
    }

    /// Whether the attempt itself asks the bpffs for a token.
    pub(super) fn is_the_bpffs_asked(&self) -> bool {
        matches!(self.kind, Kind::Asked)
    }

    /// The descriptors of the attempt with a bpffs that delegates this, or a token of it, in place of what it has;
    /// `None` if that cannot be had.
    pub(super) fn put(
        &self,
        party: &mut Party,
        options: &[MountOption],
        gathered: &Gathered,
    ) -> Result<Option<Gathered>, PartyError> {
        let (role, made) = match &self.kind {
            Kind::Token => (Role::Token, party.token_of(options)?),
            Kind::Asked | Kind::Searched => (Role::Bpffs, party.bpffs_of(options)?),
            Kind::Program { maker, gathered: needs } => {
                let token = (Role::Token, party.token_of(options)?);
                let needs = needs.iter().cloned().chain([token]).collect();
                let Some(program) = make(party, *maker, needs)? else { return Ok(None) };
                // The program is the first of what an attachment is about (`Call::objects`).
                let first = gathered.iter().position(|(role, _)| *role == Role::Object);
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

/// Whether a unit of systemd was refused a token because of whose bpffs it is: the kernel looks at what is delegated last
/// (`bpf_token_create`, `kernel/bpf/token.c`).
fn is_refused_its_bpffs(pass: &mut Pass<'_>, attempt: &Attempt) -> Result<bool, AttemptError> {
    let refused = pass.cast.player(&attempt.actor)?.no_token().map(|refused| refused.errno);
    Ok(refused.is_some_and(|errno| errno != Errno::ENOENT))
}

/// Has the keeper make an attempt again with these descriptors; what it made, unless the kernel refused.
fn make(party: &mut Party, place: Place, needs: Gathered) -> Result<Option<OwnedFd>, PartyError> {
    let mut batch = Batch::default();
    batch.add(Job { place, caps: None, handles: Vec::new(), keep: true, extent: Extent::Brief }, needs);
    let done = party.keeper()?.attempts(batch.jobs, &batch.fds)?;
    Ok(done.into_iter().next().and_then(|(_, made)| made))
}

/// Whether the token of an attempt is of a bpffs of its actor's.
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

/// Whether libbpf finds the bpffs of the container it runs in. An option comes before the variable, and both before the
/// usual place (`bpf_object_open` and `bpf_object_prepare_token` in libbpf).
fn finds_own(load: &ObjectLoad) -> bool {
    match load.token_path.or(load.environment) {
        Some(path) => path == TokenPath::Bpffs,
        None => load.bpffs == BpffsPlace::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libbpf_finds_what_it_is_told_of_or_what_is_in_the_usual_place() {
        let finds = |token_path, environment, bpffs| {
            finds_own(&ObjectLoad { token_path, environment, bpffs, ..ObjectLoad::default() })
        };
        let (own, none) = (Some(TokenPath::Bpffs), Some(TokenPath::Empty));
        assert!(finds(None, None, BpffsPlace::Usual) && !finds(None, None, BpffsPlace::Elsewhere));
        assert!(finds(own, None, BpffsPlace::Detached) && finds(None, own, BpffsPlace::Elsewhere));
        assert!(!finds(none, own, BpffsPlace::Usual) && finds(own, none, BpffsPlace::Elsewhere));
    }
}
