//! Kernels with the committed vocabularies.
#![allow(dead_code, unreachable_pub, reason = "each test program uses only a part")]

use harness_diagnostics::report::Report;
use harness_planner::{
    check::check,
    expand::{self, Expansion},
};
use harness_scenario::{
    expanded::Expanded,
    file::{self, ScenarioFile},
};
use harness_uapi::{
    configuration::Configuration,
    resolver::KernelProfile,
    vocabulary::{KnownNames, Vocabulary},
};

const FILES: [(&str, &str); 2] = [
    ("6.12", include_str!("../../../../kernels/vocabulary/6.12.json")),
    ("7.3", include_str!("../../../../kernels/vocabulary/7.3.json")),
];

pub fn known() -> KnownNames {
    KnownNames::from_json(FILES).unwrap()
}

/// The fragments of the kernels that are built here.
const FRAGMENTS: [&str; 5] = [
    include_str!("../../../../kernels/fragments/boot.config"),
    include_str!("../../../../kernels/fragments/containers.config"),
    include_str!("../../../../kernels/fragments/bpf.config"),
    include_str!("../../../../kernels/fragments/tracing.config"),
    include_str!("../../../../kernels/fragments/network.config"),
];

fn configuration() -> Configuration {
    Configuration::of(&FRAGMENTS.concat())
}

pub struct Kernel {
    name: &'static str,
    image: &'static str,
    vocabulary: Vocabulary,
    configuration: Configuration,
}

pub fn kernel(name: &str) -> Kernel {
    let (name, text) = FILES.into_iter().find(|(known, _)| *known == name).unwrap();
    Kernel { name, image: "minimal", vocabulary: serde_json::from_str(text).unwrap(), configuration: configuration() }
}

impl Kernel {
    /// The same kernel without these commands and these members of `union bpf_attr`.
    pub fn without(self, cmds: &[&str], members: &[&str]) -> Self {
        let mut json = serde_json::to_value(&self.vocabulary).unwrap();
        let names = json["cmds"]["names"].as_array_mut().unwrap();
        names.retain(|known| !cmds.contains(&known["name"].as_str().unwrap()));
        json["attr_members"].as_array_mut().unwrap().retain(|member| !members.contains(&member.as_str().unwrap()));
        Self { vocabulary: serde_json::from_value(json).unwrap(), ..self }
    }

    /// The same kernel with this configuration.
    pub fn configured(self, text: &str) -> Self {
        Self { configuration: Configuration::of(text), ..self }
    }

    /// Stands for a distribution's kernel: the same, with what only those have of what scenarios require.
    pub fn of_a_distribution(self) -> Self {
        Self {
            configuration: Configuration::of(&format!(
                "{}CONFIG_AUDIT=y\nCONFIG_CROSS_MEMORY_ATTACH=y\n",
                FRAGMENTS.concat()
            )),
            ..self
        }
    }

    /// The same with the fragment of kernels that have a key of their own, and an option that it implies.
    pub fn with_integrity(self) -> Self {
        let fragment = include_str!("../../../../kernels/fragments/integrity.config");
        self.configured(&(FRAGMENTS.concat() + fragment + "CONFIG_IMA_NG_TEMPLATE=y\n"))
    }

    /// Stands for 6.18, which has signatures but does not cover maps by them: 6.12 by another name.
    pub fn with_signatures_of_instructions() -> Self {
        Self { name: "6.18", ..kernel("6.12") }
    }

    /// Stands for the last kernel without tokens: 6.12 without what tokens added in 6.9.
    pub fn before_tokens() -> Self {
        let members = ["map_token_fd", "prog_token_fd", "btf_token_fd"];
        Self { name: "6.8", ..kernel("6.12").without(&["token_create"], &members) }
    }

    /// The same kernel with one more map type.
    pub fn with_map_type(self, name: &str, number: u32) -> Self {
        self.with_name("maps", name, number)
    }

    /// The same kernel with one more program type.
    pub fn with_prog_type(self, name: &str, number: u32) -> Self {
        self.with_name("progs", name, number)
    }

    fn with_name(self, table: &str, name: &str, number: u32) -> Self {
        let mut json = serde_json::to_value(&self.vocabulary).unwrap();
        let names = json[table]["names"].as_array_mut().unwrap();
        names.push(serde_json::json!({ "number": number, "name": name }));
        Self { vocabulary: serde_json::from_value(json).unwrap(), ..self }
    }

    /// The same kernel with another image.
    pub fn in_image(self, image: &'static str) -> Self {
        Self { image, ..self }
    }

    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub fn expand(&self, text: &str) -> Result<Expansion, Report> {
        self.expand_file("x.toml", "x", text)
    }

    pub fn expand_file(&self, label: &str, name: &str, text: &str) -> Result<Expansion, Report> {
        self.expand_parsed(&file::parse(label, name.parse().unwrap(), text)?)
    }

    pub fn expand_parsed(&self, file: &ScenarioFile) -> Result<Expansion, Report> {
        let checked = check(file, &known())?;
        let image = self.image.parse().unwrap();
        let (name, release, configuration) =
            (self.name.parse().unwrap(), self.name.parse().unwrap(), &self.configuration);
        expand::expand(
            &checked,
            KernelProfile { name: &name, image: &image, release, vocabulary: &self.vocabulary, configuration },
        )
    }
}

pub fn expanded(text: &str, on: &str) -> Expanded {
    match kernel(on).expand(text) {
        Ok(Expansion::Run(expanded)) => *expanded,
        Ok(Expansion::Skipped { reason }) => panic!("skipped: {reason}"),
        Err(report) => panic!("{report}"),
    }
}

/// The lines of the report about a scenario, without the name of the file.
pub fn problems(text: &str) -> Vec<String> {
    let checked = file::parse("x.toml", "x".parse().unwrap(), text).and_then(|file| check(&file, &known()));
    let report = checked.err().map(|report| report.to_string()).unwrap_or_default();
    report.lines().map(|line| line.trim_start_matches("x.toml:").to_owned()).collect()
}
