//! The snapshots of a scenario: which holds where, and which would change if others were accepted.

use std::collections::BTreeMap;

use harness_protocol::name::ImageName;

use crate::{
    owner::{Lineage, Owner},
    render::same,
};

/// The snapshots a scenario has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Each by its owner.
    pub texts: BTreeMap<Owner, String>,
}

/// What is accepted, and what must stay.
#[derive(Clone, Copy, Debug)]
pub struct Blessing<'a> {
    /// What grounds that ran gave.
    pub texts: &'a [(Lineage, String)],
    /// Grounds that did not run, and are held to what is recorded.
    pub held: &'a [Lineage],
    /// The first image the scenario is meant for: `NAME.snap` and `NAME@KERNEL.snap` say what it gives there.
    pub image: &'a ImageName,
}

impl Blessing<'_> {
    /// The texts of an image's grounds, or of all; a kernel that is like another comes after those that are like none.
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
    /// What is recorded for this ground.
    pub fn for_environment(&self, lineage: &Lineage) -> Option<&str> {
        self.first(lineage.owners())
    }

    /// What would hold for this ground without the snapshots of this owner.
    pub fn without(&self, owner: &Owner, lineage: &Lineage) -> Option<&str> {
        self.first(lineage.owners().filter(|other| other != owner))
    }

    /// Whose snapshot holds for this ground; `None` if there is none.
    pub fn holder(&self, lineage: &Lineage) -> Option<Owner> {
        lineage.owners().find(|owner| self.texts.contains_key(owner))
    }

    fn first(&self, mut owners: impl Iterator<Item = Owner>) -> Option<&str> {
        owners.find_map(|owner| self.texts.get(&owner)).map(String::as_str)
    }

    /// What would be recorded if these texts were blessed: the least exact files that say what each ground gave.
    ///
    /// A snapshot that grounds share stays if one that did not run is held to it, or if it still holds for one that ran.
    /// Otherwise the first kernel's text takes its place: of the scenario's first image for `NAME.snap`, of another image
    /// for `NAME@@IMAGE.snap`, which there is only if what holds for the first image is true of no kernel that ran with
    /// the other. A kernel whose text is not what it would inherit gets its own, and one whose text is loses it.
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
            let is_told = blessed.without(&owner, lineage).is_some_and(|inherited| same(inherited, text));
            blessed.put(owner, (!is_told).then_some(text));
        }
        blessed
    }

    /// `NAME.snap` and `NAME@KERNEL.snap`, by what this image's grounds gave.
    fn settle_plain(&mut self, before: &Self, blessing: &Blessing<'_>, image: &ImageName) {
        let texts = blessing.ordered(Some(image));
        let Some((_, first)) = texts.first() else { return };
        if !before.keeps(&Owner::EVERYBODY, &texts, blessing, image) {
            self.put(Owner::EVERYBODY, Some(first));
        }
        for (lineage, text) in texts {
            let owner = Owner::kernel(&lineage.environment.kernel);
            let inherited = self.first(lineage.owners_of_any_image().filter(|other| *other != owner));
            let is_told = inherited.is_some_and(|inherited| same(inherited, text));
            self.put(owner, (!is_told).then_some(text));
        }
    }

    /// `NAME@@IMAGE.snap`, by what this image's grounds gave.
    fn settle_image(&mut self, before: &Self, blessing: &Blessing<'_>, image: &ImageName) {
        let (owner, texts) = (Owner::image(image), blessing.ordered(Some(image)));
        let as_elsewhere = |(lineage, text): &&(Lineage, String)| {
            self.first(lineage.owners_of_any_image()).is_some_and(|elsewhere| same(elsewhere, text))
        };
        let agreeing = texts.iter().copied().filter(as_elsewhere).count();
        let relied = before.is_relied_on(&owner, blessing, image);
        if relied || (agreeing < texts.len() && before.keeps(&owner, &texts, blessing, image)) {
            return;
        }
        let first = texts.first().map(|(_, text)| text);
        self.put(owner, first.filter(|_| agreeing == 0));
    }

    /// Whether this snapshot stays: somebody who did not run is held to it, or it still holds for somebody.
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
