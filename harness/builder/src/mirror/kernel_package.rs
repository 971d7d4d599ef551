//! Names of Debian's kernel packages. They contain the kernel's release, so a newer kernel has other package names.

use std::fmt;

/// The name of a package with a part of one kernel, such as `linux-image-6.18.15+deb13-rt-amd64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPackage {
    /// The part of the kernel, such as `linux-image`.
    pub part: String,
    /// The kernel's release without its flavour, such as `6.18.15+deb13` or `6.1.0-50`.
    pub release: String,
    /// The kernel's flavour, such as `rt-amd64`.
    pub flavour: String,
}

impl KernelPackage {
    /// Parses a name; `None` if it has another form.
    pub fn of(name: &str) -> Option<Self> {
        let words: Vec<&str> = name.split('-').collect();
        let start = words.iter().position(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let numbers =
            words[start + 1..].iter().take_while(|word| word.bytes().all(|byte| byte.is_ascii_digit())).count();
        let end = start + 1 + numbers;
        let known = start > 0 && end < words.len() && words[0] == "linux" && words[start].contains('.');
        let join = |words: &[&str]| words.join("-");
        let (part, release, flavour) = (join(&words[..start]), join(&words[start..end]), join(&words[end..]));
        known.then_some(Self { part, release, flavour })
    }

    /// Returns the series of its release, such as `6.18`.
    pub fn series(&self) -> &str {
        let second = self.release.match_indices(|c: char| !c.is_ascii_digit()).nth(1);
        second.map_or(&self.release, |(at, _)| &self.release[..at])
    }

    /// Returns how the names of the same part of all kernels of its series start.
    pub fn series_prefix(&self) -> String {
        format!("{}-{}", self.part, self.series())
    }

    /// Reports whether another name is the same part of a kernel of the same series and flavour.
    pub fn is_sibling(&self, other: &Self) -> bool {
        (&self.part, self.series(), &self.flavour) == (&other.part, other.series(), &other.flavour)
    }

    /// Returns the same part and flavour of another release.
    pub fn with_release(&self, release: &str) -> Self {
        Self { release: release.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for KernelPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.part, self.release, self.flavour)
    }
}

/// Returns the numbers in a release; those of a newer one compare greater.
pub fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_written() {
        for (name, release, flavour, series) in [
            ("linux-image-6.18.15+deb13-amd64", "6.18.15+deb13", "amd64", "6.18"),
            ("linux-image-6.1.0-50-rt-amd64", "6.1.0-50", "rt-amd64", "6.1"),
            ("linux-modules-7.3.4+deb13.1-cloud-amd64", "7.3.4+deb13.1", "cloud-amd64", "7.3"),
            ("linux-image-7.3-amd64", "7.3", "amd64", "7.3"),
        ] {
            let package = KernelPackage::of(name).unwrap();
            assert_eq!((&*package.release, &*package.flavour, package.series()), (release, flavour, series));
            assert_eq!(package.to_string(), name);
        }
        for other in ["linux-image-amd64", "linux-source-6.12", "libbpf1", "linux-6-x", "", "-", "6.1-x"] {
            assert_eq!(KernelPackage::of(other), None, "{other}");
        }
    }

    #[test]
    fn siblings_have_the_same_part_series_and_flavour() {
        let of = |name| KernelPackage::of(name).unwrap();
        let package = of("linux-image-6.1.0-50-amd64");
        assert!(package.is_sibling(&of("linux-image-6.1.0-47-amd64")));
        for other in ["linux-image-6.12.1-amd64", "linux-image-6.1.0-47-rt-amd64", "linux-headers-6.1.0-47-amd64"] {
            assert!(!package.is_sibling(&of(other)), "{other}");
        }
    }

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        assert!(numbers("6.12.107+deb13") > numbers("6.12.94+deb13"));
        assert!(numbers("6.12.90+deb12.1") > numbers("6.12.90+deb12"));
    }
}
