//! Facts about the machine that measures.

use std::{fs, num::NonZero, thread};

use harness_runner::measure::Bench;
use xshell::{Shell, cmd};

use super::figures::Host;

/// Collects the facts; the load afterwards is left empty.
pub(crate) fn facts(bench: &Bench<'_>) -> Host {
    Host { qemu: bench.qemu().version().to_string(), acceleration: bench.decision().to_string(), ..without_qemu() }
}

/// Collects the facts that need no QEMU.
pub(crate) fn without_qemu() -> Host {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Host {
        date: said_by("date", &["-u", "+%Y-%m-%d"]),
        processor: processor(&cpuinfo).unwrap_or("unknown").to_owned(),
        processors: thread::available_parallelism().map_or(1, NonZero::get),
        system: said_by("uname", &["-srm"]),
        load: [load(), String::new()],
        ..Host::default()
    }
}

/// Returns the load average of the last minute (`proc_loadavg(5)`).
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let said = Shell::new().and_then(|shell| cmd!(shell, "{program} {arguments...}").quiet().read());
    said.unwrap_or_else(|_| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Some CPU @ 2.5GHz\n"), Some("Some CPU @ 2.5GHz"));
        assert_eq!(processor("processor\t: 0\n"), None);
    }

    #[test]
    fn the_load_is_a_number() {
        assert!(load().parse::<f64>().is_ok());
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(said_by(folder.path().join("program").to_str().unwrap(), &[]), "unknown");
    }
}
