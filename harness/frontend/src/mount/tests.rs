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
fn mounts_that_delegate_are_distinguished_from_others() {
    let text = "# none /x bpf delegate_cmds=any\nproc /proc proc defaults 0 0\n/dev/bpf /mnt ext4 rw 0 0\n\n\
                bpffs /y bpf rw 0 0\nbpffs /x bpf delegate_cmds=any 0 0 # bpf-token: allow C why\n";
    let read = one(text);
    assert_eq!((read.execution_context.user_namespace.value, read.suppressions.len()), (UserNamespace::Host, 1));
    let plain = [
        "1 2 0:3 / /bpf rw - tmpfs bpf delegate_cmds=any\n",
        "echo mount -t bpf none /x -o delegate_cmds=any\n",
        "DIR=/sys/fs/bpf/x\n",
        "mount bpffs /sys/fs/bpf -t bpf\n",
        "1 2 0:3 / /x rw - bpf b rw\n",
    ];
    assert_eq!(plain.map(|text| read_of(MOUNT, text).len()), [0; 5]);
}

#[test]
fn what_the_kernel_shows_belongs_to_whom_the_list_says() {
    let owner = |text: &str| read_of(MOUNTINFO, text).last().map(|read| read.execution_context.user_namespace.value);
    let shown = "none on /x type bpf (rw,uid=1000000,delegate_cmds=any)\n";
    assert_eq!(owner(shown), Some(UserNamespace::Own));
    assert_eq!(owner(&shown.replace("uid=1000000", "uid=1000")), Some(UserNamespace::Host));
    let of_root = shown.replace("uid=1000000", "noexec");
    assert_eq!(owner(&of_root), Some(UserNamespace::Unknown));
    assert_eq!(owner(&format!("bpf on /sys/fs/bpf type bpf (rw,mode=700)\n{of_root}")), Some(UserNamespace::Host));
}

#[test]
fn columns_of_findmnt_are_not_those_of_fstab() {
    let text = "TARGET      SOURCE FSTYPE OPTIONS\n├─/sys/fs/b bpf    bpf    rw,uid=100000,delegate_cmds=any\n";
    let read = one(text);
    assert_eq!(
        (read.name.as_str(), read.frontend, read.delegation().unwrap().masks()[0]),
        ("/sys/fs/b", MOUNTINFO, u64::MAX)
    );
    assert_eq!(read.execution_context.user_namespace.value, UserNamespace::Own);
}

#[test]
fn a_comma_ends_an_option() {
    let cut = |text: &str| -> Vec<(String, usize)> {
        one(text).cut_off.iter().map(|names| (names.text.clone(), names.commas.len())).collect()
    };
    let text = "mount -t bpf b /x -o delegate_cmds=map_create,prog_load,ro,delegate_maps=hash,arary,array,gid=1";
    assert_eq!(cut(text), [("prog_load".to_owned(), 1), ("arary,array".to_owned(), 0)]);
    let read = one(text);
    assert_eq!(&text[read.cut_off[0].commas[0].span.clone()], ",");
    assert_eq!(&text[read.cut_off[1].location.span.clone()], "arary,array");
    assert_eq!(cut("none on /x type bpf (rw,delegate_cmds=any,relatime)"), []);
}

#[test]
fn variables_are_not_names() {
    let read = one("mount -t bpf -o \"delegate_cmds=${A}:map_create,delegate_maps=$B,$MORE\" none \"$DIR\"");
    let unknown: Vec<(&str, Option<Kind>)> = read.unknown.iter().map(|one| (one.text.as_str(), one.option)).collect();
    assert_eq!(unknown, [("${A}", Some(Kind::Cmd)), ("$B", Some(Kind::Map)), ("$MORE", None)]);
    assert_eq!(read.problems, []);
}

#[test]
fn quotes_are_not_part_of_values() {
    assert_eq!(masks("none /x bpf delegate_cmds=\"any\",delegate_maps=hash 0 0"), [u64::MAX, 2, 0, 0]);
}
