use super::*;
use crate::{Frontend, INCUS, SYSTEMD, Sources, SystemdRelease, read, testing::known};

fn converted(frontend: Frontend, label: &str, text: &str, to: &str) -> Result<(String, Vec<(String, String)>), String> {
    let known = known();
    let names = Names::new(&known, SystemdRelease::V262);
    let sources = Sources::of(label, text.as_bytes()).unwrap();
    let read = read(frontend, &sources, &names).unwrap();
    let (text, lost) = convert(&read[0], to.parse().unwrap(), &names).map_err(|refused| refused.to_string())?;
    let at = |lost: LocatedLoss| {
        (lost.what, lost.location.map(|location| sources.text(&location).to_owned()).unwrap_or_default())
    };
    Ok((text, lost.into_iter().map(at).collect()))
}

const UNIT: &str = "[Service]\nPrivateBPF=yes\nBPFDelegateCommands=BPFMapCreate,prog_load\nBPFDelegateMaps=any\n";

#[test]
fn what_has_an_effect_is_converted_and_the_rest_is_reported() {
    let (text, lost) = converted(SYSTEMD, "web.service", UNIT, "lxd").unwrap();
    assert_eq!(
        text,
        "lxc config set INSTANCE \\\n    security.delegate_bpf=true \\\n    security.delegate_bpf.cmd_types=map_create \\\n    \
         security.delegate_bpf.map_types=any\n"
    );
    assert_eq!(lost, [("`prog_load`, which has no effect in the original either".to_owned(), "prog_load".to_owned())]);
}

#[test]
fn what_has_no_counterpart_is_reported() {
    let unit = format!("{UNIT}PrivateUsers=yes\nDelegateNamespaces=mnt\nUser=web\nSystemCallFilter=~bpf @mount\n");
    let (_, lost) = converted(SYSTEMD, "web.service", &unit, "incus").unwrap();
    let what: Vec<&str> = lost.iter().map(|(what, _)| what.as_str()).skip(1).collect();
    assert_eq!(what, ["the user", "the user namespace", "DelegateNamespaces=", "the system call filter"]);
    assert_eq!(lost.last().unwrap().1, "SystemCallFilter=~bpf @mount");
}

#[test]
fn containers_keep_their_names_and_paths() {
    let yaml = "config:\n  security.bpffs.path: /bpf\n  security.bpffs.delegate_cmds: map_create\nname: web\n";
    let (text, lost) = converted(INCUS, "x.yaml", yaml, "mount").unwrap();
    assert_eq!((text.as_str(), lost.len()), ("mount -t bpf -o delegate_cmds=map_create none /bpf\n", 1));
    assert!(lost[0].0.starts_with("the container's user namespace: "));
    let (text, lost) = converted(INCUS, "x.yaml", yaml, "lxd").unwrap();
    assert!(text.starts_with("lxc config set web "), "{text}");
    assert_eq!(lost.len(), 1);
}

#[test]
fn what_has_no_effect_is_not_converted() {
    let yaml = "config:\n  security.bpffs.delegate_cmds: MapCreate\n";
    let error = converted(INCUS, "x.yaml", yaml, "mount").unwrap_err();
    assert_eq!(error, "the kernel refuses `MapCreate` in delegate_cmds");
    let (text, lost) = converted(SYSTEMD, "a.service", "[Service]\nBPFDelegateMaps=any\n", "mount").unwrap();
    assert_eq!((text.as_str(), lost.len()), ("", 1));
}
