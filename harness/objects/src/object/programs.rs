//! Programs, and what each does, including everything it calls.

use std::collections::BTreeSet;

use harness_uapi::{btf::Btf, names, permission::Use, vocabulary::Kind};

use super::{ExpectedAttach, Note, Program, ProgramTarget};
use crate::{
    code::{Function, FunctionEffects, INSTRUCTION},
    elf::{Elf, Relocation},
    error::ObjectError,
    helper::HELPERS,
    loader::{Library, Loader},
    map::{
        Map,
        list::{Operations, essential},
    },
    program::{AttachWay, BtfReason},
    section,
};

/// The most steps from function to function in all.
const MOST_STEPS: usize = 20_000_000;
/// The most that is kept of all programs' effects, in units of [`Found::weight`].
const MOST_KEPT: usize = 200_000;
/// Kernel functions that allocate objects of the program's own types.
const OWN_OBJECTS: [&str; 4] = ["bpf_obj_new_impl", "bpf_percpu_obj_new_impl", "bpf_obj_new", "bpf_percpu_obj_new"];
/// Kernel functions that can crash the machine (`KF_DESTRUCTIVE` in `kernel/bpf/helpers.c`).
const DESTRUCTIVE: [&str; 1] = ["crash_kexec"];

/// A program and its location.
pub(crate) struct FoundProgram {
    pub(crate) program: Program,
    section: usize,
    start: u64,
    /// Whether any `struct_ops` map uses it, and whether one that is created does.
    operations: (bool, bool),
}

/// The parts of the file that programs are read from.
pub(crate) struct Found<'e, 'a> {
    pub(crate) elf: &'e Elf<'a>,
    pub(crate) functions: &'e [Function<'a>],
    pub(crate) effects: &'e [FunctionEffects],
    pub(crate) maps: &'e [Map],
    pub(crate) loader: Loader,
}

/// The effects of a program and everything it calls.
#[derive(Default)]
struct Sum {
    /// Bytes of code.
    size: u64,
    helpers: BTreeSet<u32>,
    kfuncs: BTreeSet<usize>,
    maps: BTreeSet<usize>,
    calls_functions: bool,
    has_callback: bool,
    has_jump_table: bool,
    reads_packet: bool,
    returns_abnormally: bool,
}

impl Found<'_, '_> {
    /// All functions outside `.text`, which holds the subprograms.
    pub(crate) fn programs(&self, notes: &mut Vec<Note>) -> Result<Vec<FoundProgram>, ObjectError> {
        let (mut left, mut kept) = (MOST_STEPS, MOST_KEPT);
        let mut found = Vec::new();
        let mut seen = vec![usize::MAX; self.functions.len()];
        for (number, function) in self.functions.iter().enumerate() {
            let section = self.elf.sections[function.section].name;
            if section == ".text" {
                continue;
            }
            if function.is_local && self.loader.library == Library::Libbpf {
                notes.push(Note::Static(function.name.to_owned()));
                continue;
            }
            let sum = self.sum(number, &mut seen, &mut left)?;
            kept = kept
                .checked_sub(self.weight(&sum))
                .ok_or(ObjectError::TooMany { what: "calls of programs", most: MOST_KEPT })?;
            let program = self.program(function, section, sum, notes);
            found.push(FoundProgram {
                program,
                section: function.section,
                start: function.start,
                operations: (false, false),
            });
        }
        Ok(found)
    }

    /// The effects of a function and everything it calls. `seen` has the last root for which each function was visited.
    fn sum(&self, root: usize, seen: &mut [usize], left: &mut usize) -> Result<Sum, ObjectError> {
        let mut sum = Sum::default();
        let mut waiting = vec![root];
        seen[root] = root;
        while let Some(number) = waiting.pop() {
            let effects = &self.effects[number];
            let steps = 1 + effects.helpers.len() + effects.kfuncs.len() + effects.maps.len() + effects.calls.len();
            *left = left.checked_sub(steps).ok_or(ObjectError::TooMany { what: "calls", most: MOST_STEPS })?;
            sum.add(effects, number == root);
            sum.size = sum.size.saturating_add(self.functions[number].size);
            for called in &effects.calls {
                if std::mem::replace(&mut seen[*called], root) != root {
                    waiting.push(*called);
                }
            }
        }
        Ok(sum)
    }

    /// How much an effect sum counts against [`MOST_KEPT`]: 2 per helper, 1 per map, and kernel functions by name length.
    fn weight(&self, sum: &Sum) -> usize {
        let names = sum.kfuncs.iter().map(|symbol| 1 + self.elf.symbols[*symbol].name.len() / 8);
        2 * sum.helpers.len() + sum.maps.len() + names.sum::<usize>()
    }

    fn program(&self, function: &Function<'_>, section: &str, sum: Sum, notes: &mut Vec<Note>) -> Program {
        // Only libbpf leaves such programs out; cilium/ebpf drops the mark, and aya does not know it.
        let autoload = self.loader.library != Library::Libbpf || !section.starts_with('?');
        let section = match self.loader.library {
            Library::Aya => section,
            Library::Libbpf | Library::CiliumEbpf => section.strip_prefix('?').unwrap_or(section),
        };
        let known = section::of(section, self.loader);
        if known.is_none() {
            notes.push(Note::UnknownSection(function.name.to_owned(), section.to_owned(), self.loader));
        }
        if known.is_some_and(|known| known.target.is_none() && needs_target(known.prog_type)) {
            notes.push(Note::NoTarget(function.name.to_owned()));
        }
        let prog_type = known.map(|known| known.prog_type);
        let kfuncs: BTreeSet<String> =
            sum.kfuncs.iter().map(|symbol| self.elf.symbols[*symbol].name.to_owned()).collect();
        Program {
            name: function.name.to_owned(),
            section: section.to_owned(),
            prog_type,
            attach_type: known.map_or(ExpectedAttach::None, |known| known.attach_type),
            sleepable: known.is_some_and(|known| known.sleepable),
            autoload,
            target: known.and_then(|known| known.target).map(|target| ProgramTarget::Named(target.to_owned())),
            instructions: sum.size / INSTRUCTION,
            uses: self.uses(&sum, &kfuncs, prog_type),
            needs_btf: self.needs_btf(&sum, &kfuncs, prog_type),
            helpers: sum.helpers,
            kfuncs,
            maps: sum.maps,
            attaches_by: known.map_or(AttachWay::Unknown, |known| known.way),
            attaches_itself: known.is_some_and(|known| known.automatic),
            has_jump_table: sum.has_jump_table,
        }
    }

    fn uses(&self, sum: &Sum, kfuncs: &BTreeSet<String>, prog_type: Option<u32>) -> BTreeSet<Use> {
        let mut uses: BTreeSet<Use> = sum.helpers.iter().map(|helper| Use::Helper(*helper)).collect();
        let is = |kind, number, name| names::name(kind, number) == Some(name);
        let has_arena = sum.maps.iter().any(|map| is(Kind::Map, self.maps[*map].map_type, "arena"));
        let is_of_cgroup = prog_type.is_some_and(|number| is(Kind::Prog, number, "cgroup_skb"));
        uses.extend(sum.calls_functions.then_some(Use::Functions));
        uses.extend(has_arena.then_some(Use::Arena));
        uses.extend((is_of_cgroup && sum.reads_packet).then_some(Use::PacketOfCgroup));
        uses.extend(DESTRUCTIVE.iter().any(|name| kfuncs.contains(*name)).then_some(Use::Destruction));
        uses
    }

    fn needs_btf(&self, sum: &Sum, kfuncs: &BTreeSet<String>, prog_type: Option<u32>) -> BTreeSet<BtfReason> {
        let type_name = prog_type.and_then(|number| names::name(Kind::Prog, number)).unwrap_or_default();
        let works_on_fields = !kfuncs.is_empty() || HELPERS.of_fields.iter().any(|helper| sum.helpers.contains(helper));
        let has_fields = sum.maps.iter().any(|map| !self.maps[*map].special_fields.is_empty());
        let reasons = [
            (sum.has_callback, BtfReason::Callback),
            (type_name == "ext", BtfReason::Extension),
            (type_name == "struct_ops", BtfReason::StructOps),
            (OWN_OBJECTS.iter().any(|name| kfuncs.contains(*name)), BtfReason::OwnObjects),
            (sum.returns_abnormally, BtfReason::AbnormalReturn),
            (works_on_fields && has_fields, BtfReason::SpecialFields),
        ];
        reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
    }

    /// Assigns programs to the members of a `struct_ops` instance (`bpf_object__collect_st_ops_relos` of libbpf).
    pub(crate) fn assign_members(
        &self,
        btf: &Btf<'_>,
        operations: &Operations,
        relocations: &[Relocation],
        programs: &mut [FoundProgram],
    ) {
        let Some(structure) = btf.get(operations.of) else { return };
        let end = operations.start.saturating_add(operations.size);
        let first = relocations.partition_point(|relocation| relocation.offset < operations.start);
        let members: Vec<_> = btf.members(&structure).collect();
        for relocation in relocations[first..].iter().take_while(|relocation| relocation.offset < end) {
            let bits = (relocation.offset - operations.start).saturating_mul(8);
            let index = members.iter().position(|member| u64::from(member.offset) == bits);
            let (Some(index), Some(symbol)) = (index, self.elf.symbols.get(relocation.symbol)) else { continue };
            let at = programs.partition_point(|one| (one.section, one.start) < (symbol.section, symbol.value));
            let Some(found) = programs.get_mut(at) else { continue };
            if (found.section, found.start) != (symbol.section, symbol.value) {
                continue;
            }
            let is_created = self.maps[operations.map].autocreate;
            found.operations = (true, found.operations.1 || is_created);
            found.program.target = Some(ProgramTarget::Member {
                structure: essential(structure.name).to_owned(),
                member: members[index].name.to_owned(),
                index: index as u32,
            });
        }
    }
}

/// Whether programs of this type cannot be loaded without an attach target (`SEC_ATTACH_BTF` of libbpf).
fn needs_target(prog_type: u32) -> bool {
    matches!(names::name(Kind::Prog, prog_type), Some("tracing" | "lsm" | "ext"))
}

/// Disables programs of `struct_ops` maps that are not created (`bpf_object_adjust_struct_ops_autoload` of libbpf).
pub(crate) fn settle_operations(programs: &mut [FoundProgram], notes: &mut Vec<Note>) {
    for FoundProgram { program, operations, .. } in programs {
        if let (true, is_created) = *operations {
            program.autoload = is_created;
        }
        match &program.target {
            Some(ProgramTarget::Member { structure, member, .. }) => {
                notes.push(Note::OwnCount(structure.clone(), member.clone()));
            }
            _ if program.autoload && program.attaches_by == AttachWay::StructOps => {
                notes.push(Note::NoOperations(program.name.clone()));
            }
            _ => {}
        }
    }
}

impl Sum {
    fn add(&mut self, effects: &FunctionEffects, is_main: bool) {
        self.helpers.extend(&effects.helpers);
        self.kfuncs.extend(&effects.kfuncs);
        self.maps.extend(&effects.maps);
        self.calls_functions |= effects.calls_functions;
        self.has_callback |= effects.has_callback;
        self.has_jump_table |= effects.has_jump_table;
        self.reads_packet |= effects.reads_packet;
        let is_abnormal = effects.reads_packet_by_ld_abs || effects.helpers.contains(&HELPERS.tail_call);
        self.returns_abnormally |= !is_main && is_abnormal;
    }
}
