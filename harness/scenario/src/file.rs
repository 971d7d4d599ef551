//! Scenario files: their format, and reading them.
//!
//! [`parse`] reads the text of a file and reports everything that is wrong with its form. What it means is the planner's to say.

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

/// A scenario file whose form is right. What it means was not looked at yet.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    name: ScenarioName,
    label: String,
    text: Arc<str>,
    root: Node,
    spec: Spec,
    template: serde_json::Value,
}

impl ScenarioFile {
    /// The name of the scenario.
    pub fn name(&self) -> &ScenarioName {
        &self.name
    }

    /// The document with the place of every value.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The document without its matrix, whose placeholders are filled in here.
    pub fn template(&self) -> &serde_json::Value {
        &self.template
    }

    /// What is written in it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Puts in what the unit file of its container assigns, and each drop-in of that, if it names one: `read` is given the
    /// name of a file beside the scenario.
    ///
    /// # Errors
    /// A report that says at the name why the file cannot be had.
    pub fn with_unit_file(
        mut self,
        read: impl FnOnce(&str) -> Result<Vec<Vec<Assignment>>, String>,
    ) -> Result<Self, Report> {
        let Some(name) = self.spec.container.as_ref().and_then(|container| container.unit_file.clone()) else {
            return Ok(self);
        };
        let files = if is_service_file(&name) {
            read(&name)
        } else {
            Err("this is no name of a unit file beside the scenario, such as `agent.service`".to_owned())
        };
        let key_path = node::KeyPath::default().key("container").key("unit_file");
        let files = files.map_err(|why| self.report(vec![Problem::new(self.root.span_of(&key_path), why)]))?;
        self.template[spec::UNIT_FILE] = serde_json::to_value(&files).unwrap_or_default();
        self.spec.unit_file = files;
        Ok(self)
    }

    /// The line of the value at this place, counted from 1.
    pub fn line_of(&self, key_path: &node::KeyPath) -> usize {
        report::position(&self.text, self.root.span_of(key_path).start).0
    }

    /// A report of problems with it.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        Report::new(&self.label, self.text.clone(), problems)
    }
}

/// Reads the bytes of a scenario file; `label` is what messages call the file.
///
/// # Errors
/// What [`parse`] tells, and text that is not UTF-8.
pub fn parse_bytes(label: &str, name: ScenarioName, bytes: &[u8]) -> Result<ScenarioFile, Report> {
    if bytes.len() > MOST_BYTES {
        return Err(too_long(label));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(label, name, text),
        Err(error) => {
            let at = error.valid_up_to();
            let text: Arc<str> = String::from_utf8_lossy(bytes).into();
            let problem = Problem::new(at..at, format!("this is no text: byte {at} of the file is not UTF-8"));
            Err(Report::new(label, text, vec![problem.help("a scenario is a TOML file")]))
        }
    }
}

/// Reads the text of a scenario file; `label` is what messages call the file.
///
/// # Errors
/// Everything in its form that is wrong: syntax, unknown and missing keys, wrong types, values out of range.
pub fn parse(label: &str, name: ScenarioName, text: &str) -> Result<ScenarioFile, Report> {
    if text.len() > MOST_BYTES {
        return Err(too_long(label));
    }
    let text: Arc<str> = text.into();
    let report = |problems| Report::new(label, text.clone(), problems);
    let root = Node::read(&text).map_err(report)?;
    let problems = structure::problems(&root, schema::scenario_schema());
    if !problems.is_empty() {
        return Err(report(problems));
    }
    let mut template = root.to_json();
    let spec = serde_json::from_value::<Spec>(template.clone())
        .map_err(|error| report(vec![Problem::new(root.span.clone(), error.to_string())]))?;
    if let Some(document) = template.as_object_mut() {
        document.remove("matrix");
    }
    Ok(ScenarioFile { name, label: label.to_owned(), text: text.clone(), root, spec, template })
}

/// Whether it names a service's file and no other folder; a template's says itself which instance (`NAME@INSTANCE.service`,
/// systemd.unit(5)).
fn is_service_file(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte);
    name.len() <= 128 && !name.starts_with('.') && name.ends_with(".service") && name.bytes().all(is_plain)
}

/// The text is left out of such a report: nobody wants to see it.
fn too_long(label: &str) -> Report {
    let message = format!("the file has more than {MOST_BYTES} bytes, the most a scenario may have");
    Report::new(label, "".into(), vec![Problem::new(0..0, message).help("split it into several scenarios")])
}
