//! What grounds are called: by their kernel alone where there is no other image.

use harness_protocol::name::{Ground, ImageName};

/// How the grounds of a report are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    images: bool,
}

impl Naming {
    /// For these grounds.
    pub fn of<'a>(grounds: impl IntoIterator<Item = &'a Ground>) -> Self {
        let mut images = grounds.into_iter().filter_map(image);
        let first = images.next();
        Self { images: images.any(|image| Some(image) != first) }
    }

    /// What a ground is called: `6.12`, or `6.12@systemd-262` where there are several images.
    pub fn name(self, ground: &Ground) -> String {
        if self.images && image(ground).is_some() { ground.to_string() } else { ground.kernel.to_string() }
    }
}

/// The image; the running kernel has none, which is called as that is.
fn image(ground: &Ground) -> Option<&ImageName> {
    (ground.image.as_str() != ground.kernel.as_str()).then_some(&ground.image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::ground;

    #[test]
    fn images_are_named_where_there_are_several() {
        let names = |grounds: &[&str]| -> Vec<String> {
            let grounds: Vec<Ground> = grounds.iter().map(|name| ground(name)).collect();
            let naming = Naming::of(&grounds);
            grounds.iter().map(|ground| naming.name(ground)).collect()
        };
        assert_eq!(names(&["6.12", "7.3"]), ["6.12", "7.3"]);
        assert_eq!(names(&["6.12@systemd-262", "host@host"]), ["6.12", "host"]);
        assert_eq!(names(&["6.12", "6.12@s", "host@host"]), ["6.12@minimal", "6.12@s", "host"]);
    }
}
