//! The page that shows the figures, in Markdown.

use std::{fmt::Write, time::Duration};

use harness_runner::{
    measure::{Growth, GuestCosts},
    session::VmTimes,
};

use super::{
    aims,
    figures::{Figure, Figures, Host, LeastMemory, Repeats, Virtme, Workload},
    sample::Sample,
    suite,
    whole::{Kept, words},
};

/// Returns the whole page.
pub(crate) fn render(figures: &Figures) -> String {
    let Figures { host, subject, .. } = figures;
    let sections = [
        opening(host, subject),
        aims::section(&aims::all(figures)),
        commands(figures),
        repeats(&figures.repeats),
        phases(&figures.vms),
        costs(&figures.costs),
        memory(subject, figures),
    ];
    sections.join("\n")
}

fn opening(host: &Host, subject: &Workload) -> String {
    let Workload { kernel, release, image, scenarios, attempts, memory_mib } = subject;
    let [before, after] = &host.load;
    format!(
        "# Performance\n\n\
         Written by `cargo xtask bench`; measure again rather than edit. All times are wall-clock times.\n\n\
         | measured on | |\n| --- | --- |\n\
         | date | {} |\n\
         | processor | {}, {} of them usable |\n\
         | system | {} |\n\
         | QEMU | {} |\n\
         | acceleration | {} |\n\
         | load average of a minute, before and after | {before}, {after} |\n\
         | kernel | {kernel} ({release}) |\n\
         | image | {image} |\n\
         | scenarios | {scenarios} with {attempts} attempts, each made three times: as root, in a control container and for \
         real |\n\
         | a VM | 1 processor, {memory_mib} MiB |\n",
        host.date, host.processor, host.processors, host.system, host.qemu, host.acceleration,
    )
}

fn commands(figures: &Figures) -> String {
    let kernel = &figures.subject.kernel;
    let mut text =
        "## Whole commands\n\n| what | runs | fastest | median | slowest |\n| --- | --: | --: | --: | --: |\n"
            .to_owned();
    let cargo = |kept| format!("`cargo {}`", words(kernel, kept).join(" "));
    row(&mut text, &format!("{}: all scenarios", cargo(Kept::Builds)), figures.fresh.as_ref());
    row(&mut text, &format!("{}; with stored outcomes", cargo(Kept::Outcomes)), figures.warm.as_ref());
    row(&mut text, "plain `vmtest`: the command `true`", figures.vmtest.as_ref());
    let virtme = figures.virtme.as_ref();
    let name = virtme.map_or("virtme-ng", |virtme| &virtme.version);
    row(&mut text, &format!("{name}: the command `true`"), virtme.map(|virtme| &virtme.times));
    for (kernel, took) in &figures.suite.units {
        let what = format!("`cargo xtask run --kernel {kernel} --filter 'systemd/*' --fresh`");
        row(&mut text, &what, took.as_ref());
    }
    let suite = &figures.suite;
    row(&mut text, "`cargo xtask run --format json`; with stored outcomes", suite.warm.as_ref());
    let what = format!("the same of {} copies of one scenario, on {kernel}", suite::MANY);
    row(&mut text, &what, suite.many.as_ref());
    text.push_str(&format!("\n{}\n", comparison(&figures.fresh, &figures.virtme)));
    text.push_str(HOW_COMMANDS);
    if let Ok(Virtme { version, remark, .. }) = &figures.virtme
        && !remark.is_empty()
    {
        let _ = writeln!(text, "- {version}: {remark}.");
    }
    text
}

const HOW_COMMANDS: &str = "\n\
    - Whole processes, from their start to their end, cargo's own part included. Kernel, image and guest program are built.\n\
    - With `--fresh` a run ignores stored outcomes: it boots its VMs and makes all attempts.\n\
    - The first four rows take turns, so other load on the machine affects all of them alike; hyperfine times what needs no \
      VM.\n\
    - All VMs boot the same kernel with the arguments it needs, the same memory and one processor. `vmtest` is \
      called as a library and gets our image, in a copy made beforehand, with our small agent in place of QEMU's but \
      without our init and our mount options; virtme-ng uses the host's root, as it always does.\n";

pub(super) fn row<E: std::fmt::Display>(text: &mut String, what: &str, sample: Result<&Sample, E>) {
    let _ = match sample {
        Ok(sample) => {
            let [fastest, median, slowest] = [sample.fastest(), sample.median(), sample.slowest()].map(seconds);
            writeln!(text, "| {what} | {} | {fastest} | {median} | {slowest} |", sample.count())
        }
        Err(missing) => writeln!(text, "| {what} | {missing} | | | |"),
    };
}

/// Compares the suite with one command of virtme-ng.
fn comparison(fresh: &Figure<Sample>, virtme: &Figure<Virtme>) -> String {
    let (Ok(fresh), Ok(virtme)) = (fresh, virtme) else {
        return "The suite cannot be compared with one command of virtme-ng: one of them was not measured.".to_owned();
    };
    let ratio = fresh.median().as_secs_f64() / virtme.times.median().as_secs_f64();
    format!("By the medians, the whole suite takes {ratio:.2} times as long as one trivial command through virtme-ng.")
}

fn repeats(repeats: &Repeats) -> String {
    let Repeats { runs, odd } = repeats;
    let mut text = format!(
        "## Repeatability\n\nFresh runs: {runs}. The text of each scenario's snapshot, compared with the first run: "
    );
    if odd.is_empty() {
        text.push_str(if *runs < 2 { "not known, as there was no other run.\n" } else { "identical in all runs.\n" });
        return text;
    }
    text.push_str("they differ.\n\n");
    odd.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
    text
}

/// A named moment of a boot.
type Moment = (&'static str, fn(&VmTimes) -> Option<Duration>);

const MOMENTS: [Moment; 5] = [
    ("the guest agent answers", |times| times.agent),
    ("the shared folders are mounted", |times| times.mounted),
    ("the guest program's first record", |times| times.hello),
    ("the first scenario begins", |times| times.first_scenario),
    ("the VM is gone", |times| Some(times.end)),
];

fn phases(vms: &Figure<Vec<VmTimes>>) -> String {
    let mut text = "## A VM from its start to its end\n\n".to_owned();
    let vms = match vms {
        Ok(vms) => vms,
        Err(missing) => return format!("{text}{missing}\n"),
    };
    text.push_str("| since its start, which copies the image | median | slowest |\n| --- | --: | --: |\n");
    for (what, moment) in MOMENTS {
        match Sample::of(vms.iter().filter_map(moment)) {
            Some(sample) => writeln!(text, "| {what} | {} | {} |", seconds(sample.median()), seconds(sample.slowest())),
            None => writeln!(text, "| {what} | not seen | |"),
        }
        .unwrap_or_default();
    }
    let _ = writeln!(
        text,
        "\nVMs measured: {}, one at a time, each with the quick scenarios: those that share a boot and make few attempts.",
        vms.len()
    );
    text
}

fn costs(costs: &Figure<GuestCosts>) -> String {
    let mut text = "## In the guest\n\n".to_owned();
    let costs = match costs {
        Ok(costs) => costs,
        Err(missing) => return format!("{text}{missing}\n"),
    };
    text.push_str("| once, or the mean of many | time |\n| --- | --: |\n");
    let rows = [
        (
            "a container: namespaces, identity, bpffs, token, control group, and gone again (mean of 100)",
            costs.container,
        ),
        ("beside it: `fork`, `unshare` of user and mount namespace, end, `wait` (mean of 100)", costs.bare_container),
        ("`BPF_MAP_CREATE` and `close` in a bare loop (mean of 1,000)", costs.bare_map_create),
        ("`BPF_PROG_LOAD` of two instructions and `close` in a bare loop (mean of 1,000)", costs.bare_prog_load),
        ("announcing a scenario durably on the shared folder (once)", costs.record_sync as f64),
        ("proving the kernel's type information (once a VM)", costs.btf_checksum as f64),
    ];
    rows.iter().for_each(|(what, micros)| text.push_str(&format!("| {what} | {} |\n", time(*micros))));
    if let Some(config) = costs.config_checksum {
        let _ = writeln!(text, "| proving the kernel's configuration (once a VM) | {} |", time(config as f64));
    }
    text.push_str(
        "\n| what | containers | attempts in one scenario | whole scenario | an attempt | guest program resident | its descriptors | \
                   left in the guest |\n| --- | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    costs.growth.iter().for_each(|growth| text.push_str(&growth_row(growth)));
    text.push_str(
        "\nMeasured by the guest program itself (`bpf-token-guest bench`) in one VM. The containers of a scenario have the same share of its attempts. An \
         attempt is made three times, by root, in the control container and for real, and includes its share of the \
         containers, of the record and of the search for leftovers; one that is denied also the search for its cause.\n",
    );
    text.push_str(&plot(&costs.growth));
    text
}

/// Draws how the time of an attempt depends on how many there are, for a reader that shows Mermaid.
fn plot(growth: &[Growth]) -> String {
    let points: Vec<&Growth> =
        growth.iter().filter(|growth| growth.call == "map_create" && growth.containers == 1).collect();
    let list = |of: &dyn Fn(&Growth) -> String| points.iter().map(|growth| of(growth)).collect::<Vec<_>>().join(", ");
    format!(
        "\n```mermaid\nxychart-beta\n    title \"map_create in one container: time of an attempt\"\n    \
         x-axis \"attempts in one scenario\" [{}]\n    y-axis \"µs\"\n    line [{}]\n```\n",
        list(&|growth| growth.attempts.to_string()),
        list(&|growth| format!("{:.0}", growth.micros_per_attempt)),
    )
}

fn growth_row(growth: &Growth) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
        growth.call,
        growth.containers,
        growth.attempts,
        time(growth.micros as f64),
        time(growth.micros_per_attempt),
        mib(growth.resident_kib),
        growth.descriptors,
        mib(growth.available_kib),
    )
}

fn memory(subject: &Workload, figures: &Figures) -> String {
    let mut text = "## Memory of a VM\n\n| what | memory |\n| --- | --: |\n".to_owned();
    let peaks = figures.vms.as_ref().map(|vms| vms.iter().filter_map(|vm| vm.peak_kib).max());
    let peak = match peaks {
        Ok(Some(peak)) => mib(peak),
        Ok(None) => "not measured: /proc does not show it".to_owned(),
        Err(missing) => missing.to_string(),
    };
    let _ = writeln!(
        text,
        "| QEMU with the quick scenarios, the most ever resident (`VmHWM`, largest of all VMs) | {peak} |"
    );
    let used = figures.costs.as_ref().map(|costs| {
        let available = costs.growth.iter().map(|growth| growth.available_kib).min().unwrap_or_default();
        mib((u64::from(subject.memory_mib) * 1024).saturating_sub(available))
    });
    let used = used.unwrap_or_else(|missing| missing.to_string());
    let _ = writeln!(
        text,
        "| of its {} MiB, used by the guest after the attempts above (all but `MemAvailable`) | {used} |",
        subject.memory_mib
    );
    text.push_str(&least_memory(&figures.least_memory));
    text
}

fn least_memory(least: &Figure<LeastMemory>) -> String {
    let what = "| the smallest `-m` with which the quick scenarios come out the same |";
    match least {
        Err(missing) => format!("{what} {missing} |\n"),
        Ok(LeastMemory { passes, fails, failure }) => format!(
            "{what} {passes} MiB |\n\nThe smallest was found by bisection, one try each; with {fails} MiB: {failure}.\n"
        ),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

pub(super) fn time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests;
