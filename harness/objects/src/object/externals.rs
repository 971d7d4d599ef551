//! What an object imports: Kconfig values and kernel symbols.

use std::collections::BTreeSet;

use harness_uapi::btf::{Btf, BtfKind};

use crate::elf::Elf;

/// The most imports that are read.
const MOST: usize = 8192;

/// The imported names: Kconfig values sorted, symbols in file order.
#[derive(Default)]
pub(crate) struct Externals {
    pub(crate) kconfig: Vec<String>,
    pub(crate) ksyms: Vec<String>,
    /// Whether some symbol is imported by address, as a variable without a type.
    pub(crate) addresses: bool,
}

impl Externals {
    /// Reads the undefined symbols by their BTF.
    pub(crate) fn of(elf: &Elf<'_>, btf: Option<&Btf<'_>>) -> Self {
        let mut externals = Self::default();
        let undefined: BTreeSet<&str> =
            elf.symbols.iter().filter(|symbol| symbol.section == 0).map(|symbol| symbol.name).collect();
        let Some(btf) = btf else { return externals };
        for name in [".kconfig", ".ksyms"] {
            let Some((_, section)) = btf.section(name) else { continue };
            for member in btf.members(&section).take(MOST) {
                let Some(found) = btf.get(member.of).filter(|found| undefined.contains(found.name)) else { continue };
                match (name, found.kind) {
                    (".kconfig", _) => externals.kconfig.push(found.name.to_owned()),
                    (_, BtfKind::Func) => externals.ksyms.push(format!("{}()", found.name)),
                    _ => {
                        externals.ksyms.push(found.name.to_owned());
                        // `extern const void name __ksym`: libbpf looks up the address of a symbol without a type.
                        externals.addresses |= btf.plain(found.size_or_type).is_none();
                    }
                }
            }
        }
        externals.kconfig.sort();
        externals
    }

    pub(crate) fn is_kconfig(&self, name: &str) -> bool {
        self.kconfig.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}
