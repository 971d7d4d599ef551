//! The running kernel: its functions by name, from its type information.

use std::{fs, io, sync::Arc};

use guard_policy::{is_guarded, layout::BUILD_ID};
use harness_uapi::btf::{Btf, BtfError, BtfKind};
use thiserror::Error;

/// The type information of the running kernel (`Documentation/bpf/btf.rst`).
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The LSMs that are in force, in order (`Documentation/admin-guide/LSM/index.rst`).
const LSM_LIST: &str = "/sys/kernel/security/lsm";

/// The notes that the linker left in the running kernel (`Documentation/ABI/testing/sysfs-kernel-notes`).
const NOTES: &str = "/sys/kernel/notes";

/// Why the kernel's type information cannot be used.
#[derive(Debug, Error)]
pub enum KernelError {
    /// It cannot be read.
    #[error("cannot read {BTF}: {0}; the kernel needs CONFIG_DEBUG_INFO_BTF, and sysfs must be mounted")]
    Read(io::Error),
    /// It is damaged.
    #[error("{BTF}: {0}")]
    Parse(BtfError),
    /// The kernel has no build id.
    #[error("{NOTES} has no build id: {0}")]
    BuildId(String),
}

/// The functions of the running kernel, by name and by id. A guard asks for a few of some fifty thousand, so names stay
/// where they are, and are looked for one after the other.
#[derive(Clone, Debug)]
pub struct Kernel {
    btf: Arc<[u8]>,
    functions: Vec<Named>,
    /// Typedefs and structures: what tracepoints and struct_ops programs are attached to.
    types: Vec<Named>,
    arguments_of_bpf: usize,
    has_logins: bool,
}

/// A type with a name, which lies in the kernel's type information. Lists of them are in the order of their ids.
#[derive(Clone, Copy, Debug)]
struct Named {
    id: u32,
    start: usize,
    length: usize,
}

impl Kernel {
    /// Reads the type information of the running kernel.
    ///
    /// # Errors
    /// [`KernelError`] if there is none.
    pub fn running() -> Result<Self, KernelError> {
        Self::of(fs::read(BTF).map_err(KernelError::Read)?.into())
    }

    /// Reads type information.
    ///
    /// # Errors
    /// [`KernelError::Parse`] if it is damaged.
    pub fn of(bytes: Arc<[u8]>) -> Result<Self, KernelError> {
        let btf = Btf::of(&bytes).map_err(KernelError::Parse)?;
        let (mut functions, mut types) = (Vec::new(), Vec::new());
        let (mut arguments_of_bpf, mut has_logins) = (0, false);
        for id in 1..=btf.len() as u32 {
            if !btf.kind(id).is_some_and(|kind| [BtfKind::Func, BtfKind::Struct, BtfKind::Typedef].contains(&kind)) {
                continue;
            }
            let Some(ty) = btf.get(id).filter(|ty| !ty.name.is_empty()) else { continue };
            let start = ty.name.as_ptr() as usize - bytes.as_ptr() as usize;
            let named = Named { id, start, length: ty.name.len() };
            match (ty.kind, ty.name) {
                (BtfKind::Func, name) => {
                    functions.push(named);
                    if name == "bpf_lsm_bpf" {
                        arguments_of_bpf = btf.parameters(ty.size_or_type);
                    }
                }
                (kind, name) => {
                    types.push(named);
                    if kind == BtfKind::Struct && name == "task_struct" {
                        has_logins |= btf.members(&ty).any(|member| member.name == "loginuid");
                    }
                }
            }
        }
        Ok(Self { functions, types, arguments_of_bpf, has_logins, btf: bytes })
    }

    fn text(&self, named: &Named) -> &str {
        let bytes = self.btf.get(named.start..named.start + named.length).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }

    /// Returns the id of the first of this name, which is the one that libbpf finds.
    fn first(&self, among: &[Named], name: &str) -> Option<u32> {
        let is_meant = |named: &&Named| named.length == name.len() && self.text(named) == name;
        among.iter().find(is_meant).map(|named| named.id)
    }

    /// Returns the id of a function's type.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.first(&self.functions, name)
    }

    /// Returns the ids that a program's target of this name can have: a function, a typedef (`btf_trace_NAME` for the
    /// tracepoint NAME, `kernel/bpf/verifier.c`), or a structure.
    pub fn targets(&self, name: &str) -> impl Iterator<Item = u32> {
        let tracepoint = format!("btf_trace_{name}");
        let types = [name, &tracepoint].map(|name| self.first(&self.types, name));
        [self.function(name)].into_iter().chain(types).flatten()
    }

    /// Returns the name of a function, typedef or structure by the id of its type.
    pub fn name(&self, id: u32) -> Option<&str> {
        let mut lists = [&self.functions, &self.types].into_iter();
        lists.find_map(|list| Some(self.text(&list[list.binary_search_by_key(&id, |named| named.id).ok()?])))
    }

    /// Returns the functions that no tracing program may be attached to.
    pub(crate) fn guarded(&self) -> impl Iterator<Item = u32> + '_ {
        self.functions.iter().filter(|named| is_guarded(self.text(named))).map(|named| named.id)
    }

    /// Returns whether the hook `bpf` says if a call comes from a BPF program: its fourth argument, which 6.16 has and 6.12 has not.
    pub(crate) fn has_kernel_argument(&self) -> bool {
        self.arguments_of_bpf > 3
    }

    /// Returns whether tasks have a login user (`CONFIG_AUDIT`).
    pub(crate) fn has_logins(&self) -> bool {
        self.has_logins
    }
}

/// Returns the list of LSMs that are in force, if securityfs shows it.
pub(crate) fn lsm_list() -> Option<String> {
    fs::read_to_string(LSM_LIST).ok()
}

/// Returns the build id of the running kernel, by which a build is known.
///
/// # Errors
/// [`KernelError::BuildId`] if there is none.
pub fn build_id() -> Result<[u8; BUILD_ID], KernelError> {
    let notes = fs::read(NOTES).map_err(|error| KernelError::BuildId(error.to_string()))?;
    build_id_in(&notes).ok_or_else(|| KernelError::BuildId("no note NT_GNU_BUILD_ID of 20 bytes".to_owned()))
}

/// Each note has the sizes of its name and of its contents, and its type, 4 bytes each; then both, padded to 4 bytes (elf(5)).
fn build_id_in(mut notes: &[u8]) -> Option<[u8; BUILD_ID]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let number = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    loop {
        let (name, size, kind) = (number(notes, 0)? as usize, number(notes, 4)? as usize, number(notes, 8)?);
        let start = 12_usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = start.checked_add(size)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" {
            return notes.get(start..end)?.try_into().ok();
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_id_is_found_among_notes() {
        let note = |name: &[u8], kind: u32, contents: &[u8]| {
            let mut bytes = [name.len() as u32, contents.len() as u32, kind].map(u32::to_le_bytes).concat();
            for part in [name, contents] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let id = note(b"GNU\0", 3, &[7; 20]);
        let notes = [note(b"Xen\0", 3, &[1; 20]), note(b"Linux\0", 0x101, &[0]), id.clone()].concat();
        assert_eq!(build_id_in(&notes), Some([7; 20]));
        assert_eq!(build_id_in(&notes[..notes.len() - 1]), None);
        assert_eq!(build_id_in(&note(b"GNU\0", 3, &[7; 8])), None);
        assert_eq!(build_id_in(&note(b"GNU\0", 1, &[7; 20])), None);
        assert_eq!(build_id_in(&[0xff; 64]), None);
        assert_eq!(build_id_in(&[]), None);
    }

    /// BTF of functions alone (`Documentation/bpf/btf.rst`).
    fn of_functions(names: &[&str]) -> Kernel {
        const FUNC: u32 = 12;
        let (mut types, mut texts) = (Vec::new(), vec![0]);
        for name in names {
            types.extend([texts.len() as u32, FUNC << 24, 0].map(u32::to_le_bytes).concat());
            texts.extend([name.as_bytes(), &[0]].concat());
        }
        let lengths = [24, 0, types.len() as u32, types.len() as u32, texts.len() as u32];
        let header = [&[0x9f, 0xeb, 1, 0][..], &lengths.map(u32::to_le_bytes).concat()].concat();
        Kernel::of([header, types, texts].concat().into()).unwrap()
    }

    #[test]
    fn functions_are_found_by_name_and_by_id() {
        let kernel = of_functions(&["vfs_read", "vfs_write", "vfs_read"]);
        assert_eq!([kernel.function("vfs_read"), kernel.function("vfs_write")], [Some(1), Some(2)], "the first one");
        assert_eq!([kernel.function("vfs_rea"), kernel.function("")], [None, None]);
        assert_eq!([3, 4].map(|id| kernel.name(id)), [Some("vfs_read"), None]);
        assert_eq!(kernel.targets("vfs_write").collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn checks_and_entries_are_guarded_and_nothing_else() {
        let names = ["security_bpf", "bpf_lsm_bpf", "__x64_sys_bpf", "insecurity_", "vfs_read", "x64_sys_bpf"];
        let kernel = of_functions(&names);
        assert_eq!(kernel.guarded().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn damaged_type_information_is_an_error() {
        let message = Kernel::of((*b"no BTF").into()).unwrap_err().to_string();
        assert_eq!(message, "/sys/kernel/btf/vmlinux: it is not little-endian BTF, version 1");
    }
}
