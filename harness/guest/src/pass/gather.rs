//! The descriptors that an attempt needs, and where they come from.

use std::{os::fd::OwnedFd, rc::Rc};

use harness_protocol::plan::{Actor, Attempt, BpffsFd, Call, LinkTarget, Token};
use rustix::fs::{CWD, OFlags};

use super::{
    actors::{Actors, AttemptError, failed, title, unobtainable},
    state::{Kind, Pass},
};
use crate::{batch::Gathered, message::FdRole, pseudofile};

impl Pass<'_> {
    /// Collects the descriptors that an attempt needs.
    pub(crate) fn gather(&mut self, attempt: &Attempt) -> Result<Gathered, AttemptError> {
        let mut gathered = Gathered::new();
        if let Some(token) = self.token(attempt)? {
            gathered.push((FdRole::Token, token));
        }
        for name in attempt.call.objects() {
            gathered.push((FdRole::Object, self.saved(name)?));
        }
        let bpffs = match &attempt.call {
            Call::Remount { from, .. } => Some((from, BpffsFd::Root)),
            Call::TokenCreate { from, fd, .. } => Some((from, *fd)),
            _ => None,
        };
        if let Some((from, which)) = bpffs {
            gathered.push((FdRole::Bpffs, self.bpffs(from, which)?));
        }
        if let Some(target) = attempt.call.target() {
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
        let (role, fd) = match target {
            LinkTarget::Cgroup => (FdRole::Cgroup, crate::bpffs::duplicate(self.actors.player(actor)?.cgroup())),
            LinkTarget::Of { whose, what } if **what == LinkTarget::Cgroup => {
                (FdRole::Cgroup, crate::bpffs::duplicate(self.actors.player(whose)?.cgroup()))
            }
            LinkTarget::Of { whose, .. } => {
                let netns = self.actors.player(whose)?.netns().map_err(|source| failed(whose, source))?;
                (FdRole::Netns, Ok(netns))
            }
            LinkTarget::RootCgroup => (FdRole::Cgroup, crate::bpffs::duplicate(self.root_cgroup)),
            LinkTarget::Lirc => (FdRole::Device, pseudofile::open_at(CWD, LIRC, OFlags::RDWR)),
            _ => return Ok(()),
        };
        let fd = fd.map_err(|error| unobtainable("what it attaches to", &error.to_string()))?;
        gathered.push((role, Rc::new(fd)));
        Ok(())
    }

    pub(super) fn token(&mut self, attempt: &Attempt) -> Result<Option<Rc<OwnedFd>>, AttemptError> {
        match (&attempt.token, self.kind) {
            (Token::None, _) => Ok(None),
            _ if self.is_before_tokens(&attempt.actor) => self.no_token_at_all(&attempt.actor).map(Some),
            (_, Kind::Root(_)) if !matches!(attempt.call, Call::TokenInfo) => Ok(None),
            (_, Kind::Root(None)) => Err(unobtainable("a token", "there is no container control to borrow it from")),
            (Token::Saved(name), Kind::Root(Some(lender))) => lender.saved(name).map(Some),
            (Token::Own | Token::Of(_), Kind::Root(Some(lender))) => lender.own_of_single().map(Some),
            (Token::Saved(name), Kind::Real | Kind::Container) => self.saved(name).map(Some),
            (Token::Of(options), Kind::Real) => {
                let made = self.actors.player(&attempt.actor)?.token_of(options);
                made.map(Some).map_err(|source| failed(&attempt.actor, source))
            }
            (Token::Own, Kind::Real) | (Token::Own | Token::Of(_), Kind::Container) => {
                let player = self.actors.player(&attempt.actor)?;
                let token = player.token();
                if token.is_none() && player.is_unit() {
                    return Ok(None);
                }
                token.map(Some).ok_or_else(|| no_token(&title(&attempt.actor)))
            }
        }
    }

    /// Returns the bpffs of which an attempt's actor, a systemd unit, was refused a token before the attempt.
    pub(crate) fn lacked_token(&mut self, attempt: &Attempt) -> Result<Option<Rc<OwnedFd>>, AttemptError> {
        let player = self.actors.player(&attempt.actor)?;
        match attempt.token == Token::Own && player.no_token().is_some() {
            true => self.bpffs(&attempt.actor, BpffsFd::Root).map(Some),
            false => Ok(None),
        }
    }

    /// Returns whether an actor's kernel has no tokens. A missing actor is reported elsewhere.
    fn is_before_tokens(&mut self, actor: &Actor) -> bool {
        self.actors.player(actor).is_ok_and(|actor| actor.is_before_tokens())
    }

    /// Returns a descriptor in place of a token on a kernel without tokens. Any descriptor will do: the kernel does not
    /// know the flag that comes with it, or its member, and refuses the call.
    fn no_token_at_all(&mut self, actor: &Actor) -> Result<Rc<OwnedFd>, AttemptError> {
        self.bpffs(actor, BpffsFd::Root)
    }

    fn bpffs(&mut self, whose: &Actor, which: BpffsFd) -> Result<Rc<OwnedFd>, AttemptError> {
        let bpffs = self.actors.player(whose)?.bpffs(which);
        bpffs.map(Rc::new).map_err(|source| failed(whose, source))
    }

    fn own_of_single(&self) -> Result<Rc<OwnedFd>, AttemptError> {
        let token = match &self.actors {
            Actors::Single(actor) => actor.token(),
            Actors::Each { .. } => None,
        };
        token.ok_or_else(|| no_token("the control container"))
    }

    pub(super) fn saved(&self, name: &str) -> Result<Rc<OwnedFd>, AttemptError> {
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

/// The infrared receiver that the kernel simulates (`drivers/media/rc/rc-loopback.c`).
const LIRC: &str = "/dev/lirc0";

fn no_token(whose: &str) -> AttemptError {
    unobtainable(format!("the token of {whose}"), "none was made during setup")
}
