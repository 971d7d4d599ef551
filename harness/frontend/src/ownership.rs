//! The user namespace that owns a bpffs.

use crate::{Configuration, execution_context::NamespaceType, frontend::ConfiguredObject};

/// Whether the bpffs belongs to the host's user namespace although the processes have one of their own: systemd opens it
/// with the mount namespace, which it sets up before the user namespace unless a delegated namespace has to come after it
/// (`src/core/exec-invoke.c`, `setup_delegated_namespaces`).
pub fn belongs_to_host(configuration: &Configuration) -> bool {
    // Delegating any of these also defers the mount namespace (`exec_namespace_is_delegated`).
    const DEFERRING: [NamespaceType; 4] =
        [NamespaceType::Mnt, NamespaceType::Pid, NamespaceType::Cgroup, NamespaceType::Net];
    let delegated = &configuration.execution_context.delegated_namespaces.value;
    configuration.frontend.makes == ConfiguredObject::Unit && !DEFERRING.iter().any(|kind| delegated.contains(kind))
}
