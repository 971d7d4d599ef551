//! Archives for the initial root file system of a kernel, in the format it unpacks.

use std::io::Write;

/// The folder of the modules in an archive. The guest's init uses the same path (`harness/init`).
const MODULES: &str = "modules";
/// The file in that folder that lists the modules in load order.
const ORDER: &str = "modules/order";

/// Makes an archive of modules, by name and in load order.
pub(crate) fn of_modules<'a>(modules: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.add(MODULES, FOLDER, &[]);
    let mut order = String::new();
    for (name, contents) in modules {
        archive.add(&format!("{MODULES}/{name}.ko"), FILE, contents);
        order.push_str(name);
        order.push_str(".ko\n");
    }
    archive.add(ORDER, FILE, order.as_bytes());
    archive.finish()
}

/// Makes an archive of init, and of the folders it mounts on.
pub(crate) fn of_init(program: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["proc", "root"] {
        archive.add(folder, FOLDER, &[]);
    }
    archive.add("init", PROGRAM, program);
    archive.finish()
}

/// Makes an archive of the guard's program and its policy, and of the folders that it needs. The guest's init uses the
/// same paths (`harness/init`).
pub(crate) fn of_guard(program: &[u8], policy: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["bin", "etc", "etc/bpf-guard", "guard", "run", "sys"] {
        archive.add(folder, FOLDER, &[]);
    }
    archive.add("bin/bpf-guard", PROGRAM, program);
    archive.add("etc/bpf-guard/policy.toml", FILE, policy);
    archive.finish()
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An archive in the format the kernel reads (Documentation/driver-api/early-userspace/buffer-format.rst). All times
/// are 0 and all owners root, so equal contents give equal bytes.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).expect("files of the initramfs are smaller than 4 GiB");
        let entry = ::cpio::newc::Builder::new(name).ino(self.entries).mode(mode).nlink(1);
        let mut writer = entry.write(&mut self.bytes, size);
        writer.write_all(contents).and_then(|()| writer.finish().map(drop)).expect("writing to memory does not fail");
    }

    /// Returns its bytes, padded so that another archive can follow.
    fn finish(mut self) -> Vec<u8> {
        ::cpio::newc::trailer(&mut self.bytes).expect("writing to memory does not fail");
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Name, mode and contents of a file.
    type Listed = (String, u32, Vec<u8>);

    /// Returns every file in an archive, and the bytes after it.
    fn listed(mut bytes: &[u8]) -> (Vec<Listed>, &[u8]) {
        let mut files = Vec::new();
        loop {
            let mut reader = ::cpio::newc::Reader::new(bytes).unwrap();
            if reader.entry().is_trailer() {
                return (files, reader.finish().unwrap());
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents).unwrap();
            files.push((name, mode, contents));
            bytes = reader.finish().unwrap();
        }
    }

    #[test]
    fn an_archive_of_modules_lists_their_order() {
        let bytes = of_modules([("9pnet", &b"one"[..]), ("9p", b"two.")]);
        let (files, rest) = listed(&bytes);
        let names: Vec<(&str, u32)> = files.iter().map(|(name, mode, _)| (name.as_str(), *mode)).collect();
        assert_eq!(
            names,
            [("modules", FOLDER), ("modules/9pnet.ko", FILE), ("modules/9p.ko", FILE), ("modules/order", FILE)]
        );
        assert_eq!((&files[1].2[..], &files[3].2[..]), (&b"one"[..], &b"9pnet.ko\n9p.ko\n"[..]));
        assert!(rest.is_empty() && bytes.len() % 4 == 0);
    }

    #[test]
    fn the_guard_has_its_program_its_policy_and_folders_to_mount_on() {
        let archive = of_guard(b"program", b"version = 1\n");
        let (files, rest) = listed(&archive);
        assert!(rest.is_empty());
        let folders: Vec<&str> =
            files.iter().filter(|(_, mode, _)| *mode == FOLDER).map(|(name, ..)| name.as_str()).collect();
        assert_eq!(folders, ["bin", "etc", "etc/bpf-guard", "guard", "run", "sys"]);
        assert!(files.contains(&("bin/bpf-guard".to_owned(), PROGRAM, b"program".to_vec())));
        assert!(files.contains(&("etc/bpf-guard/policy.toml".to_owned(), FILE, b"version = 1\n".to_vec())));
    }

    #[test]
    fn equal_contents_are_equal_bytes_and_archives_can_follow_each_other() {
        let modules = || of_modules([("9p", &b"two"[..])]);
        assert_eq!(modules(), modules());
        let both = [modules(), of_init(b"program")].concat();
        let (_, rest) = listed(&both);
        let (files, _) = listed(rest);
        assert_eq!(files.last().unwrap(), &("init".to_owned(), PROGRAM, b"program".to_vec()));
    }
}
