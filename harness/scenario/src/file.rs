//! Reads scenario files.
//!
//! [`parse`] checks the structure of a file: keys, types and ranges. The planner then checks names and references, in
//! whatever has the right structure, and reports all problems together.

use std::sync::Arc;

use harness_diagnostics::{
    limits::MOST_BYTES,
    node::{self, Node},
    report::{self, Problem, Report},
    structure,
};
use harness_protocol::{name::ScenarioName, plan::Assignment};

use crate::{
    schema,
    spec::{self, Spec},
};

/// A scenario file without the parts whose structure is wrong. Its names and references are not checked yet.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    name: ScenarioName,
    label: String,
    text: Arc<str>,
    root: Node,
    problems: Vec<Problem>,
    spec: Spec,
    template: serde_json::Value,
}

impl ScenarioFile {
    /// Returns the name of the scenario.
    pub fn name(&self) -> &ScenarioName {
        &self.name
    }

    /// Returns the document with the position of every value. [`Node::dropped`] records the dropped parts.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Returns the problems with its structure: the dropped parts.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the document without its matrix. Placeholders are replaced in a copy of it.
    pub fn template(&self) -> &serde_json::Value {
        &self.template
    }

    /// Returns the contents of the file.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Adds the assignments of the unit file that the container names, and of each of its drop-ins. `read` gets the
    /// name of the file, which is beside the scenario.
    ///
    /// # Errors
    /// A report of why the file cannot be read, together with the problems that were found before.
    pub fn with_unit_file(
        mut self,
        read: impl FnOnce(&str) -> Result<Vec<Vec<Assignment>>, String>,
    ) -> Result<Self, Report> {
        let Some(name) = self.spec.container.as_ref().and_then(|container| container.unit_file.clone()) else {
            return Ok(self);
        };
        let files = if is_beside(&name, ".service") {
            read(&name)
        } else {
            Err("not the name of a unit file beside the scenario, such as `agent.service`".to_owned())
        };
        let key_path = node::KeyPath::default().key("container").key("unit_file");
        let files = files.map_err(|why| {
            let problem = Problem::new(self.root.span_of(&key_path), why);
            self.report(self.problems.iter().cloned().chain([problem]).collect())
        })?;
        self.template[spec::UNIT_FILE] = serde_json::to_value(&files).unwrap_or_default();
        self.spec.unit_file = files;
        Ok(self)
    }

    /// Adds the text of the guard's policy. `read` gets the name of the file, which is beside the scenario.
    ///
    /// # Errors
    /// A report of why the file cannot be read, together with the problems that were found before.
    pub fn with_guard_policy(mut self, read: impl FnOnce(&str) -> Result<String, String>) -> Result<Self, Report> {
        let Some(guard) = &mut self.spec.vm.guard else { return Ok(self) };
        let text = if is_beside(&guard.policy, GUARD_POLICY) {
            read(&guard.policy)
        } else {
            Err(format!("not the name of a policy beside the scenario, such as `narrow{GUARD_POLICY}`"))
        };
        match text {
            Ok(text) => guard.text = text,
            Err(why) => {
                let key_path = node::KeyPath::default().key("vm").key("guard").key("policy");
                let problem = Problem::new(self.root.span_of(&key_path), why);
                return Err(self.report(self.problems.iter().cloned().chain([problem]).collect()));
            }
        }
        Ok(self)
    }

    /// Returns the line of the value at this path, counted from 1.
    pub fn line_of(&self, key_path: &node::KeyPath) -> usize {
        report::position(&self.text, self.root.span_of(key_path).start).0
    }

    /// Creates a report of problems with the file.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        Report::new(&self.label, self.text.clone(), problems)
    }
}

/// Reads the bytes of a scenario file; `label` is the name of the file in messages.
///
/// # Errors
/// The errors of [`parse`], and text that is not UTF-8.
pub fn parse_bytes(label: &str, name: ScenarioName, bytes: &[u8]) -> Result<ScenarioFile, Report> {
    if bytes.len() > MOST_BYTES {
        return Err(too_large(label));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(label, name, text),
        Err(error) => {
            let at = error.valid_up_to();
            let text: Arc<str> = String::from_utf8_lossy(bytes).into();
            let problem = Problem::new(at..at, format!("byte {at} of the file is not UTF-8"));
            Err(Report::new(label, text, vec![problem.help("a scenario is a TOML file")]))
        }
    }
}

/// Reads the text of a scenario file; `label` is the name of the file in messages.
///
/// Unknown and missing keys, wrong types and values out of range become [`ScenarioFile::problems`] of the rest.
///
/// # Errors
/// A file that is too large, every syntax error, or the problems of a file without a single correct key.
pub fn parse(label: &str, name: ScenarioName, text: &str) -> Result<ScenarioFile, Report> {
    if text.len() > MOST_BYTES {
        return Err(too_large(label));
    }
    let text: Arc<str> = text.into();
    let report = |problems| Report::new(label, text.clone(), problems);
    let document = Node::read(&text).map_err(report)?;
    let (root, mut problems) = structure::fitting(&document, schema::scenario_schema());
    let mut template = root.to_json();
    if let Some(document) = template.as_object_mut().filter(|document| !document.is_empty()) {
        // The only key that must be there; if it is missing or wrong, that is reported already.
        document.entry("summary").or_insert_with(|| "".into());
    }
    let spec = match serde_json::from_value::<Spec>(template.clone()) {
        Ok(spec) => spec,
        Err(error) => {
            if problems.is_empty() {
                problems.push(Problem::new(root.span.clone(), error.to_string()));
            }
            return Err(report(problems));
        }
    };
    if let Some(document) = template.as_object_mut() {
        document.remove("matrix");
    }
    Ok(ScenarioFile { name, label: label.to_owned(), text: text.clone(), root, problems, spec, template })
}

/// The end of the name of a guard's policy. A file with such a name is no scenario.
pub const GUARD_POLICY: &str = ".guard.toml";

/// Whether this is the name of a file beside the scenario, without a folder and with this end. The name of a unit
/// template's instance contains the instance (`NAME@INSTANCE.service`, systemd.unit(5)).
fn is_beside(name: &str, end: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte);
    name.len() <= 128 && !name.starts_with('.') && name.ends_with(end) && name.bytes().all(is_plain)
}

/// The report leaves out the text.
fn too_large(label: &str) -> Report {
    let message = format!("the file has more than {MOST_BYTES} bytes, the limit for a scenario");
    Report::new(label, "".into(), vec![Problem::new(0..0, message).help("split it into several scenarios")])
}
