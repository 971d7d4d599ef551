//! Why attempts were denied: the smallest change to the container with which the kernel allows each.
//!
//! The privileged executor makes a denied attempt again, in the same namespaces and cgroup and with the same objects,
//! with more of what a container can be given. Nothing is inferred from what the kernel should check; the numbers in a
//! call only decide what is tried first.

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

/// Finds the causes of denied attempts, given by index. It runs after all attempts of the case: what a retry does to
/// their objects can change no answer.
pub(crate) fn find(pass: &mut Pass<'_>, case_index: CaseIndex, case: &Case, denied: &[usize]) -> Vec<(usize, Cause)> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for index in denied {
        match DenialSearch::new(pass, case_index, case, *index) {
            Ok(denial_search) => open.push(denial_search),
            Err(error) => found.push((*index, Cause::Unknown(error.to_string()))),
        }
    }
    while !open.is_empty() {
        let mut needed = Vec::new();
        open.retain(|denial_search| match search::search(&denial_search.tried, &likely(denial_search.judged)) {
            Ok(cause) => {
                found.push((denial_search.index.attempt as usize, denial_search.named(cause)));
                false
            }
            Err(NextRetries(retries)) => {
                needed.push(retries);
                true
            }
        });
        let failures = try_all(pass, &mut open, needed);
        for (at, error) in failures.into_iter().rev() {
            let denial_search = open.remove(at);
            found.push((denial_search.index.attempt as usize, Cause::Unknown(error)));
        }
    }
    found.sort_by_key(|(index, _)| *index);
    found
}

/// Returns whether the kernel now allows an attempt that it denied before, without any change to its container.
pub(crate) fn is_done_now(pass: &mut Pass<'_>, case_index: CaseIndex, case: &Case, index: usize) -> bool {
    let Ok(denial_search) = DenialSearch::new(pass, case_index, case, index) else { return false };
    let retry = Pending { denial_search: 0, retry: NOTHING, gathered: denial_search.gathered.clone() };
    let Ok(actor) = pass.actors.player(&denial_search.attempt.actor) else { return false };
    answers(actor, &[denial_search], &[retry]).is_ok_and(|answers| answers == [true])
}

/// The search for the cause of one denied attempt, with what is known so far.
struct DenialSearch<'c> {
    index: AttemptIndex,
    attempt: &'c Attempt,
    /// The call that takes the token: the attempt's own, or the load of the program that it attaches.
    judged: &'c Call,
    /// The descriptors that the attempt was made with.
    gathered: Gathered,
    /// How much of it is made again: only the token, if that was what the kernel denied.
    extent: Extent,
    /// Where it gets its token, if it involves one.
    token_source: Option<TokenSource>,
    /// What the actor's own bpffs delegates, or the further one that the attempt's token comes from.
    delegated: Vec<MountOption>,
    /// The capabilities that the attempt was made with.
    caps: u64,
    /// Whether a system call filter applies.
    is_filtered: bool,
    /// Whether the actor is a systemd unit whose filter blocks `bpf(2)`; the privileged executor has no such filter.
    is_unit_without_bpf: bool,
    tried: Retried,
}

impl<'c> DenialSearch<'c> {
    fn new(pass: &mut Pass<'_>, case_index: CaseIndex, case: &'c Case, index: usize) -> Result<Self, AttemptError> {
        let attempt = &case.attempts[index];
        let (gathered, extent) = match pass.lacked_token(attempt)? {
            Some(bpffs) => (vec![(FdRole::Bpffs, bpffs)], Extent::Token),
            None => (pass.gather(attempt)?, Extent::Brief),
        };
        let token_source = TokenSource::of(pass, case_index, case, attempt)?;
        let maker = token_source.as_ref().and_then(TokenSource::maker);
        let judged = maker.map_or(&attempt.call, |maker| &case.attempts[maker].call);
        let plan = pass.actors.player(&attempt.actor)?.plan();
        // Full root, without a plan, has all.
        let has = plan.map_or(u64::MAX, |plan| identity::mask_of(&plan.caps));
        let caps = attempt.caps.as_ref().map_or(has, |caps| has & identity::mask_of(caps));
        let is_filtered = plan.is_some_and(|plan| plan.restrictions.filter.is_some());
        let delegated = match token_source.as_ref().map_or(&attempt.token, |token_source| &token_source.token) {
            Token::Of(options) => options.clone(),
            Token::None | Token::Own | Token::Saved(_) => plan.map(|plan| plan.options.clone()).unwrap_or_default(),
        };
        let is_unit_without_bpf = pass.actors.player(&attempt.actor)?.is_filtered_unit();
        let (index, tried) = (case_index.attempt(index), Retried::new());
        Ok(Self {
            index,
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

    /// Returns a cause as it is reported: the container's own token becomes its bpffs if the attempt asks that for a token,
    /// and a unit's system call filter is added, because retries run without it.
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
            (Cause::Missing(changes), Some(token_source)) if token_source.asks_bpffs() => {
                let named = |change| if change == Change::Token { Change::Bpffs } else { change };
                Cause::Missing(changes.into_iter().map(named).collect())
            }
            (cause, _) => cause,
        }
    }

    /// Notes the result of a retry. Without a filter, the result holds with and without one.
    fn note(&mut self, retry: Retry, works: bool) {
        self.tried.insert(retry, works);
        if !self.is_filtered {
            self.tried.insert(Retry { unfiltered: !retry.unfiltered, ..retry }, works);
        }
    }

    /// Returns whether a retry runs behind the container's filter.
    fn is_behind_filter(&self, retry: Retry) -> bool {
        self.is_filtered && !retry.unfiltered
    }

    /// Returns the descriptors of a retry; `None` if it is impossible.
    fn gathered(&self, actor: &mut RunningActor, retry: Retry) -> Result<Option<Gathered>, AttemptError> {
        let Some(token_source) = &self.token_source else { return Ok(Some(self.gathered.clone())) };
        let owned = token_source.owned;
        let same = (owned && retry.bits == NOTHING.bits) || (!owned && !retry.own);
        if same || !actor.can_have_tokens() {
            return Ok(Some(self.gathered.clone()));
        }
        let options = options::with_bits(&self.delegated, retry.bits);
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

/// A retry, with the index of its search.
struct Pending {
    denial_search: usize,
    retry: Retry,
    gathered: Gathered,
}

/// Makes the retries that each search needs. Returns the searches that failed, by index, and why.
fn try_all(pass: &mut Pass<'_>, open: &mut [DenialSearch<'_>], needed: Vec<Vec<Retry>>) -> Vec<(usize, String)> {
    let (mut pending, mut failures) = (Vec::new(), Vec::new());
    for (at, retries) in needed.into_iter().enumerate() {
        if let Err(error) = prepare(pass, &mut open[at], at, retries, &mut pending) {
            failures.push((at, error.to_string()));
        }
    }
    for setting in [false, true] {
        let mut rest: Vec<Pending> = Vec::new();
        for retry in pending.extract_if(.., |pending| pending.retry.setting == setting) {
            let other_actor = rest
                .last()
                .is_some_and(|last| open[last.denial_search].attempt.actor != open[retry.denial_search].attempt.actor);
            if other_actor {
                failures.extend(make(pass, open, std::mem::take(&mut rest), setting));
            }
            rest.push(retry);
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
    retries: Vec<Retry>,
    pending: &mut Vec<Pending>,
) -> Result<(), AttemptError> {
    for retry in retries {
        match denial_search.gathered(pass.actors.player(&denial_search.attempt.actor)?, retry)? {
            Some(gathered) => pending.push(Pending { denial_search: at, retry, gathered }),
            None => denial_search.note(retry, false),
        }
    }
    Ok(())
}

/// Makes retries of one actor, as many per message as fit. Returns the searches that failed, and why.
fn make(
    pass: &mut Pass<'_>,
    open: &mut [DenialSearch<'_>],
    retries: Vec<Pending>,
    setting: bool,
) -> Vec<(usize, String)> {
    let Some(first) = retries.first() else { return Vec::new() };
    let mut settings = Settings::default();
    let (name, value) = SETTING;
    let wanted = setting.then(|| (name.to_owned(), value.to_owned())).into_iter().collect();
    let made = match settings.make(&wanted) {
        Ok(()) => {
            let actor = pass.actors.player(&open[first.denial_search].attempt.actor);
            let made = actor.map_err(|error| error.to_string());
            made.and_then(|actor| answers(actor, open, &retries))
        }
        // A setting that the kernel does not let anybody change is not a change the container could get.
        Err(_) => Ok(vec![false; retries.len()]),
    };
    settings.restore();
    match made {
        Ok(answers) => {
            for (pending, works) in retries.into_iter().zip(answers) {
                open[pending.denial_search].note(pending.retry, works);
            }
            Vec::new()
        }
        Err(error) => retries.iter().map(|pending| (pending.denial_search, error.clone())).collect(),
    }
}

/// Returns for each retry whether the kernel allowed it.
fn answers(actor: &mut RunningActor, open: &[DenialSearch<'_>], retries: &[Pending]) -> Result<Vec<bool>, String> {
    let mut answers = Vec::with_capacity(retries.len());
    while answers.len() < retries.len() {
        let mut batch = Batch::default();
        let behind_filter = |pending: &Pending| open[pending.denial_search].is_behind_filter(pending.retry);
        let filtered = behind_filter(&retries[answers.len()]);
        for pending in &retries[answers.len()..] {
            if !batch.has_room() || behind_filter(pending) != filtered {
                break;
            }
            let denial_search = &open[pending.denial_search];
            let caps = Some(denial_search.caps | pending.retry.caps);
            let job = Job {
                index: denial_search.index,
                caps,
                handles: Vec::new(),
                keep: false,
                extent: denial_search.extent,
                steps: Vec::new(),
                target: None,
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

/// Returns the bits that a call most likely lacks: those of its command and of the types it names.
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
            signature: None,
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
