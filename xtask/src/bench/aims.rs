//! What each figure should be.

use std::collections::BTreeMap;

use super::{
    figures::{Figure, Figures, Missing},
    history,
    sample::Sample,
};

/// A figure that has an aim.
#[derive(Debug)]
pub(crate) struct Aim {
    /// Its name in the history.
    pub(crate) name: String,
    /// What it is, for a reader.
    what: String,
    /// What it was when the aim was set, on the same kind of machine.
    before: &'static str,
    most: f64,
    unit: Unit,
    now: Figure<f64>,
    /// Why the aim is missed, if it is.
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Times,
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match (self, figure) {
            (Self::Times, _) => format!("{figure:.2} times"),
            (Self::Seconds, ..100.0) => format!("{figure:.2} s"),
            (Self::Seconds, _) => format!("{:.0} min {:02.0} s", (figure / 60.0).floor(), figure % 60.0),
        }
    }
}

impl Aim {
    /// An aim of at most so many seconds.
    pub(crate) fn seconds(
        name: &str,
        what: impl Into<String>,
        before: &'static str,
        most: f64,
        now: Figure<f64>,
    ) -> Self {
        Self { name: name.to_owned(), what: what.into(), before, most, unit: Unit::Seconds, now, reason: "" }
    }

    /// Says why the aim is missed, if it is.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }
}

/// Returns all aims, each with its figure.
pub(crate) fn all(figures: &Figures) -> Vec<Aim> {
    let Figures { vms, costs, suite, .. } = figures;
    let units = suite.units.iter().map(|(kernel, took)| {
        let what = format!("the units of systemd on {kernel}, fresh");
        Aim::seconds(&format!("units-{kernel}"), what, "250 to 400 s", 60.0, median(took)).because(
            "systemd's own work: its manager and the executor that it starts take an emulated processor about half a \
             second a unit, and units are not started together, as some of systemd's warnings name no unit",
        )
    });
    let hello = vms.clone().and_then(|vms| {
        let sample = Sample::of(vms.iter().filter_map(|vm| vm.hello));
        sample.map(|sample| sample.median().as_secs_f64()).ok_or_else(|| Missing("no VM said hello".to_owned()))
    });
    let fastest = suite.warm.as_ref().map(|sample| sample.fastest().as_secs_f64()).map_err(Missing::clone);
    let per_call = costs.as_ref().map_err(Missing::clone).and_then(|costs| {
        let found = costs.growth.iter().find(|growth| growth.attempts == 1_000 && growth.call == "map_create");
        let growth = found.ok_or_else(|| Missing("no such scenario was measured".to_owned()))?;
        Ok(growth.micros_per_attempt / (3.0 * costs.bare_map_create))
    });
    let attempt = "an attempt among 1,000, against a bare loop of the same three calls";
    let warm = "`cargo xtask run --format json` with nothing to do, two kernels, fastest";
    let others = [
        Aim::seconds("boot", "a VM, from its start to the guest's first record", "1.7 s", 1.0, hello).because(
            "no single part of it takes long: QEMU and its firmware 0.4 s, `acpi_init` 0.2 s, the root over 9p 0.2 s, the \
             virtio console 0.1 s; [kernels/README.md](../kernels/README.md#boot-speed) says what was tried",
        ),
        Aim::seconds("warm", warm, "1.3 to 2 s", 0.5, fastest).because(
            "cargo itself takes 0.23 s, and everything is read, expanded, looked up, judged and written again in 0.35 s; the \
             suite was two thirds as large when the aim was set",
        ),
        Aim { unit: Unit::Times, ..Aim::seconds("attempt", attempt, "8 times", 2.0, per_call) }.because(
            "beside its calls an attempt costs its line of the record, on a folder of the host, and its share of the \
             messages to three executors",
        ),
    ];
    units.chain(others).collect()
}

fn median(sample: &Figure<Sample>) -> Figure<f64> {
    sample.as_ref().map(|sample| sample.median().as_secs_f64()).map_err(Missing::clone)
}

/// Returns the figures that were measured, by their names.
pub(crate) fn figures(aims: &[Aim]) -> BTreeMap<String, f64> {
    aims.iter().filter_map(|aim| Some((aim.name.clone(), *aim.now.as_ref().ok()?))).collect()
}

/// Returns the section with all aims, in Markdown.
pub(crate) fn section(aims: &[Aim]) -> String {
    format!(
        "## Aims\n\n{}\nBefore: when the aims were set, in November 2026, on the same kind of machine. `cargo xtask bench \
         --check` fails if a figure is more than {} times the last one of the same machine.\n",
        table(aims),
        history::LIMIT,
    )
}

/// Returns the table of aims, in Markdown.
pub(crate) fn table(aims: &[Aim]) -> String {
    let mut text = "| what | before | aim | now | |\n| --- | --: | --: | --: | --- |\n".to_owned();
    for Aim { what, before, most, unit, now, reason, .. } in aims {
        let aim = unit.show(*most);
        let line = match now {
            Err(missing) => format!("| {what} | {before} | {aim} | | {missing} |\n"),
            Ok(now) if now <= most => format!("| {what} | {before} | {aim} | {} | met |\n", unit.show(*now)),
            Ok(now) if reason.is_empty() => format!("| {what} | {before} | {aim} | {} | missed |\n", unit.show(*now)),
            Ok(now) => format!("| {what} | {before} | {aim} | {} | missed: {reason} |\n", unit.show(*now)),
        };
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_say_them() {
        assert_eq!(Unit::Seconds.show(0.456), "0.46 s");
        assert_eq!(Unit::Seconds.show(125.4), "2 min 05 s");
        assert_eq!(Unit::Times.show(1.5), "1.50 times");
    }
}
