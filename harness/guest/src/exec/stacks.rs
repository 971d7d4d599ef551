//! Where in a traced program a call is made: the functions on its stack, found by the unwind tables of its files.

use std::{collections::BTreeMap, fs, fs::File, ops::Range, ptr};

use framehop::{
    ExplicitModuleSectionInfo, Module, Unwinder,
    x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64},
};
use harness_protocol::outcome::{Frame, LONGEST_NAME, MOST_FRAMES};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::tracee::{Registers, Tracee};

/// A file in the memory of this process, up to its end.
type Bytes = &'static [u8];

/// The most functions that are looked at on a stack.
const DEEPEST: usize = 64;

/// The stacks of a program's processes.
#[derive(Default)]
pub(super) struct Stacks {
    files: BTreeMap<String, Option<Bytes>>,
    /// The functions of addresses that were looked up.
    known: BTreeMap<(String, u64), Option<String>>,
    /// The last process that was looked at: another one of the same program has the same code in the same places or is read anew.
    last: Option<Code>,
}

/// The code that a process has in its memory.
struct Code {
    mapped: Vec<Mapped>,
    unwinder: UnwinderX86_64<Bytes>,
    cache: CacheX86_64,
}

/// A file's code in a process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapped {
    at: Range<u64>,
    offset: u64,
    path: String,
}

impl Stacks {
    /// Returns the functions on a stopped thread's stack, innermost first, without those of the C library; empty if nothing is known
    /// of it.
    pub(super) fn of(&mut self, tracee: Tracee, registers: &Registers) -> Vec<Frame> {
        let pid = tracee.0.as_raw_nonzero();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let mapped: Vec<Mapped> = maps.lines().filter_map(code).collect();
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        if self.last.as_ref().is_none_or(|last| last.mapped != mapped) {
            self.last = Some(self.read(mapped));
        }
        let Some(code) = &mut self.last else { return Vec::new() };
        let addresses = code.addresses(tracee, registers);
        let places =
            addresses.into_iter().filter_map(|at| Some((code.mapped.iter().find(|one| one.at.contains(&at))?, at)));
        let told: Vec<(Mapped, u64)> =
            shortened(places, &program.to_string_lossy()).map(|(one, at)| (one.clone(), at)).collect();
        told.into_iter().filter_map(|(one, at)| self.frame(&one, at)).collect()
    }

    fn read(&mut self, mapped: Vec<Mapped>) -> Code {
        let mut unwinder = UnwinderX86_64::new();
        for one in &mapped {
            if let Some(bytes) = self.file(&one.path)
                && let Ok(file) = object::File::parse(bytes)
                && let Some(bias) = bias(&file, one)
            {
                unwinder.add_module(Module::new(one.path.clone(), one.at.clone(), bias, sections(&file)));
            }
        }
        Code { mapped, unwinder, cache: CacheX86_64::new() }
    }

    fn file(&mut self, path: &str) -> Option<Bytes> {
        *self.files.entry(path.to_owned()).or_insert_with(|| map(path))
    }

    /// Returns the function at an address of a process, which is in this file.
    fn frame(&mut self, one: &Mapped, address: u64) -> Option<Frame> {
        let file = object::File::parse(self.file(&one.path)?).ok()?;
        let address = address.wrapping_sub(bias(&file, one)?);
        let key = (one.path.clone(), address);
        let function = self.known.entry(key).or_insert_with(|| function(&file, address)).clone();
        Some(Frame { file: bounded(name(&one.path)), function, address })
    }
}

impl Code {
    fn addresses(&mut self, tracee: Tracee, registers: &Registers) -> Vec<u64> {
        let mut read = |at: u64| {
            let bytes: [u8; 8] = tracee.read(at, 8).try_into().map_err(drop)?;
            Ok(u64::from_ne_bytes(bytes))
        };
        let start = UnwindRegsX86_64::new(registers.rip, registers.rsp, registers.rbp);
        let mut frames = self.unwinder.iter_frames(registers.rip, start, &mut self.cache, &mut read);
        let mut found = Vec::new();
        while let Ok(Some(frame)) = frames.next()
            && found.len() < DEEPEST
        {
            found.push(frame.address_for_lookup());
        }
        found
    }
}

/// Reads a line of `/proc/PID/maps` (`proc_pid_maps(5)`); `None` unless it is a file's code.
fn code(line: &str) -> Option<Mapped> {
    let mut words = line.split_ascii_whitespace();
    let (range, permissions, offset) = (words.next()?, words.next()?, words.next()?);
    let path = line.find('/').map(|at| line[at..].to_owned())?;
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let at = number(start)?..number(end)?;
    (permissions.as_bytes().get(2) == Some(&b'x')).then_some(Mapped { at, offset: number(offset)?, path })
}

/// Maps a file for as long as this process lives, which is as long as the program that it traces.
#[allow(unsafe_code)]
fn map(path: &str) -> Option<Bytes> {
    let file = File::open(path).ok()?;
    let length = usize::try_from(file.metadata().ok()?.len()).ok().filter(|length| *length > 0)?;
    // SAFETY: the kernel chooses the place, and the mapping stays until the process ends.
    unsafe {
        let at = rustix::mm::mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, &file, 0).ok()?;
        Some(std::slice::from_raw_parts(at.cast(), length))
    }
}

/// Returns what is added to a file's own addresses where it is mapped.
fn bias(file: &object::File<'_>, mapped: &Mapped) -> Option<u64> {
    let is_code = |segment: &object::Segment<'_, '_>| match segment.flags() {
        SegmentFlags::Elf { p_flags, .. } => p_flags.0 & object::elf::PF_X.0 != 0,
        _ => false,
    };
    // The last page of a segment may be the first of the next.
    let own = file.segments().filter(is_code).find_map(|segment| {
        let (from, size) = segment.file_range();
        let within = mapped.offset.checked_sub(from & !0xfff).filter(|within| *within < size + (from & 0xfff))?;
        Some((segment.address() & !0xfff) + within)
    })?;
    Some(mapped.at.start.wrapping_sub(own))
}

fn sections(file: &object::File<'static>) -> ExplicitModuleSectionInfo<Bytes> {
    let range = |name| {
        let section = file.section_by_name(name)?;
        Some(section.address()..section.address() + section.size())
    };
    let data = |name| file.section_by_name(name)?.data().ok();
    ExplicitModuleSectionInfo {
        text_svma: range(".text"),
        text: data(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        ..Default::default()
    }
}

/// Returns the name of the function at a file's own address.
fn function(file: &object::File<'_>, address: u64) -> Option<String> {
    // Symbols without a size are labels, or functions of other files.
    let covers = |symbol: &object::Symbol<'_, '_>| {
        let is_function = symbol.is_definition() && symbol.kind() == object::SymbolKind::Text;
        is_function && address.checked_sub(symbol.address()).is_some_and(|within| within < symbol.size())
    };
    let nearest = file.symbols().chain(file.dynamic_symbols()).find(covers)?;
    let name = nearest.name().ok().filter(|name| !name.is_empty())?;
    Some(bounded(&format!("{:#}", rustc_demangle::demangle(name))))
}

/// Keeps the innermost two places and the program's own, without those of the C library.
fn shortened<'a>(
    places: impl Iterator<Item = (&'a Mapped, u64)>,
    program: &str,
) -> impl Iterator<Item = (&'a Mapped, u64)> {
    const INNERMOST: usize = 2;
    let own = places.filter(|(one, _)| !is_of_libc(name(&one.path))).enumerate();
    let kept = own.filter(move |(at, (one, _))| *at < INNERMOST || one.path == program);
    kept.map(|(_, place)| place).take(MOST_FRAMES)
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_of_libc(file: &str) -> bool {
    ["libc.so", "libc-", "ld-linux", "ld-musl"].iter().any(|start| file.starts_with(start))
}

/// Makes a name plain and keeps its end, which is the function in a path of modules.
fn bounded(name: &str) -> String {
    let plain: Vec<char> = name.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
    plain[plain.len().saturating_sub(LONGEST_NAME)..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(path: &str) -> Mapped {
        Mapped { at: 0..0, offset: 0, path: path.to_owned() }
    }

    #[test]
    fn only_code_of_files_is_taken_from_maps() {
        let line = "55d0c8a00000-55d0c8a21000 r-xp 00002000 fe:00 131 /usr/bin/a program";
        let mapped = code(line).unwrap();
        assert_eq!(
            (mapped.at.start, mapped.offset, mapped.path.as_str()),
            (0x55d0_c8a0_0000, 0x2000, "/usr/bin/a program")
        );
        for other in [
            "55d0c8a00000-55d0c8a21000 r--p 00002000 fe:00 131 /usr/bin/a",
            "7ffd1c9f5000-7ffd1c9f7000 r-xp 00000000 00:00 0 [vdso]",
            "7ffd1c9f5000-7ffd1c9f7000 r-xp 00000000 00:00 0",
            "zz-1 r-xp 0 0 0 /a",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn the_innermost_functions_and_the_programs_own_are_kept() {
        let [libc, libbpf, program] = ["/lib/libc.so.6", "/lib/libbpf.so.1", "/bin/p"].map(mapped);
        let places = [(&libc, 1), (&libbpf, 2), (&libbpf, 3), (&libbpf, 4), (&program, 5), (&libc, 6), (&program, 7)];
        let kept: Vec<u64> = shortened(places.into_iter(), "/bin/p").map(|(_, address)| address).collect();
        assert_eq!(kept, [2, 3, 5, 7]);
        let deep = (0..100).map(|address| (&program, address));
        assert_eq!(shortened(deep, "/bin/p").count(), MOST_FRAMES);
    }

    #[test]
    fn a_function_of_this_program_is_found_by_its_address() {
        let path = std::env::current_exe().unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mapped: Vec<Mapped> = maps.lines().filter_map(code).collect();
        let address = bounded as *const () as u64 + 1;
        let one = mapped.iter().find(|one| one.at.contains(&address)).unwrap();
        let found = Stacks::default().frame(one, address).unwrap();
        assert_eq!((one.path.as_str(), found.file), (path.to_str().unwrap(), bounded(name(&one.path))));
        assert_eq!(found.function.as_deref(), Some("harness_guest::exec::stacks::bounded"));
    }
}
