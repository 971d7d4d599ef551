//! A whole grant as text to paste.

use harness_uapi::permission::Grant;

use crate::{WritableFrontend, frontend::ConfiguredObject, names::Names, write, write::ConversionInput};

/// Writes the delegation, and the capabilities as the front-end sets them.
pub fn pasted(target: WritableFrontend, grant: &Grant, names: &Names<'_>) -> String {
    let wanted = ConversionInput { name: "", path: "/sys/fs/bpf", delegation: grant.delegation };
    let (text, lost) = write(target, &wanted, names);
    let lost: String = lost.iter().map(|lost| format!("# lost: {}\n", lost.0)).collect();
    let capabilities: Vec<String> = grant.capabilities.iter().map(ToString::to_string).collect();
    let capabilities = match target.frontend().makes {
        // A service that is not root needs the ambient set; root gets them by the bounding set.
        ConfiguredObject::Unit => {
            format!("AmbientCapabilities={0}\nCapabilityBoundingSet={0}\n", capabilities.join(" "))
        }
        _ => format!("# capabilities in the container: {}\n", capabilities.join(" ")),
    };
    format!("{text}{capabilities}{lost}")
}
