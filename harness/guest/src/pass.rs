//! One pass through the attempts of a case: as root, in the control container, or for real.

mod actors;
mod gather;
mod state;

use std::{os::fd::OwnedFd, rc::Rc};

use harness_protocol::{
    outcome::Answer,
    plan::{Actor, Attempt, Call, Case, Sabotage, Step, Token},
};

use crate::{
    actor::{ActorError, RunningActor},
    batch::{Batch, Gathered},
    context::CaseIndex,
    guard::{Guard, Witnessed},
    identity,
    message::{Done, Extent, Job},
    sabotage,
    target::Target,
};
use actors::unobtainable;
pub(crate) use actors::{Actors, AttemptError, failed};
pub(crate) use state::{Kind, Objects, Pass};

/// What an executor did, each with the descriptor that it made.
type Answers = Vec<(Done, Option<OwnedFd>)>;

impl Pass<'_> {
    /// Makes the attempts of a case in order, saves their results, and reports each. The executor gets several at once
    /// where none of them needs the result of another.
    pub(crate) fn run<E>(
        &mut self,
        case_index: CaseIndex,
        case: &Case,
        mut report: impl FnMut(usize, Result<Answer, AttemptError>, Witnessed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch = Batch::default();
        for (index, attempt) in case.attempts.iter().enumerate() {
            if self.leaves_out(attempt) {
                continue;
            }
            if !self.fits(&batch, case, attempt) {
                self.flush(&mut batch, case, &mut report)?;
            }
            if attempt.call == Call::Exit {
                let ended = self.actors.end(&attempt.actor).map(|()| Answer::Ok { detail: None });
                report(index, ended, Witnessed::default())?;
                continue;
            }
            if let Some(answer) = self.answer_unasked(attempt) {
                self.flush(&mut batch, case, &mut report)?;
                self.save(index, attempt, Ok((&answer, None)));
                report(index, Ok(answer), Witnessed::default())?;
                continue;
            }
            match self.prepare(attempt) {
                Ok(gathered) => {
                    let (caps, extent) = (self.caps(attempt), self.extent());
                    let (index, keep) = (case_index.attempt(index), attempt.save.is_some());
                    let (steps, target) = (self.steps(attempt), self.target_of(attempt));
                    batch.add(Job { index, caps, handles: Vec::new(), keep, extent, steps, target }, gathered);
                }
                Err(error) => {
                    self.flush(&mut batch, case, &mut report)?;
                    self.save(index, attempt, Err(&error));
                    report(index, Err(error), Witnessed::default())?;
                }
            }
        }
        self.flush(&mut batch, case, &mut report)
    }

    /// Returns whether a control skips an attempt because an earlier attempt's control counts for it as well.
    fn leaves_out(&self, attempt: &Attempt) -> bool {
        attempt.controls_of.is_some() && !matches!(self.kind, Kind::Real)
    }

    /// Returns whether an attempt fits a batch: it has the same executor, and does not need the batch's results.
    fn fits(&self, batch: &Batch, case: &Case, attempt: &Attempt) -> bool {
        let Some(first) = batch.jobs.first().and_then(|job| case.attempts.get(job.index.attempt as usize)) else {
            return true;
        };
        let same_executor = matches!(self.actors, Actors::Single(_)) || first.actor == attempt.actor;
        let before = batch.jobs.iter().filter_map(|job| case.attempts.get(job.index.attempt as usize));
        let saved = |name: &str| before.clone().any(|attempt| attempt.save.as_deref() == Some(name));
        same_executor
            && self.guard.is_none()
            && batch.has_room()
            && !self.is_by_unit(attempt)
            && !matches!(attempt.call, Call::Exit | Call::Sabotage(_))
            && !needs(attempt).into_iter().any(saved)
    }

    /// Returns the answer of an attempt that its actor, a systemd unit, cannot make.
    fn answer_unasked(&mut self, attempt: &Attempt) -> Option<Answer> {
        let needs_token = attempt.token == Token::Own;
        if let (Call::Sabotage(Sabotage::Warn), Kind::Real) = (&attempt.call, self.kind) {
            sabotage::commit(Sabotage::Warn);
            return Some(Answer::Ok { detail: None });
        }
        match self.kind {
            Kind::Real => self.actors.player(&attempt.actor).ok()?.answer_unasked(needs_token),
            Kind::Container | Kind::Root(_) => None,
        }
    }

    /// Returns whether a systemd unit makes the attempt: a filter may kill it, and then only that attempt may be lost.
    fn is_by_unit(&self, attempt: &Attempt) -> bool {
        matches!(&self.actors, Actors::Each { containers, .. }
            if containers.iter().any(|(name, actor)| attempt.actor == Actor::Container(name.clone()) && actor.is_unit()))
    }

    fn prepare(&mut self, attempt: &Attempt) -> Result<Gathered, AttemptError> {
        match (&attempt.call, self.kind) {
            (Call::Sabotage(how), Kind::Real) => {
                sabotage::commit(*how);
                Err(unobtainable("the sabotage", "the kernel survived it"))
            }
            (Call::Sabotage(_), _) => Err(unobtainable("a control", "sabotage has none")),
            (Call::Attack { .. }, Kind::Container) => {
                Err(unobtainable("a control in a container", "only root attacks"))
            }
            (Call::Reload(_), Kind::Container) => Err(unobtainable("a control in a container", "only root reloads")),
            _ => self.gather(attempt),
        }
    }

    /// Returns what an attack is aimed at: a control leaves the guard alone.
    fn target_of(&self, attempt: &Attempt) -> Option<Box<Target>> {
        let guard = self.guard.as_ref().filter(|_| matches!(attempt.call, Call::Attack { .. } | Call::Reload(_)))?;
        Some(Box::new(guard.target()))
    }

    /// The capabilities of an attempt apply only where actors play themselves.
    fn caps(&self, attempt: &Attempt) -> Option<u64> {
        let caps = attempt.caps.as_ref().filter(|_| matches!(self.kind, Kind::Real))?;
        Some(identity::mask_of(caps))
    }

    /// Who is executed matters to the guard only, and a control is made without it.
    fn steps(&self, attempt: &Attempt) -> Vec<Step> {
        if matches!(self.kind, Kind::Real) { attempt.steps.clone() } else { Vec::new() }
    }

    /// A control only shows whether somebody with every permission can make an attempt.
    fn extent(&self) -> Extent {
        if matches!(self.kind, Kind::Real) { Extent::Whole } else { Extent::Brief }
    }

    fn flush<E>(
        &mut self,
        batch: &mut Batch,
        case: &Case,
        report: &mut impl FnMut(usize, Result<Answer, AttemptError>, Witnessed) -> Result<(), E>,
    ) -> Result<(), E> {
        let Batch { mut jobs, fds } = std::mem::take(batch);
        while !jobs.is_empty() {
            let attempt = |job: &Job| job.index.attempt as usize;
            let first = &case.attempts[attempt(&jobs[0])];
            let actor = &first.actor;
            let (asked, mut witnessed) = match self.ask_under_guard(first, &jobs, &fds) {
                Ok((done, witnessed)) => (Ok(done), witnessed),
                Err(error) => (Err(error), Witnessed::default()),
            };
            match asked {
                Ok(done) => {
                    for (job, (done, fd)) in jobs.drain(..done.len()).zip(done) {
                        let index = attempt(&job);
                        let asked = &case.attempts[index];
                        let answer = done.answer.map_err(|why| failed(&asked.actor, ActorError::Refused(why)));
                        let made = answer.as_ref().map(|answer| (answer, fd.map(Rc::new)));
                        self.save(index, asked, made);
                        report(index, answer, std::mem::take(&mut witnessed))?;
                    }
                }
                Err(error) => {
                    let index = attempt(&jobs.remove(0));
                    if error.is_fatal()
                        && let Some(answer) = self.actors.player(actor).ok().and_then(RunningActor::lose)
                    {
                        self.save(index, &case.attempts[index], Ok((&answer, None)));
                        report(index, Ok(answer), Witnessed::default())?;
                        continue;
                    }
                    self.save(index, &case.attempts[index], Err(&error));
                    report(index, Err(error), Witnessed::default())?;
                }
            }
        }
        Ok(())
    }

    /// Makes attempts while the guard, if there is one, is on: then there is only this one.
    fn ask_under_guard(
        &mut self,
        first: &Attempt,
        jobs: &[Job],
        fds: &[Rc<OwnedFd>],
    ) -> Result<(Answers, Witnessed), AttemptError> {
        let Some(guard) = self.guard.take() else {
            return Ok((self.ask(&first.actor, jobs, fds)?, Witnessed::default()));
        };
        let made = self.watched(guard, first, jobs, fds);
        self.guard = Some(guard);
        made
    }

    fn watched(
        &mut self,
        guard: &mut Guard,
        first: &Attempt,
        jobs: &[Job],
        fds: &[Rc<OwnedFd>],
    ) -> Result<(Answers, Witnessed), AttemptError> {
        let suspect = self.actors.player(&first.actor)?.suspect();
        let suspect = suspect.map_err(|error| AttemptError::Guard(error.to_string()))?;
        guard.on().map_err(|error| AttemptError::Guard(error.to_string()))?;
        let made = self.ask(&first.actor, jobs, fds);
        let has_succeeded = made
            .as_ref()
            .is_ok_and(|made| matches!(&made[..], [(Done { answer: Ok(answer), .. }, _)] if answer.succeeded()));
        if let Call::Attack { copy, .. } = &first.call {
            guard.survive(has_succeeded && copy.is_none()).map_err(|error| AttemptError::Guard(error.to_string()))?;
        }
        let window = guard.off().map_err(|error| AttemptError::Guard(error.to_string()))?;
        let answer = made.as_ref().ok().and_then(|made| made.first()?.0.answer.as_ref().ok());
        let witnessed = window.witnessed(&suspect, first, answer, guard.own_programs());
        let witnessed = witnessed.map_err(|error| AttemptError::Guard(error.to_string()))?;
        Ok((made?, witnessed))
    }

    fn ask(&mut self, actor: &Actor, jobs: &[Job], fds: &[Rc<OwnedFd>]) -> Result<Answers, AttemptError> {
        let executor = self.actors.player(actor)?.executor();
        executor.attempts(jobs.to_vec(), fds).map_err(|source| failed(actor, source))
    }

    /// Saves what an attempt made under its name, or why it made nothing.
    fn save(&mut self, index: usize, attempt: &Attempt, made: Result<(&Answer, Option<Rc<OwnedFd>>), &AttemptError>) {
        let Some(name) = &attempt.save else { return };
        let saved = match made {
            Ok((_, Some(fd))) => Ok(fd),
            Ok((answer, None)) => Err(format!("attempt {index} ({}) {}", attempt.call.op(), in_words(answer))),
            Err(error) => Err(format!("attempt {index} ({}) was not made: {error}", attempt.call.op())),
        };
        self.objects.insert(name.clone(), saved);
    }
}

/// Returns the names of all saved objects that an attempt needs.
fn needs(attempt: &Attempt) -> Vec<&str> {
    let token = if let Token::Saved(name) = &attempt.token { Some(name.as_str()) } else { None };
    attempt.call.objects().into_iter().chain(token).collect()
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Ok { .. } | Answer::Helpers(_) => "made no object to save".to_owned(),
        Answer::Err { errno, .. } => format!("failed with {errno}"),
        Answer::NotMade { why } => format!("was not made: {why}"),
        Answer::Object(_) => "loaded an object, which is closed again".to_owned(),
        Answer::Exec(_) => "ran a program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        os::fd::{AsFd, AsRawFd, BorrowedFd},
    };

    use harness_protocol::{errno::Errno, plan::PinLocation};

    use super::*;

    fn descriptor() -> Rc<OwnedFd> {
        Rc::new(rustix::pipe::pipe().unwrap().0)
    }

    fn pass<'a>(root_cgroup: BorrowedFd<'a>, kind: Kind<'a>, fallback: Option<&'a Objects>) -> Pass<'a> {
        let actors = Actors::Each { host: None, containers: Vec::new() };
        Pass { root_cgroup, actors, objects: Objects::new(), kind, fallback, guard: None }
    }

    fn attempt(call: Call, token: Token) -> Attempt {
        Attempt {
            save: Some("made".to_owned()),
            ..Attempt::new(Actor::Container("main".parse().unwrap()), token, call)
        }
    }

    #[test]
    fn missing_objects_are_taken_from_root_or_explained() {
        let fd = descriptor();
        let of_root = Objects::from([
            ("map".to_owned(), Ok(Rc::clone(&fd))),
            ("token".to_owned(), Err("attempt 1 (token_create) failed with EOPNOTSUPP".to_owned())),
        ]);
        let mut pass = pass(fd.as_fd(), Kind::Real, Some(&of_root));
        for name in ["map", "token"] {
            pass.objects.insert(name.to_owned(), Err("attempt 1 failed with EPERM".to_owned()));
        }
        assert_eq!(pass.saved("map").unwrap().as_raw_fd(), fd.as_raw_fd());
        insta::assert_snapshot!(pass.saved("token").unwrap_err(), @"`token`: attempt 1 failed with EPERM; in the root control, attempt 1 (token_create) failed with EOPNOTSUPP");
        insta::assert_snapshot!(pass.saved("other").unwrap_err(), @"`other`: nothing was saved under this name");
    }

    #[test]
    fn an_attempt_without_its_actor_is_not_made_and_explains_that_to_dependents() {
        let fd = descriptor();
        let mut pass = pass(fd.as_fd(), Kind::Real, None);
        let attempts = vec![attempt(Call::BtfLoad, Token::None)];
        let case = Case { sysctls: BTreeMap::new(), containers: vec![], attempts };
        let mut reported = Vec::new();
        let case_index = CaseIndex { scenario: 0, case: 0 };
        let run = pass.run(case_index, &case, |index, result, _| {
            reported.push((index, result.unwrap_err()));
            Ok::<_, ()>(())
        });
        run.unwrap();
        assert_eq!(reported.len(), 1);
        assert!(reported[0].0 == 0 && !reported[0].1.is_fatal());
        insta::assert_snapshot!(reported[0].1, @"container `main`: this case has none");
        insta::assert_snapshot!(pass.saved("made").unwrap_err(), @"`made`: attempt 0 (btf_load) was not made: container `main`: this case has none");
    }

    #[test]
    fn root_hands_over_no_token_and_borrows_one_only_as_an_object() {
        let fd = descriptor();
        let mut lender = pass(fd.as_fd(), Kind::Real, None);
        lender.objects.insert("t".to_owned(), Ok(Rc::clone(&fd)));
        let saved = || Token::Saved("t".to_owned());
        let mut root = pass(fd.as_fd(), Kind::Root(Some(&lender)), None);
        assert!(root.token(&attempt(Call::BtfLoad, saved())).unwrap().is_none());
        assert!(root.token(&attempt(Call::TokenInfo, saved())).unwrap().is_some());
        insta::assert_snapshot!(root.token(&attempt(Call::TokenInfo, Token::Own)).unwrap_err(), @"the token of the control container: none was made during setup");
        let mut alone = pass(fd.as_fd(), Kind::Root(None), None);
        assert!(alone.token(&attempt(Call::TokenInfo, saved())).is_err());
    }

    #[test]
    fn calls_name_the_objects_they_need() {
        let pin = Call::ObjPin {
            object: "m".to_owned(),
            path: "p".to_owned(),
            stays: true,
            place: PinLocation::Bpffs,
            mode: None,
        };
        assert_eq!(needs(&attempt(pin, Token::Saved("t".to_owned()))), ["m", "t"]);
        assert_eq!(in_words(&Answer::Err { errno: Errno::EPERM, step: None }), "failed with EPERM");
    }
}
