//! The lines of JSON. Their documentation is what `docs/results.md` shows.

use harness_protocol::name::{ImageName, KernelName, ScenarioName};
use harness_scenario::expect::Expect;
use harness_verdict::verdict::Class;
use schemars::JsonSchema;
use serde::Serialize;

/// One line of the results. A key without a value is left out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(title = "Line of results")]
pub(super) enum Line<'a> {
    /// The first line: what follows, and what it was found on.
    Start {
        /// The version of these lines.
        format: u32,
        /// The version of the harness.
        harness: &'a str,
        /// The root file systems that guests had.
        images: Vec<&'a ImageName>,
        /// The kernels that were selected.
        kernels: Vec<Kernel<'a>>,
    },
    /// One attempt and its verdict.
    Attempt {
        /// On which kernel.
        kernel: &'a KernelName,
        /// With which image; `host` on the running kernel, which has none.
        image: &'a ImageName,
        /// Of which scenario.
        scenario: &'a ScenarioName,
        /// The combination of the scenario's matrix, such as `type=hash`; empty without a matrix.
        case: &'a str,
        /// Who made it: the name of a container, or `host`.
        container: &'a str,
        /// Its number within its case, counted from 1.
        attempt: usize,
        /// Its operation, such as `map_create`.
        op: &'a str,
        /// The attempt in a few words. They may change between versions of the harness.
        text: &'a str,
        /// What it was.
        verdict: Class,
        /// The errno, if the kernel gave one: its name, or its number if it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// What the kernel answered besides, which call of several failed, or why the kernel cannot know it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        /// Why it was denied, if that was found out.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// Of an attempt of a sweep: what it was made with, such as `hash`.
        #[serde(skip_serializing_if = "Option::is_none")]
        row: Option<&'a str>,
        /// Of an attempt of a sweep: under which circumstances, such as `no_token`.
        #[serde(skip_serializing_if = "Option::is_none")]
        arm: Option<&'a str>,
        /// What the scenario's author wants the verdict to be, if that is written.
        #[serde(skip_serializing_if = "Option::is_none")]
        expect: Option<Expect>,
        /// Whether the verdict is what its author wants, or one that may stand where nothing is written. Whether it is
        /// as recorded is told of the whole scenario, in `judged`.
        matches: bool,
        /// The calls it consists of, if libbpf loaded an object.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step<'a>>,
    },
    /// A scenario that was judged on a kernel with an image; its attempts stand before it.
    Judged {
        /// On which kernel.
        kernel: &'a KernelName,
        /// With which image; `host` on the running kernel, which has none.
        image: &'a ImageName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Whether everything about it is right.
        status: Held,
        /// How its verdicts compare with the snapshot that holds for this kernel and image.
        record: Record,
        /// Seconds it took in the guest, if that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// What is wrong with it whatever is recorded, a sentence each.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
        /// The lines in which it differs from its snapshot, as a unified diff.
        #[serde(skip_serializing_if = "Option::is_none")]
        difference: Option<String>,
    },
    /// A scenario that is not for this kernel or image, or whose image cannot be had today.
    Skipped {
        /// On which kernel.
        kernel: &'a KernelName,
        /// With which image; `host` on the running kernel, which has none.
        image: &'a ImageName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A scenario during which the VM died or hung; its attempts stand before it.
    Crash {
        /// On which kernel.
        kernel: &'a KernelName,
        /// With which image; `host` on the running kernel, which has none.
        image: &'a ImageName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Whether the VM died or hung, and after how long.
        how: &'a str,
        /// The last lines of its console.
        console: &'a [String],
    },
    /// A scenario without verdicts on this kernel, because the harness or the VM failed.
    Fault {
        /// On which kernel.
        kernel: &'a KernelName,
        /// With which image; `host` on the running kernel, which has none.
        image: &'a ImageName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Why.
        message: &'a str,
    },
    /// A scenario that was not run on this kernel, because none of its VMs could be had or the store knows no outcome.
    NotRun {
        /// On which kernel.
        kernel: &'a KernelName,
        /// With which image; `host` on the running kernel, which has none.
        image: &'a ImageName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Why not.
        cause: &'a str,
    },
    /// The last line: without it the results are not whole.
    End {
        /// Scenarios judged, over all kernels and images, crashes among them.
        judged: usize,
        /// Those of them that are not as recorded or not as their authors expect, crashes among them.
        differing: usize,
        /// Scenarios skipped.
        skipped: usize,
        /// Scenarios without verdicts, because the harness or the VM failed.
        faults: usize,
        /// Scenarios that were not run.
        not_run: usize,
        /// Attempts by verdict.
        attempts: Attempts,
    },
}

/// A kernel.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Kernel<'a> {
    /// Its name here.
    pub(super) name: &'a KernelName,
    /// What `uname -r` says in it, if it ever ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<&'a str>,
}

/// One call of libbpf's for an object, or something it lost.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Step<'a> {
    /// What it is about.
    pub(super) text: &'a str,
    /// What came of it: `allowed`, `denied ERRNO`, `refused ERRNO`, `lost` or `not told`.
    pub(super) result: String,
}

/// Whether everything about a scenario is right.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Held {
    /// It is as recorded, and each verdict is what its author wants.
    AsRecorded,
    /// Something is not.
    Differs,
}

/// How verdicts compare with a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// They are the same.
    Same,
    /// They are others.
    Other,
    /// Nothing is recorded.
    None,
}

/// How many attempts had each verdict.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Attempts {
    /// The kernel did it.
    pub(super) allowed: usize,
    /// The kernel refused it to this actor, and does it for one with every permission.
    pub(super) denied: usize,
    /// The kernel cannot know or do it.
    pub(super) unsupported: usize,
    /// The kernel refuses it to everybody although it knows it.
    pub(super) malformed: usize,
    /// That were not made: nobody asked the kernel.
    pub(super) not_made: usize,
    /// The kernel died or hung before it was answered.
    pub(super) crashed: usize,
}
