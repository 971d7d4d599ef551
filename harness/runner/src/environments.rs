//! Assigns the scenarios of a run to its environments.

use harness_builder::kernel::running;
use harness_planner::checked::Checked;
use harness_protocol::name::{Environment, ImageName, KernelName};

/// The images of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// Each scenario runs in the first of these that it is meant for; if it is meant for none, it is reported as
    /// skipped in the first.
    Meant(Vec<ImageName>),
    /// Each scenario runs in all of these.
    Named(Vec<ImageName>),
}

/// The scenarios to run in one environment.
#[derive(Clone, Debug)]
pub struct EnvironmentPlan<'a> {
    /// The kernel and the image.
    pub environment: Environment,
    /// The scenarios, in their order.
    pub scenarios: Vec<&'a Checked>,
}

impl Images {
    /// Returns the images that a scenario runs in.
    pub fn of(&self, scenario: &Checked) -> &[ImageName] {
        match self {
            Self::Named(images) => images,
            Self::Meant(images) => {
                let at = first(images, scenario).unwrap_or(0);
                images.get(at..=at).unwrap_or_default()
            }
        }
    }
}

/// Returns the index of the first of these images that a scenario is meant for.
fn first(images: &[ImageName], scenario: &Checked) -> Option<usize> {
    images.iter().position(|image| scenario.is_for_image(image))
}

/// Returns the image whose verdicts are a scenario's shared snapshot: the first default image that it is meant for,
/// otherwise the first of all; `None` if it is meant for none.
pub fn first_image<'a>(scenario: &Checked, defaults: &'a [ImageName], all: &'a [ImageName]) -> Option<&'a ImageName> {
    let of = |images: &'a [ImageName]| first(images, scenario).map(|at| &images[at]);
    of(defaults).or_else(|| of(all))
}

/// Returns the scenarios to run in each environment, kernel by kernel. Environments without a scenario are omitted.
pub fn environment_plans<'a>(
    kernels: &[KernelName],
    images: &Images,
    scenarios: &'a [Checked],
) -> Vec<EnvironmentPlan<'a>> {
    kernels.iter().flat_map(|kernel| plans_of(kernel, images, scenarios)).collect()
}

fn plans_of<'a>(kernel: &KernelName, images: &Images, scenarios: &'a [Checked]) -> Vec<EnvironmentPlan<'a>> {
    if kernel.as_str() == running::NAME {
        let all = scenarios.iter().collect();
        return vec![EnvironmentPlan { environment: running_environment(), scenarios: all }];
    }
    let (Images::Meant(all) | Images::Named(all)) = images;
    let plan = |image: &ImageName| {
        let ours = scenarios.iter().filter(|scenario| images.of(scenario).contains(image)).collect();
        EnvironmentPlan { environment: Environment { kernel: kernel.clone(), image: image.clone() }, scenarios: ours }
    };
    all.iter().map(plan).filter(|plan| !plan.scenarios.is_empty()).collect()
}

/// Returns the environment of the running kernel. Host mode has no image; its name is the kernel's.
pub fn running_environment() -> Environment {
    Environment { kernel: running::name(), image: running::NAME.parse().expect("it is a name") }
}

#[cfg(test)]
mod tests {
    use harness_planner::check::check;
    use harness_scenario::file;
    use harness_uapi::vocabulary::KnownNames;

    use super::*;

    fn scenario(name: &str, images: Option<&str>) -> Checked {
        let images = images.map(|glob| format!("images = '{glob}'\n")).unwrap_or_default();
        let text = format!("summary = 's'\n{images}[[attempt]]\nop = 'map_create'\ntype = 'hash'\n");
        let file = file::parse_bytes("s.toml", name.parse().unwrap(), text.as_bytes()).unwrap();
        let vocabulary = format!("{}/../../kernels/vocabulary/7.3.json", env!("CARGO_MANIFEST_DIR"));
        let vocabulary = std::fs::read_to_string(vocabulary).unwrap();
        check(&file, &KnownNames::from_json([("7.3", vocabulary.as_str())]).unwrap()).unwrap()
    }

    fn scenarios() -> [Checked; 4] {
        let [any, unit] = [scenario("any", None), scenario("unit", Some("systemd-262*"))];
        [any, unit, scenario("old", Some("systemd-257")), scenario("none", Some("nix-*"))]
    }

    fn names<T: std::str::FromStr<Err: std::fmt::Debug>>(names: &[&str]) -> Vec<T> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn planned(kernels: &[&str], images: &Images, scenarios: &[Checked]) -> Vec<String> {
        let summary = |plan: &EnvironmentPlan<'_>| {
            let scenarios: Vec<&str> = plan.scenarios.iter().map(|one| one.name().as_str()).collect();
            format!("{}: {}", plan.environment, scenarios.join(" "))
        };
        environment_plans(&names(kernels), images, scenarios).iter().map(summary).collect()
    }

    #[test]
    fn a_scenario_runs_in_the_first_default_image_it_is_meant_for() {
        let all = scenarios();
        let meant = Images::Meant(names(&["minimal", "systemd-262", "systemd-262.1"]));
        let expected = [
            "6.12@minimal: any old none",
            "6.12@systemd-262: unit",
            "7.3@minimal: any old none",
            "7.3@systemd-262: unit",
        ];
        assert_eq!(planned(&["6.12", "7.3"], &meant, &all), expected);
        assert_eq!(planned(&["6.12"], &meant, &all[..1]), ["6.12@minimal: any"]);
        assert_eq!(planned(&["6.12"], &meant, &all[1..2]), ["6.12@systemd-262: unit"]);
        assert_eq!(planned(&["6.12"], &Images::Meant(Vec::new()), &all), Vec::<String>::new());
    }

    #[test]
    fn all_scenarios_run_in_every_named_image() {
        let named = Images::Named(names(&["systemd-257", "minimal"]));
        let expected = ["6.12@systemd-257: any unit", "6.12@minimal: any unit"];
        assert_eq!(planned(&["6.12"], &named, &scenarios()[..2]), expected);
    }

    #[test]
    fn the_running_kernel_has_no_image() {
        let meant = Images::Meant(names(&["minimal", "systemd-262"]));
        assert_eq!(planned(&["host"], &meant, &scenarios()), ["host@host: any unit old none"]);
    }

    #[test]
    fn the_first_image_is_a_default_one_if_it_can_be() {
        let (defaults, all) = (names(&["minimal", "systemd-262"]), names(&["minimal", "systemd-257", "systemd-262"]));
        let first: Vec<Option<&str>> =
            scenarios().iter().map(|one| first_image(one, &defaults, &all).map(ImageName::as_str)).collect();
        assert_eq!(first, [Some("minimal"), Some("systemd-262"), Some("systemd-257"), None]);
    }
}
