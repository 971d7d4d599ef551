//! What functions do, as far as their instructions show without being run.

use std::collections::BTreeSet;

use crate::{
    elf::{Elf, Relocation, STT_FUNC},
    error::ObjectError,
};

/// The size of an instruction in bytes.
pub(crate) const INSTRUCTION: u64 = 8;
const MOST_FUNCTIONS: usize = 4 * 1024;
/// Helpers are numbered from 1 and stay well below this number.
const HELPERS: i32 = 4096;
/// The most facts that are collected from all functions together.
const MOST_FINDINGS: usize = 1_000_000;

/// Operation codes (`include/uapi/linux/bpf_common.h`, `bpf.h`).
const CALL: u8 = 0x85;
const LOAD_64: u8 = 0x18;
const MOVE_64: u8 = 0xbf;
const LOAD_WORD: u8 = 0x61;
/// `BPF_PSEUDO_CALL`, `BPF_PSEUDO_KFUNC_CALL` and `BPF_PSEUDO_FUNC` (`include/uapi/linux/bpf.h`).
const PSEUDO_CALL: u8 = 1;
const PSEUDO_KFUNC: u8 = 2;
const PSEUDO_FUNC: u8 = 4;
/// Where `data` and `data_end` are in `struct __sk_buff`.
const PACKET_FIELDS: [i16; 2] = [76, 80];

/// A function of the object.
#[derive(Clone, Debug)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// The index of its section.
    pub(crate) section: usize,
    /// Its offset in the section, in bytes.
    pub(crate) start: u64,
    pub(crate) size: u64,
    /// Whether its symbol is local to the object.
    pub(crate) is_local: bool,
}

/// What a symbol refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Code.
    Code,
    /// A map, by its index in the list.
    Map(usize),
    /// Something that is defined outside the object.
    External,
    /// A jump table.
    JumpTable,
    /// Anything else.
    Other,
}

/// What one function does in its own instructions.
#[derive(Clone, Debug, Default)]
pub(crate) struct FunctionEffects {
    pub(crate) helpers: BTreeSet<u32>,
    /// Kernel functions it calls, by symbol index.
    pub(crate) kfuncs: BTreeSet<usize>,
    pub(crate) maps: BTreeSet<usize>,
    /// Functions of the object that it calls or passes as callbacks.
    pub(crate) calls: BTreeSet<usize>,
    /// Whether it calls anything other than helpers.
    pub(crate) calls_functions: bool,
    pub(crate) has_callback: bool,
    pub(crate) has_jump_table: bool,
    /// Whether it reads a packet by `LD_ABS` or `LD_IND`.
    pub(crate) reads_packet_by_ld_abs: bool,
    /// Whether it reads `data` or `data_end` of a packet context.
    pub(crate) reads_packet: bool,
}

/// All functions in code sections, ordered by section and offset.
pub(crate) fn functions<'a>(elf: &Elf<'a>) -> Result<Vec<Function<'a>>, ObjectError> {
    let mut found = Vec::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == STT_FUNC) {
        let Some(section) = elf.sections.get(symbol.section).filter(|section| section.is_code) else { continue };
        let end = symbol.value.checked_add(symbol.size).filter(|end| *end <= section.bytes.len() as u64);
        if end.is_none() || symbol.value % INSTRUCTION != 0 {
            return Err(ObjectError::damaged(symbol.name, "the function reaches beyond its section"));
        }
        found.push(Function {
            name: symbol.name,
            section: symbol.section,
            start: symbol.value,
            size: symbol.size,
            is_local: symbol.is_local,
        });
    }
    if found.len() > MOST_FUNCTIONS {
        return Err(ObjectError::TooMany { what: "functions", most: MOST_FUNCTIONS });
    }
    // Aliases for the same code are rare.
    if found.iter().map(|function| function.size).sum::<u64>() > elf.code_size().saturating_mul(4) {
        return Err(ObjectError::damaged("symbol table", "functions overlap"));
    }
    found.sort_by_key(|function| (function.section, function.start, function.size));
    Ok(found)
}

/// Reads the instructions of functions.
pub(crate) struct Reader<'e, 'a> {
    pub(crate) elf: &'e Elf<'a>,
    pub(crate) functions: &'e [Function<'a>],
    /// What each symbol refers to.
    pub(crate) meanings: &'e [Meaning],
    /// How many more facts may be collected.
    left: usize,
}

/// One instruction.
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    value: i32,
}

impl Instruction {
    fn of(bytes: &[u8]) -> Self {
        Self {
            code: bytes[0],
            to: bytes[1] & 0xf,
            from: bytes[1] >> 4,
            offset: i16::from_le_bytes([bytes[2], bytes[3]]),
            value: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    /// Whether it is `BPF_LD | BPF_ABS` or `BPF_LD | BPF_IND` of any size.
    fn reads_packet_by_ld_abs(self) -> bool {
        self.code & 0x07 == 0 && matches!(self.code & 0xe0, 0x20 | 0x40)
    }

    /// Whether it writes its destination register, as loads and arithmetic do.
    fn writes_register(self) -> bool {
        matches!(self.code & 0x07, 0 | 1 | 4 | 7)
    }
}

impl<'e, 'a> Reader<'e, 'a> {
    pub(crate) fn new(elf: &'e Elf<'a>, functions: &'e [Function<'a>], meanings: &'e [Meaning]) -> Self {
        Self { elf, functions, meanings, left: MOST_FINDINGS }
    }

    /// The effects of a function. `relocations` are those of its section.
    pub(crate) fn effects(
        &mut self,
        of: &Function<'_>,
        relocations: &[Relocation],
    ) -> Result<FunctionEffects, ObjectError> {
        let mut effects = FunctionEffects::default();
        let bytes = &self.elf.sections[of.section].bytes[of.start as usize..(of.start + of.size) as usize];
        let first = relocations.partition_point(|relocation| relocation.offset < of.start);
        let mut relocations = relocations[first..].iter().peekable();
        // Which registers hold the context: the first argument, and registers it is copied to.
        let mut is_context = [false; 16];
        is_context[1] = true;
        let mut is_second_half = false;
        for (at, bytes) in (of.start..).step_by(INSTRUCTION as usize).zip(bytes.chunks_exact(INSTRUCTION as usize)) {
            if std::mem::take(&mut is_second_half) {
                continue;
            }
            let instruction = Instruction::of(bytes);
            is_second_half = instruction.code == LOAD_64;
            while relocations.next_if(|relocation| relocation.offset < at).is_some() {}
            let symbol = relocations.next_if(|relocation| relocation.offset == at).map(|found| found.symbol);
            effects.note_context(instruction, &mut is_context);
            match symbol {
                Some(symbol) => self.note_relocated(&mut effects, of, instruction, symbol)?,
                None => self.note_plain(&mut effects, of, instruction, at),
            }
        }
        let found = effects.helpers.len() + effects.kfuncs.len() + effects.maps.len() + effects.calls.len();
        self.left = self.left.checked_sub(found).ok_or(ObjectError::TooMany { what: "calls", most: MOST_FINDINGS })?;
        Ok(effects)
    }

    /// Notes an instruction with a relocation.
    fn note_relocated(
        &self,
        effects: &mut FunctionEffects,
        of: &Function<'_>,
        instruction: Instruction,
        symbol: usize,
    ) -> Result<(), ObjectError> {
        let (Some(meaning), Some(found)) = (self.meanings.get(symbol), self.elf.symbols.get(symbol)) else {
            return Err(ObjectError::damaged(of.name, "a relocation names a symbol that does not exist"));
        };
        let is_call = instruction.code == CALL;
        match meaning {
            Meaning::Map(map) => drop(effects.maps.insert(*map)),
            Meaning::JumpTable => effects.has_jump_table = true,
            Meaning::External if is_call => {
                effects.calls_functions = true;
                effects.kfuncs.insert(symbol);
            }
            Meaning::Code => {
                // A call's offset counts instructions from the next one; an address counts bytes.
                let value = i64::from(instruction.value);
                let within = if is_call { (value + 1) * INSTRUCTION as i64 } else { value };
                let offset = (found.value as i64).wrapping_add(within);
                self.call(effects, found.section, offset as u64);
                effects.has_callback |= !is_call;
            }
            Meaning::External | Meaning::Other => {}
        }
        Ok(())
    }

    /// Notes an instruction without a relocation.
    fn note_plain(&self, effects: &mut FunctionEffects, of: &Function<'_>, instruction: Instruction, at: u64) {
        let Instruction { code, from, value, .. } = instruction;
        let ahead = (i64::from(value) + 1) * INSTRUCTION as i64;
        match (code, from) {
            (CALL, PSEUDO_CALL) => self.call(effects, of.section, at.wrapping_add_signed(ahead)),
            (CALL, PSEUDO_KFUNC) => effects.calls_functions = true,
            (CALL, 0) if (1..HELPERS).contains(&value) => {
                effects.helpers.insert(value as u32);
            }
            (LOAD_64, PSEUDO_FUNC) => {
                self.call(effects, of.section, at.wrapping_add_signed(ahead));
                effects.has_callback = true;
            }
            _ => effects.reads_packet_by_ld_abs |= instruction.reads_packet_by_ld_abs(),
        }
    }

    fn call(&self, effects: &mut FunctionEffects, section: usize, offset: u64) {
        effects.calls_functions = true;
        let after = self.functions.partition_point(|one| (one.section, one.start) <= (section, offset));
        let called = after.checked_sub(1).filter(|before| {
            let function = &self.functions[*before];
            function.section == section && offset < function.start + function.size.max(1)
        });
        effects.calls.extend(called);
    }
}

impl FunctionEffects {
    fn note_context(&mut self, instruction: Instruction, is_context: &mut [bool; 16]) {
        let Instruction { code, to, from, offset, .. } = instruction;
        let of_context = is_context[usize::from(from)];
        self.reads_packet |= code == LOAD_WORD && of_context && PACKET_FIELDS.contains(&offset);
        if code == CALL {
            is_context[..6].fill(false);
        } else if instruction.writes_register() {
            is_context[usize::from(to)] = code == MOVE_64 && of_context;
        }
    }
}
