//! Finds splats on a VM's console and charges each to the scenario that ran.
//!
//! The guest program writes a [`ConsoleMark`] into the kernel's log before each scenario, and the kernel prints its log in order. So
//! what lies between two marks is of the scenario that the first one names, or the work of that scenario which the kernel did later.

use std::collections::{BTreeMap, BTreeSet};

use harness_protocol::{
    name::ScenarioName,
    outcome::{ConsoleMark, Splat, taint_names},
};

use crate::console::printable;

/// The most lines kept of a splat. A report of KASAN, the longest, has about 100.
const MOST_LINES: usize = 120;

/// The most splats kept of a scenario; the kernel may print the same one in a loop.
const MOST_SPLATS: usize = 16;

/// What the first line of a splat begins with, behind its time stamp: `__warn` and `panic` in kernel/panic.c, lib/ubsan.c,
/// mm/kasan/report.c, kernel/locking/lockdep.c, kernel/sched/core.c, and the oopses of arch/x86.
const HEADS: [&str; 10] = [
    "WARNING: ",
    "BUG: ",
    "UBSAN: ",
    "INFO: trying to register non-static key",
    OOPS,
    "general protection fault",
    "kernel BUG at ",
    "divide error: ",
    "stack segment: ",
    "KCSAN: ",
];

const OOPS: &str = "Oops: ";

/// What a report of UBSAN begins with. It says once a boot what is wrong with a place in the kernel's code, sets no taint flag, and
/// ends no other check (`suppress_report` and `ubsan_epilogue`, lib/ubsan.c); lockdep stops after its first report.
const UBSAN: &str = "UBSAN: ";

/// The line that ends a splat, such as `---[ end trace 0000000000000000 ]---`.
const TRACE_END: &str = "---[ end trace";

/// Says whether a splat with this text is allowed during a scenario.
pub type IsAllowed<'a> = &'a dyn Fn(&str, &ScenarioName) -> bool;

/// Reads a console and keeps the splats of each scenario.
#[derive(Debug, Default)]
pub(super) struct SplatReader {
    /// The scenario of the last mark; `None` before the first one.
    current: Option<ScenarioName>,
    /// The scenarios whose last line has come.
    past: BTreeSet<ScenarioName>,
    /// Splats that say something about every scenario to come: those while the kernel booted, and those that it would not print again.
    inherited: Vec<Splat>,
    splats: BTreeMap<ScenarioName, Vec<Splat>>,
    /// The scenarios of which lines were lost.
    lossy: BTreeSet<ScenarioName>,
    /// Whether the last splat goes on.
    is_open: bool,
}

impl SplatReader {
    /// Reads the next line.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(mark) = ConsoleMark::find(line) {
            self.pass(mark);
            return;
        }
        match head(line) {
            // Within an oops, this line only names its kind.
            Some(text) if !(self.is_open && text.starts_with(OOPS)) => self.begin(text, line),
            _ if self.is_open => self.go_on(line),
            _ => {}
        }
    }

    /// Notes that lines of the current scenario were lost.
    pub(super) fn lose(&mut self) {
        self.lossy.extend(self.current.clone());
    }

    /// Returns whether lines of a scenario were lost.
    pub(super) fn is_lossy(&self, scenario: &ScenarioName) -> bool {
        self.lossy.contains(scenario)
    }

    fn pass(&mut self, mark: ConsoleMark) {
        let next = match mark {
            ConsoleMark::Scenario(name) => Some(name),
            ConsoleMark::End => None,
        };
        self.past.extend(self.current.take());
        self.current = next;
        self.is_open = false;
    }

    fn begin(&mut self, text: &str, line: &str) {
        let splats = self.splats();
        let fits = splats.len() < MOST_SPLATS;
        if fits {
            splats.push(Splat { text: printable(text), lines: vec![printable(line)] });
        }
        self.is_open = fits;
    }

    fn go_on(&mut self, line: &str) {
        let Some(splat) = self.splats().last_mut() else { return };
        splat.lines.push(printable(line));
        self.is_open = splat.lines.len() < MOST_LINES && !line.contains(TRACE_END);
    }

    /// Returns the splats to which the current line adds. After the last mark there is no scenario to charge.
    fn splats(&mut self) -> &mut Vec<Splat> {
        match &self.current {
            Some(name) => self.splats.entry(name.clone()).or_default(),
            None => &mut self.inherited,
        }
    }

    /// Returns whether the console is past a scenario, so that no more of it can come.
    pub(super) fn is_past(&self, scenario: &ScenarioName) -> bool {
        self.past.contains(scenario)
    }

    /// Returns the splats of a scenario, and those that it inherits.
    pub(super) fn of(&self, scenario: &ScenarioName) -> Vec<Splat> {
        let own = self.splats.get(scenario).into_iter().flatten();
        self.inherited.iter().chain(own).cloned().collect()
    }

    /// Bequeaths the splats of a scenario to the rest of the VM's, if they are reports of UBSAN that are allowed there. Returns whether
    /// the VM can go on.
    pub(super) fn bequeath(&mut self, scenario: &ScenarioName, is_allowed: impl Fn(&str) -> bool) -> bool {
        let own = self.splats.get(scenario).map_or(&[][..], Vec::as_slice);
        if !own.iter().all(|splat| splat.text.starts_with(UBSAN)) {
            return false;
        }
        let is_new = |splat: &&Splat| self.inherited.iter().all(|known| known.text != splat.text);
        let new: Vec<Splat> = own.iter().filter(is_new).cloned().collect();
        let goes_on =
            self.inherited.len() + new.len() <= MOST_SPLATS && new.iter().all(|splat| is_allowed(&splat.text));
        if goes_on {
            self.inherited.extend(new);
        }
        goes_on
    }

    /// Returns whether the splats of a scenario itself explain that the kernel became tainted: reports of UBSAN do not.
    pub(super) fn explain_taint(&self, scenario: &ScenarioName) -> bool {
        self.splats.get(scenario).is_some_and(|own| own.iter().any(|splat| !splat.text.starts_with(UBSAN)))
    }
}

/// Returns the first line of a splat from where it names the fault, if the line is one.
fn head(line: &str) -> Option<&str> {
    let behind_stamps = line.match_indices("] ").map(|(at, stamp)| at + stamp.len());
    let texts = std::iter::once(0).chain(behind_stamps).filter_map(|at| line.get(at..));
    texts.map(str::trim).find(|text| HEADS.iter().any(|head| text.starts_with(head)))
}

/// Returns a splat for flags by which the kernel says that it is faulty, if any: its console may not say it.
pub(super) fn of_taint(flags: u64) -> Option<Splat> {
    let names = taint_names(flags).join(", ");
    (!names.is_empty()).then(|| {
        let text = format!("the kernel became tainted: {names}");
        Splat { lines: vec![format!("{text}, and its console does not say why")], text }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ScenarioName {
        text.parse().unwrap()
    }

    fn read(console: &str) -> SplatReader {
        let mut reader = SplatReader::default();
        console.lines().for_each(|line| reader.read(line));
        reader
    }

    fn texts(reader: &SplatReader, scenario: &str) -> Vec<String> {
        reader.of(&name(scenario)).into_iter().map(|splat| splat.text).collect()
    }

    #[test]
    fn the_rest_inherits_what_is_allowed_and_not_printed_again() {
        let [a, b] = ["a", "b"].map(|scenario| ConsoleMark::Scenario(name(scenario)));
        let mut reader = read(&format!("{a}\nUBSAN: shift in x.c:1\n{b}\n"));
        assert!(reader.bequeath(&name("a"), |text| text.ends_with("x.c:1")));
        assert_eq!(texts(&reader, "b"), ["UBSAN: shift in x.c:1"]);
        reader.read("UBSAN: shift in x.c:1");
        assert!(reader.bequeath(&name("b"), |_| false), "it is known");
        reader.read("WARNING: x.c:2");
        assert!(!reader.bequeath(&name("b"), |_| true), "it is no report of UBSAN");
        assert_eq!(texts(&reader, "c"), ["UBSAN: shift in x.c:1"]);
    }

    #[test]
    fn a_vm_that_repeats_a_warning_of_its_boot_does_not_go_on() {
        let a = ConsoleMark::Scenario(name("a"));
        let mut reader = read(&format!("WARNING: x.c:1\n{a}\nWARNING: x.c:1\n"));
        assert!(!reader.bequeath(&name("a"), |_| true));
    }

    #[test]
    fn what_a_vm_bequeaths_is_bounded() {
        let mut reader = SplatReader::default();
        let goes_on = |reader: &mut SplatReader, number: usize| {
            let scenario = name(&format!("s{number}"));
            reader.read(&ConsoleMark::Scenario(scenario.clone()).to_string());
            reader.read(&format!("UBSAN: shift in x.c:{number}"));
            reader.bequeath(&scenario, |_| true)
        };
        assert!((0..MOST_SPLATS).all(|number| goes_on(&mut reader, number)));
        assert!(!goes_on(&mut reader, MOST_SPLATS));
    }

    #[test]
    fn every_kind_of_splat_is_found() {
        let heads = [
            "WARNING: CPU: 0 PID: 77 at kernel/bpf/token.c:12 bpf_token_get+0x1/0x2",
            "WARNING: kernel/bpf/token.c:12 at bpf_token_get+0x1/0x2, CPU#0: guest/77",
            "WARNING: possible circular locking dependency detected",
            "WARNING: suspicious RCU usage",
            "BUG: KASAN: slab-use-after-free in bpf_token_put+0x1/0x2",
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:591",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "UBSAN: shift-out-of-bounds in kernel/bpf/inode.c:721:23",
            "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
            "kernel BUG at mm/slub.c:1!",
            "INFO: trying to register non-static key.",
        ];
        for head in heads {
            for stamp in ["[   12.345678] ", "[   12.345678][  T123] ", "", "login: [   12.345678] "] {
                let console = format!("[ 1.0] bpf-token-harness: scenario a |\n{stamp}{head}\r\n[ 1.0] a line of it\n");
                let splats = read(&console).of(&name("a"));
                assert_eq!(splats.len(), 1, "{stamp}{head}");
                assert_eq!((splats[0].text.as_str(), splats[0].lines.len()), (head, 2));
            }
        }
    }

    #[test]
    fn what_is_no_fault_of_the_kernel_is_no_splat() {
        let console = "[ 1.0] bpf-token-harness: scenario a |\n\
            [ 1.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on\n\
            [ 1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [guest:77]\n\
            [ 1.0] rcu: INFO: rcu_preempt self-detected stall on CPU\n\
            [ 1.0] systemd[1]: WARNING: a unit says so\n";
        assert_eq!(read(console).of(&name("a")), []);
    }

    #[test]
    fn a_splat_belongs_to_the_scenario_of_the_mark_before_it() {
        let reader = read(
            "[ 1.0] bpf-token-harness: scenario a |\n[ 1.1] bpf-token-harness: scenario b |\n[ 1.2] WARNING: of b\n\
             [ 1.3] ---[ end trace 0 ]---\n[ 1.4] nothing of it\n[ 1.5] bpf-token-harness: scenario c |\n[ 1.6] BUG: of c\n",
        );
        assert_eq!(
            [texts(&reader, "a"), texts(&reader, "b"), texts(&reader, "c")],
            [vec![], vec!["WARNING: of b".to_owned()], vec!["BUG: of c".to_owned()]]
        );
        assert_eq!(reader.of(&name("b"))[0].lines.len(), 2);
        assert!(reader.is_past(&name("a")) && reader.is_past(&name("b")) && !reader.is_past(&name("c")));
        assert!(reader.explain_taint(&name("b")) && !reader.explain_taint(&name("a")));
        assert!(read("bpf-token-harness: scenario a |\nbpf-token-harness: end |\n").is_past(&name("a")));
    }

    #[test]
    fn a_splat_of_the_boot_belongs_to_every_scenario() {
        let reader =
            read("WARNING: early\nbpf-token-harness: scenario a |\nbpf-token-harness: scenario b |\nWARNING: late\n");
        assert_eq!(texts(&reader, "a"), ["WARNING: early"]);
        assert_eq!(texts(&reader, "b"), ["WARNING: early", "WARNING: late"]);
    }

    #[test]
    fn an_oops_is_one_splat_and_a_flood_is_bounded() {
        let oops =
            "BUG: kernel NULL pointer dereference, address: 0\n#PF: supervisor read access\nOops: Oops: 0000 [#1]\n";
        let splats = read(&format!("bpf-token-harness: scenario a |\n{oops}")).of(&name("a"));
        assert_eq!((splats.len(), splats[0].lines.len()), (1, 3));
        let flood = format!("bpf-token-harness: scenario a |\n{}", "WARNING: again\nmore\n".repeat(1000));
        assert_eq!(read(&flood).of(&name("a")).len(), MOST_SPLATS);
        let long = format!("bpf-token-harness: scenario a |\nWARNING: once\n{}", "more\n".repeat(1000));
        assert_eq!(read(&long).of(&name("a"))[0].lines.len(), MOST_LINES);
    }

    #[test]
    fn a_taint_that_a_fault_set_is_a_splat() {
        assert_eq!(of_taint(1 << 12), None);
        insta::assert_snapshot!(of_taint(1 << 9).unwrap().lines[0], @"the kernel became tainted: warning (W), and its console does not say why");
    }
}
