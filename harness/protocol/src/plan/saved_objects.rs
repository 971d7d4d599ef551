//! The arguments of a call that name saved objects.

use crate::plan::{HelperSurvey, LinkTarget, MapTypes, ProgTarget, ProgTypes, Verify};

/// An argument that may name saved objects.
pub(super) trait SavedObjects {
    /// Adds the names, in the order in which the actor gets the objects' descriptors.
    fn names<'a>(&'a self, names: &mut Vec<&'a String>);

    /// Adds the names, for changing them.
    fn names_mut<'a>(&'a mut self, names: &mut Vec<&'a mut String>);
}

/// Declares which parts of a type name saved objects, once for reading and for changing.
macro_rules! saved_objects {
    ($type:ty: $($pattern:pat => { $($part:ident),* })*) => {
        #[allow(unused_variables, reason = "most arguments name no saved object")]
        impl SavedObjects for $type {
            fn names<'a>(&'a self, names: &mut Vec<&'a String>) {
                match self { $($pattern => { $($part.names(names);)* })* }
            }

            fn names_mut<'a>(&'a mut self, names: &mut Vec<&'a mut String>) {
                match self { $($pattern => { $($part.names_mut(names);)* })* }
            }
        }
    };
}
pub(super) use saved_objects;

impl SavedObjects for String {
    fn names<'a>(&'a self, names: &mut Vec<&'a String>) {
        names.push(self);
    }

    fn names_mut<'a>(&'a mut self, names: &mut Vec<&'a mut String>) {
        names.push(self);
    }
}

impl<T: SavedObjects> SavedObjects for Option<T> {
    fn names<'a>(&'a self, names: &mut Vec<&'a String>) {
        self.iter().for_each(|one| one.names(names));
    }

    fn names_mut<'a>(&'a mut self, names: &mut Vec<&'a mut String>) {
        self.iter_mut().for_each(|one| one.names_mut(names));
    }
}

impl<T: SavedObjects> SavedObjects for Vec<T> {
    fn names<'a>(&'a self, names: &mut Vec<&'a String>) {
        self.iter().for_each(|one| one.names(names));
    }

    fn names_mut<'a>(&'a mut self, names: &mut Vec<&'a mut String>) {
        self.iter_mut().for_each(|one| one.names_mut(names));
    }
}

saved_objects!(MapTypes: Self::Saved { btf, .. } | Self::KernelStruct { btf, .. } => { btf } Self::None => {});
saved_objects!(ProgTypes: Self { btf, .. } => { btf });
saved_objects!(ProgTarget: Self::Program { prog, .. } => { prog } _ => {});
saved_objects!(LinkTarget: Self::Map(saved) | Self::Elements(saved) | Self::Event(saved) => { saved } _ => {});
saved_objects!(HelperSurvey: Self { within, beyond, .. } => { within, beyond });
saved_objects!(Verify: Self { map, .. } => { map });
