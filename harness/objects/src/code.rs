//! What the instructions of functions do, as far as that can be told without running them.

use std::collections::BTreeSet;

use crate::{
    elf::{Elf, Relocation, STT_FUNC},
    error::ObjectError,
};

/// An instruction has this many bytes.
const INSTRUCTION: u64 = 8;
const MOST_FUNCTIONS: usize = 4 * 1024;
/// Helpers are numbered from 1; no kernel has as many as this.
const HELPERS: i32 = 4096;
/// All that is found in all functions together.
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
    /// The section it is in.
    pub(crate) section: usize,
    /// Where it begins there, in bytes.
    pub(crate) start: u64,
    pub(crate) size: u64,
    /// Whether nothing outside of the object sees it.
    pub(crate) is_local: bool,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Code of a section.
    Code,
    /// A map, by its place in the list.
    Map(usize),
    /// Something outside of the object.
    Outside,
    /// A table of places to jump to.
    JumpTable,
    /// Nothing that counts here.
    Other,
}

/// What one function does by its own instructions.
#[derive(Clone, Debug, Default)]
pub(crate) struct FunctionEffects {
    pub(crate) helpers: BTreeSet<u32>,
    /// Functions of the kernel it calls, by the number of the symbol.
    pub(crate) kfuncs: BTreeSet<usize>,
    pub(crate) maps: BTreeSet<usize>,
    /// Functions of the object that it calls, or hands over to be called.
    pub(crate) calls: BTreeSet<usize>,
    /// Whether it calls anything that is no helper.
    pub(crate) calls_functions: bool,
    pub(crate) has_callback: bool,
    pub(crate) has_jump_table: bool,
    /// Whether it reads a packet by `LD_ABS` or `LD_IND`.
    pub(crate) reads_packet_of_old: bool,
    /// Whether it reads where the packet is, of a context for packets.
    pub(crate) reads_packet: bool,
}

/// All functions of the sections with code, by section and place.
pub(crate) fn functions<'a>(elf: &Elf<'a>) -> Result<Vec<Function<'a>>, ObjectError> {
    let mut found = Vec::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == STT_FUNC) {
        let Some(section) = elf.sections.get(symbol.section).filter(|section| section.is_code) else { continue };
        let end = symbol.value.checked_add(symbol.size).filter(|end| *end <= section.bytes.len() as u64);
        if end.is_none() || symbol.value % INSTRUCTION != 0 {
            return Err(ObjectError::damaged(symbol.name, "the function is not within its section"));
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
    // Other names for the same code are rare.
    if found.iter().map(|function| function.size).sum::<u64>() > elf.code_size().saturating_mul(4) {
        return Err(ObjectError::damaged("the table of symbols", "functions overlap"));
    }
    found.sort_by_key(|function| (function.section, function.start, function.size));
    Ok(found)
}

/// Looks through the instructions of functions.
pub(crate) struct Reader<'e, 'a> {
    pub(crate) elf: &'e Elf<'a>,
    pub(crate) functions: &'e [Function<'a>],
    /// What each symbol stands for.
    pub(crate) meanings: &'e [Meaning],
    /// How much may still be found.
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

    /// `BPF_LD | BPF_ABS` and `BPF_LD | BPF_IND` of any size.
    fn reads_packet_of_old(self) -> bool {
        self.code & 0x07 == 0 && matches!(self.code & 0xe0, 0x20 | 0x40)
    }

    /// Whether it writes its destination register: loads and arithmetic.
    fn writes_register(self) -> bool {
        matches!(self.code & 0x07, 0 | 1 | 4 | 7)
    }
}

impl<'e, 'a> Reader<'e, 'a> {
    pub(crate) fn new(elf: &'e Elf<'a>, functions: &'e [Function<'a>], meanings: &'e [Meaning]) -> Self {
        Self { elf, functions, meanings, left: MOST_FINDINGS }
    }

    /// What a function does. `relocations` are those of its section.
    pub(crate) fn deeds(
        &mut self,
        of: &Function<'_>,
        relocations: &[Relocation],
    ) -> Result<FunctionEffects, ObjectError> {
        let mut deeds = FunctionEffects::default();
        let bytes = &self.elf.sections[of.section].bytes[of.start as usize..(of.start + of.size) as usize];
        let first = relocations.partition_point(|relocation| relocation.offset < of.start);
        let mut relocations = relocations[first..].iter().peekable();
        // Whether a register holds the context: the first argument, and what it is copied to.
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
            deeds.note_context(instruction, &mut is_context);
            match symbol {
                Some(symbol) => self.refers(&mut deeds, of, instruction, symbol)?,
                None => self.plain(&mut deeds, of, instruction, at),
            }
        }
        let found = deeds.helpers.len() + deeds.kfuncs.len() + deeds.maps.len() + deeds.calls.len();
        self.left = self.left.checked_sub(found).ok_or(ObjectError::TooMany { what: "calls", most: MOST_FINDINGS })?;
        Ok(deeds)
    }

    /// An instruction with a relocation.
    fn refers(
        &self,
        deeds: &mut FunctionEffects,
        of: &Function<'_>,
        instruction: Instruction,
        symbol: usize,
    ) -> Result<(), ObjectError> {
        let (Some(meaning), Some(found)) = (self.meanings.get(symbol), self.elf.symbols.get(symbol)) else {
            return Err(ObjectError::damaged(of.name, "a relocation names a symbol that does not exist"));
        };
        let is_call = instruction.code == CALL;
        match meaning {
            Meaning::Map(map) => drop(deeds.maps.insert(*map)),
            Meaning::JumpTable => deeds.has_jump_table = true,
            Meaning::Outside if is_call => {
                deeds.calls_functions = true;
                deeds.kfuncs.insert(symbol);
            }
            Meaning::Code => {
                // A call counts instructions from the next one on; an address counts bytes.
                let value = i64::from(instruction.value);
                let within = if is_call { (value + 1) * INSTRUCTION as i64 } else { value };
                let place = (found.value as i64).wrapping_add(within);
                self.call(deeds, found.section, place as u64);
                deeds.has_callback |= !is_call;
            }
            Meaning::Outside | Meaning::Other => {}
        }
        Ok(())
    }

    /// An instruction without a relocation.
    fn plain(&self, deeds: &mut FunctionEffects, of: &Function<'_>, instruction: Instruction, at: u64) {
        let Instruction { code, from, value, .. } = instruction;
        let ahead = (i64::from(value) + 1) * INSTRUCTION as i64;
        match (code, from) {
            (CALL, PSEUDO_CALL) => self.call(deeds, of.section, at.wrapping_add_signed(ahead)),
            (CALL, PSEUDO_KFUNC) => deeds.calls_functions = true,
            (CALL, 0) if (1..HELPERS).contains(&value) => {
                deeds.helpers.insert(value as u32);
            }
            (LOAD_64, PSEUDO_FUNC) => {
                self.call(deeds, of.section, at.wrapping_add_signed(ahead));
                deeds.has_callback = true;
            }
            _ => deeds.reads_packet_of_old |= instruction.reads_packet_of_old(),
        }
    }

    fn call(&self, deeds: &mut FunctionEffects, section: usize, place: u64) {
        deeds.calls_functions = true;
        let after = self.functions.partition_point(|one| (one.section, one.start) <= (section, place));
        let called = after.checked_sub(1).filter(|before| {
            let function = &self.functions[*before];
            function.section == section && place < function.start + function.size.max(1)
        });
        deeds.calls.extend(called);
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
