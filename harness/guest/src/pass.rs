//! One pass through the attempts of a case: as root, in the control container, or for real.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use harness_model::{
    name::ContainerName,
    outcome::Answer,
    plan::{Actor, Attempt, Call, LinkTarget, Token},
};
use thiserror::Error;

use crate::{
    party::{Party, PartyError},
    protocol::{Reply, Request, Role},
};

/// Why an attempt was not made.
#[derive(Debug, Error)]
pub(crate) enum AttemptError {
    /// Something it needs could not be had.
    #[error("{what}: {why}")]
    Unobtainable {
        /// What it needs.
        what: String,
        /// Why it is not there.
        why: String,
    },
    /// Its actor failed.
    #[error("{actor}: {source}")]
    Party {
        /// Who.
        actor: String,
        /// How.
        source: PartyError,
    },
}

impl AttemptError {
    /// Whether the party is lost and no further attempt can be made with it.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Party { source: PartyError::Died(_) | PartyError::Channel(_), .. })
    }
}

/// Who acts in a pass.
#[derive(Debug)]
pub(crate) enum Cast<'a> {
    /// One party plays every actor: a control.
    Single(&'a mut Party),
    /// Each actor plays itself.
    Each {
        /// [`Actor::Host`], if any attempt is its.
        host: Option<Party>,
        /// In the order they were made, so that children come after their parents.
        containers: Vec<(ContainerName, Party)>,
    },
}

impl Cast<'_> {
    /// Who plays an actor.
    pub(crate) fn player(&mut self, actor: &Actor) -> Result<&mut Party, AttemptError> {
        let found = match (self, actor) {
            (Self::Single(party), _) => Some(&mut **party),
            (Self::Each { host, .. }, Actor::Host) => host.as_mut(),
            (Self::Each { containers, .. }, Actor::Container(name)) => {
                containers.iter_mut().find(|(has, _)| has == name).map(|(_, party)| party)
            }
        };
        found.ok_or_else(|| unobtainable(title(actor), "there is none in this case"))
    }
}

impl Drop for Cast<'_> {
    fn drop(&mut self) {
        if let Self::Each { containers, .. } = self {
            // Children before their parents, while their parents can still be told apart from the dead.
            while containers.pop().is_some() {}
        }
    }
}

/// File descriptors saved by name; for one that was not made, why.
pub(crate) type Objects = BTreeMap<String, Result<Rc<OwnedFd>, String>>;

/// Where the tokens of a pass come from.
#[derive(Clone, Copy)]
pub(crate) enum Tokens<'a> {
    /// From where the attempt says.
    AsAsked,
    /// Root hands over none; where a token is the object, it borrows the one of another pass, if there is one.
    Borrowed(Option<&'a Pass<'a>>),
}

/// A pass with what it has made so far.
pub(crate) struct Pass<'a> {
    /// The root cgroup, opened for reading.
    pub(crate) root_cgroup: BorrowedFd<'a>,
    /// Who acts.
    pub(crate) cast: Cast<'a>,
    /// What was saved.
    pub(crate) objects: Objects,
    /// Whose tokens.
    pub(crate) tokens: Tokens<'a>,
    /// Where an object that was not made here is taken from, so that later attempts stand on their own.
    pub(crate) fallback: Option<&'a Objects>,
}

/// Descriptors with their roles.
#[derive(Default)]
struct Gathered {
    roles: Vec<Role>,
    fds: Vec<Rc<OwnedFd>>,
}

impl Gathered {
    fn add(&mut self, role: Role, fd: Rc<OwnedFd>) {
        self.roles.push(role);
        self.fds.push(fd);
    }
}

impl Pass<'_> {
    /// Makes an attempt and saves what it made.
    pub(crate) fn attempt(&mut self, index: usize, attempt: &Attempt) -> Result<Answer, AttemptError> {
        let made = self.make(attempt);
        if let Some(name) = &attempt.save {
            let saved = match &made {
                Ok((_, Some(fd))) => Ok(Rc::clone(fd)),
                Ok((answer, None)) => Err(format!("attempt {index} ({}) {}", op(&attempt.call), in_words(answer))),
                Err(error) => Err(format!("attempt {index} ({}) was not made: {error}", op(&attempt.call))),
            };
            self.objects.insert(name.clone(), saved);
        }
        made.map(|(answer, _)| answer)
    }

    fn make(&mut self, attempt: &Attempt) -> Result<(Answer, Option<Rc<OwnedFd>>), AttemptError> {
        let gathered = self.gather(attempt)?;
        let request =
            Request::Attempt { call: attempt.call.clone(), roles: gathered.roles, keep: attempt.save.is_some() };
        let fds: Vec<BorrowedFd<'_>> = gathered.fds.iter().map(|fd| fd.as_fd()).collect();
        let failed = |source| AttemptError::Party { actor: title(&attempt.actor), source };
        let player = self.cast.player(&attempt.actor)?;
        match player.ask(&request, &fds).map_err(failed)? {
            (Reply::Answer(answer), fds) => Ok((answer, fds.into_iter().next().map(Rc::new))),
            (other, _) => Err(failed(PartyError::OutOfTurn(format!("{other:?}")))),
        }
    }

    fn gather(&mut self, attempt: &Attempt) -> Result<Gathered, AttemptError> {
        let mut gathered = Gathered::default();
        if let Some(token) = self.token(attempt)? {
            gathered.add(Role::Token, token);
        }
        if let Some(name) = object_of(&attempt.call) {
            gathered.add(Role::Object, self.saved(name)?);
        }
        if let Call::TokenCreate { from, fd } = &attempt.call {
            let source = self.cast.player(from)?.bpffs(*fd);
            let source = source.map_err(|source| AttemptError::Party { actor: title(from), source })?;
            gathered.add(Role::Bpffs, Rc::new(source));
        }
        if let Call::LinkCreate { target, .. } = &attempt.call {
            self.gather_target(&attempt.actor, target, &mut gathered)?;
        }
        Ok(gathered)
    }

    fn gather_target(
        &mut self,
        actor: &Actor,
        target: &LinkTarget,
        gathered: &mut Gathered,
    ) -> Result<(), AttemptError> {
        let folder = match target {
            LinkTarget::Cgroup => self.cast.player(actor)?.cgroup(),
            LinkTarget::RootCgroup => self.root_cgroup,
            LinkTarget::Interface(_) | LinkTarget::Netfilter { .. } => return Ok(()),
        };
        let copy = crate::bpffs::duplicate(folder).map_err(|error| unobtainable("the cgroup", &error.to_string()))?;
        gathered.add(Role::Cgroup, Rc::new(copy));
        Ok(())
    }

    fn token(&mut self, attempt: &Attempt) -> Result<Option<Rc<OwnedFd>>, AttemptError> {
        match (&attempt.token, self.tokens) {
            (Token::None, _) => Ok(None),
            (_, Tokens::Borrowed(_)) if !matches!(attempt.call, Call::TokenInfo) => Ok(None),
            (_, Tokens::Borrowed(None)) => {
                Err(unobtainable("a token", "there is no container control to borrow it of"))
            }
            (Token::Own, Tokens::Borrowed(Some(lender))) => lender.own_of_single().map(Some),
            (Token::Saved(name), Tokens::Borrowed(Some(lender))) => lender.saved(name).map(Some),
            (Token::Own, Tokens::AsAsked) => {
                let token = self.cast.player(&attempt.actor)?.token();
                token.map(Some).ok_or_else(|| no_token(&title(&attempt.actor)))
            }
            (Token::Saved(name), Tokens::AsAsked) => self.saved(name).map(Some),
            (Token::Of(_), Tokens::AsAsked) => Err(unobtainable("a token of another bpffs", "not made yet")),
            (Token::Of(_), Tokens::Borrowed(Some(lender))) => lender.own_of_single().map(Some),
        }
    }

    fn own_of_single(&self) -> Result<Rc<OwnedFd>, AttemptError> {
        let token = match &self.cast {
            Cast::Single(party) => party.token(),
            Cast::Each { .. } => None,
        };
        token.ok_or_else(|| no_token("the control container"))
    }

    fn saved(&self, name: &str) -> Result<Rc<OwnedFd>, AttemptError> {
        let what = || format!("`{name}`");
        let why = match self.objects.get(name) {
            Some(Ok(fd)) => return Ok(Rc::clone(fd)),
            Some(Err(why)) => why.as_str(),
            None => "nothing was saved under this name",
        };
        match self.fallback.and_then(|objects| objects.get(name)) {
            Some(Ok(fd)) => Ok(Rc::clone(fd)),
            Some(Err(also)) => Err(unobtainable(what(), &format!("{why}; in the root control, {also}"))),
            None => Err(unobtainable(what(), why)),
        }
    }
}

fn unobtainable(what: impl Into<String>, why: &str) -> AttemptError {
    AttemptError::Unobtainable { what: what.into(), why: why.to_owned() }
}

fn no_token(whose: &str) -> AttemptError {
    unobtainable(format!("the token of {whose}"), "none was made while it was set up")
}

/// The saved object a call is about.
fn object_of(call: &Call) -> Option<&str> {
    match call {
        Call::MapCreate { inner_map, .. } => inner_map.as_deref(),
        Call::ObjPin { object, .. } => Some(object),
        Call::MapUpdate { map, .. } | Call::MapLookup { map, .. } => Some(map),
        Call::ProgTestRun { prog } | Call::LinkCreate { prog, .. } => Some(prog),
        Call::TokenCreate { .. }
        | Call::ProgLoad { .. }
        | Call::BtfLoad
        | Call::BtfGetFdById { .. }
        | Call::TokenInfo
        | Call::MountDelegate { .. }
        | Call::ObjGet { .. }
        | Call::Sabotage(_) => None,
    }
}

/// The name of a call, as scenario files write it.
pub(crate) fn op(call: &Call) -> &'static str {
    match call {
        Call::TokenCreate { .. } => "token_create",
        Call::MapCreate { .. } => "map_create",
        Call::ProgLoad { .. } => "prog_load",
        Call::BtfLoad => "btf_load",
        Call::BtfGetFdById { .. } => "btf_get_fd_by_id",
        Call::TokenInfo => "token_info",
        Call::MountDelegate { .. } => "mount_delegate",
        Call::ObjPin { .. } => "obj_pin",
        Call::ObjGet { .. } => "obj_get",
        Call::MapUpdate { .. } => "map_update",
        Call::MapLookup { .. } => "map_lookup",
        Call::ProgTestRun { .. } => "prog_test_run",
        Call::LinkCreate { .. } => "link_create",
        Call::Sabotage(_) => "sabotage",
    }
}

fn title(actor: &Actor) -> String {
    match actor {
        Actor::Host => "the host".to_owned(),
        Actor::Container(name) => format!("container `{name}`"),
    }
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Ok { .. } => "made nothing that can be saved".to_owned(),
        Answer::Err { errno, .. } => format!("was answered {errno}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use harness_model::errno::Errno;

    use super::*;

    fn descriptor() -> Rc<OwnedFd> {
        Rc::new(rustix::pipe::pipe().unwrap().0)
    }

    fn pass<'a>(root_cgroup: BorrowedFd<'a>, tokens: Tokens<'a>, fallback: Option<&'a Objects>) -> Pass<'a> {
        let cast = Cast::Each { host: None, containers: Vec::new() };
        Pass { root_cgroup, cast, objects: Objects::new(), tokens, fallback }
    }

    fn attempt(call: Call, token: Token) -> Attempt {
        Attempt {
            actor: Actor::Container("main".parse().unwrap()),
            caps: None,
            token,
            call,
            save: Some("made".to_owned()),
        }
    }

    #[test]
    fn what_was_not_made_is_taken_from_root_or_explained() {
        let fd = descriptor();
        let of_root = Objects::from([
            ("map".to_owned(), Ok(Rc::clone(&fd))),
            ("token".to_owned(), Err("attempt 1 (token_create) was answered EOPNOTSUPP".to_owned())),
        ]);
        let mut pass = pass(fd.as_fd(), Tokens::AsAsked, Some(&of_root));
        for name in ["map", "token"] {
            pass.objects.insert(name.to_owned(), Err("attempt 1 was answered EPERM".to_owned()));
        }
        assert_eq!(pass.saved("map").unwrap().as_raw_fd(), fd.as_raw_fd());
        let error = pass.saved("token").unwrap_err().to_string();
        assert!(error.contains("`token`") && error.contains("EPERM") && error.contains("EOPNOTSUPP"), "{error}");
        assert!(pass.saved("other").unwrap_err().to_string().contains("nothing was saved"));
    }

    #[test]
    fn an_attempt_without_its_actor_is_not_made_and_says_so_to_whoever_needs_its_result() {
        let fd = descriptor();
        let mut pass = pass(fd.as_fd(), Tokens::AsAsked, None);
        let error = pass.attempt(3, &attempt(Call::BtfLoad, Token::None)).unwrap_err();
        assert!(!error.is_fatal());
        assert_eq!(error.to_string(), "container `main`: there is none in this case");
        let why = pass.saved("made").unwrap_err().to_string();
        assert!(why.contains("attempt 3 (btf_load) was not made"), "{why}");
    }

    #[test]
    fn root_hands_over_no_token_and_borrows_one_only_as_an_object() {
        let fd = descriptor();
        let mut lender = pass(fd.as_fd(), Tokens::AsAsked, None);
        lender.objects.insert("t".to_owned(), Ok(Rc::clone(&fd)));
        let saved = || Token::Saved("t".to_owned());
        let mut root = pass(fd.as_fd(), Tokens::Borrowed(Some(&lender)), None);
        assert!(root.token(&attempt(Call::BtfLoad, saved())).unwrap().is_none());
        assert!(root.token(&attempt(Call::TokenInfo, saved())).unwrap().is_some());
        let error = root.token(&attempt(Call::TokenInfo, Token::Own)).unwrap_err().to_string();
        assert!(error.contains("none was made while it was set up"), "{error}");
        let mut alone = pass(fd.as_fd(), Tokens::Borrowed(None), None);
        assert!(alone.token(&attempt(Call::TokenInfo, saved())).is_err());
    }

    #[test]
    fn calls_name_the_object_they_are_about() {
        assert_eq!(object_of(&Call::ObjPin { object: "m".to_owned(), path: "p".to_owned() }), Some("m"));
        assert_eq!(object_of(&Call::ProgTestRun { prog: "p".to_owned() }), Some("p"));
        assert_eq!(object_of(&Call::BtfLoad), None);
        assert_eq!(in_words(&Answer::Err { errno: Errno::EPERM, step: None }), "was answered EPERM");
    }
}
