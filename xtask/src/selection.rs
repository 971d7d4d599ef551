//! Which kernels, images and scenarios a verb is about: the options that `run`, `report`, `bless` and others share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Result, anyhow};
use clap::Args;
use harness_builder::{host::Purpose, kernel::running, progress::Progress, project::Project};
use harness_model::{
    check::Checked,
    ground::Ground,
    name::{ImageName, KernelName, ScenarioName},
    scenario::suggest::similar_scenarios,
};
use harness_runner::{
    fleet::Jobs,
    grounds::{self, Images, Stint},
    identity::Identity,
    lab::{self, Lab, LabError, Task},
    report::{Finding, GroundLabel, Naming, Results, Standing},
    store::Freshness,
    supplies::{Supplies, SuppliesError},
    testbed::Testbed,
};

use crate::{candidates, exit, exit::Wrong, setup};

/// Which kernels, images and scenarios.
#[derive(Debug, Args)]
pub(crate) struct Selectors {
    /// Kernels to boot, by name or glob; `all` means every one that has a manifest, `host` the running kernel without a VM
    /// [default: those whose manifest says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    #[command(flatten)]
    scope: Scope,
}

/// Which images and scenarios, and how they are run.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// Root file systems of guests, by name or glob; `all` means every one that has a recipe [default: for each scenario the
    /// first it is meant for of those whose recipe says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::images())]
    image: Vec<String>,

    /// Only scenarios whose name matches; `*` also matches `/`
    #[arg(long, value_name = "GLOB", default_value = "*", add = candidates::scenarios())]
    filter: String,

    /// A folder of scenario files other than the project's own
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    scenarios: Option<PathBuf>,

    /// Do not believe outcomes of earlier runs: boot and attempt everything again
    #[arg(long)]
    fresh: bool,

    /// So many VMs at a time at most, fewer if memory is short [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<Jobs>,

    /// Print what would be installed on the host instead of installing it
    #[arg(long)]
    no_install: bool,
}

/// What was selected, read and checked; nothing is built or booted yet.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) lab: Lab,
    pub(crate) kernels: Vec<KernelName>,
    images: Images,
    /// The default images, and all.
    known_images: [Vec<ImageName>; 2],
    pub(crate) scenarios: Vec<Checked>,
    supplies: Supplies,
    filter: String,
    no_install: bool,
}

impl Selectors {
    /// Whether outcomes of earlier runs are not to be believed.
    pub(crate) fn wants_fresh(&self) -> bool {
        self.scope.fresh
    }

    /// Finds and checks everything named, so that a typo is told before anything is built.
    pub(crate) fn resolve(&self, progress: Progress) -> Result<Selection> {
        self.scope.resolve(&self.kernel, progress)
    }
}

impl Scope {
    /// The same for these kernels, or the default ones if none is named.
    pub(crate) fn resolve(&self, kernels: &[String], progress: Progress) -> Result<Selection> {
        let project = Project::find()?;
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        let supplies = Supplies::open(project.clone(), freshness, progress.clone())?;
        let kernels = match kernels {
            [] => supplies.default_kernels().map_err(Wrong::input)?,
            names => named(names, &supplies, &progress)?,
        };
        let defaults = supplies.default_images().map_err(Wrong::input)?;
        let known_images = [defaults, supplies.images(["all"]).map_err(Wrong::input)?];
        let images = match &self.image[..] {
            [] => Images::Meant(known_images[0].clone()),
            names => Images::Named(supplies.images(names.iter().map(String::as_str)).map_err(Wrong::input)?),
        };
        let supplies = supplies.with_jobs(self.jobs.unwrap_or_default());
        let folder = self.scenarios.clone().unwrap_or_else(|| project.scenarios());
        let lab = Lab::open(&project, &folder).map_err(Wrong::input)?;
        let names = lab.suite().select(&self.filter).map_err(Wrong::input)?;
        let scenarios = lab.check(&names).map_err(Wrong::input)?;
        let (filter, no_install) = (self.filter.clone(), self.no_install);
        Ok(Selection { lab, kernels, images, known_images, scenarios, supplies, filter, no_install })
    }
}

/// The kernels of these names; the running one only by its very name, and only for root.
fn named(names: &[String], supplies: &Supplies, progress: &Progress) -> Result<Vec<KernelName>> {
    let others = names.iter().map(String::as_str).filter(|name| *name != running::NAME);
    let mut kernels = supplies.kernels(others).map_err(Wrong::input)?;
    if names.iter().any(|name| name == running::NAME) {
        if !rustix::process::geteuid().is_root() {
            return Err(Wrong::input(anyhow!("{NOT_ROOT}")));
        }
        progress.note(BEFOREHAND);
        kernels.push(running::name());
    }
    Ok(kernels)
}

fn is_running(kernel: &KernelName) -> bool {
    kernel.as_str() == running::NAME
}

const NOT_ROOT: &str = "`--kernel host` needs root: only root of the machine can set what a bpffs delegates. Try
    sudo --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME cargo xtask run --kernel host";

const BEFOREHAND: &str = "\
kernel host: scenarios run as root on this machine, in pid, mount, network, IPC, UTS and cgroup namespaces of their own
and in a cgroup below this one; those that would reach beyond these are skipped. BPF objects are global to a kernel: what
is not freed afterwards is told.";

impl Selection {
    /// Says that nothing was selected.
    pub(crate) fn nothing(&self) -> ExitCode {
        let suite = self.lab.suite();
        let folder = suite.folder().display();
        let similar: Vec<&str> =
            similar_scenarios(&self.filter, suite.names()).into_iter().map(ScenarioName::as_str).collect();
        let advice = match similar[..] {
            [] => format!("`--filter '*'` selects all {}", suite.names().count()),
            _ => format!("did you mean {}?", similar.join(" or ")),
        };
        eprintln!("error: no scenario in {folder} matches `{}`; {advice}", self.filter);
        exit::NOTHING_SELECTED.into()
    }

    /// What each ground has to do.
    fn stints(&self) -> Vec<Stint<'_>> {
        grounds::stints(&self.kernels, &self.images, &self.scenarios)
    }

    /// What came of the scenarios on each ground, findings of one scenario together. A ground that cannot be built or
    /// booted fails alone: its findings say so. Scenarios of a default image whose packages are gone are skipped.
    pub(crate) fn findings(&self) -> Result<Vec<Finding>> {
        let stints = self.stints();
        let gone = self.prepare(&stints)?;
        let mut findings: Vec<Finding> = Vec::new();
        let mut built: Vec<(Testbed<'_>, &Stint<'_>)> = Vec::new();
        for stint in &stints {
            match gone.get(&stint.ground.image) {
                Some(reason) => findings.extend(unjudged(stint, &Standing::Skipped { reason: reason.clone() })),
                None => match self.testbed(&stint.ground) {
                    Ok(testbed) => built.push((testbed, stint)),
                    Err(error) => {
                        let cause = self.cannot_build(&stint.ground.kernel, &error);
                        findings.extend(unjudged(stint, &Standing::NotRun { cause }));
                    }
                },
            }
        }
        // Before, for what an interrupted run leaves; afterwards, with the objects that its scenarios loaded.
        built.iter().try_for_each(|(testbed, _)| self.supplies.remember(testbed))?;
        let tasks: Vec<Task<'_>> = built.iter().map(|(testbed, stint)| task(testbed, stint)).collect();
        findings.extend(self.lab.findings_of(&tasks).map_err(blame)?);
        built.iter().try_for_each(|(testbed, _)| self.supplies.remember(testbed))?;
        Ok(sorted(findings))
    }

    /// Sees to what the grounds have in common, images included; why there are not those that are gone.
    fn prepare(&self, stints: &[Stint<'_>]) -> Result<BTreeMap<ImageName, String>> {
        let grounds: Vec<Ground> = stints.iter().map(|stint| stint.ground.clone()).collect();
        let (here, vms): (Vec<Ground>, Vec<Ground>) =
            grounds.into_iter().partition(|ground| is_running(&ground.kernel));
        if !here.is_empty() {
            let purposes = [Purpose::GuestProgram, Purpose::Objects];
            setup::prepare_host(&purposes, self.no_install, self.supplies.progress())?;
        }
        let mut gone = BTreeMap::new();
        if vms.is_empty() {
            return Ok(gone);
        }
        setup::prepare_for_grounds(&self.supplies, &vms, self.no_install)?;
        self.supplies.build_shared()?;
        let images: BTreeSet<ImageName> = vms.into_iter().map(|ground| ground.image).collect();
        for image in images {
            match self.supplies.build_image(&image) {
                Ok(_) => {}
                Err(error) if error.is_gone() && self.can_do_without(&image) => {
                    let reason = format!("image {image} cannot be made: {}", lab::chain(&error));
                    self.supplies.progress().note(&reason);
                    gone.insert(image, reason);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone)
    }

    /// Whether nobody named this image, and other scenarios run without it.
    fn can_do_without(&self, image: &ImageName) -> bool {
        matches!(&self.images, Images::Meant(images) if images.first() != Some(image))
    }

    /// What the store knows of the scenarios on each ground, findings of one scenario together. Nothing is built or booted;
    /// what was not run is among them as such.
    pub(crate) fn known_findings(&self) -> Result<Vec<Finding>> {
        let mut findings: Vec<Finding> = Vec::new();
        for stint in self.stints() {
            let image = &stint.ground.image;
            let nothing = format!("the store knows nothing of it with image {image}; run it, or merge a store");
            match self.identity(&stint.ground)? {
                Some(identity) => {
                    findings.extend(self.lab.stored_findings(self.supplies.store(), &identity, &stint.scenarios)?);
                }
                // A run that could not make the image has left nothing, and was no failure.
                None if self.can_do_without(image) => {
                    findings.extend(unjudged(&stint, &Standing::Skipped { reason: nothing }));
                }
                None => findings.extend(unjudged(&stint, &Standing::NotRun { cause: nothing.into() })),
            }
        }
        Ok(sorted(findings))
    }

    fn cannot_build(&self, kernel: &KernelName, error: &SuppliesError) -> Arc<str> {
        let cause = lab::chain(error);
        self.supplies.progress().note(&format!("kernel {kernel}: {cause}"));
        cause.into()
    }

    /// Tells which snapshots of kernels' and images' own have no reason and which reasons apply no more, as far as the selected
    /// scenarios are concerned; whether there are any.
    pub(crate) fn tell_reason_complaints(&self) -> Result<bool> {
        let complaints = self.lab.reason_complaints(self.scenarios.iter().map(Checked::name))?;
        complaints.iter().for_each(|complaint| eprintln!("error: {}", complaint.text));
        Ok(!complaints.is_empty())
    }

    /// Who answered last by the names of this ground; `None` if nobody did. After [`Self::findings`] that is who answered
    /// there.
    pub(crate) fn identity(&self, ground: &Ground) -> Result<Option<Identity>> {
        Ok(self.supplies.store().recall(&ground.kernel, &ground.image)?)
    }

    /// Who answered last by the name of this kernel with any image of the run.
    pub(crate) fn identity_of_kernel(&self, kernel: &KernelName) -> Result<Option<Identity>> {
        let ours = self.stints().into_iter().map(|stint| stint.ground).filter(|ground| &ground.kernel == kernel);
        for ground in ours {
            if let Some(identity) = self.identity(&ground)? {
                return Ok(Some(identity));
            }
        }
        Ok(None)
    }

    /// The grounds of the run.
    pub(crate) fn grounds(&self) -> Vec<Ground> {
        self.stints().into_iter().map(|stint| stint.ground).collect()
    }

    /// What they are called.
    pub(crate) fn naming(&self) -> Naming {
        Naming::of(&self.grounds())
    }

    /// These findings with what they were found on.
    pub(crate) fn results(&self, findings: Vec<Finding>) -> Result<Results> {
        let label = |ground: Ground| -> Result<GroundLabel> {
            let release = self.identity(&ground)?.map(|identity| identity.release().to_owned());
            Ok(GroundLabel { ground, release })
        };
        let grounds = self.grounds().into_iter().map(label).collect::<Result<_>>()?;
        Ok(Results { grounds, findings })
    }

    fn testbed(&self, ground: &Ground) -> Result<Testbed<'_>, SuppliesError> {
        let Ground { kernel, image } = ground;
        if is_running(kernel) { self.supplies.running() } else { self.supplies.build(kernel, image) }
    }

    /// The one image of a verb that takes no more: the one that was named, or the first default one.
    ///
    /// # Errors
    /// [`Wrong`] if several were named, or none is a default one.
    pub(crate) fn one_image(&self) -> Result<&ImageName> {
        match &self.images {
            Images::Meant(images) => {
                images.first().ok_or_else(|| Wrong::input(anyhow!("no image has `default = true`")))
            }
            Images::Named(images) => match &images[..] {
                [image] => Ok(image),
                several => {
                    let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                    Err(Wrong::input(anyhow!("`--image` stands for {}; name one", names.join(", "))))
                }
            },
        }
    }

    /// Refuses several images where each scenario is to have one.
    pub(crate) fn refuse_several_images(&self) -> Result<()> {
        if matches!(self.images, Images::Named(_)) { self.one_image().map(drop) } else { Ok(()) }
    }

    /// Whether the running kernel is among the kernels.
    pub(crate) fn has_running_kernel(&self) -> bool {
        self.kernels.iter().any(is_running)
    }

    /// What the project has to run them on.
    pub(crate) fn supplies(&self) -> &Supplies {
        &self.supplies
    }

    /// Makes sure that the host can build and boot kernels.
    pub(crate) fn prepare_host(&self) -> Result<()> {
        setup::prepare_host(&Purpose::ALL, self.no_install, self.supplies.progress())
    }

    /// Whether these are all scenarios of the project.
    pub(crate) fn is_whole_suite(&self) -> bool {
        self.scenarios.len() == self.lab.suite().names().count()
            && self.lab.suite().folder() == self.supplies.project().scenarios()
    }

    /// The first image a scenario is meant for, whose verdicts its shared snapshots are: a default one if it can be.
    pub(crate) fn first_image(&self, scenario: &ScenarioName) -> Result<ImageName> {
        let [defaults, all] = &self.known_images;
        let checked = self.scenarios.iter().find(|checked| checked.name() == scenario);
        let first = checked.and_then(|checked| grounds::first_image(checked, defaults, all));
        first.or(all.first()).cloned().ok_or_else(|| anyhow!("there is no image"))
    }

    /// The kernels a scenario's snapshots are held to.
    pub(crate) fn default_kernels(&self) -> Result<Vec<KernelName>> {
        Ok(self.supplies.default_kernels()?)
    }

    /// A path as it is written into files: from the project's folder, if it is in it.
    pub(crate) fn shown_path(&self, path: &Path) -> String {
        path.strip_prefix(self.supplies.project().root()).unwrap_or(path).display().to_string()
    }
}

fn task<'a>(testbed: &'a Testbed<'a>, stint: &Stint<'a>) -> Task<'a> {
    Task { testbed, scenarios: stint.scenarios.clone() }
}

/// The same is said of all that a ground has to do.
fn unjudged(stint: &Stint<'_>, standing: &Standing) -> Vec<Finding> {
    stint.scenarios.iter().map(|checked| lab::unjudged(&stint.ground, checked, standing.clone())).collect()
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    findings
}

/// A scenario that asks for what a kernel does not know is its author's fault.
fn blame(error: LabError) -> anyhow::Error {
    match error {
        LabError::Scenarios(_) => Wrong::input(error),
        other => other.into(),
    }
}
