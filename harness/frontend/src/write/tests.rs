use harness_model::vocabulary::KnownNames;

use super::*;
use crate::{names::SystemdRelease, read, source::Sources, testing::known};

fn names(known: &KnownNames) -> Names<'_> {
    Names::new(known, SystemdRelease::V262)
}

/// What a front-end makes of what was written for it.
fn read_back(target: Target, text: &str, known: &KnownNames) -> Delegation {
    let yaml: String;
    let (frontend, text) = match target {
        Target::Systemd => (Frontend::Systemd, text),
        Target::Mount => (Frontend::Mount, text),
        // `config set` takes the keys and values that `config show` prints.
        Target::Incus | Target::Lxd => {
            let words = crate::shell::commands(0, text).remove(0);
            let pairs = words.iter().filter_map(|word| word.as_str().split_once('='));
            yaml = pairs.fold("config:\n".to_owned(), |yaml, (key, value)| format!("{yaml}  {key}: '{value}'\n"));
            (target.frontend(), yaml.as_str())
        }
    };
    let sources = Sources::of("a.service", text.as_bytes()).unwrap();
    let all = read(frontend, &sources, &names(known)).unwrap();
    assert_eq!(all[0].problems, [], "{text}");
    assert!(all[0].bpffs.is_some(), "{text}");
    all[0].delegation().unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let known = known();
    let all = |bound: u32| (1u64 << bound) - 1;
    let delegations = [[0x21, 6, 1, 1], [u64::MAX; 4], [all(39), all(36), all(31), all(62)], [1, 0, 0, 0]];
    for masks in delegations {
        let delegation = Delegation::from_masks(masks);
        for target in Target::ALL {
            let (text, lost) = write(target, &Wanted::of(delegation), &names(&known));
            assert_eq!((read_back(target, &text, &known), lost), (delegation, vec![]), "{text}");
        }
    }
}

#[test]
fn bits_without_a_name_are_numbers_or_lost() {
    let known = known();
    let delegation = Delegation::from_masks([1 << 63 | 1, 2, 0, 0]);
    for target in [Target::Incus, Target::Lxd, Target::Mount] {
        let (text, lost) = write(target, &Wanted::of(delegation), &names(&known));
        assert_eq!((read_back(target, &text, &known), lost), (delegation, vec![]), "{text}");
    }
    let (text, lost) = write(Target::Systemd, &Wanted::of(delegation), &names(&known));
    assert_eq!(read_back(Target::Systemd, &text, &known).masks(), [1, 2, 0, 0]);
    assert!(lost[0].0.contains("0x8000000000000000"), "{lost:?}");
}

#[test]
fn texts_are_ready_to_paste() {
    let known = known();
    let wanted =
        Wanted { name: "my web", path: "/run/it's", delegation: Delegation::from_masks([0x21, 2, 0, u64::MAX]) };
    let written = |target| write(target, &wanted, &names(&known));
    let (incus, lost) = written(Target::Incus);
    assert_eq!(
        incus,
        "incus config set 'my web' \\\n    'security.bpffs.path=/run/it'\\''s' \\\n    \
         security.bpffs.delegate_cmds=map_create,prog_load \\\n    security.bpffs.delegate_maps=hash \\\n    \
         security.bpffs.delegate_attachs=any\n"
    );
    assert_eq!(lost, []);
    let (mount, _) = written(Target::Mount);
    assert_eq!(
        mount,
        "mount -t bpf -o delegate_cmds=map_create:prog_load,delegate_maps=hash,delegate_attachs=any none '/run/it'\\''s'\n"
    );
    let (lxd, lost) = written(Target::Lxd);
    assert!(lxd.starts_with("lxc config set 'my web' \\\n    security.delegate_bpf=true \\\n"), "{lxd}");
    assert_eq!(lost, [Lost("the path /run/it's: LXD mounts at /sys/fs/bpf".into())]);
    let (systemd, lost) = written(Target::Systemd);
    assert!(systemd.ends_with("BPFDelegateMaps=BPFMapTypeHash\nBPFDelegateAttachments=any\n"), "{systemd}");
    assert_eq!(lost.len(), 1);
}

#[test]
fn nothing_is_written_as_nothing() {
    let known = known();
    let (incus, lost) = write(Target::Incus, &Wanted::of(Delegation::default()), &names(&known));
    assert_eq!((incus.as_str(), lost.len()), ("", 1));
    assert_eq!(
        write(Target::Mount, &Wanted::of(Delegation::default()), &names(&known)).0,
        "mount -t bpf none /sys/fs/bpf\n"
    );
}

#[test]
fn words_name_targets() {
    for target in Target::ALL {
        assert_eq!(target.name().parse(), Ok(target));
    }
    assert!("bpftool".parse::<Target>().is_err());
}
