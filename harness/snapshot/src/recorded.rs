//! The snapshots of a scenario: which applies to which environment, and how accepting new texts changes them.

use std::collections::BTreeMap;

use harness_protocol::name::ImageName;

use crate::{
    owner::{Lineage, Owner},
    render::same,
};

/// The snapshots of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The texts by owner.
    pub texts: BTreeMap<Owner, String>,
}

/// What to accept, and what must stay.
#[derive(Clone, Copy, Debug)]
pub struct Blessing<'a> {
    /// The texts of the environments that ran.
    pub texts: &'a [(Lineage, String)],
    /// Environments that did not run, whose snapshots must stay as recorded.
    pub held: &'a [Lineage],
    /// The scenario's first image, which `NAME.snap` and `NAME@KERNEL.snap` are recorded for.
    pub image: &'a ImageName,
}

impl Blessing<'_> {
    /// The texts of an image's environments, or of all; kernels that inherit snapshots come last.
    fn ordered(&self, image: Option<&ImageName>) -> Vec<&(Lineage, String)> {
        let wanted = |(lineage, _): &&(Lineage, String)| image.is_none_or(|image| *image == lineage.environment.image);
        let (first, then): (Vec<_>, Vec<_>) =
            self.texts.iter().filter(wanted).partition(|(lineage, _)| lineage.alike.is_empty());
        first.into_iter().chain(then).collect()
    }

    fn images(&self) -> Vec<&ImageName> {
        let mut images: Vec<&ImageName> = Vec::new();
        for (lineage, _) in self.texts {
            if !images.contains(&&lineage.environment.image) {
                images.push(&lineage.environment.image);
            }
        }
        images
    }
}

impl Recorded {
    /// The snapshot that applies to this environment.
    pub fn for_environment(&self, lineage: &Lineage) -> Option<&str> {
        self.first(lineage.owners())
    }

    /// The snapshot that would apply to this environment without this owner's.
    pub fn without(&self, owner: &Owner, lineage: &Lineage) -> Option<&str> {
        self.first(lineage.owners().filter(|other| other != owner))
    }

    /// The owner of the snapshot that applies to this environment; `None` if there is none.
    pub fn holder(&self, lineage: &Lineage) -> Option<Owner> {
        lineage.owners().find(|owner| self.texts.contains_key(owner))
    }

    fn first(&self, mut owners: impl Iterator<Item = Owner>) -> Option<&str> {
        owners.find_map(|owner| self.texts.get(&owner)).map(String::as_str)
    }

    /// The snapshots after blessing these texts: the least specific files that give each environment its text.
    ///
    /// A shared snapshot stays if it applies to an environment that did not run, or still matches one that ran. Otherwise
    /// the first kernel's text replaces it: that of the scenario's first image for `NAME.snap`, that of another image for
    /// `NAME@@IMAGE.snap`, which exists only if the first image's snapshots match no kernel that ran with the other image.
    /// A kernel whose text differs from what it would inherit gets its own file; a kernel whose text is the same loses it.
    pub fn blessed(&self, blessing: &Blessing<'_>) -> Self {
        let mut blessed = self.clone();
        let images = blessing.images();
        let is_new = !self.texts.keys().any(|owner| owner.image.is_none());
        let plain = match images.first() {
            Some(first) if is_new && !images.contains(&blessing.image) => first,
            _ => blessing.image,
        };
        blessed.settle_plain(self, blessing, plain);
        for image in images.into_iter().filter(|image| *image != plain) {
            blessed.settle_image(self, blessing, image);
        }
        for (lineage, text) in blessing.ordered(None) {
            let owner = Owner::exactly(&lineage.environment);
            let is_inherited = blessed.without(&owner, lineage).is_some_and(|inherited| same(inherited, text));
            blessed.put(owner, (!is_inherited).then_some(text));
        }
        blessed
    }

    /// Updates `NAME.snap` and `NAME@KERNEL.snap` from the texts of this image's environments.
    fn settle_plain(&mut self, before: &Self, blessing: &Blessing<'_>, image: &ImageName) {
        let texts = blessing.ordered(Some(image));
        let Some((_, first)) = texts.first() else { return };
        if !before.keeps(&Owner::EVERYBODY, &texts, blessing, image) {
            self.put(Owner::EVERYBODY, Some(first));
        }
        for (lineage, text) in texts {
            let owner = Owner::kernel(&lineage.environment.kernel);
            let inherited = self.first(lineage.owners_of_any_image().filter(|other| *other != owner));
            let is_inherited = inherited.is_some_and(|inherited| same(inherited, text));
            self.put(owner, (!is_inherited).then_some(text));
        }
    }

    /// Updates `NAME@@IMAGE.snap` from the texts of this image's environments.
    fn settle_image(&mut self, before: &Self, blessing: &Blessing<'_>, image: &ImageName) {
        let (owner, texts) = (Owner::image(image), blessing.ordered(Some(image)));
        let is_inherited = |(lineage, text): &&(Lineage, String)| {
            self.first(lineage.owners_of_any_image()).is_some_and(|elsewhere| same(elsewhere, text))
        };
        let agreeing = texts.iter().copied().filter(is_inherited).count();
        let relied = before.is_relied_on(&owner, blessing, image);
        if relied || (agreeing < texts.len() && before.keeps(&owner, &texts, blessing, image)) {
            return;
        }
        let first = texts.first().map(|(_, text)| text);
        self.put(owner, first.filter(|_| agreeing == 0));
    }

    /// Whether this snapshot stays: it applies to an environment that did not run, or still matches one that ran.
    fn keeps(&self, owner: &Owner, texts: &[&(Lineage, String)], blessing: &Blessing<'_>, image: &ImageName) -> bool {
        let Some(old) = self.texts.get(owner) else { return false };
        self.is_relied_on(owner, blessing, image) || texts.iter().any(|(_, text)| same(text, old))
    }

    fn is_relied_on(&self, owner: &Owner, blessing: &Blessing<'_>, image: &ImageName) -> bool {
        let mut held = blessing.held.iter().filter(|lineage| lineage.environment.image == *image);
        held.any(|lineage| self.holder(lineage).as_ref() == Some(owner))
    }

    fn put(&mut self, owner: Owner, text: Option<&String>) {
        match text {
            Some(text) => drop(self.texts.insert(owner, text.clone())),
            None => drop(self.texts.remove(&owner)),
        }
    }
}

#[cfg(test)]
mod tests;
