//! The settings that cannot hold in a VM as they are written, and why.

/// What happens to a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is kept unchanged.
    Kept,
    /// It is left out, for this reason.
    LeftOut(&'static str),
    /// Its paths may be missing.
    Paths(&'static str),
    /// It is kept, but hides the guest program, which is therefore mounted over it.
    Hides,
    /// Another assignment replaces it.
    Replaced { by: (&'static str, &'static str), why: &'static str },
    /// It names users or groups that the image may lack.
    Ids(Ids),
}

/// What a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    User,
    Group,
    /// Several.
    Groups,
}

impl Ids {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::User => "the image lacks this user; the replacement is just as unprivileged",
            Self::Group => "the image lacks this group; the replacement is just as unprivileged",
            Self::Groups => "the image lacks the other groups",
        }
    }
}

const PROGRAM: &str = "the guest program runs instead of the unit's own, which the image lacks";
const READY: &str = "the guest program does not notify systemd as the unit's own would";
const ONCE: &str = "the unit is started once";
const DESCRIPTORS: &str = "the guest program gets its commands through the first descriptor that systemd passes";
const STREAMS: &str = "the VM has no terminal, socket or file to read from or write to";
const FILES: &str = "the image lacks the file";
const FOLDERS: &str = "the image lacks the directory";
const ROOTS: &str = "the image lacks the other root, which would not have the guest program";
const SECURITY: &str = "no policy or profile of a security module is loaded in the VM";
const TIME: &str = "time passes differently in an emulated VM, and nothing feeds a watchdog";
const PROCESSORS: &str = "the VM has different processors";
const OUTSIDE: &str = "it names something outside of the unit that the VM lacks";
const MACHINE: &str = "it would stop the VM, or limits how often the unit may fail";
const OPTIONAL: &str = "paths that the image lacks are ignored";
const NAMESPACES: &str = "the image lacks the namespace; a new one is created";

/// Settings of `[Service]` that do not hold: those of systemd.exec(5), systemd.service(5), systemd.resource-control(5), and
/// older ones that are still read (`src/core/load-fragment-gperf.gperf.in` of systemd 262).
const ROWS: &[(&[&str], Treatment)] = &[
    (
        &[
            "ExecStart",
            "ExecStartPre",
            "ExecStartPost",
            "ExecCondition",
            "ExecReload",
            "ExecReloadPost",
            "ExecStop",
            "ExecStopPost",
            "RootDirectoryStartOnly",
        ],
        Treatment::LeftOut(PROGRAM),
    ),
    (
        &[
            "Type",
            "ExitType",
            "NotifyAccess",
            "PIDFile",
            "BusName",
            "BusPolicy",
            "GuessMainPID",
            "RemainAfterExit",
            "ReloadSignal",
            "RefreshOnReload",
        ],
        Treatment::LeftOut(READY),
    ),
    (
        &[
            "Restart",
            "RestartSec",
            "RestartSteps",
            "RestartMaxDelaySec",
            "RestartMode",
            "RestartPreventExitStatus",
            "RestartForceExitStatus",
            "RestartForceExitSignal",
        ],
        Treatment::LeftOut(ONCE),
    ),
    (
        &[
            "OpenFile",
            "Sockets",
            "FileDescriptorStoreMax",
            "FileDescriptorStorePreserve",
            "NonBlocking",
            "USBFunctionDescriptors",
            "USBFunctionStrings",
        ],
        Treatment::LeftOut(DESCRIPTORS),
    ),
    (
        &[
            "StandardInput",
            "StandardInputText",
            "StandardInputData",
            "StandardOutput",
            "StandardError",
            "TTYPath",
            "TTYReset",
            "TTYVHangup",
            "TTYColumns",
            "TTYRows",
            "TTYVTDisallocate",
            "LogNamespace",
            "UtmpIdentifier",
        ],
        Treatment::LeftOut(STREAMS),
    ),
    (
        &["EnvironmentFile", "LoadCredential", "LoadCredentialEncrypted", "SetCredentialEncrypted", "PAMName"],
        Treatment::LeftOut(FILES),
    ),
    (&["WorkingDirectory"], Treatment::LeftOut(FOLDERS)),
    (
        &[
            "RootDirectory",
            "RootImage",
            "RootImageOptions",
            "RootImagePolicy",
            "RootHash",
            "RootHashSignature",
            "RootVerity",
            "RootEphemeral",
            "RootMStack",
            "MountImages",
            "MountImagePolicy",
            "ExtensionImages",
            "ExtensionImagePolicy",
            "ExtensionDirectories",
            "ExecPaths",
            "NoExecPaths",
        ],
        Treatment::LeftOut(ROOTS),
    ),
    (&["SELinuxContext", "AppArmorProfile", "SmackProcessLabel"], Treatment::LeftOut(SECURITY)),
    (
        &[
            "WatchdogSec",
            "WatchdogSignal",
            "TimeoutSec",
            "TimeoutStartSec",
            "TimeoutStopSec",
            "TimeoutAbortSec",
            "TimeoutCleanSec",
            "TimeoutStartFailureMode",
            "TimeoutStopFailureMode",
            "RuntimeMaxSec",
            "RuntimeRandomizedExtraSec",
            "LimitCPU",
            "LimitRTTIME",
        ],
        Treatment::LeftOut(TIME),
    ),
    (
        &[
            "CPUAffinity",
            "NUMAPolicy",
            "NUMAMask",
            "AllowedCPUs",
            "AllowedMemoryNodes",
            "StartupAllowedCPUs",
            "StartupAllowedMemoryNodes",
        ],
        Treatment::LeftOut(PROCESSORS),
    ),
    (
        &["Slice", "NFTSet", "BPFProgram", "IPIngressFilterPath", "IPEgressFilterPath", "UserNamespacePath"],
        Treatment::LeftOut(OUTSIDE),
    ),
    (
        &[
            "StartLimitInterval",
            "StartLimitIntervalSec",
            "StartLimitBurst",
            "StartLimitAction",
            "FailureAction",
            "SuccessAction",
            "RebootArgument",
        ],
        Treatment::LeftOut(MACHINE),
    ),
    (
        &[
            "ReadWritePaths",
            "ReadOnlyPaths",
            "InaccessiblePaths",
            "ReadWriteDirectories",
            "ReadOnlyDirectories",
            "InaccessibleDirectories",
            "BindPaths",
            "BindReadOnlyPaths",
        ],
        Treatment::Paths(OPTIONAL),
    ),
    (&["TemporaryFileSystem"], Treatment::Hides),
    (&["NetworkNamespacePath"], Treatment::Replaced { by: ("PrivateNetwork", "yes"), why: NAMESPACES }),
    (&["IPCNamespacePath"], Treatment::Replaced { by: ("PrivateIPC", "yes"), why: NAMESPACES }),
    (&["User"], Treatment::Ids(Ids::User)),
    (&["Group"], Treatment::Ids(Ids::Group)),
    (&["SupplementaryGroups"], Treatment::Ids(Ids::Groups)),
];

/// Returns what happens to a setting.
pub(super) fn treatment(key: &str) -> Treatment {
    let row = ROWS.iter().find(|(keys, _)| keys.contains(&key));
    row.map_or(Treatment::Kept, |(_, treatment)| *treatment)
}

/// Makes the guest program visible in a file system that hides the image's. It is static, and needs no other file.
pub(super) const SHOWN: (&str, &str) = ("BindReadOnlyPaths", "/usr/bin/bpf-token-guest");

/// The reason for [`SHOWN`].
pub(super) const SHOWN_WHY: &str = "the guest program must be visible in it";

/// The users of `images/parts/systemd.toml`, with their numbers.
pub(super) const USERS: [(&str, &str); 6] = [
    ("root", "0"),
    ("daemon", "1"),
    ("messagebus", "990"),
    ("systemd-network", "998"),
    ("user", "1000"),
    ("nobody", "65534"),
];

/// Its groups.
pub(super) const GROUPS: [(&str, &str); 24] = [
    ("root", "0"),
    ("daemon", "1"),
    ("adm", "4"),
    ("tty", "5"),
    ("disk", "6"),
    ("lp", "7"),
    ("kmem", "15"),
    ("dialout", "20"),
    ("cdrom", "24"),
    ("tape", "26"),
    ("audio", "29"),
    ("utmp", "43"),
    ("video", "44"),
    ("users", "100"),
    ("messagebus", "990"),
    ("kvm", "991"),
    ("input", "992"),
    ("render", "993"),
    ("sgx", "994"),
    ("clock", "995"),
    ("systemd-network", "998"),
    ("systemd-journal", "999"),
    ("user", "1000"),
    ("nogroup", "65534"),
];

/// The unprivileged user and group of the image.
const STAND_IN: &str = "user";

/// Replaces users or groups that the image lacks; of several, keeps those that it has.
pub(super) fn known(ids: Ids, value: &str) -> String {
    let has =
        |table: &[(&str, &str)], name: &str| table.iter().any(|(known, number)| [*known, *number].contains(&name));
    match ids {
        Ids::User if has(&USERS, value) => value.to_owned(),
        Ids::Group if has(&GROUPS, value) => value.to_owned(),
        Ids::User | Ids::Group => STAND_IN.to_owned(),
        Ids::Groups => value.split_whitespace().filter(|name| has(&GROUPS, name)).collect::<Vec<_>>().join(" "),
    }
}

/// Marks each path in a list as optional, with a `-` before it (systemd.exec(5), `ReadWritePaths=`).
pub(super) fn optional(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 8);
    let (mut quote, mut escaped, mut within) = (None, false, false);
    for c in value.chars() {
        if quote.is_none() && !escaped && c.is_ascii_whitespace() {
            within = false;
        } else if !within {
            within = true;
            text.extend((c != '-').then_some('-'));
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            _ => {}
        }
        text.push(c);
    }
    text
}
