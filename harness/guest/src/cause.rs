//! Why an attempt was denied: the smallest change of its container with which the kernel does it.
//!
//! Found by making the attempt again, by the container's keeper in the same namespaces and cgroup and with the same
//! objects, with more of what a container can be given. Nothing is concluded from what the kernel ought to ask for; the
//! numbers in a call only decide what is tried first.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use harness_model::{
    delegation::MountOption,
    outcome::{Answer, Cause, Change},
    plan::{Actor, Attempt, BpffsFd, Call, Token},
};
use libbpf_sys as sys;

use crate::{
    ground::Place,
    identity,
    party::Party,
    pass::{AttemptError, Gathered, Pass},
    protocol::{Handle, Job, Role},
    sysctl::Settings,
};

/// The options that say what a token holds, in the order of [`Trial::bits`].
const OPTIONS: [&str; 4] = ["delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"];

/// What capabilities are tried first: `CAP_BPF`, `CAP_PERFMON`, `CAP_NET_ADMIN`, `CAP_SYS_ADMIN` (`capabilities(7)`).
const LIKELY_CAPS: [u32; 4] = [39, 38, 12, 21];

/// What a setting could stand in the way of: maps and programs of those without any capability (`bpf(2)`).
const SETTING: (&str, &str) = ("kernel.unprivileged_bpf_disabled", "0");

/// What an actor is given on top of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trial {
    /// A token of its own bpffs, if the attempt has none or another one.
    token: bool,
    /// Bits delegated besides, by option.
    bits: [u64; 4],
    /// Capabilities, as a mask.
    caps: u64,
    /// [`SETTING`].
    setting: bool,
}

/// Nothing.
const NOTHING: Trial = Trial { token: false, bits: [0; 4], caps: 0, setting: false };

/// Everything that belongs to the container, at once.
const EVERYTHING: Trial = Trial { token: true, bits: [u64::MAX; 4], caps: u64::MAX, setting: false };

/// Looks for the cause of a denial. The case's attempts have all been made: what a trial does to its objects changes no
/// answer any more.
pub(crate) fn find(pass: &mut Pass<'_>, place: Place, attempt: &Attempt) -> Cause {
    let search = pass.gather(attempt).and_then(|gathered| {
        let Actor::Container(_) = &attempt.actor else { return Ok(Cause::NotDelegable) };
        let party = pass.cast.player(&attempt.actor)?;
        Search::new(party, place, attempt, gathered).run()
    });
    search.unwrap_or_else(|error| Cause::Unknown(error.to_string()))
}

struct Search<'s> {
    party: &'s mut Party,
    place: Place,
    attempt: &'s Attempt,
    /// What the attempt was made with.
    gathered: Gathered,
    /// What the bpffs delegates that the token is of, or would be.
    delegated: Vec<MountOption>,
    /// The capabilities the attempt was made with.
    caps: u64,
    tried: BTreeMap<Trial, bool>,
}

impl<'s> Search<'s> {
    fn new(party: &'s mut Party, place: Place, attempt: &'s Attempt, gathered: Gathered) -> Self {
        let plan = party.plan();
        let has = plan.map_or(0, |plan| identity::mask_of(&plan.caps));
        let caps = attempt.caps.as_ref().map_or(has, |caps| has & identity::mask_of(caps));
        let delegated = match &attempt.token {
            Token::Of(options) => options.clone(),
            Token::None | Token::Own | Token::Saved(_) => plan.map(|plan| plan.options.clone()).unwrap_or_default(),
        };
        Self { party, place, attempt, gathered, delegated, caps, tried: BTreeMap::new() }
    }

    fn run(mut self) -> Result<Cause, AttemptError> {
        self.make(&[NOTHING, EVERYTHING], Until::All)?;
        if self.works(NOTHING)? {
            return Ok(Cause::Unknown("the kernel did the same when it was asked again".to_owned()));
        }
        let everything = match self.works(EVERYTHING)? {
            true => EVERYTHING,
            false => Trial { setting: true, ..EVERYTHING },
        };
        if !self.works(everything)? {
            return Ok(Cause::NotDelegable);
        }
        let enough = match self.single()? {
            Some(single) => single,
            None => self.without_what_can_go(everything)?,
        };
        let smallest = self.smallest(enough)?;
        Ok(Cause::Missing(changes(smallest)))
    }

    /// One kind of change that is enough, if there is one.
    fn single(&mut self) -> Result<Option<Trial>, AttemptError> {
        let token = Trial { token: true, ..NOTHING };
        let caps = Trial { caps: u64::MAX, ..NOTHING };
        let setting = Trial { setting: true, ..NOTHING };
        let bits = (0..OPTIONS.len()).map(|at| with_bits(NOTHING, at, u64::MAX));
        let singles: Vec<Trial> = [token, caps].into_iter().chain(bits).collect();
        match self.first_that_works(&singles)? {
            None => Ok(self.works(setting)?.then_some(setting)),
            found => Ok(found),
        }
    }

    /// Takes one kind of change after the other away as long as the rest is enough.
    fn without_what_can_go(&mut self, from: Trial) -> Result<Trial, AttemptError> {
        let mut enough = from;
        let setting: fn(Trial) -> Trial = |trial| Trial { setting: false, ..trial };
        let bits: [fn(Trial) -> Trial; 4] = [
            |trial| with_bits(trial, 3, 0),
            |trial| with_bits(trial, 2, 0),
            |trial| with_bits(trial, 1, 0),
            |trial| with_bits(trial, 0, 0),
        ];
        let caps: fn(Trial) -> Trial = |trial| Trial { caps: 0, ..trial };
        let token: fn(Trial) -> Trial = |trial| Trial { token: false, ..trial };
        for take in [setting].into_iter().chain(bits).chain([caps, token]) {
            let less = take(enough);
            if less != enough && self.works(less)? {
                enough = less;
            }
        }
        Ok(enough)
    }

    /// Takes single capabilities and bits away as long as the rest is enough.
    fn smallest(&mut self, enough: Trial) -> Result<Trial, AttemptError> {
        let mut trial = enough;
        let likely_caps: Vec<u64> = LIKELY_CAPS.iter().map(|cap| 1 << cap).collect();
        trial.caps = self.smallest_mask(trial.caps, &likely_caps, |caps| Trial { caps, ..trial })?;
        for (at, number) in numbers(&self.attempt.call).into_iter().enumerate() {
            let likely: Vec<u64> = number.and_then(|bit| 1u64.checked_shl(bit)).into_iter().collect();
            trial.bits[at] = self.smallest_mask(trial.bits[at], &likely, |mask| with_bits(trial, at, mask))?;
        }
        Ok(trial)
    }

    /// A part of a mask that is enough and of which nothing can be left out.
    fn smallest_mask(&mut self, mask: u64, likely: &[u64], trial: impl Fn(u64) -> Trial) -> Result<u64, AttemptError> {
        if mask.count_ones() < 2 {
            return Ok(mask);
        }
        let singles: Vec<u64> = likely.iter().copied().filter(|single| mask & single != 0).collect();
        let trials: Vec<Trial> = singles.iter().map(|single| trial(*single)).collect();
        if let Some(found) = self.first_that_works(&trials)? {
            return Ok(singles.into_iter().find(|single| trial(*single) == found).unwrap_or(mask));
        }
        let mut enough = mask;
        let mut width = u64::BITS / 2;
        while width > 0 {
            for part in parts(width) {
                let less = enough & !part;
                if less != enough && self.works(trial(less))? {
                    enough = less;
                }
            }
            width /= 2;
        }
        Ok(enough)
    }

    fn works(&mut self, trial: Trial) -> Result<bool, AttemptError> {
        if !self.tried.contains_key(&trial) {
            self.make(&[trial], Until::All)?;
        }
        Ok(self.tried.get(&trial).copied().unwrap_or(false))
    }

    fn first_that_works(&mut self, trials: &[Trial]) -> Result<Option<Trial>, AttemptError> {
        let untried: Vec<Trial> = trials.iter().copied().filter(|trial| !self.tried.contains_key(trial)).collect();
        self.make(&untried, Until::Success)?;
        Ok(trials.iter().copied().find(|trial| self.tried.get(trial) == Some(&true)))
    }

    /// Makes the attempt with one trial after the other.
    fn make(&mut self, trials: &[Trial], until: Until) -> Result<(), AttemptError> {
        let (mut possible, mut jobs, mut fds) = (Vec::new(), Vec::new(), Vec::<Rc<OwnedFd>>::new());
        for trial in trials {
            let instead = match self.instead(*trial)? {
                Stand::In(role, fd) => Some((role, fd)),
                Stand::AsItWas => None,
                Stand::Impossible => {
                    self.tried.insert(*trial, false);
                    continue;
                }
            };
            let replaced = instead.as_ref().map(|(role, _)| *role);
            let kept = self.gathered.iter().filter(|(role, _)| Some(*role) != replaced).cloned();
            let mut handles = Vec::new();
            for (role, fd) in kept.chain(instead) {
                handles.push(Handle(role, fds.len() as u32));
                fds.push(fd);
            }
            possible.push(*trial);
            jobs.push(Job { place: self.place, caps: Some(self.caps | trial.caps), handles, keep: false });
        }
        let setting = trials.iter().any(|trial| trial.setting);
        let answers = self.ask(jobs, &fds, until, setting)?;
        self.tried.extend(possible.into_iter().zip(answers));
        Ok(())
    }

    /// Whether the kernel did each of these, as far as they were made.
    fn ask(
        &mut self,
        mut jobs: Vec<Job>,
        fds: &[Rc<OwnedFd>],
        until: Until,
        setting: bool,
    ) -> Result<Vec<bool>, AttemptError> {
        let mut settings = Settings::default();
        let (name, value) = SETTING;
        let wanted = setting.then(|| (name.to_owned(), value.to_owned())).into_iter().collect();
        if settings.make(&wanted).is_err() {
            settings.restore();
            return Ok(vec![false; jobs.len()]);
        }
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut answers = Vec::new();
        let mut failure = None;
        while !jobs.is_empty() && failure.is_none() {
            let keeper = self.party.keeper();
            match keeper.and_then(|keeper| keeper.attempts(jobs.clone(), until == Until::Success, &fds)) {
                Ok(done) => {
                    jobs.drain(..done.len());
                    answers.extend(done.iter().map(|(done, _)| matches!(done.answer, Ok(Answer::Ok { .. }))));
                }
                Err(source) => failure = Some(crate::pass::failed(&self.attempt.actor, source)),
            }
            if until == Until::Success && answers.last() == Some(&true) {
                break;
            }
        }
        settings.restore();
        failure.map_or(Ok(answers), Err)
    }

    /// What stands in for the attempt's token or bpffs in a trial.
    fn instead(&mut self, trial: Trial) -> Result<Stand, AttemptError> {
        let own = matches!(self.attempt.token, Token::Own | Token::Of(_));
        let role = if takes_token(&self.attempt.call) {
            Role::Token
        } else if asks_own_bpffs(self.attempt) {
            Role::Bpffs
        } else {
            return Ok(Stand::AsItWas);
        };
        let has_it = role == Role::Bpffs || own;
        if (has_it && trial.bits == NOTHING.bits) || (!has_it && !trial.token) {
            return Ok(Stand::AsItWas);
        }
        let mut options = self.delegated.clone();
        options.extend(more_options(trial.bits));
        if options.is_empty() {
            return Ok(Stand::Impossible);
        }
        let made = if role == Role::Token { self.party.token_of(&options) } else { self.party.bpffs_of(&options) };
        let made = made.map_err(|source| crate::pass::failed(&self.attempt.actor, source))?;
        Ok(Stand::In(role, made))
    }
}

/// How many trials of several are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// All.
    All,
    /// Those up to the first that succeeds.
    Success,
}

/// What an attempt is made with in a trial.
enum Stand {
    /// What it was made with.
    AsItWas,
    /// This in place of what has its role.
    In(Role, Rc<OwnedFd>),
    /// There is no such token or bpffs.
    Impossible,
}

fn with_bits(trial: Trial, at: usize, mask: u64) -> Trial {
    let mut bits = trial.bits;
    bits[at] = mask;
    Trial { bits, ..trial }
}

/// Stretches of this many bits, the highest first, so that of equals the lowest stays.
fn parts(width: u32) -> impl Iterator<Item = u64> {
    let part = u64::MAX >> (u64::BITS - width);
    (0..u64::BITS / width).rev().map(move |at| part << (at * width))
}

/// Options that add bits to what was set before: each is a further occurrence, and those are added up.
fn more_options(bits: [u64; 4]) -> impl Iterator<Item = MountOption> {
    let more = OPTIONS.into_iter().zip(bits).filter(|(_, mask)| *mask != 0);
    more.map(|(key, mask)| MountOption { key: key.to_owned(), value: format!("{mask:#x}") })
}

fn changes(trial: Trial) -> Vec<Change> {
    let of_mask = |mask: u64| (0..u64::BITS).filter(move |bit| mask & (1 << bit) != 0);
    let token = trial.token.then_some(Change::Token);
    let bits = OPTIONS.into_iter().zip(trial.bits);
    let bits = bits
        .flat_map(|(option, mask)| of_mask(mask).map(move |bit| Change::Delegate { option: option.to_owned(), bit }));
    let caps = of_mask(trial.caps).map(Change::Capability);
    let (name, value) = SETTING;
    let setting = trial.setting.then(|| Change::Sysctl { name: name.to_owned(), value: value.to_owned() });
    token.into_iter().chain(bits).chain(caps).chain(setting).collect()
}

/// Whether the call has a place for a token's descriptor.
fn takes_token(call: &Call) -> bool {
    matches!(call, Call::MapCreate { .. } | Call::ProgLoad { .. } | Call::BtfLoad | Call::BtfGetFdById { .. })
}

/// Whether the attempt makes a token from its actor's own bpffs, which another one can stand in for.
fn asks_own_bpffs(attempt: &Attempt) -> bool {
    matches!(&attempt.call, Call::TokenCreate { from, fd: BpffsFd::Root } if *from == attempt.actor)
}

/// The numbers in a call that may be bits of the four masks: of the command, and of the types it names.
fn numbers(call: &Call) -> [Option<u32>; 4] {
    match call {
        Call::MapCreate { map_type, .. } => [Some(sys::BPF_MAP_CREATE), Some(*map_type), None, None],
        Call::ProgLoad { prog_type, expected_attach_type, .. } => {
            [Some(sys::BPF_PROG_LOAD), None, Some(*prog_type), Some(*expected_attach_type)]
        }
        Call::BtfLoad => [Some(sys::BPF_BTF_LOAD), None, None, None],
        Call::BtfGetFdById { .. } => [Some(sys::BPF_BTF_GET_FD_BY_ID), None, None, None],
        _ => [None; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_mask_once() {
        for width in [1, 2, 32] {
            assert_eq!(parts(width).fold(0u64, |all, part| all ^ part), u64::MAX);
        }
    }

    #[test]
    fn changes_are_told_one_by_one() {
        let trial = Trial { token: true, bits: [1 << 5, 0, 0, 0], caps: 1 << 39, setting: true };
        let bit = Change::Delegate { option: "delegate_cmds".to_owned(), bit: 5 };
        let setting = Change::Sysctl { name: SETTING.0.to_owned(), value: SETTING.1.to_owned() };
        assert_eq!(changes(trial), [Change::Token, bit, Change::Capability(39), setting]);
        assert!(changes(NOTHING).is_empty());
        let more: Vec<String> =
            more_options(trial.bits).map(|option| format!("{}={}", option.key, option.value)).collect();
        assert_eq!(more, ["delegate_cmds=0x20"]);
    }
}
