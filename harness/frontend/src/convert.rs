//! Converts a configuration of one front-end for another.

use std::collections::BTreeSet;

use harness_uapi::delegation::Delegation;

use crate::{
    configuration::{Configuration, CutOff, Element, RefusedElement},
    execution_context::{ExecutionContext, Setting},
    frontend::ConfiguredObject,
    names::Names,
    registry::{WritableFrontend, write},
    source::Location,
    text::shown,
    write::{ConversionInput, ConversionLoss},
};

/// Something that a conversion loses, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedLoss {
    /// What is lost.
    pub what: String,
    /// Where the configuration has it; `None` if the loss follows from the target alone.
    pub location: Option<Location>,
}

/// Writes what a configuration actually delegates for another front-end, and returns what is lost.
///
/// # Errors
/// [`RefusedElement`] if the kernel refuses the configuration, which then has no effect.
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
        None => (String::new(), vec![ConversionLoss("everything: no bpffs is requested".to_owned())]),
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
    /// Returns the elements that the front-end ignores.
    fn dropped(&self) -> Vec<LocatedLoss> {
        let lost = |element: &Element| LocatedLoss {
            what: format!("`{}`, which has no effect in the original either", shown(element.text.trim())),
            location: Some(element.location.clone()),
        };
        let elements = self.delegated.iter().flatten().flat_map(|assignment| &assignment.elements);
        let cut_off = |names: &CutOff| LocatedLoss {
            what: format!("`{}`, which bpffs ignores in the original: a comma ended the option", names.text),
            location: Some(names.location.clone()),
        };
        let unread = elements.filter(|element| element.read_as.is_none()).map(lost);
        unread.chain(self.cut_off.iter().map(cut_off)).collect()
    }
}

/// Returns the settings of the execution context that have no counterpart.
fn execution_context(context: &ExecutionContext, to: WritableFrontend) -> Vec<LocatedLoss> {
    fn loss<T>(setting: &Setting<T>, what: &'static str) -> Option<(&'static str, Location)> {
        setting.location.clone().map(|location| (what, location))
    }
    let mut lost: Vec<(&str, Location)> = [
        loss(&context.bounding_set, "the capability bounding set"),
        loss(&context.ambient_set, "the ambient capability set"),
        loss(&context.user, "the user"),
        loss(&context.no_new_privileges, "NoNewPrivileges="),
        loss(&context.protect_kernel_tunables, "ProtectKernelTunables="),
        loss(&context.network_namespace, "the network namespace"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if to.frontend().makes != ConfiguredObject::Unit {
        lost.extend(loss(&context.user_namespace, "the user namespace"));
        lost.extend(loss(&context.delegated_namespaces, "DelegateNamespaces="));
    }
    let filters: BTreeSet<(usize, usize, usize)> = context
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
