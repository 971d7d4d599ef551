//! What a record says happened, and why it cannot be learnt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use guard_record::{Hook as Recorded, LISTED, Line, Map, Named, Program as Recording};

use crate::{
    danger::{Danger, LSM, MODIFY_RETURN, is_guarded},
    decision::{Call, EXT, Event, Hook, Program, Target},
    layout::BITS,
    name::Family,
};

/// Programs of type `struct_ops`, whose attach types are the numbers of members.
const STRUCT_OPS: u32 = 27;
/// Programs of type `tracing`.
pub(super) const TRACING: u32 = 26;
/// The longest name of a function in a policy.
const LONGEST_NAME: usize = 128;

/// Why something is not learnt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Obstacle {
    /// It is dangerous.
    Danger(Danger),
    /// A tracing program for a function that the guard depends on.
    Guarded(String),
    /// A command beyond those that a policy can allow; anybody may ask the kernel for any number.
    NoCommand,
    /// A policy cannot name it.
    Unnamed(Family, u64),
    /// A target or kfunc without a name that a policy can have.
    UnnamedFunction(u64),
    /// A record lists only the first kfuncs of a program.
    MoreKfuncs { program: String, calls: u32 },
    /// The record does not say which capability a token stood for.
    UnknownCapability,
}

impl Obstacle {
    pub(super) fn is_among(&self, allowed: &BTreeSet<Danger>) -> bool {
        matches!(self, Self::Danger(danger) if allowed.contains(danger))
    }

    /// Whether nothing is learnt from the record.
    pub(super) fn is_blocking(&self) -> bool {
        !matches!(self, Self::MoreKfuncs { .. })
    }

    /// Whether it should have been learnt.
    pub(super) fn is_shortcoming(&self) -> bool {
        !matches!(self, Self::Danger(_) | Self::Guarded(_) | Self::NoCommand)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Danger(danger) => write!(f, "{danger}; to learn it: --allow {}", danger.name()),
            Self::Guarded(name) => write!(f, "a tracing program for {name}, which the guard depends on"),
            Self::NoCommand => write!(f, "a command of {BITS} or more, which no policy allows"),
            Self::Unnamed(family, number) => write!(f, "{family} {number}, which this version has no name for"),
            Self::UnnamedFunction(id) => write!(f, "a target with BTF id {id}, whose name is not on record"),
            Self::MoreKfuncs { program, calls } => write!(
                f,
                "program `{}` with {calls} calls of kfuncs, of which a record lists the first {LISTED}; `caps --format guard-policy` \
                 lists those of an object",
                program.escape_debug()
            ),
            Self::UnknownCapability => write!(
                f,
                "a capability that a token stood for, which is on record only where a rule takes the call: learn under one \
                 with `allow = true`"
            ),
        }
    }
}

/// The event that a record is of; `None` for hooks outside of bpf(2), and for what no event can be.
pub(super) fn of(line: &Line) -> Option<Event> {
    let cmd = number(line.command.as_ref()?)?;
    let hook = match line.hook {
        Recorded::Bpf => Hook::Bpf,
        Recorded::ProgLoad => Hook::ProgLoad(program(line.program.as_ref()?, line.token)?),
        Recorded::Prog => Hook::Prog { tag: [0; 8], maps: Vec::new() },
        Recorded::MapCreate => map(line.map.as_ref()?, line.token)?,
        Recorded::Map => Hook::Map,
        Recorded::TokenCreate => Hook::TokenCreate,
        Recorded::TokenCmd => Hook::TokenCmd { cmd },
        Recorded::TokenCapable => Hook::TokenCapable { cap: number(line.what.as_ref()?)? },
        _ => return None,
    };
    Some(Event::new(cmd, hook))
}

/// The names of the kernel's functions in a record.
pub(super) fn functions(line: &Line) -> BTreeMap<u32, &str> {
    let all = line.program.iter().flat_map(|program| program.kfuncs.iter().chain(kernel_target(program)));
    all.filter_map(|named| Some((number(named)?, named.name.as_deref()?))).collect()
}

/// The target of a program, if the kernel's own BTF has it.
fn kernel_target(program: &Recording) -> Option<&Named> {
    program.target.as_ref().filter(|_| program.target_btf.is_none())
}

/// Everything that is in the way of learning from a record.
pub(super) fn obstacles(line: &Line) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = line.command.iter().filter_map(|command| unnamed(Family::Cmd, command)).collect();
    match (line.hook, &line.program, &line.map) {
        (Recorded::ProgLoad, Some(program), _) => found.extend(of_program(program)),
        (Recorded::MapCreate, _, Some(map)) => found.extend(unnamed(Family::Map, &map.r#type)),
        (Recorded::TokenCapable, ..) => match &line.what {
            Some(what) => found.extend(unnamed(Family::Capability, what)),
            None => found.push(Obstacle::UnknownCapability),
        },
        _ => {}
    }
    found
}

fn of_program(program: &Recording) -> Vec<Obstacle> {
    let (kind, attach) = (program.r#type.number, program.attach_type.number);
    let mut found: Vec<Obstacle> = unnamed(Family::Prog, &program.r#type).into_iter().collect();
    if kind != u64::from(STRUCT_OPS) && attach != 0 {
        found.extend(unnamed(Family::Attach, &program.attach_type));
    }
    found.extend((kind == u64::from(LSM)).then_some(Obstacle::Danger(Danger::LsmProgram)));
    let modifies = kind == u64::from(TRACING) && attach == u64::from(MODIFY_RETURN);
    found.extend(modifies.then_some(Obstacle::Danger(Danger::ModifyReturn)));
    match (&program.target, program.target_btf) {
        (Some(_), Some(_)) if kind != u64::from(EXT) => found.push(Obstacle::Danger(Danger::Modules)),
        (Some(target), None) => match good_name(target) {
            None => found.push(Obstacle::UnnamedFunction(target.number)),
            Some(name) if kind == u64::from(TRACING) && is_guarded(name) => {
                found.push(Obstacle::Guarded(name.to_owned()));
            }
            Some(_) => {}
        },
        _ => {}
    }
    // The BTF of a module continues the kernel's own: what is not named there is in a module.
    found.extend(
        program.kfuncs.iter().any(|kfunc| good_name(kfunc).is_none()).then_some(Obstacle::Danger(Danger::Modules)),
    );
    if program.kfunc_calls as usize > LISTED {
        found.push(Obstacle::MoreKfuncs { program: program.name.clone(), calls: program.kfunc_calls });
    }
    for helper in &program.helpers {
        found.extend(unnamed(Family::Helper, helper));
        found.extend(number(helper).and_then(Danger::of_helper).map(Obstacle::Danger));
    }
    found
}

fn unnamed(family: Family, named: &Named) -> Option<Obstacle> {
    let has_name = number(named).is_some_and(|number| family.number(&family.shown(number)) == Some(number));
    let what = match family {
        Family::Cmd if named.number >= BITS as u64 => Obstacle::NoCommand,
        _ => Obstacle::Unnamed(family, named.number),
    };
    (!has_name).then_some(what)
}

/// The name of a function, if a policy can have it.
fn good_name(named: &Named) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let name = named.name.as_deref()?;
    (!name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain)).then_some(name)
}

fn number(named: &Named) -> Option<u32> {
    u32::try_from(named.number).ok()
}

fn program(program: &Recording, has_token: bool) -> Option<Program> {
    let helpers = program.helpers.iter().map(|helper| Some(Call::Helper(number(helper)?)));
    let kfuncs = program
        .kfuncs
        .iter()
        .map(|kfunc| Some(Call::Kfunc { btf_id: number(kfunc)?, of_module: good_name(kfunc).is_none() }));
    let target = program.target.as_ref().and_then(number);
    Some(Program {
        kind: number(&program.r#type)?,
        attach_type: number(&program.attach_type)?,
        insns: program.insns,
        has_token,
        signed_by: program.signature.as_ref().and_then(|signature| u8::try_from(signature.keyring_type.number).ok()),
        target: target.map(|btf_id| Target { btf_id, of_module: program.target_btf.is_some() }),
        calls: helpers.chain(kfuncs).collect::<Option<_>>()?,
    })
}

fn map(map: &Map, has_token: bool) -> Option<Hook> {
    let Map { key_size, value_size, max_entries, .. } = *map;
    Some(Hook::MapCreate { kind: number(&map.r#type)?, key_size, value_size, max_entries, has_token })
}
