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
    pub(crate) what: String,
    /// What it was when the aim was set, on the same kind of machine.
    pub(crate) before: &'static str,
    pub(crate) most: f64,
    pub(crate) unit: Unit,
    pub(crate) now: Figure<f64>,
    /// Why the aim is missed, if it is.
    pub(crate) reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
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

/// Returns all aims, each with its figure.
pub(crate) fn all(figures: &Figures) -> Vec<Aim> {
    let Figures { vms, costs, suite, .. } = figures;
    let mut aims: Vec<Aim> = suite.units.iter().map(|(kernel, took)| units(kernel.as_str(), took)).collect();
    let hello = vms.clone().map(|vms| Sample::of(vms.iter().filter_map(|vm| vm.hello)));
    aims.push(Aim {
        name: "boot".to_owned(),
        what: "a VM, from its start to the guest's first record".to_owned(),
        before: "1.7 s",
        most: 1.0,
        unit: Unit::Seconds,
        now: hello.and_then(|sample| {
            sample.map(|sample| sample.median().as_secs_f64()).ok_or_else(|| Missing("no VM said hello".to_owned()))
        }),
        reason: "QEMU starts an uncompressed kernel by PVH with five devices; what remains is the kernel's own start, \
                 under emulation, and the guest agent that `vmtest` needs, with its 9p root",
    });
    aims.push(Aim {
        name: "warm".to_owned(),
        what: "`cargo xtask run --format json` with nothing to do, two kernels, fastest".to_owned(),
        before: "1.3 to 2 s",
        most: 0.5,
        unit: Unit::Seconds,
        now: suite.warm.as_ref().map(|sample| sample.fastest().as_secs_f64()).map_err(Missing::clone),
        reason: "cargo itself takes a third of it to see that nothing has changed",
    });
    aims.push(Aim {
        name: "report-all".to_owned(),
        what: "`cargo xtask report --kernel all`, median".to_owned(),
        before: "25 s",
        most: 3.0,
        unit: Unit::Seconds,
        now: median(&suite.report),
        reason: "",
    });
    aims.push(Aim {
        name: "attempt".to_owned(),
        what: "an attempt among 1,000, against a bare loop of the same three calls".to_owned(),
        before: "8 times",
        most: 2.0,
        unit: Unit::Times,
        now: costs.as_ref().map_err(Missing::clone).and_then(|costs| {
            let found = costs.growth.iter().find(|growth| growth.attempts == 1_000 && growth.call == "map_create");
            let growth = found.ok_or_else(|| Missing("no such scenario was measured".to_owned()))?;
            Ok(growth.micros_per_attempt / (3.0 * costs.bare_map_create))
        }),
        reason: "beside its calls an attempt costs its line of the record, on a folder of the host, and its share of the \
                 messages to three executors",
    });
    aims.push(Aim {
        name: "all-kernels".to_owned(),
        what: "the minimal image's scenarios on all kernels, fresh".to_owned(),
        before: "21 min",
        most: 480.0,
        unit: Unit::Seconds,
        now: median(&suite.all_kernels),
        reason: "",
    });
    aims
}

fn units(kernel: &str, took: &Figure<Sample>) -> Aim {
    Aim {
        name: format!("units-{kernel}"),
        what: format!("the units of systemd on {kernel}, fresh"),
        before: "250 to 400 s",
        most: 60.0,
        unit: Unit::Seconds,
        now: median(took),
        reason: "",
    }
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
