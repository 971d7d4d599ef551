use harness_uapi::vocabulary::Kind;

use super::*;
use crate::{execution_context::UserNamespace, names::SystemdRelease, testing::known};

fn read_of(frontend: Frontend, text: &str) -> Vec<Configuration> {
    let known = known();
    read(frontend, &Sources::of("x", text.as_bytes()).unwrap(), &Names::new(&known, SystemdRelease::V262)).unwrap()
}

fn one(text: &str) -> Configuration {
    let mut all = read_of(MOUNT, text);
    assert_eq!(all.len(), 1, "{text}: {all:?}");
    all.remove(0)
}

fn masks(text: &str) -> [u64; 4] {
    one(text).delegation().unwrap().masks()
}

#[test]
fn options_are_read_wherever_they_are() {
    let texts = [
        "none /run/b\\040x bpf rw,delegate_cmds=map_create:prog_load,delegate_maps=0x2 0 0",
        "mount -t bpf -o rw,delegate_cmds=map_create:prog_load -odelegate_maps=0x2 none '/run/b x'",
        "sudo /bin/mount --types=bpf --options \"delegate_cmds=map_create:prog_load,delegate_maps=0x2\" \\\n none /run/b\\ x\n",
        "31 24 0:28 / /run/b\\040x rw,relatime shared:1 - bpf none rw,delegate_cmds=map_create:prog_load,delegate_maps=hash",
        "none on /run/b\\040x type bpf (rw,delegate_cmds=map_create:prog_load,delegate_maps=hash)",
    ];
    for text in texts {
        let read = one(text);
        assert_eq!((read.name.as_str(), read.delegation().unwrap().masks()), ("/run/b x", [0x21, 2, 0, 0]), "{text}");
        let element = &read.delegated(Kind::Cmd)[0].elements[1];
        assert_eq!(&text[element.location.span.clone()], "prog_load", "{text}");
        assert!(text[read.delegated(Kind::Map)[0].location.span.clone()].starts_with("delegate_maps="), "{text}");
    }
    assert_eq!(masks("delegate_cmds=any,delegate_attachs=xdp"), [u64::MAX, 0, 0, 1 << 37]);
}

#[test]
fn a_number_replaces_names_and_options_are_combined() {
    assert_eq!(masks("delegate_cmds=prog_load:0x1")[0], 1);
    assert_eq!(masks("delegate_cmds=prog_load,delegate_cmds=0x1")[0], 0x21);
    assert_eq!(masks("31 24 0:28 / /x rw - bpf none rw,delegate_cmds=prog_load:0x8000000000000000")[0], 1 << 63 | 0x20);
}

#[test]
fn what_the_kernel_refuses_is_reported() {
    let read =
        one("none /x bpf delegate_cmds,delegate_maps=,delegate_progs=BPFProgTypeXdp:ANY,delegate_foo=1,nosuid 0 0");
    let problems: Vec<(Effect, Option<&str>)> =
        read.problems.iter().map(|p| (p.effect, p.instead.as_deref())).collect();
    let refused = |instead| (Effect::Refused, instead);
    assert_eq!(
        problems,
        [refused(None), refused(None), refused(Some("xdp")), refused(Some("any")), (Effect::IgnoredSilently, None)]
    );
    assert_eq!(read.delegation().unwrap_err().option, "delegate_maps");
}

#[test]
fn mounts_of_a_bpffs_are_distinguished_from_others() {
    let text = "# none /x bpf delegate_cmds=any\nproc /proc proc defaults 0 0\n/dev/bpf /mnt ext4 rw 0 0\n\n\
                bpffs /x bpf rw 0 0 # bpf-token: allow C why\n";
    let read = one(text);
    assert_eq!((read.execution_context.user_namespace.value, read.suppressions.len()), (UserNamespace::Host, 1));
    assert_eq!(one("1 2 0:3 / /x rw - bpf b rw").execution_context.user_namespace.value, UserNamespace::Unknown);
    assert_eq!(read_of(MOUNTINFO, "1 2 0:3 / /bpf rw - tmpfs bpf rw\n").len(), 0);
    assert_eq!(read_of(MOUNT, "echo mount -t bpf none /x\n").len(), 0);
}

#[test]
fn quotes_are_not_part_of_values() {
    assert_eq!(masks("none /x bpf delegate_cmds=\"any\",delegate_maps=hash 0 0"), [u64::MAX, 2, 0, 0]);
}
