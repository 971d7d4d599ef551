//! What an attack on the guard is aimed at.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    bpf::{self, Kind},
    error::{During, SysError},
};

/// Something that can be attacked: the guard, or what stands in for it in a control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// A process.
    pub(crate) pid: i32,
    /// A bpffs with pins of links; it is mounted in a folder of the mount `parent`.
    pub(crate) bpffs: String,
    /// The mount that has the folder.
    pub(crate) parent: String,
    /// The ids of its maps.
    pub(crate) maps: Vec<u32>,
    /// The ids of its programs.
    pub(crate) programs: Vec<u32>,
    /// The ids of its links.
    pub(crate) links: Vec<u32>,
    /// Whether it stands in for the guard: what the attack leads to is not waited for.
    pub(crate) is_stand_in: bool,
}

/// The ids of all maps, programs and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects([BTreeSet<u32>; 3]);

impl Objects {
    /// Lists what exists now.
    pub(crate) fn take() -> Result<Self, SysError> {
        let [maps, programs, links] = [Kind::Map, Kind::Program, Kind::Link].map(ids);
        Ok(Self([maps?, programs?, links?]))
    }

    /// Returns the maps, programs and links that did not exist before.
    pub(crate) fn beyond(&self, before: &Self) -> [Vec<u32>; 3] {
        [0, 1, 2].map(|kind| self.0[kind].difference(&before.0[kind]).copied().collect())
    }
}

/// Lists the ids of all objects of a kind.
pub(crate) fn ids(kind: Kind) -> Result<BTreeSet<u32>, SysError> {
    let (mut ids, mut last) = (BTreeSet::new(), 0);
    while let Some(id) = bpf::next_id(kind, last).during(|| format!("BPF_*_GET_NEXT_ID of {kind:?}"))? {
        ids.insert(id);
        last = id;
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_found_by_kind() {
        let objects = |maps: &[u32], links: &[u32]| {
            Objects([maps.iter().copied().collect(), BTreeSet::new(), links.iter().copied().collect()])
        };
        let new = objects(&[1, 2, 5], &[1, 2]).beyond(&objects(&[1, 2, 3], &[1]));
        assert_eq!(new, [vec![5], vec![], vec![2]]);
    }
}
