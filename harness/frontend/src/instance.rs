//! Instances and profiles of Incus and LXD, in the YAML that their `config show` and `profile show` print, or in a preseed.
//!
//! Incus mounts a bpffs at `security.bpffs.path` if any of the four options is set (`doc/reference/bpf_tokens.md`,
//! `cmd/incusd/main_forkbpf.go`); LXD at `/sys/fs/bpf` if `security.delegate_bpf` is true
//! (`lxd/instance/drivers/driver_lxc.go`, `onStartHost`). Neither checks the values: what the kernel refuses keeps the
//! container from starting. Both are for unprivileged containers.

mod keys;
mod walk;

use harness_model::scenario::{Problem, Report};

use crate::{allowance, configuration::Configuration, frontend::Frontend, names::Names, source::Sources};

pub(crate) use keys::{INCUS_PATH, LXD_SWITCH, option_of};

/// Reads all instances and profiles in these files.
///
/// # Errors
/// A [`Report`] about the first file that is no YAML, or is nested too deeply.
pub(crate) fn read(frontend: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let items = walk::items(at, source.text()).map_err(|broken| {
            sources.report(at, vec![Problem::new(broken.span, format!("no YAML that can be read: {}", broken.why))])
        })?;
        for item in items {
            let mut configuration = keys::configuration(frontend, &item, source.label(), names);
            allowance::read(at, source.text(), allowance::Comments::Trailing, &mut configuration);
            all.push(configuration);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
