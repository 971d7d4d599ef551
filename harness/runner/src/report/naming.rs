//! Display names of environments: the kernel's name alone, if the report has only one image.

use harness_protocol::name::{Environment, ImageName};

/// How a report names its environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    images: bool,
}

impl Naming {
    /// Chooses how to name these environments.
    pub fn of<'a>(environments: impl IntoIterator<Item = &'a Environment>) -> Self {
        let mut images = environments.into_iter().filter_map(image);
        let first = images.next();
        Self { images: images.any(|image| Some(image) != first) }
    }

    /// Returns an environment's display name: `6.12`, or `6.12@systemd-262` if the report has several images.
    pub fn name(self, environment: &Environment) -> String {
        if self.images && image(environment).is_some() {
            environment.to_string()
        } else {
            environment.kernel.to_string()
        }
    }
}

/// Returns the image; `None` in host mode, where the image has the kernel's name.
fn image(environment: &Environment) -> Option<&ImageName> {
    (environment.image.as_str() != environment.kernel.as_str()).then_some(&environment.image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::environment;

    #[test]
    fn images_are_named_if_there_are_several() {
        let names = |environments: &[&str]| -> Vec<String> {
            let environments: Vec<Environment> = environments.iter().map(|name| environment(name)).collect();
            let naming = Naming::of(&environments);
            environments.iter().map(|environment| naming.name(environment)).collect()
        };
        assert_eq!(names(&["6.12", "7.3"]), ["6.12", "7.3"]);
        assert_eq!(names(&["6.12@systemd-262", "host@host"]), ["6.12", "host"]);
        assert_eq!(names(&["6.12", "6.12@s", "host@host"]), ["6.12@minimal", "6.12@s", "host"]);
    }
}
