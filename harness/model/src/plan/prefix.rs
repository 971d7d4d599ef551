//! The same call about objects of other names.

use super::{Call, LinkTarget, MapTypes, PartContent, ProgTarget};

impl Call {
    /// The same call with this before the name of every saved object and every file it is about, so that calls made
    /// from one recipe do not meet.
    pub fn prefixed(&self, prefix: &str) -> Self {
        let mut call = self.clone();
        for name in call.names_mut() {
            name.insert_str(0, prefix);
        }
        call
    }

    /// The names of saved objects and of files.
    fn names_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::MapCreate { inner_map, types, .. } => inner_map.iter_mut().chain(types.name_mut()).collect(),
            Self::ProgLoad { target, types, maps, .. } => {
                let types = types.iter_mut().map(|types| &mut types.btf);
                target.name_mut().into_iter().chain(types).chain(maps).collect()
            }
            Self::MapUpdate { map, parts, .. } => {
                let held = parts.iter_mut().filter_map(|part| part.what.name_mut());
                std::iter::once(map).chain(held).collect()
            }
            Self::ObjPin { object, path, .. } => vec![object, path],
            Self::ObjGet { path } => vec![path],
            Self::FdById { object, .. } | Self::ObjInfo { object } | Self::TaskFdQuery { object } => vec![object],
            Self::MapLookup { map, .. }
            | Self::MapDelete { map, .. }
            | Self::MapNextKey { map, .. }
            | Self::MapLookupAndDelete { map, .. }
            | Self::MapBatch { map, .. }
            | Self::MapFreeze { map } => vec![map],
            Self::ProgTestRun { prog } | Self::ProgStreamRead { prog } | Self::RawTracepointOpen { prog, .. } => {
                vec![prog]
            }
            Self::ProgBindMap { prog, map } | Self::ProgAssocStructOps { prog, map } => vec![prog, map],
            Self::LinkCreate { prog, target, .. } | Self::ProgAttach { prog, target, .. } => {
                std::iter::once(prog).chain(target.name_mut()).collect()
            }
            Self::ProgDetach { prog, target, .. } => prog.iter_mut().chain(target.name_mut()).collect(),
            Self::ProgQuery { target, .. } => target.name_mut().into_iter().collect(),
            Self::LinkUpdate { link, prog } => vec![link, prog],
            Self::LinkDetach { link } | Self::IterCreate { link } => vec![link],
            Self::HelperSurvey(survey) => survey.within.iter_mut().chain(&mut survey.beyond).collect(),
            Self::Verify(verify) => verify.map.iter_mut().collect(),
            Self::TokenCreate { .. }
            | Self::BtfLoad
            | Self::BtfGetFdById { .. }
            | Self::TokenInfo
            | Self::MountDelegate { .. }
            | Self::NextId { .. }
            | Self::EnableStats
            | Self::Object(_)
            | Self::Remount { .. }
            | Self::Umount { .. }
            | Self::Exit
            | Self::Sabotage(_) => Vec::new(),
        }
    }
}

impl MapTypes {
    fn name_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::None => None,
            Self::Saved { btf, .. } | Self::KernelStruct { btf, .. } => Some(btf),
        }
    }
}

impl ProgTarget {
    fn name_mut(&mut self) -> Option<&mut String> {
        if let Self::Program { prog, .. } = self { Some(prog) } else { None }
    }
}

impl PartContent {
    fn name_mut(&mut self) -> Option<&mut String> {
        if let Self::Fd(object) = self { Some(object) } else { None }
    }
}

impl LinkTarget {
    fn name_mut(&mut self) -> Option<&mut String> {
        if let Self::Map(map) | Self::Elements(map) = self { Some(map) } else { None }
    }
}
