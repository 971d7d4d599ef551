//! What a program needs, as a document for programs: written by `caps --exec`, and read by `validate --program`.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, bail};
use harness_findings::program::{ProgramNeeds, ProgramResult};
use harness_program::NAME;
use harness_proof::{
    minimizer::{FailedObject, Reduction},
    object::ObjectDefect,
};
use harness_protocol::{
    outcome::{Frame, ObjectStep},
    plan::ExecToken,
};
use harness_runner::proof::{ProgramProof, Recording};
use harness_verdict::object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::program::Found;
use crate::bpf_objects::bytes_of;

/// The version of the document; it increases when readers of the previous one would misread the new one.
const FORMAT: u32 = 1;

/// The output of `caps --exec --format json`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ProgramNeeds")]
pub(crate) struct Document {
    /// The version of this format.
    format: u32,
    /// The program and its arguments.
    command: Vec<String>,
    /// The files that were copied into the VMs.
    copied: Vec<String>,
    /// What it needs, by the kernel's name.
    kernels: BTreeMap<String, OneKernel>,
}

/// What a program needs on a kernel.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
enum OneKernel {
    /// It works with this grant, and with no element removed.
    Proved {
        /// How it ran as root.
        recording: OneRecording,
        /// The grant.
        elements: Vec<OneElement>,
        /// The number of runs in containers.
        runs: u32,
    },
    /// It works with no grant.
    NotDelegable {
        /// How it ran as root.
        recording: OneRecording,
        /// What fails in a container with every permission.
        why: Vec<String>,
    },
    /// There is no result.
    Unknown {
        /// Why.
        why: String,
    },
}

/// How a program ran as root.
#[derive(Serialize, Deserialize, JsonSchema)]
struct OneRecording {
    /// How it ended, in words.
    end: String,
    /// Whether it makes a token itself.
    makes_token: bool,
    /// Its calls, in the order in which they returned.
    calls: Vec<OneCall>,
    /// How many more calls it made.
    omitted: u32,
    /// What no token covers.
    not_delegable: Vec<String>,
    /// What it does without the token that it has, so that it is refused.
    without_token: Vec<String>,
    /// Whether it loads a program of type `syscall`, which may call bpf(2) inside the kernel without being seen.
    has_loader: bool,
}

/// Consecutive calls with the same meaning and answer.
#[derive(Serialize, Deserialize, JsonSchema)]
struct OneCall {
    /// The command of bpf(2), or `perf_event_open`.
    command: String,
    /// What it concerns; empty if nothing is known of that.
    about: String,
    /// How root was refused; null if it was not.
    errno: Option<String>,
    /// How often it was made.
    times: u32,
    /// Why the verifier refused a program, if the caller asked for its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verifier: Option<String>,
    /// Where it was made first: a function and those that called it, innermost first, without those of the C library; at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    from: Vec<OneFunction>,
}

/// A function of the program or of a library.
#[derive(Serialize, Deserialize, JsonSchema)]
struct OneFunction {
    /// The file's name, without its folder.
    file: String,
    /// The function's name; null if the file does not have it.
    function: Option<String>,
    /// The address within the file in hexadecimal, as `addr2line -e FILE` takes it.
    address: String,
}

/// An element of a grant.
#[derive(Serialize, Deserialize, JsonSchema)]
struct OneElement {
    /// A command or type with its kind, such as `map type array`, or a capability.
    element: String,
    /// Whether the program fails without it; otherwise it is refused something that it does without.
    fails: bool,
    /// What is refused without it.
    without: Vec<String>,
}

/// Returns the JSON document.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub(super) fn json(found: &Found) -> Result<String> {
    let kernels = found.kernels.iter().map(|(kernel, proof)| (kernel.to_string(), one(proof))).collect();
    let (command, copied) = (found.command.clone(), found.copied.clone());
    Ok(serde_json::to_string_pretty(&Document { format: FORMAT, command, copied, kernels })?)
}

fn one(proof: &ProgramProof) -> OneKernel {
    let recording = match &proof.recording {
        Ok(recording) => recording,
        Err(error) => return OneKernel::Unknown { why: error.to_string() },
    };
    let defects = |failed: &[FailedObject]| failed.iter().map(|failed| failed.defect.to_string()).collect();
    match &proof.reduction {
        Some(Err(error)) => OneKernel::Unknown { why: error.to_string() },
        None => OneKernel::NotDelegable {
            why: vec![format!("it {}", recording.container.end)],
            recording: one_recording(recording),
        },
        Some(Ok(Reduction::Insufficient(failed))) => {
            OneKernel::NotDelegable { recording: one_recording(recording), why: defects(failed) }
        }
        Some(Ok(Reduction::Minimal(minimal))) => OneKernel::Proved {
            recording: one_recording(recording),
            elements: minimal
                .needed
                .iter()
                .map(|(element, failed)| OneElement {
                    element: element.to_string(),
                    fails: failed.iter().any(|one| !matches!(one.defect, ObjectDefect::NotMade(_))),
                    without: defects(failed),
                })
                .collect(),
            runs: minimal.loads,
        },
    }
}

fn one_recording(recording: &Recording) -> OneRecording {
    let function = |frame: &Frame| OneFunction {
        file: frame.file.clone(),
        function: frame.function.clone(),
        address: format!("{:#x}", frame.address),
    };
    let call = |step: &ObjectStep| OneCall {
        command: step.cmd.clone(),
        about: step.about.clone(),
        errno: step.errno.map(|errno| errno.to_string()),
        times: step.times,
        verifier: step.verifier.as_ref().map(ToString::to_string),
        from: recording.root.site(step).iter().map(function).collect(),
    };
    OneRecording {
        end: recording.root.end.to_string(),
        makes_token: recording.token == ExecToken::Own,
        calls: recording.root.calls.steps.iter().map(call).collect(),
        omitted: recording.root.calls.omitted,
        not_delegable: recording.not_delegable().into_iter().map(object::text).collect(),
        without_token: recording.without_token().into_iter().map(object::text).collect(),
        has_loader: recording.has_loader(),
    }
}

/// Reads what [`json`] wrote.
///
/// # Errors
/// If the file cannot be read, or is no such document.
pub(crate) fn read(path: &Path) -> Result<ProgramNeeds> {
    let shown = path.display();
    let bytes = bytes_of(path).with_context(|| format!("cannot read {shown}"))?;
    let document: Document = serde_json::from_slice(&bytes)
        .with_context(|| format!("{shown} is not what `{NAME} caps --exec --format json` writes"))?;
    if document.format != FORMAT {
        bail!("{shown} has format {}, and this program reads {FORMAT}: find it out again", document.format);
    }
    let kernels = document.kernels.into_iter().map(|(kernel, needs)| Ok((kernel, needs.result()?)));
    let kernels = kernels.collect::<Result<_>>().with_context(|| format!("cannot use {shown}"))?;
    Ok(ProgramNeeds { name: document.command.first().cloned().unwrap_or_default(), kernels })
}

impl OneKernel {
    fn result(self) -> Result<ProgramResult> {
        Ok(match self {
            Self::Proved { recording, elements, .. } => {
                let element = |one: OneElement| Ok((one.element.parse()?, one.fails));
                let elements = elements.into_iter().map(element).collect::<Result<_>>()?;
                ProgramResult::Proved { elements, makes_token: recording.makes_token }
            }
            Self::NotDelegable { recording, why } => {
                ProgramResult::NotDelegable { why: why.into_iter().chain(recording.not_delegable).collect() }
            }
            Self::Unknown { why } => ProgramResult::Unknown { why },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(text: &str) -> Result<ProgramNeeds> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    const RECORDING: &str = r#"{"end": "exited with 0", "makes_token": true, "calls": [], "omitted": 0,
        "not_delegable": ["perf_event_open"], "without_token": [], "has_loader": false}"#;

    #[test]
    fn a_document_is_read_with_each_of_its_results() {
        let kernels = format!(
            r#"{{"6.12": {{"result": "proved", "recording": {RECORDING}, "runs": 3,
                  "elements": [{{"element": "map type array", "fails": true, "without": []}},
                               {{"element": "CAP_BPF", "fails": false, "without": []}}]}},
                "7.3": {{"result": "not_delegable", "recording": {RECORDING}, "why": ["it exited with 1"]}},
                "7.2-debian": {{"result": "unknown", "why": "no memory"}}}}"#
        );
        let document = |format: u32| {
            format!(r#"{{"format": {format}, "command": ["bpftool", "prog"], "copied": [], "kernels": {kernels}}}"#)
        };
        let needs = read_text(&document(FORMAT)).unwrap();
        assert_eq!(needs.name, "bpftool");
        let elements = ["map type array", "CAP_BPF"].map(|text| text.parse().unwrap());
        let elements = [(elements[0], true), (elements[1], false)].into();
        assert_eq!(needs.kernels["6.12"], ProgramResult::Proved { elements, makes_token: true });
        let why = vec!["it exited with 1".to_owned(), "perf_event_open".to_owned()];
        assert_eq!(needs.kernels["7.3"], ProgramResult::NotDelegable { why });
        assert_eq!(needs.kernels["7.2-debian"], ProgramResult::Unknown { why: "no memory".to_owned() });
        assert!(read_text(&document(FORMAT + 1)).unwrap_err().to_string().ends_with("find it out again"));
        let misspelt = document(FORMAT).replace("CAP_BPF", "CAP_BFP");
        let error = format!("{:#}", read_text(&misspelt).unwrap_err());
        assert!(error.ends_with("`CAP_BFP` is neither a capability nor a command or type of bpf(2)"), "{error}");
        assert!(read_text("[Service]").is_err());
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ship-a-unit/needs.json");
        assert_eq!(read(&shipped).unwrap().kernels.len(), 2);
    }
}
