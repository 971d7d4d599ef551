use harness_uapi::{
    delegation::Delegation,
    permission::{Capability, Grant},
    vocabulary::KnownNames,
};

use super::*;
use crate::{
    bpftool::BPFTOOL,
    embedded::SCRIPT,
    instance::{INCUS, LXD},
    lxc::LXC,
    mount::{MOUNT, MOUNTINFO},
    names::SystemdRelease,
    systemd_run::SYSTEMD_RUN,
    terraform::TERRAFORM,
    testing::known,
};

fn names(known: &KnownNames) -> Names<'_> {
    Names::new(known, SystemdRelease::V262)
}

/// Reads what was written for a front-end as a file without a name, which is recognized by its contents.
fn read_back(target: WritableFrontend, text: &str, known: &KnownNames) -> Delegation {
    let sources = Sources::of("<stdin>", text.as_bytes()).unwrap();
    let frontend = Frontend::detect(sources.get(0)).unwrap();
    let all = read(frontend, &sources, &names(known)).unwrap();
    assert_eq!((all.len(), all[0].frontend), (1, target.frontend()), "{text}");
    assert_eq!(all[0].problems, [], "{text}");
    assert!(all[0].bpffs.is_some(), "{text}");
    all[0].delegation().unwrap()
}

/// Whether a loss is that of the user namespace, which every mount command has.
fn is_of_mount(lost: &[ConversionLoss]) -> bool {
    matches!(lost, [one] if one.0.starts_with("the container's user namespace"))
}

#[test]
fn what_is_written_is_read_back() {
    let known = known();
    let all = |bound: u32| (1u64 << bound) - 1;
    let delegations = [[0x21, 6, 1, 1], [u64::MAX; 4], [all(39), all(36), all(31), all(62)], [1, 0, 0, 0]];
    for masks in delegations {
        let delegation = Delegation::from_masks(masks);
        for target in WritableFrontend::all() {
            let (text, lost) = write(target, &ConversionInput::of(delegation), &names(&known));
            assert_eq!(read_back(target, &text, &known), delegation, "{text}");
            assert!(lost.is_empty() || (target.frontend() == MOUNT && is_of_mount(&lost)), "{lost:?}");
            // What `caps` prints has the capabilities, too.
            let grant = Grant { delegation, capabilities: [Capability::Bpf].into() };
            assert_eq!(read_back(target, &crate::pasted(target, &grant, &names(&known)), &known), delegation);
        }
    }
}

#[test]
fn bits_without_a_name_are_numbers_or_lost() {
    let known = known();
    let delegation = Delegation::from_masks([1 << 63 | 1, 2, 0, 0]);
    for target in [WritableFrontend(INCUS), WritableFrontend(LXD), WritableFrontend(MOUNT)] {
        let (text, lost) = write(target, &ConversionInput::of(delegation), &names(&known));
        assert_eq!(read_back(target, &text, &known), delegation, "{text}");
        assert_eq!(is_of_mount(&lost), target.frontend() == MOUNT);
    }
    let (text, lost) = write(WritableFrontend::SYSTEMD, &ConversionInput::of(delegation), &names(&known));
    assert_eq!(read_back(WritableFrontend::SYSTEMD, &text, &known).masks(), [1, 2, 0, 0]);
    let lost: Vec<&str> = lost.iter().map(|loss| loss.0.as_str()).collect();
    insta::assert_snapshot!(lost.join("\n"), @r#"BPFDelegateCommands=: systemd 262 has no names for the bits 0x8000000000000000"#);
}

#[test]
fn texts_are_ready_to_paste() {
    let known = known();
    let wanted = ConversionInput {
        name: "my web",
        path: "/run/it's",
        delegation: Delegation::from_masks([0x21, 2, 0, u64::MAX]),
    };
    let written = |target| write(target, &wanted, &names(&known));
    let (incus, lost) = written(WritableFrontend(INCUS));
    assert_eq!(
        incus,
        "incus config set 'my web' \\\n    'security.bpffs.path=/run/it'\\''s' \\\n    \
         security.bpffs.delegate_cmds=map_create,prog_load \\\n    security.bpffs.delegate_maps=hash \\\n    \
         security.bpffs.delegate_attachs=any\n"
    );
    assert_eq!(lost, []);
    let (mount, _) = written(WritableFrontend(MOUNT));
    assert_eq!(
        mount,
        "mount -t bpf -o delegate_cmds=map_create:prog_load,delegate_maps=hash,delegate_attachs=any none '/run/it'\\''s'\n"
    );
    let (lxd, lost) = written(WritableFrontend(LXD));
    insta::assert_snapshot!(lxd, @r#"
    lxc config set 'my web' \
        security.delegate_bpf=true \
        security.delegate_bpf.cmd_types=map_create:prog_load \
        security.delegate_bpf.map_types=hash \
        security.delegate_bpf.attach_types=any
    "#);
    assert_eq!(lost, [ConversionLoss("the path /run/it's: LXD always mounts at /sys/fs/bpf".into())]);
    let (systemd, lost) = written(WritableFrontend::SYSTEMD);
    insta::assert_snapshot!(systemd, @r#"
    [Service]
    PrivateBPF=yes
    PrivateUsers=yes
    PrivateMounts=yes
    DelegateNamespaces=mnt
    BPFDelegateCommands=BPFMapCreate,BPFProgLoad
    BPFDelegateMaps=BPFMapTypeHash
    BPFDelegateAttachments=any
    "#);
    assert_eq!(lost.len(), 1);
}

#[test]
fn an_empty_delegation_is_written_as_such() {
    let known = known();
    let (incus, lost) = write(WritableFrontend(INCUS), &ConversionInput::of(Delegation::default()), &names(&known));
    assert_eq!((incus.as_str(), lost.len()), ("", 1));
    assert_eq!(
        write(WritableFrontend(MOUNT), &ConversionInput::of(Delegation::default()), &names(&known)).0,
        "mount -t bpf none /sys/fs/bpf\n"
    );
}

#[test]
fn words_name_targets() {
    for target in WritableFrontend::all() {
        assert_eq!(target.frontend().name.parse(), Ok(target));
    }
    assert_eq!(
        "bpftool".parse::<WritableFrontend>().unwrap_err().to_string(),
        "cannot write a configuration for `bpftool`; expected systemd, incus, lxd or mount"
    );
}

fn detected(label: &str, text: &str) -> Option<Frontend> {
    Frontend::detect(Sources::of(label, text.as_bytes()).unwrap().get(0))
}

#[test]
fn files_are_recognized_by_name() {
    let expected = [
        ("x.service", SYSTEMD),
        ("/etc/systemd/system/x.service.d/10-a.conf", SYSTEMD),
        ("sys-fs-bpf.mount", SYSTEMD),
        ("/etc/fstab", MOUNT),
        ("/proc/self/mountinfo", MOUNTINFO),
        ("c.yaml", INCUS),
    ];
    for (label, frontend) in expected {
        assert_eq!(detected(label, ""), Some(frontend), "{label}");
    }
    assert_eq!(detected("c.yaml", "config:\n  security.delegate_bpf: \"true\"\n"), Some(LXD));
}

#[test]
fn files_are_recognized_by_their_contents() {
    let expected = [
        ("# c\n[Service]\nPrivateBPF=yes\n", SYSTEMD),
        ("[{\"token_info\":\"/sys/fs/bpf\"}]", BPFTOOL),
        ("[]", BPFTOOL),
        ("{\"config\": {\"security.bpffs.path\": \"/x\"}}", INCUS),
        ("incus config set a security.bpffs.path=/x", SCRIPT),
        ("#!/bin/sh\nmount -t bpf none /x\n", SCRIPT),
        ("cat > a.service <<E\n[Service]\nBPFDelegateMaps=any\nE\n", SCRIPT),
        ("lxc.idmap = u 0 1 1", LXC),
        ("resource \"incus_instance\" \"x\" {}", TERRAFORM),
        ("systemd-run -p PrivateBPF=yes true", SYSTEMD_RUN),
        ("-p PrivateBPF=yes", SYSTEMD_RUN),
        ("config:\n  security.bpffs.path: /x\n", INCUS),
        ("security.delegate_bpf: \"true\"", LXD),
        ("30 23 0:25 / /sys/fs/bpf rw - bpf none rw", MOUNTINFO),
        ("none on /x type bpf (rw)", MOUNTINFO),
        ("bpffs /sys/fs/bpf bpf delegate_cmds=any 0 0", MOUNT),
        ("delegate_cmds=any", MOUNT),
    ];
    for (text, frontend) in expected {
        assert_eq!(detected("x", text), Some(frontend), "{text}");
    }
    let others = [
        "",
        "hello",
        "# What a bpf program does\n",
        "[workspace]\nmembers = []\nlibbpf = { version = \"1\" }\n",
        "[[attempt]]\nop = \"x\"\n",
        "[Match]\nName=eth0\n",
    ];
    assert_eq!(others.map(|text| detected("x", text)), [None; 6]);
    assert_eq!(detected("x", "[X-Own]\nA=1\n[Install]\n"), Some(SYSTEMD));
}

#[test]
fn words_name_front_ends() {
    for frontend in Frontend::all() {
        assert_eq!(frontend.name.parse(), Ok(frontend));
    }
    assert_eq!(
        "docker".parse::<Frontend>().unwrap_err().to_string(),
        "unknown front-end `docker`; expected systemd, script, systemd-run, incus, lxd, lxc, terraform, mount, mountinfo or bpftool"
    );
}
