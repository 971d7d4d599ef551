use super::*;
use crate::{Effect, names::SystemdRelease, systemd_run::SYSTEMD_RUN, testing::known, unit::SYSTEMD};

/// Reads a file as `validate` does, and returns what delegates something.
fn read_of(label: &str, text: &str) -> Vec<Configuration> {
    let known = known();
    let sources = Sources::of(label, text.as_bytes()).unwrap();
    let frontend = Frontend::detect(sources.get(0)).unwrap();
    let mut read = crate::read(frontend, &sources, &Names::new(&known, SystemdRelease::V262)).unwrap();
    read.retain(Configuration::says_something);
    read
}

/// The front-end, the name and the masks of each configuration.
fn found(label: &str, text: &str) -> Vec<(&'static str, String, [u64; 4])> {
    let masks = |read: &Configuration| read.delegation().unwrap().masks();
    read_of(label, text).iter().map(|read| (read.frontend.name, read.name.clone(), masks(read))).collect()
}

#[test]
fn commands_of_the_clients_set_keys() {
    let text = "sudo incus launch images:a web -p x --config security.bpffs.delegate_cmds=map_create -csecurity.bpffs.path=/b\n\
                incus config set web security.bpffs.delegate_maps hash\n\
                if true; then incus profile set p security.bpffs.delegate_cmds=any security.bpffs.delegate_maps=any; fi\n\
                incus config unset web security.bpffs.path\necho incus config set y security.bpffs.delegate_cmds=any\n\
                incus exec web -- sh -c 'mount -t bpf -o delegate_cmds=map_create none /x'\n";
    assert_eq!(
        found("a.sh", text),
        [
            ("incus", "web".to_owned(), [1, 2, 0, 0]),
            ("incus", "p".to_owned(), [u64::MAX, u64::MAX, 0, 0]),
            ("mount", "/x".to_owned(), [1, 0, 0, 0])
        ]
    );
    let read = &read_of("a.sh", text)[0];
    let elements: Vec<&str> =
        read.delegated.iter().flatten().flat_map(|a| &a.elements).map(|e| &text[e.location.span.clone()]).collect();
    assert_eq!((elements, read.bpffs.as_ref().unwrap().path.as_str()), (vec!["map_create", "hash"], "/sys/fs/bpf"));
    let open = &read_of(
        "a.sh",
        "lxc launch x y -c security.delegate_bpf=true -c \"$MORE\" -c security.delegate_bpf.cmd_types=$C\n",
    )[0];
    assert_eq!((open.frontend, open.unknown.len()), (LXD, 2));
}

#[test]
fn documents_within_scripts_are_read() {
    let text = "#!/bin/bash\ncat <<'E' > /etc/systemd/system/a.service.d/b.conf\n[Service]\nPrivateBPF=yes\nBPFDelegateMaps=$X\nE\n\
                sudo tee /etc/systemd/system/c.service <<E\n[Service]\nBPFDelegateMaps=$X\nE\n\
                incus profile edit p <<E\nconfig:\n  security.bpffs.delegate_cmds: map_create\nname: q\nE\n\
                tee -a /etc/fstab <<E\nnone /b bpf delegate_cmds=any 0 0\nE\nssh host <<E\nsystemd-run -p BPFDelegateMaps=any true\nE\n";
    let read = read_of("a", text);
    let names: Vec<(&str, &str)> = read.iter().map(|read| (read.frontend.name, read.name.as_str())).collect();
    let expected =
        [("systemd", "a.service"), ("systemd", "c.service"), ("incus", "q"), ("mount", "/b"), ("systemd-run", "")];
    assert_eq!(names, expected);
    assert_eq!((read[0].unknown.len(), read[1].unknown.len()), (0, 1));
    assert_eq!(read[0].problems[0].effect, Effect::Ignored);
}

#[test]
fn yaml_of_any_program_is_read() {
    let text = "a:\n- {name: x, config: {security.bpffs.delegate_cmds: map_create}}\n\
                b: {ansible.posix.mount: {path: /y, fstype: bpf, opts: 'rw,delegate_cmds=any'}}\n\
                mounts:\n- [none, /z, bpf, \"delegate_maps=hash\"]\n- mount -t bpf none /w -o delegate_cmds=any\n\
                cmd: [mount, -t, bpf, none, /v, -o, delegate_cmds=any]\n\
                run: |\n  sudo systemd-run -p PrivateBPF=yes \\\n    -p BPFDelegateMaps=BPFMapTypeHash true\n\
                files:\n- path: /etc/systemd/system/u.service\n  content: |\n    [Service]\n    PrivateBPF=yes\n    BPFDelegateMaps={{ m }}\n";
    let read = read_of("x.yml", text);
    let mut names: Vec<(Frontend, &str)> = read.iter().map(|read| (read.frontend, read.name.as_str())).collect();
    names.sort_by_key(|(frontend, name)| (frontend.name, *name));
    let expected = [
        (INCUS, "x"),
        (MOUNT, "/v"),
        (MOUNT, "/w"),
        (MOUNT, "/y"),
        (MOUNT, "/z"),
        (SYSTEMD, "u.service"),
        (SYSTEMD_RUN, ""),
    ];
    assert_eq!(names, expected);
    assert_eq!(read.iter().map(|read| read.unknown.len()).sum::<usize>(), 1);
}

#[test]
fn units_in_yaml_are_named_by_what_is_around_them() {
    let unit = "|\n    [Service]\n    BPFDelegateMaps=any\n";
    let name = |text: String| read_of("x.yml", &text).first().map(|read| read.name.clone()).unwrap_or_default();
    assert_eq!(name(format!("units:\n- name: b.service\n  contents: {unit}")), "b.service");
    assert_eq!(name(format!("data:\n  c.service: {unit}")), "c.service");
    assert_eq!(name(format!("files:\n- path: /etc/systemd/system/d.service.d/x.conf\n  content: {unit}")), "d.service");
}

#[test]
fn of_an_instance_the_expanded_keys_count() {
    let text =
        "container:\n  config: {}\n  expanded_config:\n    security.bpffs.delegate_cmds: map_create\n  name: web\n";
    assert_eq!(found("backup.yaml", text), [("incus", "web".to_owned(), [1, 0, 0, 0])]);
    assert_eq!(
        found("x.json", "[{\"name\": \"j\", \"config\": {\"security.bpffs.delegate_cmds\": \"any\"}}]")[0].1,
        "j"
    );
}

#[test]
fn a_suppression_applies_to_its_own_command() {
    let text = "systemd-run -p BPFDelegateMaps=any a # bpf-token: allow C why\nsystemd-run -p BPFDelegateMaps=any b\n";
    let read = read_of("x.sh", text);
    assert_eq!(read.iter().map(|read| read.suppressions.len()).collect::<Vec<_>>(), [1, 0]);
}

/// Files that others may have written make no reader panic, and all that is read is in the file.
#[test]
fn broken_files_are_read_or_refused() {
    const SIGNS: &[u8] = b"\0\n'\"\\{}[]=:,$`<\xff\xc3|>&";
    let known = known();
    let names = Names::new(&known, SystemdRelease::V262);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../findings/tests/cases");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % bound.max(1)
    };
    let mut read = 0;
    for bytes in files.map(|path| std::fs::read(path).unwrap()) {
        for _ in 0..20 {
            let mut broken = bytes.clone();
            for _ in 0..=next(4) {
                let (at, length) = (next(broken.len()), next(20));
                let part = broken[at..(at + length).min(broken.len())].to_vec();
                match next(4) {
                    0 => broken[at] = SIGNS[next(SIGNS.len())],
                    1 => broken.truncate(at.max(1)),
                    2 => drop(broken.splice(at..at, part)),
                    _ => drop(broken.drain(at..(at + length).min(broken.len() - 1).max(at))),
                }
            }
            let sources = Sources::of("x", &broken).unwrap();
            let _ = (crate::not_read(sources.get(0)), crate::mentioned(sources.get(0)));
            for frontend in Frontend::all() {
                let Ok(all) = crate::read(frontend, &sources, &names) else { continue };
                for configuration in &all {
                    let elements = configuration.delegated.iter().flatten().flat_map(|one| &one.elements);
                    let places = elements.map(|element| &element.location);
                    let places = places.chain(configuration.problems.iter().map(|problem| &problem.location));
                    let places = places.chain(configuration.unknown.iter().map(|unknown| &unknown.location));
                    for place in places.chain(configuration.cut_off.iter().map(|names| &names.location)) {
                        assert!(
                            sources.get(0).text().get(place.span.clone()).is_some(),
                            "{place:?} {:?}",
                            sources.get(0).text()
                        );
                    }
                }
                read += all.len();
            }
        }
    }
    assert!(read > 1000, "only {read} configurations");
}
