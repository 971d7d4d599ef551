//! The environment variables that the program reads, for `doctor` and for docs/commands.md.

use harness_builder::{
    cache::CACHE_VARIABLE,
    kernel::sharing,
    mirror::{MIRROR_VARIABLE, SNAPSHOT_VARIABLE},
};
use harness_runner::{accel::ACCEL_VARIABLE, qemu::QEMU_VARIABLE};

/// Names the kernels that tests run on.
pub(crate) const KERNELS_VARIABLE: &str = "BPF_TOKEN_HARNESS_KERNELS";
/// Has tests believe no outcomes of earlier runs.
pub(crate) const FRESH_VARIABLE: &str = "BPF_TOKEN_HARNESS_FRESH";

/// The project's own variables, each with its meaning. A variable with their prefixes that is not here is reported by `doctor`.
pub(crate) const OWN: [(&str, &str); 8] = [
    (
        CACHE_VARIABLE,
        "Folder for kernels, images and outcomes; default: `bpf-token-harness` in `$XDG_CACHE_HOME` or `~/.cache`",
    ),
    (MIRROR_VARIABLE, "Debian mirror to use; default: the one that this machine's apt uses"),
    (
        SNAPSHOT_VARIABLE,
        "URL of a snapshot archive, which supplies pinned versions that have left the mirror: it answers `/mr/binary/NAME/VERSION/binfiles` and `/file/HASH`",
    ),
    (
        KERNELS_VARIABLE,
        "Kernels that `test` and `ci` run scenarios on, separated by commas; default: those whose manifest has `default = true`",
    ),
    (sharing::VARIABLE, "Place that kernels are pulled from before they are built: a folder, `https://…` or `oci://…`"),
    (FRESH_VARIABLE, "`1`: the runner's tests ignore stored outcomes, as `test --fresh` does"),
    (ACCEL_VARIABLE, "`kvm` or `tcg`; default: what a probe finds"),
    (QEMU_VARIABLE, "QEMU program; default: `qemu-system-x86_64` in `PATH`"),
];

/// Variables of other programs that change what this one does.
pub(crate) const FOREIGN: [(&str, &str); 5] = [
    (
        "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
        "Whether output is coloured: see <https://no-color.org> and <https://bixense.com/clicolors/>",
    ),
    ("COLUMNS", "Width of tables on a terminal; default: what the terminal reports"),
    ("TERM", "`dumb`: plain lines, no colours, no progress bars"),
    ("GITHUB_ACTIONS", "`true`: `run` and `report` also print annotations"),
    ("GITHUB_STEP_SUMMARY", "File that `run` and `report` add the Markdown matrix to when `GITHUB_ACTIONS` is `true`"),
];
