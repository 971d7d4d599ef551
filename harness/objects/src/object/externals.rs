//! What an object asks for from outside: values of the configuration, and symbols of the kernel.

use std::collections::BTreeSet;

use harness_uapi::btf::{Btf, BtfKind};

use crate::elf::Elf;

/// No object asks for more.
const MOST: usize = 8192;

/// The names: of the configuration in their order, of symbols in that of the file.
#[derive(Default)]
pub(crate) struct Externals {
    pub(crate) kconfig: Vec<String>,
    pub(crate) ksyms: Vec<String>,
    /// Whether some symbol is asked for by its address: its variable has no type.
    pub(crate) addresses: bool,
}

impl Externals {
    /// What types say of the symbols that are defined elsewhere.
    pub(crate) fn of(elf: &Elf<'_>, btf: Option<&Btf<'_>>) -> Self {
        let mut outside = Self::default();
        let asked: BTreeSet<&str> =
            elf.symbols.iter().filter(|symbol| symbol.section == 0).map(|symbol| symbol.name).collect();
        let Some(btf) = btf else { return outside };
        for name in [".kconfig", ".ksyms"] {
            let Some((_, section)) = btf.section(name) else { continue };
            for member in btf.members(&section).take(MOST) {
                let Some(found) = btf.get(member.of).filter(|found| asked.contains(found.name)) else { continue };
                match (name, found.kind) {
                    (".kconfig", _) => outside.kconfig.push(found.name.to_owned()),
                    (_, BtfKind::Func) => outside.ksyms.push(format!("{}()", found.name)),
                    _ => {
                        outside.ksyms.push(found.name.to_owned());
                        // `extern const void name __ksym`: without a type the address is looked up.
                        outside.addresses |= btf.plain(found.size_or_type).is_none();
                    }
                }
            }
        }
        outside.kconfig.sort();
        outside
    }

    pub(crate) fn is_kconfig(&self, name: &str) -> bool {
        self.kconfig.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}
