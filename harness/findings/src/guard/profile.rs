//! The profile of a policy that objects need.

use std::fmt::Write as _;

use guard_policy::Asked;
use harness_objects::Object;
use harness_uapi::release::Release;

use super::calls::{KnownFunctions, calls};

/// Writes a policy with the profile under which libbpf loads and attaches these objects on kernels of these releases. A
/// rule is there as a comment.
pub fn profile(objects: &[(String, Object)], releases: &[Release]) -> String {
    let mut functions = KnownFunctions::default();
    let mut asked = Asked::default();
    for release in releases {
        for (_, object) in objects {
            for call in calls(object, *release, &mut functions) {
                asked.add(&call.event, |id| functions.name(id).map(str::to_owned));
                asked.unknown_sizes.extend(call.has_unknown_size.then_some(call.by));
            }
        }
    }
    let names: Vec<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
    written(&asked, &names)
}

fn written(asked: &Asked, objects: &[&str]) -> String {
    let name = profile_name(objects.first().copied().unwrap_or_default());
    let mut text = String::from("version = 1\n\n");
    let _ = writeln!(text, "# What libbpf asks of the kernel to load and attach these objects, its probes included:");
    for object in objects {
        let _ = writeln!(text, "#     {}", object.escape_debug());
    }
    let _ = writeln!(text, "# Add what their programs in user space ask for themselves, such as \"@map\".");
    text.push_str(&asked.to_toml(&name));
    let _ = write!(text, "\n# [[rule]]\n# uid = \"1000\"\n# profile = \"{name}\"\n");
    text
}

/// A name for the profile of this object: that of its file, without folders and suffixes.
fn profile_name(object: &str) -> String {
    let file = object.rsplit('/').next().unwrap_or_default();
    let stem = file.split(['.', ':']).next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let plain: String = stem.chars().map(|c| if is_plain(c) { c } else { '-' }).take(64).collect();
    if plain.is_empty() { "object".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_after_its_object() {
        let names = ["my.bpf.o", "/usr/lib/x/on exec.o", "", "/usr/sbin/xdp-loader:xdp.o"].map(profile_name);
        assert_eq!(names, ["my", "on-exec", "object", "xdp-loader"]);
    }
}
