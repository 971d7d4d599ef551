//! A whole grant as a person pastes it.

use harness_uapi::permission::Grant;

use crate::{WritableFrontend, frontend::ConfiguredObject, names::Names, write, write::ConversionInput};

/// What a person pastes: the delegation, and the capabilities as the front-end sets them.
pub fn pasted(target: WritableFrontend, grant: &Grant, names: &Names<'_>) -> String {
    let wanted = ConversionInput { name: "", path: "/sys/fs/bpf", delegation: grant.delegation };
    let (text, lost) = write(target, &wanted, names);
    let lost: String = lost.iter().map(|lost| format!("# lost: {}\n", lost.0)).collect();
    let inside: Vec<String> = grant.capabilities.iter().map(ToString::to_string).collect();
    let inside = match target.frontend().makes {
        // For a service that is not root; root has them by the bounding set.
        ConfiguredObject::Unit => format!("AmbientCapabilities={0}\nCapabilityBoundingSet={0}\n", inside.join(" ")),
        _ => format!("# inside: {}\n", inside.join(" ")),
    };
    format!("{text}{inside}{lost}")
}
