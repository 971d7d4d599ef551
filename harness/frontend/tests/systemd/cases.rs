//! Units with settings that are valid, repeated, reset, misspelled or continued.

use harness_frontend::{Names, execution_context::CapabilitySet, setting_of};
use harness_uapi::{capability, vocabulary::Kind};

/// A unit.
pub(crate) struct Case {
    /// Its name, such as `a12.service`.
    pub(crate) name: String,
    /// Its files, by paths relative to a directory of units, or to a root with two more, `etc/systemd/system` before `usr/lib/systemd/system`.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Case {
    /// Returns a service with a bpffs and these lines.
    pub(crate) fn of(stem: &str, lines: &str) -> Self {
        Self::verbatim(stem, format!("[Service]\nExecStart=/bin/true\nPrivateBPF=yes\n{lines}\n").as_bytes())
    }

    fn verbatim(stem: &str, text: &[u8]) -> Self {
        let name = format!("{stem}.service");
        Self { files: vec![(name.clone(), text.to_owned())], name }
    }

    /// Puts the unit into a folder of units with less precedence than another.
    fn below(mut self, folder: &str) -> Self {
        self.files[0].0 = format!("{folder}/{}", self.name);
        self
    }

    fn with(mut self, drop_in: &str, lines: &str) -> Self {
        self.files.push((drop_in.to_owned(), format!("[Service]\n{lines}\n").into_bytes()));
        self
    }
}

/// Formats the set as a manager's dump shows it.
pub(crate) fn capabilities(set: CapabilitySet) -> String {
    let named = |(number, name): (usize, &&str)| set.contains(number as u32).then(|| format!("cap_{name}"));
    capability::NAMES.iter().enumerate().filter_map(named).collect::<Vec<_>>().join(" ")
}

/// Returns all cases.
pub(crate) fn all(names: &Names<'_>) -> Vec<Case> {
    let mut lines = lists(names);
    lines.extend(CONTEXT.iter().map(|line| (*line).to_owned()));
    let mut cases: Vec<Case> = lines.iter().enumerate().map(|(at, lines)| Case::of(&format!("a{at}"), lines)).collect();
    cases.extend(FILES.iter().enumerate().map(|(at, text)| Case::verbatim(&format!("f{at}"), text)));
    cases.extend(drop_ins());
    cases
}

/// Returns lists of every kind in every form.
fn lists(names: &Names<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        let key = setting_of(kind);
        let spelled: Vec<String> = (0..64).filter_map(|bit| names.systemd_shown(kind, bit)).collect();
        let (a, b, c) = (&spelled[1], &spelled[5], &spelled[7]);
        let reversed: Vec<&str> = spelled.iter().rev().map(String::as_str).collect();
        let values = [
            String::new(),
            a.clone(),
            format!("{a},{b}"),
            format!("{b},{a},{b}"),
            format!("{a}, {b}"),
            format!("{a} ,{b}"),
            format!("{a} {b}"),
            format!("{a}:{b}"),
            format!(",{a},,{b},"),
            ",".to_owned(),
            "any".to_owned(),
            "Any".to_owned(),
            "any,".to_owned(),
            format!("any,{a}"),
            "all".to_owned(),
            a.to_lowercase(),
            a.to_uppercase(),
            "hash,map_create".to_owned(),
            "BPF_MAP_TYPE_HASH".to_owned(),
            "5".to_owned(),
            "0xff".to_owned(),
            "%i,%%".to_owned(),
            format!("\"{a}\""),
            format!("'{a}','{b}'"),
            format!("{}\\{}", &a[..4], &a[4..]),
            format!("{a}\\,{b}"),
            format!("~{a}"),
            format!("{a};{b}"),
            format!("{a} # no comment"),
            reversed.join(","),
        ];
        lines.extend(values.iter().map(|value| format!("{key}={value}")));
        lines.extend([
            format!("{key}={a}\n{key}={b}"),
            format!("{key}={a}\n{key}="),
            format!("{key}=\n{key}={a}"),
            format!("{key}=any\n{key}={a}\n{key}=typo"),
            format!("{key}={a},\\\n{b}"),
            format!("{key}={a},\\\n  {b}"),
            format!("{key}={a}\\\n,{b}"),
            format!("{key}=\\\n{a}"),
            format!("{key}={a},\\\n# in between\n;and here\n{b},{c}"),
            format!("{key} = {a}"),
            format!("  {key}\t=\t{a}  "),
            format!("{key}={a}\\\\\n{key}={b}"),
        ]);
    }
    lines
}

/// Settings of the execution context.
const CONTEXT: [&str; 41] = [
    "PrivateBPF=no",
    "PrivateBPF=",
    "PrivateBPF=maybe",
    "PrivateBPF=OFF",
    "PrivateBPF=1\nPrivateBPF=f",
    "PrivateBpf=no",
    "BPFDelegateMap=any",
    "BPFDelegateAttachs=any",
    "PrivateUsers=nobody",
    "PrivateUsers=self\nPrivateUsers=",
    "DelegateNamespaces=user",
    "DelegateNamespaces=mnt time",
    "DelegateNamespaces=~user mnt",
    "DelegateNamespaces=mnt,net",
    "NoNewPrivileges=perhaps",
    "ProtectKernelTunables=yes",
    "ProtectKernelTunables=si",
    "PrivateMounts=\nPrivateMounts=x",
    "CapabilityBoundingSet=CAP_BPF CAP_NOPE",
    "CapabilityBoundingSet=CAP_BPF\nCapabilityBoundingSet=cap_perfmon 12",
    "CapabilityBoundingSet=CAP_BPF CAP_PERFMON\nCapabilityBoundingSet=~CAP_BPF",
    "AmbientCapabilities=CAP_BPF\nAmbientCapabilities='CAP_NET_ADMIN'",
    "AmbientCapabilities=CAP_BPF CAP_CHOWN\nAmbientCapabilities=~CAP_BPF",
    "SystemCallFilter=bpf:EPERM",
    "SystemCallFilter=~bpf:EPERM",
    "SystemCallFilter=~bpf:x",
    "PrivateIPC=yes",
    "PrivateIPC=sure",
    "PrivateIPC=yes\nPrivateIPC=",
    "IPCNamespacePath=/proc/1/ns/ipc",
    "UserNamespacePath=/proc/1/ns/user",
    "UserNamespacePath=/proc/1/ns/user\nUserNamespacePath=",
    "PrivateUsers=yes\nUserNamespacePath=/run/users",
    "PrivateUsersEx=self",
    "RestrictFileSystems=ext4 tmpfs",
    "RestrictFileSystems=~bpf",
    "RestrictFileSystems=~bpf\nRestrictFileSystems=",
    "RestrictFileSystems=ext4 bpf\nRestrictFileSystems=~bpf",
    "RestrictFileSystems=~ext4 bpf\nRestrictFileSystems=bpf",
    "RestrictFileSystems=@privileged-api",
    "RestrictFileSystems=@common-block",
];

/// Whole files.
const FILES: [&[u8]; 16] = [
    b"PrivateBPF=yes\n[Service]\nExecStart=/bin/true\n",
    b"[Service]\nExecStart=/bin/true\nPrivateBPF=yes\nBPFDelegateMaps=any\\",
    b"[Service]\r\nExecStart=/bin/true\r\nPrivateBPF=yes\r\nBPFDelegateMaps=any\r\n",
    b"[Service]\rExecStart=/bin/true\rPrivateBPF=yes\rBPFDelegateMaps=any\r\rPrivateBPF=x",
    b"[Service]\0ExecStart=/bin/true\0PrivateBPF=yes\0\0PrivateBPF=x\n",
    b"\xef\xbb\xbf[Service]\nExecStart=/bin/true\nPrivateBPF=yes\n\xef\xbb\xbfPrivateBPF=no\n",
    b"[Service]\nExecStart=/bin/true\nPrivateBPF=yes\nBPFDelegateMaps=any\xff\nPrivateUsers=x\n",
    b"[Service]\nExecStart=/bin/true\nPrivateBPF=yes\n[Unit]\nPrivateBPF=no\n[Service]\nBPFDelegateMaps=any\n",
    b"[Service]\nExecStart=/bin/true\n[X-Other]\nPrivateBPF=yes\nfoo\n",
    b"[Service]\nExecStart=/bin/true\n[Other]\nPrivateBPF=yes\n",
    b"[Service]\nExecStart=/bin/true\nPrivateBPF=yes\nno assignment\n=any\nPrivateUsers\n",
    b"[Service]\nExecStart=/bin/true\nX-PrivateBPF=yes\n  # PrivateBPF=yes\n\t;PrivateBPF=yes\n",
    b"[Service]\nExecStart=/bin/true\n\nPrivateBPF=\\\n\\\n# c\n\\\nyes\n",
    b"[Service]\nExecStart=/bin/true\nPrivateBPF=yes\n[Socket]\nBPFDelegateMaps=any\n[Install]\nBPFDelegateMaps=any\n",
    b"[Service]\nExecStart=/bin/true\nPrivateBPF\\\n=yes\n",
    b"[ Service]\nPrivateBPF=yes\n[Service]\nExecStart=/bin/true\n",
];

fn drop_ins() -> Vec<Case> {
    let case = |stem: &str| Case::of(stem, "BPFDelegateMaps=BPFMapTypeHash");
    vec![
        case("d0")
            .with("d0.service.d/10.conf", "BPFDelegateMaps=BPFMapTypeArray")
            .with("d0.service.d/05.conf", "BPFDelegateMaps=any"),
        case("d1-x")
            .with("d1-.service.d/10.conf", "BPFDelegateMaps=any")
            .with("d1-x.service.d/10.conf", "BPFDelegateMaps=typo"),
        case("d2-x")
            .with("d2-.service.d/20.conf", "BPFDelegateMaps=any")
            .with("d2-x.service.d/10.conf", "PrivateBPF=x"),
        case("d3").with("d3.service.d/10.conf", "PrivateBPF=no").with("d3.service.d/10.config", "PrivateBPF=yes"),
        case("d4")
            .with("d4.service.d/B.conf", "BPFDelegateMaps=any")
            .with("d4.service.d/a.conf", "BPFDelegateMaps=\n[x\nBPFDelegateMaps=any"),
        case("d5")
            .below("usr/lib/systemd/system")
            .with("etc/systemd/system/d5.service.d/10.conf", "BPFDelegateMaps=BPFMapTypeArray"),
        case("d6")
            .below("usr/lib/systemd/system")
            .with("usr/lib/systemd/system/d6.service.d/10.conf", "BPFDelegateMaps=BPFMapTypeArray")
            .with("etc/systemd/system/d6.service.d/10.conf", "BPFDelegateMaps=BPFMapTypeRingbuf"),
        case("d7")
            .below("usr/lib/systemd/system")
            .with("usr/lib/systemd/system/d7.service.d/20.conf", "BPFDelegateMaps=any")
            .with("etc/systemd/system/d7.service.d/10.conf", "PrivateBPF=no"),
        case("d8-x")
            .below("usr/lib/systemd/system")
            .with("etc/systemd/system/d8-.service.d/10.conf", "BPFDelegateMaps=any")
            .with("usr/lib/systemd/system/d8-x.service.d/10.conf", "BPFDelegateMaps=BPFMapTypeArray"),
    ]
}
