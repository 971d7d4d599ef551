//! Why attempts were denied: the smallest change of its container with which the kernel does each.
//!
//! Found by making them again, by the container's keeper in the same namespaces and cgroup and with the same objects,
//! with more of what a container can be given. Nothing is concluded from what the kernel ought to ask for; the numbers
//! in a call only decide what is tried first.

mod options;
mod search;
mod token_source;

use harness_protocol::{
    mount_option::MountOption,
    outcome::{Answer, Cause, Change},
    plan::{Attempt, Call, Case, Token, TokenCommand},
};
use libbpf_sys as sys;

use crate::{
    actor::RunningActor,
    batch::{Batch, Gathered},
    context::{AttemptIndex, CaseIndex},
    identity,
    message::{Extent, FdRole, Job},
    pass::{self, AttemptError, Pass},
    sysctl::Settings,
};
use search::{Likely, NOTHING, NextRetries, Retried, Retry, SETTING};
use token_source::TokenSource;

/// Looks for the causes of denied attempts, given by their indexes. All attempts of the case have been made: what a
/// trial does to their objects changes no answer any more.
pub(crate) fn find(pass: &mut Pass<'_>, place: CaseIndex, case: &Case, denied: &[usize]) -> Vec<(usize, Cause)> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for index in denied {
        match DenialSearch::new(pass, place, case, *index) {
            Ok(denial_search) => open.push(denial_search),
            Err(error) => found.push((*index, Cause::Unknown(error.to_string()))),
        }
    }
    while !open.is_empty() {
        let mut needed = Vec::new();
        open.retain(|denial_search| match search::search(&denial_search.tried, &likely(denial_search.judged)) {
            Ok(cause) => {
                found.push((denial_search.place.attempt as usize, denial_search.named(cause)));
                false
            }
            Err(NextRetries(trials)) => {
                needed.push(trials);
                true
            }
        });
        let failures = try_all(pass, &mut open, needed);
        for (at, error) in failures.into_iter().rev() {
            let denial_search = open.remove(at);
            found.push((denial_search.place.attempt as usize, Cause::Unknown(error)));
        }
    }
    found.sort_by_key(|(index, _)| *index);
    found
}

/// Whether the kernel does an attempt that it denied before, without any change of its container.
pub(crate) fn is_done_now(pass: &mut Pass<'_>, place: CaseIndex, case: &Case, index: usize) -> bool {
    let Ok(denial_search) = DenialSearch::new(pass, place, case, index) else { return false };
    let trial = Pending { denial_search: 0, trial: NOTHING, gathered: denial_search.gathered.clone() };
    let Ok(actor) = pass.actors.player(&denial_search.attempt.actor) else { return false };
    answers(actor, &[denial_search], &[trial]).is_ok_and(|answers| answers == [true])
}

/// One denied attempt and what is known of it so far.
struct DenialSearch<'c> {
    place: AttemptIndex,
    attempt: &'c Attempt,
    /// The call that takes the token: the attempt's, or that of the load whose program it attaches.
    judged: &'c Call,
    /// What the attempt was made with.
    gathered: Gathered,
    /// How much of it is made again: the token only, if it was that which was denied.
    extent: Extent,
    /// What it has to do with a bpffs.
    token_source: Option<TokenSource>,
    /// What the actor's own bpffs delegates, or another one of its container that the attempt's token is of.
    delegated: Vec<MountOption>,
    /// The capabilities the attempt was made with.
    caps: u64,
    /// Whether a filter of system calls is in the way.
    is_filtered: bool,
    /// Whether the actor is a unit of systemd that a filter keeps from `bpf(2)`; its keeper has no copy of that.
    is_unit_without_bpf: bool,
    tried: Retried,
}

impl<'c> DenialSearch<'c> {
    fn new(pass: &mut Pass<'_>, place: CaseIndex, case: &'c Case, index: usize) -> Result<Self, AttemptError> {
        let attempt = &case.attempts[index];
        let (gathered, extent) = match pass.lacked_token(attempt)? {
            Some(bpffs) => (vec![(FdRole::Bpffs, bpffs)], Extent::Token),
            None => (pass.gather(attempt)?, Extent::Brief),
        };
        let token_source = TokenSource::of(pass, place, case, attempt)?;
        let maker = token_source.as_ref().and_then(TokenSource::maker);
        let judged = maker.map_or(&attempt.call, |maker| &case.attempts[maker].call);
        let plan = pass.actors.player(&attempt.actor)?.plan();
        let has = plan.map_or(0, |plan| identity::mask_of(&plan.caps));
        let caps = attempt.caps.as_ref().map_or(has, |caps| has & identity::mask_of(caps));
        let is_filtered = plan.is_some_and(|plan| plan.restrictions.filter.is_some());
        let delegated = match token_source.as_ref().map_or(&attempt.token, |token_source| &token_source.token) {
            Token::Of(options) => options.clone(),
            Token::None | Token::Own | Token::Saved(_) => plan.map(|plan| plan.options.clone()).unwrap_or_default(),
        };
        let is_unit_without_bpf = pass.actors.player(&attempt.actor)?.is_filtered_unit();
        let (place, tried) = (place.attempt(index), Retried::new());
        Ok(Self {
            place,
            attempt,
            judged,
            gathered,
            extent,
            token_source,
            delegated,
            caps,
            is_filtered,
            is_unit_without_bpf,
            tried,
        })
    }

    /// A cause as it is told: what is its own is a token or a bpffs, depending on the call; and no trial of a unit is made
    /// behind the filter of system calls that stands before it.
    fn named(&self, cause: Cause) -> Cause {
        match self.with_own_named(cause) {
            cause if !self.is_unit_without_bpf => cause,
            Cause::Missing(mut changes) => {
                changes.push(Change::NoSeccomp);
                Cause::Missing(changes)
            }
            Cause::Unknown(_) if self.tried.get(&NOTHING) == Some(&true) => Cause::Missing(vec![Change::NoSeccomp]),
            cause => cause,
        }
    }

    fn with_own_named(&self, cause: Cause) -> Cause {
        match (cause, &self.token_source) {
            (Cause::Missing(changes), Some(token_source)) if token_source.is_the_bpffs_asked() => {
                let named = |change| if change == Change::Token { Change::Bpffs } else { change };
                Cause::Missing(changes.into_iter().map(named).collect())
            }
            (cause, _) => cause,
        }
    }

    /// Notes what a trial gave; where no filter is, it gives the same with one and without.
    fn note(&mut self, trial: Retry, works: bool) {
        self.tried.insert(trial, works);
        if !self.is_filtered {
            self.tried.insert(Retry { unfiltered: !trial.unfiltered, ..trial }, works);
        }
    }

    /// Whether a trial is made behind the container's filter.
    fn is_behind_filter(&self, trial: Retry) -> bool {
        self.is_filtered && !trial.unfiltered
    }

    /// The descriptors of a trial; `None` if there cannot be such a one.
    fn gathered(&self, actor: &mut RunningActor, trial: Retry) -> Result<Option<Gathered>, AttemptError> {
        let Some(token_source) = &self.token_source else { return Ok(Some(self.gathered.clone())) };
        let owned = token_source.owned;
        let same = (owned && trial.bits == NOTHING.bits) || (!owned && !trial.own);
        if same || !actor.can_have_tokens() {
            return Ok(Some(self.gathered.clone()));
        }
        let options = options::with_bits(&self.delegated, trial.bits);
        if options == self.delegated && owned {
            return Ok(Some(self.gathered.clone()));
        }
        if options.is_empty() {
            return Ok(None);
        }
        let put = token_source.put(actor, &options, &self.gathered);
        put.map_err(|source| pass::failed(&self.attempt.actor, source))
    }
}

/// A trial of an inquiry, by its index.
struct Pending {
    denial_search: usize,
    trial: Retry,
    gathered: Gathered,
}

/// Makes the trials each inquiry needs; which inquiries failed, by index, and why.
fn try_all(pass: &mut Pass<'_>, open: &mut [DenialSearch<'_>], needed: Vec<Vec<Retry>>) -> Vec<(usize, String)> {
    let (mut pending, mut failures) = (Vec::new(), Vec::new());
    for (at, trials) in needed.into_iter().enumerate() {
        if let Err(error) = prepare(pass, &mut open[at], at, trials, &mut pending) {
            failures.push((at, error.to_string()));
        }
    }
    for setting in [false, true] {
        let mut rest: Vec<Pending> = Vec::new();
        for trial in pending.extract_if(.., |pending| pending.trial.setting == setting) {
            let other_actor = rest
                .last()
                .is_some_and(|last| open[last.denial_search].attempt.actor != open[trial.denial_search].attempt.actor);
            if other_actor {
                failures.extend(make(pass, open, std::mem::take(&mut rest), setting));
            }
            rest.push(trial);
        }
        failures.extend(make(pass, open, rest, setting));
    }
    failures.sort();
    failures.dedup_by_key(|(at, _)| *at);
    failures
}

fn prepare(
    pass: &mut Pass<'_>,
    denial_search: &mut DenialSearch<'_>,
    at: usize,
    trials: Vec<Retry>,
    pending: &mut Vec<Pending>,
) -> Result<(), AttemptError> {
    for trial in trials {
        match denial_search.gathered(pass.actors.player(&denial_search.attempt.actor)?, trial)? {
            Some(gathered) => pending.push(Pending { denial_search: at, trial, gathered }),
            None => denial_search.note(trial, false),
        }
    }
    Ok(())
}

/// Makes trials of one actor, as many in a message as it takes; which inquiries failed, and why.
fn make(
    pass: &mut Pass<'_>,
    open: &mut [DenialSearch<'_>],
    trials: Vec<Pending>,
    setting: bool,
) -> Vec<(usize, String)> {
    let Some(first) = trials.first() else { return Vec::new() };
    let mut settings = Settings::default();
    let (name, value) = SETTING;
    let wanted = setting.then(|| (name.to_owned(), value.to_owned())).into_iter().collect();
    let made = match settings.make(&wanted) {
        Ok(()) => {
            let actor = pass.actors.player(&open[first.denial_search].attempt.actor);
            let made = actor.map_err(|error| error.to_string());
            made.and_then(|actor| answers(actor, open, &trials))
        }
        // A setting the kernel does not let go of is none that a container could be given.
        Err(_) => Ok(vec![false; trials.len()]),
    };
    settings.restore();
    match made {
        Ok(answers) => {
            for (pending, works) in trials.into_iter().zip(answers) {
                open[pending.denial_search].note(pending.trial, works);
            }
            Vec::new()
        }
        Err(error) => trials.iter().map(|pending| (pending.denial_search, error.clone())).collect(),
    }
}

/// Whether the kernel did it, for each trial.
fn answers(actor: &mut RunningActor, open: &[DenialSearch<'_>], trials: &[Pending]) -> Result<Vec<bool>, String> {
    let mut answers = Vec::with_capacity(trials.len());
    while answers.len() < trials.len() {
        let mut batch = Batch::default();
        let behind_filter = |pending: &Pending| open[pending.denial_search].is_behind_filter(pending.trial);
        let filtered = behind_filter(&trials[answers.len()]);
        for pending in &trials[answers.len()..] {
            if !batch.has_room() || behind_filter(pending) != filtered {
                break;
            }
            let denial_search = &open[pending.denial_search];
            let caps = Some(denial_search.caps | pending.trial.caps);
            let job = Job {
                place: denial_search.place,
                caps,
                handles: Vec::new(),
                keep: false,
                extent: denial_search.extent,
            };
            batch.add(job, pending.gathered.clone());
        }
        let privileged = if filtered { actor.filtered_privileged() } else { actor.privileged() };
        let done = privileged
            .and_then(|privileged| privileged.attempts(batch.jobs, &batch.fds))
            .map_err(|error| error.to_string())?;
        answers.extend(done.iter().map(|(done, _)| done.answer.as_ref().is_ok_and(Answer::succeeded)));
    }
    Ok(answers)
}

/// The numbers that are likely to be the bits a call lacks: of its command, and of the types it names.
fn likely(call: &Call) -> Likely {
    const LOADING: [u32; 3] = [sys::BPF_MAP_CREATE, sys::BPF_PROG_LOAD, sys::BPF_BTF_LOAD];
    let cmds = match call {
        Call::Object(_) => LOADING.to_vec(),
        call => call.token_command().map(TokenCommand::number).into_iter().collect(),
    };
    let [map, prog, attach] = call.types().map(|number| number.into_iter().collect());
    [cmds, map, prog, attach]
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{Body, ProgTarget, Verify};

    use super::*;

    #[test]
    fn likely_bits_come_from_the_call() {
        let load = Call::ProgLoad {
            prog_type: 6,
            expected_attach_type: 37,
            prog_flags: 0,
            body: Body::Returns(0),
            license: "GPL".to_owned(),
            target: ProgTarget::None,
            types: None,
            maps: vec![],
        };
        assert_eq!(likely(&load), [vec![5], vec![], vec![6], vec![37]]);
        assert!(load.is_judged_by_token() && !Call::TokenInfo.is_judged_by_token());
        let verify = Call::Verify(Verify {
            prog_type: 6,
            expected_attach_type: 37,
            instructions: vec![],
            map: None,
            functions: vec![],
        });
        assert!(verify.is_judged_by_token() && likely(&verify) == likely(&load));
    }
}
