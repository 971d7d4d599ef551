//! A configuration of one front-end for another.

use std::collections::BTreeSet;

use harness_uapi::delegation::Delegation;

use crate::{
    configuration::{Configuration, Element, RefusedElement},
    execution_context::{ExecutionContext, Setting},
    frontend::ConfiguredObject,
    names::Names,
    registry::{WritableFrontend, write},
    source::Location,
    text::shown,
    write::{ConversionInput, ConversionLoss},
};

/// What a conversion leaves out, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedLoss {
    /// What.
    pub what: String,
    /// Where the configuration says it; nowhere if it follows from the target alone.
    pub location: Option<Location>,
}

/// Writes what a configuration delegates, as it is in effect, for another front-end, and tells what is lost.
///
/// # Errors
/// [`RefusedElement`] if the kernel refuses the configuration, which has no effect then.
pub fn convert(
    from: &Configuration,
    to: WritableFrontend,
    names: &Names<'_>,
) -> Result<(String, Vec<LocatedLoss>), RefusedElement> {
    let delegation = if from.bpffs.is_some() { from.delegation()? } else { Delegation::default() };
    let path = from.bpffs.as_ref().map_or("", |bpffs| bpffs.path.as_str());
    let name = if to.frontend() == from.frontend || from.frontend.makes == ConfiguredObject::Container {
        from.name.as_str()
    } else {
        ""
    };
    let (text, mut lost) = match &from.bpffs {
        Some(_) => write(to, &ConversionInput { name, path, delegation }, names),
        None => (String::new(), vec![ConversionLoss("everything: no bpffs is asked for".to_owned())]),
    };
    let mut all: Vec<LocatedLoss> =
        lost.drain(..).map(|ConversionLoss(what)| LocatedLoss { what, location: None }).collect();
    if from.bpffs.is_some() {
        all.extend(from.dropped());
    }
    all.extend(execution_context(&from.execution_context, to));
    Ok((text, all))
}

impl Configuration {
    /// The elements that the front-end passes over, and the assignments that later ones take the place of.
    fn dropped(&self) -> Vec<LocatedLoss> {
        let lost = |element: &Element| LocatedLoss {
            what: format!("`{}`, which is not in effect here either", shown(element.text.trim())),
            location: Some(element.location.clone()),
        };
        let elements = self.delegated.iter().flatten().flat_map(|assignment| &assignment.elements);
        elements.filter(|element| element.read_as.is_none()).map(lost).collect()
    }
}

/// What is set around the delegation and has no counterpart.
fn execution_context(around: &ExecutionContext, to: WritableFrontend) -> Vec<LocatedLoss> {
    fn said<T>(setting: &Setting<T>, what: &'static str) -> Option<(&'static str, Location)> {
        setting.location.clone().map(|location| (what, location))
    }
    let mut lost: Vec<(&str, Location)> = [
        said(&around.bounding_set, "the bounding set"),
        said(&around.ambient_set, "the ambient set"),
        said(&around.user, "the user"),
        said(&around.no_new_privileges, "NoNewPrivileges="),
        said(&around.protect_kernel_tunables, "ProtectKernelTunables="),
        said(&around.network_namespace, "the network namespace"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if to.frontend().makes != ConfiguredObject::Unit {
        lost.extend(said(&around.user_namespace, "the user namespace"));
        lost.extend(said(&around.delegated_namespaces, "DelegateNamespaces="));
    }
    let filters: BTreeSet<(usize, usize, usize)> = around
        .refused_calls
        .values()
        .map(|location| (location.source, location.span.start, location.span.end))
        .collect();
    lost.extend(
        filters
            .into_iter()
            .map(|(source, start, end)| ("the system call filter", Location { source, span: start..end })),
    );
    lost.into_iter().map(|(what, location)| LocatedLoss { what: what.to_owned(), location: Some(location) }).collect()
}

#[cfg(test)]
mod tests;
