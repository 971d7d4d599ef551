//! The owner of a snapshot, which its file name gives, and the order in which an environment looks for snapshots.

use std::fmt;

use harness_protocol::name::{Environment, ImageName, KernelName};

/// The owner of a snapshot: all environments with this kernel and this image; `None` matches any.
///
/// It is displayed as in the file name. Names of scenarios, kernels and images contain no `@`, so file names are
/// unambiguous.
///
/// | file | owner |
/// | --- | --- |
/// | `NAME.snap` | every environment |
/// | `NAME@KERNEL.snap` | a kernel, with any image |
/// | `NAME@@IMAGE.snap` | an image, with any kernel |
/// | `NAME@KERNEL@IMAGE.snap` | a kernel with an image |
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The kernel.
    pub kernel: Option<KernelName>,
    /// The image.
    pub image: Option<ImageName>,
}

impl Owner {
    /// The owner of the snapshot that applies where nothing more specific is recorded.
    pub const EVERYBODY: Self = Self { kernel: None, image: None };

    /// A kernel with any image.
    pub fn kernel(kernel: &KernelName) -> Self {
        Self { kernel: Some(kernel.clone()), image: None }
    }

    /// An image with any kernel.
    pub fn image(image: &ImageName) -> Self {
        Self { kernel: None, image: Some(image.clone()) }
    }

    /// Exactly this environment.
    pub fn exactly(environment: &Environment) -> Self {
        Self { kernel: Some(environment.kernel.clone()), image: Some(environment.image.clone()) }
    }

    /// Whether it is every environment.
    pub fn is_everybody(&self) -> bool {
        *self == Self::EVERYBODY
    }

    /// The owner in a sentence: `7.3`, `image systemd-257` or `7.3@systemd-257`.
    pub fn words(&self) -> String {
        match (&self.kernel, &self.image) {
            (None, None) => "everything".to_owned(),
            (Some(kernel), None) => kernel.to_string(),
            (None, Some(image)) => format!("image {image}"),
            (Some(kernel), Some(image)) => format!("{kernel}@{image}"),
        }
    }

    /// The name of its snapshot file for the scenario file `stem.toml`.
    pub fn file_name(&self, stem: &str) -> String {
        format!("{stem}{self}.snap")
    }

    /// The owner of a snapshot file of the scenario file `stem.toml`; `None` if the file is not a snapshot of it.
    pub fn of_file(stem: &str, file: &str) -> Option<Self> {
        match file.strip_prefix(stem)?.strip_suffix(".snap")? {
            "" => Some(Self::EVERYBODY),
            rest => Self::read(rest.strip_prefix('@')?),
        }
    }

    /// Splits the path of a snapshot, without `.snap`, into the scenario's path and the owner; `None` if it names no
    /// owner.
    pub fn split(path: &str) -> Option<(&str, Self)> {
        let (name, rest) = path.split_once('@')?;
        Some((name, Self::read(rest)?))
    }

    /// Parses the text after the first `@`.
    fn read(text: &str) -> Option<Self> {
        let (kernel, image) = text.split_once('@').map_or((text, None), |(kernel, image)| (kernel, Some(image)));
        let image = image.map(str::parse).transpose().ok()?;
        let kernel = if kernel.is_empty() && image.is_some() { None } else { Some(kernel.parse().ok()?) };
        Some(Self { kernel, image })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kernel, &self.image) {
            (None, None) => Ok(()),
            (Some(kernel), None) => write!(f, "@{kernel}"),
            (None, Some(image)) => write!(f, "@@{image}"),
            (Some(kernel), Some(image)) => write!(f, "@{kernel}@{image}"),
        }
    }
}

/// An environment, and the kernels whose snapshots apply if its own kernel has none, the nearest first.
///
/// Without those, a dozen kernels of two releases would need a dozen files instead of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The kernel and the image.
    pub environment: Environment,
    /// The kernels whose snapshots it inherits.
    pub alike: Vec<KernelName>,
}

impl Lineage {
    /// The owners whose snapshots apply, in the order of precedence: those of its image before those of any image, and
    /// among each its own kernel, then the kernels it inherits from, then any kernel.
    pub fn owners(&self) -> impl Iterator<Item = Owner> {
        let image = &self.environment.image;
        self.kernels().map(|kernel| Owner { kernel, image: Some(image.clone()) }).chain(self.owners_of_any_image())
    }

    /// The owners among them that name no image.
    pub(super) fn owners_of_any_image(&self) -> impl Iterator<Item = Owner> {
        self.kernels().map(|kernel| Owner { kernel, image: None })
    }

    fn kernels(&self) -> impl Iterator<Item = Option<KernelName>> {
        let named = std::iter::once(&self.environment.kernel).chain(&self.alike);
        named.cloned().map(Some).chain(std::iter::once(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_gives_its_owner() {
        let environment = Environment { kernel: "7.3".parse().unwrap(), image: "systemd-262.1".parse().unwrap() };
        let owners = [
            (Owner::EVERYBODY, "any.snap"),
            (Owner::kernel(&environment.kernel), "any@7.3.snap"),
            (Owner::image(&environment.image), "any@@systemd-262.1.snap"),
            (Owner::exactly(&environment), "any@7.3@systemd-262.1.snap"),
        ];
        for (owner, file) in owners {
            assert_eq!(owner.file_name("any"), file);
            assert_eq!(Owner::of_file("any", file), Some(owner.clone()));
            let split = Owner::split(file.strip_suffix(".snap").unwrap());
            assert_eq!(split, (!owner.is_everybody()).then_some(("any", owner)));
        }
        for other in ["any-more.snap", "any+x.snap", "any@.snap", "any@@.snap", "any@a@.snap", "any@a/b.snap"] {
            assert_eq!(Owner::of_file("any", other), None, "{other}");
        }
        for other in ["any.toml", "any.snap.new", "any@a@b@c.snap", "any@@@a.snap"] {
            assert_eq!(Owner::of_file("any", other), None, "{other}");
        }
    }

    #[test]
    fn a_plus_belongs_to_a_name_and_does_not_separate_two() {
        let kernel = Owner::kernel(&"6.12.0+rt".parse().unwrap());
        assert_eq!(Owner::of_file("any", "any@6.12.0+rt.snap"), Some(kernel));
        assert_eq!(Owner::of_file("any+more", "any+more@7.3.snap"), Some(Owner::kernel(&"7.3".parse().unwrap())));
        assert_eq!(Owner::of_file("any", "any+more@7.3.snap"), None);
    }

    #[test]
    fn the_most_specific_owner_comes_first() {
        let environment = Environment { kernel: "7.2-debian".parse().unwrap(), image: "systemd-262".parse().unwrap() };
        let lineage = Lineage { environment, alike: vec!["7.3-debian".parse().unwrap(), "7.3".parse().unwrap()] };
        let owners: Vec<String> = lineage.owners().map(|owner| owner.to_string()).collect();
        let expected = [
            "@7.2-debian@systemd-262",
            "@7.3-debian@systemd-262",
            "@7.3@systemd-262",
            "@@systemd-262",
            "@7.2-debian",
            "@7.3-debian",
            "@7.3",
            "",
        ];
        assert_eq!(owners, expected);
    }
}
