//! Expands a sweep to cases with one container: one row per name of the kernel, one attempt per arm.

mod arm;
mod rows;
mod survey;

use std::collections::BTreeMap;

use harness_diagnostics::node::KeyPath;
use harness_protocol::{
    name::ContainerName,
    plan::{self, Actor, Call, Namespace, Token},
};
use harness_scenario::{
    expanded::{ExpandedAttempt, ExpandedCase},
    expect::Expect,
    layout::{AttemptRole, Column, SweepLayout},
    sweep::{Arm, Sweep, SweepOf},
};
use harness_uapi::{capability, resolver::NameResolver};

use crate::{
    expand::{
        MOST_ATTEMPTS,
        containers::{DEFAULT, HOST},
        problems::Problems,
    },
    feature::Feature,
    recipe::Recipe,
};
use arm::{ArmToken, Bits, Commands, SETTING};

/// The layout of a sweep, and its cases.
pub(crate) type SweepCases = (SweepLayout, Vec<(ExpandedCase, plan::Case)>);

/// Expands a sweep for a kernel.
pub(crate) fn cases(sweep: &Sweep, resolver: NameResolver<'_>, problems: &mut Problems<'_>) -> Option<SweepCases> {
    let arms = arms(sweep, problems)?;
    let container = DEFAULT.parse().ok()?;
    let (rows, orphans) = rows::of(sweep.of, &Actor::Container(ContainerName::clone(&container)), &resolver);
    let cmds =
        Commands::of(|name| resolver.find(harness_uapi::vocabulary::Kind::Cmd, name).ok().map(|found| found.number));
    let context = SweepContext { sweep, arms: &arms, resolver, container, cmds };
    let cases: Vec<_> = context.settings().into_iter().map(|setting| context.case(setting, &rows)).collect();
    let attempts: usize = cases.iter().map(|(_, case)| case.attempts.len()).sum();
    if attempts > MOST_ATTEMPTS {
        let message = format!("this sweep makes {attempts} attempts; the limit is {MOST_ATTEMPTS}");
        problems.advise(&KeyPath::default().key("sweep"), message, "split its arms into several scenarios");
    }
    let grid = SweepLayout {
        of: sweep.of.noun().to_owned(),
        rows: rows.iter().map(|(name, _)| name.clone()).collect(),
        columns: arms.iter().map(|arm| column(*arm, sweep.of)).collect(),
        absent: rows::absent(sweep.of, &resolver),
        orphans,
    };
    Some((grid, cases))
}

fn column(arm: Arm, of: SweepOf) -> Column {
    let [name, head, meaning] = [arm.name(), arm.head(), arm.meaning(of)].map(str::to_owned);
    Column { name, head, meaning }
}

/// Returns the arms in the order of the file; `None` if something about them is wrong.
fn arms(sweep: &Sweep, problems: &mut Problems<'_>) -> Option<Vec<Arm>> {
    let usual = sweep.of.arms();
    let arms = sweep.arms.clone().unwrap_or_else(|| usual.clone());
    let before = problems.found();
    let key_path = KeyPath::default().key("sweep");
    for (index, arm) in arms.iter().enumerate() {
        let key_path = key_path.key("arms").index(index);
        if arms[..index].contains(arm) {
            problems.problem(&key_path, format!("the arm `{}` is listed twice", arm.name()));
        } else if !usual.contains(arm) {
            problems.problem(&key_path, format!("the arm `{}` does not apply to {}", arm.name(), sweep.of.noun()));
        }
    }
    let all_known = problems.is_complete(&key_path.key("arms"));
    if arms.is_empty() && all_known {
        problems.advise(&key_path.key("arms"), "a sweep needs at least one arm", "remove `arms` to get all that apply");
    }
    let expected = [("allowed", &sweep.expect.allowed), ("denied", &sweep.expect.denied)];
    for (key, listed) in expected {
        for (index, arm) in listed.iter().enumerate() {
            let key_path = key_path.key("expect").key(key).index(index);
            if all_known && !arms.contains(arm) {
                problems.problem(&key_path, format!("this sweep has no arm `{}`", arm.name()));
            } else if key == "denied" && sweep.expect.allowed.contains(arm) {
                problems.problem(&key_path, format!("the arm `{}` cannot be both allowed and denied", arm.name()));
            }
        }
    }
    (problems.found() == before).then_some(arms)
}

/// What all attempts of a sweep share.
struct SweepContext<'d> {
    sweep: &'d Sweep,
    arms: &'d [Arm],
    resolver: NameResolver<'d>,
    container: ContainerName,
    cmds: Commands,
}

/// A case whose attempts are being added.
#[derive(Default)]
struct Draft {
    described: Vec<ExpandedAttempt>,
    planned: Vec<plan::Attempt>,
}

impl Draft {
    fn add(&mut self, described: ExpandedAttempt, planned: plan::Attempt) {
        self.described.push(described);
        self.planned.push(planned);
    }
}

impl SweepContext<'_> {
    /// Returns the settings that the arms need, `None` first: a setting applies to a whole case.
    fn settings(&self) -> Vec<Option<&'static str>> {
        let mut settings: Vec<_> = self.arms.iter().map(|arm| arm::setting(*arm)).collect();
        settings.sort_unstable();
        settings.dedup();
        settings
    }

    /// Expands all rows for one arm, then for the next: so most attempts follow each other without preparation between
    /// them.
    fn case(&self, setting: Option<&'static str>, rows: &[(String, Recipe)]) -> (ExpandedCase, plan::Case) {
        let mut draft = Draft::default();
        let mut ledgers = vec![ControlIndex::default(); rows.len()];
        for (column, arm) in self.arms.iter().copied().enumerate() {
            if arm::setting(arm) != setting {
                continue;
            }
            let mut cells = Vec::new();
            for (row, ((name, recipe), ledger)) in rows.iter().zip(&mut ledgers).enumerate() {
                let Some((grant, maker)) = self.grant(arm, Bits::of(&recipe.call, &self.cmds), recipe) else {
                    continue;
                };
                let cell = Cell { row, column, arm, name, recipe };
                let prefix = self.provide(&mut draft, cell, ledger, maker);
                if recipe.uses_up {
                    // What the other rows prepare could interfere.
                    self.attempt(&mut draft, cell, ledger, grant, &prefix);
                } else {
                    cells.push((cell, grant, prefix));
                }
            }
            for (cell, grant, prefix) in cells {
                self.attempt(&mut draft, cell, &mut ledgers[cell.row], grant, &prefix);
            }
        }
        let sysctls: BTreeMap<String, String> =
            setting.map(|value| (SETTING.to_owned(), value.to_owned())).into_iter().collect();
        let label = setting.map(|value| format!("{SETTING}={value}")).unwrap_or_default();
        let containers = vec![self.planned_container(&draft.planned)];
        (ExpandedCase { label, attempts: draft.described }, plan::Case { sysctls, containers, attempts: draft.planned })
    }

    /// Returns a container to which everything is delegated; arms use tokens of other bpffs instances.
    fn planned_container(&self, attempts: &[plan::Attempt]) -> plan::Container {
        plan::Container {
            name: self.container.clone(),
            parent: None,
            unshare: true,
            uid: 1000,
            gid: 1000,
            loginuid: None,
            namespaces: vec![Namespace::Net],
            caps: capability::all(),
            options: Bits::ALL.options(),
            token: attempts.iter().any(|attempt| attempt.token == Token::Own),
            restrictions: plan::Restrictions::default(),
            unit: None,
        }
    }

    /// Returns the token that an arm passes to the call, and who creates the objects that the call needs.
    fn grant(&self, arm: Arm, bits: Option<Bits>, recipe: &Recipe) -> Option<(ArmToken, Maker)> {
        if !self.sweep.of.attaches() {
            return arm::grant(arm, bits).map(|grant| (grant, Maker::Host));
        }
        // The call takes no token, but the kernel checks the token that the program was loaded with.
        let command = Bits([self.cmds.attaching(&recipe.call), 0, 0, 0]);
        let maker = match arm::grant(arm, Some(command))? {
            ArmToken::None => Maker::Host,
            ArmToken::Bits(bits) if bits == command => Maker::Container(Token::Own),
            ArmToken::Bits(bits) => Maker::Container(Token::Of(bits.options())),
        };
        Some((ArmToken::None, maker))
    }

    /// Creates the objects that a call needs, unless this maker already did so for the row. Returns the prefix of their
    /// names.
    fn provide(&self, draft: &mut Draft, cell: Cell<'_>, ledger: &mut ControlIndex, maker: Maker) -> String {
        let known = ledger.made.iter().find(|(known, _)| *known == maker && !cell.recipe.uses_up);
        if let Some((_, prefix)) = known {
            return prefix.clone();
        }
        let prefix = format!("r{}-a{}-", cell.row, cell.column);
        for (number, step) in cell.recipe.setup.iter().enumerate() {
            let (actor, token) = match &maker {
                _ if step.local => (Actor::Container(self.container.clone()), Token::None),
                Maker::Host => (Actor::Host, Token::None),
                Maker::Container(token) => (Actor::Container(self.container.clone()), token.clone()),
            };
            let token = if step.call.takes_token() { token } else { Token::None };
            let text = format!("{} for {}", step.call.op(), cell.name);
            let missing = cell.recipe.missing.clone();
            let described = self.described(text, &actor, &step.call, missing, AttemptRole::Preparation);
            let (call, save) = (step.call.prefixed(&prefix), step.save.as_ref().map(|save| format!("{prefix}{save}")));
            let controls_of = ledger.control(number, &token, cell.recipe, draft.planned.len());
            draft.add(described, plan::Attempt { save, controls_of, ..plan::Attempt::new(actor, token, call) });
        }
        ledger.made.push((maker, prefix.clone()));
        prefix
    }

    fn attempt(&self, draft: &mut Draft, cell: Cell<'_>, ledger: &mut ControlIndex, grant: ArmToken, prefix: &str) {
        let Cell { row, column, arm, name, recipe } = cell;
        let token = match grant {
            ArmToken::None => Token::None,
            ArmToken::Bits(bits) => Token::Of(bits.options()),
        };
        let member = recipe.call.token_member().filter(|_| token != Token::None);
        let missing = recipe.missing.clone().or_else(|| self.resolver.lacks_attr(member?));
        let actor = if arm == Arm::Root { Actor::Host } else { Actor::Container(self.container.clone()) };
        let text = format!("{} {name}", recipe.call.op());
        let described = self.described(text, &actor, &recipe.call, missing, AttemptRole::Cell { row, column });
        let expect = self.expect(arm, name).filter(|_| described.missing.is_none());
        let (call, save) = survey::chained(recipe.call.prefixed(prefix), row, column, self.arms);
        let caps = arm::caps(arm);
        let controls_of = ledger.control(recipe.setup.len(), &token, recipe, draft.planned.len());
        let planned = plan::Attempt { caps, save, controls_of, ..plan::Attempt::new(actor, token, call) };
        draft.add(ExpandedAttempt { expect, ..described }, planned);
    }

    fn described(
        &self,
        text: String,
        actor: &Actor,
        call: &Call,
        missing: Option<String>,
        part: AttemptRole,
    ) -> ExpandedAttempt {
        let container = match actor {
            Actor::Host => HOST.to_owned(),
            Actor::Container(name) => name.to_string(),
        };
        ExpandedAttempt { text, op: call.op(), container, expect: None, missing, part }
    }

    fn expect(&self, arm: Arm, row: &str) -> Option<Expect> {
        let listed = |arms: &[Arm], expect| arms.contains(&arm).then_some(expect);
        let expect = &self.sweep.expect;
        listed(&expect.allowed, Expect::Allowed).or(listed(&expect.denied, Expect::Denied)).or_else(|| {
            let feature = Feature::named(row).filter(|_| self.sweep.of == SweepOf::Features)?;
            let passes = arm::accepts(arm, feature.needs)?;
            Some(if passes { Expect::Allowed } else { Expect::Denied })
        })
    }
}

/// A cell of the table: a row's call, attempted under the circumstances of an arm.
#[derive(Clone, Copy)]
struct Cell<'r> {
    row: usize,
    column: usize,
    arm: Arm,
    name: &'r str,
    recipe: &'r Recipe,
}

/// What the attempts of a row share.
#[derive(Clone, Default)]
struct ControlIndex {
    /// Who has created the objects that the call needs, and the prefix of their names.
    made: Vec<(Maker, String)>,
    /// For each step of the recipe, and then for the call: the attempt whose controls the later ones use, and whether
    /// it passes a token.
    controls: BTreeMap<usize, (u32, bool)>,
}

impl ControlIndex {
    /// Returns the earlier attempt of the same step whose controls the attempt at `index` uses; `None` if it needs its
    /// own. It does if it passes a token and the earlier one did not, because then a container makes another call. A
    /// call that uses up its objects always needs its own.
    fn control(&mut self, step: usize, token: &Token, recipe: &Recipe, index: usize) -> Option<u32> {
        if recipe.uses_up {
            return None;
        }
        let has_token = *token != Token::None;
        match self.controls.get(&step) {
            Some((of, its_has)) if *its_has || !has_token => Some(*of),
            _ => {
                self.controls.insert(step, (index as u32, has_token));
                None
            }
        }
    }
}

/// Who creates the objects that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Maker {
    /// Root, who may.
    Host,
    /// The container, with every capability and this token.
    Container(Token),
}
