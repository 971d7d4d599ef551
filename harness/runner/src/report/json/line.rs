//! The JSON lines of results. `docs/results.md` shows their documentation.

use super::super::Standing;
use harness_protocol::name::{ImageName, KernelName, ScenarioName};
use harness_scenario::expect::Expect;
use harness_verdict::verdict::Class;
use schemars::JsonSchema;
use serde::Serialize;

/// One line of the results. A key without a value is omitted.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(title = "Line of results")]
pub(super) enum Line<'a> {
    /// The first line: the format, and the environments of the run.
    Start {
        /// The version of this format.
        format: u32,
        /// The version of the harness.
        harness: &'a str,
        /// The images of the guests.
        images: Vec<&'a ImageName>,
        /// The selected kernels.
        kernels: Vec<Kernel<'a>>,
        /// The mode of the guard that all scenarios were under (`--guard`).
        #[serde(skip_serializing_if = "Option::is_none")]
        guard: Option<&'a str>,
        /// The packages whose pinned version has left the mirror, and what is used instead; `release` of a kernel is what
        /// ran.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        replaced: Vec<ReplacedPin<'a>>,
    },
    /// An attempt and its verdict.
    Attempt {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The combination of the scenario's matrix, such as `type=hash`; empty without a matrix.
        case: &'a str,
        /// The actor: a container's name, or `host`.
        container: &'a str,
        /// The attempt's number within its case, counted from 1.
        attempt: usize,
        /// The operation, such as `map_create`.
        op: &'a str,
        /// A short description of the attempt. It may change between versions of the harness.
        text: &'a str,
        /// The verdict.
        verdict: Class,
        /// The errno, if the kernel returned one: its name, or its number if it has no name.
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// What else the kernel returned, which of several calls failed, or why the kernel does not support it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        /// Why it was denied, if known.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// In a sweep: the row, such as `hash`.
        #[serde(skip_serializing_if = "Option::is_none")]
        row: Option<&'a str>,
        /// In a sweep: the arm, such as `no_token`.
        #[serde(skip_serializing_if = "Option::is_none")]
        arm: Option<&'a str>,
        /// The verdict that the scenario's author expects, if stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        expect: Option<Expect>,
        /// Whether the verdict is the expected one, or, without an expectation, is not a problem by itself. `judged`
        /// says whether the scenario is as recorded.
        matches: bool,
        /// The steps of the attempt, if libbpf loaded an object.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step<'a>>,
        /// What the scenario's guard recorded of the attempt: each of its answers once, in words.
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        guard: &'a [String],
    },
    /// A scenario that was judged in an environment. Its attempts precede this line.
    Judged {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The scenario's summary.
        summary: &'a str,
        /// Whether the scenario is as recorded and as its author expects.
        #[serde(rename = "standing")]
        status: JudgedStatus,
        /// How the verdicts compare with the snapshot that applies to this environment.
        record: Record,
        /// How long the scenario took in the guest, in seconds, if known.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// Problems that do not depend on the snapshot, one sentence each.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
        /// The difference from the snapshot, as a unified diff.
        #[serde(skip_serializing_if = "Option::is_none")]
        difference: Option<String>,
    },
    /// A splat that the kernel printed during a scenario, or, if it is one that it prints once a boot, before it. It precedes the line
    /// of the scenario, which is a `judged` or a `crash`.
    Splat {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The line that names the fault, without its time stamp.
        text: &'a str,
        /// The console's lines, from this line on.
        lines: &'a [String],
        /// Why it is allowed, by `splats.toml`; a splat that is not allowed fails the scenario.
        #[serde(skip_serializing_if = "Option::is_none")]
        allowed: Option<&'a str>,
    },
    /// A scenario that is not meant for this environment, or whose image can no longer be built.
    Skipped {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The scenario's summary.
        summary: &'a str,
        /// The reason.
        reason: &'a str,
    },
    /// A scenario during which the VM died or hung. Its attempts precede this line.
    Crash {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The scenario's summary.
        summary: &'a str,
        /// Whether the VM died or hung, and after how long.
        how: &'a str,
        /// The last lines of the VM's console.
        console: &'a [String],
    },
    /// A scenario without verdicts, because the harness or the VM failed.
    Fault {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The scenario's summary.
        summary: &'a str,
        /// The reason.
        message: &'a str,
    },
    /// A scenario that was not run, because no VM could be booted or no outcome is stored.
    NotRun {
        /// The kernel's name.
        kernel: &'a KernelName,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a ImageName,
        /// The scenario's name.
        scenario: &'a ScenarioName,
        /// The scenario's summary.
        summary: &'a str,
        /// The reason.
        cause: &'a str,
    },
    /// A failure of this run, of the baseline (`--baseline`), or of both.
    Baseline {
        /// The kernel's name.
        kernel: &'a str,
        /// The image's name; `host` in host mode, which has no image.
        image: &'a str,
        /// The scenario's name.
        scenario: &'a str,
        /// Whether the baseline had it, and whether it is still there.
        group: Standing,
        /// What is wrong.
        what: &'a str,
    },
    /// The last line. If it is missing, the results are incomplete.
    End {
        /// Scenarios judged, over all environments, including crashes.
        judged: usize,
        /// Judged scenarios that are not as recorded or not as their authors expect, including crashes.
        differing: usize,
        /// Judged scenarios during which the kernel printed a splat that is not allowed.
        splats: usize,
        /// Scenarios skipped.
        skipped: usize,
        /// Scenarios without verdicts, because the harness or the VM failed.
        faults: usize,
        /// Scenarios not run.
        not_run: usize,
        /// VMs that the host lost and that were booted again; no verdict depends on them.
        retried_vms: u64,
        /// Attempts by verdict.
        attempts: Attempts,
    },
}

/// A kernel.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Kernel<'a> {
    /// The kernel's name.
    pub(super) name: &'a KernelName,
    /// The output of `uname -r` in the guest, if it ever ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<&'a str>,
}

/// A package whose pinned version has left the mirror.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReplacedPin<'a> {
    /// What it is a part of: `kernel NAME` or `image NAME`.
    pub(super) of: String,
    /// The package; `*` stands for a kernel's release in its name.
    pub(super) package: &'a str,
    /// The pinned version, unless the package is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pinned: Option<&'a str>,
    /// The version that is used, unless the package is no longer needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<&'a str>,
}

/// A step of loading an object: a call that libbpf made, or something that libbpf dropped.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Step<'a> {
    /// A description of the step.
    pub(super) text: &'a str,
    /// The result: `allowed`, `denied ERRNO`, `refused ERRNO`, `lost` or `not told`.
    pub(super) result: String,
}

/// Whether a scenario is as recorded and as its author expects.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JudgedStatus {
    /// The verdicts are as recorded, and as the author expects.
    AsRecorded,
    /// A verdict is not as recorded, or not as the author expects.
    Differs,
    /// The kernel printed a splat that is not allowed.
    Splat,
}

/// How the verdicts compare with the snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// They are the same.
    Same,
    /// They differ.
    Other,
    /// There is no snapshot.
    None,
}

/// The number of attempts with each verdict.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Attempts {
    /// The kernel did what was asked.
    pub(super) allowed: usize,
    /// The kernel refused for want of a permission: the same call succeeds for a control.
    pub(super) denied: usize,
    /// The kernel does not know the command, type or field.
    pub(super) unsupported: usize,
    /// The call fails with every permission, too.
    pub(super) malformed: usize,
    /// Attempts that were not made.
    pub(super) not_made: usize,
    /// The kernel died or hung during the attempt.
    pub(super) crashed: usize,
}
