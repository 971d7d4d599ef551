use std::os::unix::fs::symlink;

use super::{linker_cache::tests::cache, *};

/// What a planted ELF file says to the linker.
#[derive(Clone, Copy, Default)]
struct Planted<'a> {
    interpreter: Option<&'a str>,
    needed: &'a [&'a str],
    name: Option<&'a str>,
    rpath: Option<&'a str>,
    runpath: Option<&'a str>,
    machine: Option<u8>,
}

/// Makes the smallest ELF file that says it: a header, three segments, a table for the linker, strings.
fn elf(planted: Planted<'_>) -> Vec<u8> {
    let mut strings = vec![0];
    let mut entries = Vec::new();
    let lists = [(15, planted.rpath), (29, planted.runpath), (14, planted.name)];
    let needed = planted.needed.iter().map(|name| (1, Some(*name)));
    for (tag, text) in needed.chain(lists).filter_map(|(tag, text)| Some((tag, text?))) {
        entries.push([tag, strings.len() as u64]);
        strings.extend(text.bytes().chain([0]));
    }
    let table = 64 + 3 * 56;
    let strings_at = table + (entries.len() as u64 + 3) * 16;
    entries.extend([[5, strings_at], [10, strings.len() as u64], [0, 0]]);
    let interpreter_at = strings_at + strings.len() as u64;
    let interpreter = planted.interpreter.map(|path| [path.as_bytes(), b"\0"].concat()).unwrap_or_default();
    let end = interpreter_at + interpreter.len() as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([3, 0, planted.machine.unwrap_or(62), 0, 1, 0, 0, 0]);
    for word in [0_u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 3, 0, 64, 0, 0, 0, 0, 0]);
    let interpreted = if planted.interpreter.is_some() { 3_u32 } else { 0 };
    let size = entries.len() as u64 * 16;
    for (kind, at, size) in [(1, 0, end), (2, table, size), (interpreted, interpreter_at, interpreter.len() as u64)] {
        bytes.extend(kind.to_le_bytes());
        bytes.extend([4, 0, 0, 0]);
        for word in [at, at, at, size, size, 1] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.extend(entries.iter().flatten().flat_map(|word| word.to_le_bytes()));
    [bytes, strings, interpreter].concat()
}

/// A machine in a folder.
struct Machine {
    folder: tempfile::TempDir,
    top: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let machine = Self { folder, top };
        machine.elf("lib/ld.so", Planted { name: Some("ld.so"), ..Planted::default() });
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    fn file(&self, path: &str, contents: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), contents).unwrap();
    }

    fn elf(&self, path: &str, planted: Planted<'_>) {
        self.file(path, elf(planted));
    }

    /// A program that needs these libraries.
    fn program(&self, path: &str, needed: &[&str]) {
        let interpreter = self.at("lib/ld.so");
        self.elf(path, Planted { interpreter: interpreter.to_str(), needed, ..Planted::default() });
    }

    fn library(&self, path: &str, needed: &[&str]) {
        let name = Path::new(path).file_name().unwrap().to_str();
        self.elf(path, Planted { needed, name, ..Planted::default() });
    }

    fn link(&self, path: &str, to: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        symlink(to, self.at(path)).unwrap();
    }

    fn closure_by(&self, linker: Linker, program: &str, more: &[&str]) -> Result<Vec<ProgramFile>, ProgramFilesError> {
        let host = Host { linker, mounted: &[], path: vec![self.at("bin")] };
        let more: Vec<_> = more.iter().map(|path| self.at(path)).collect();
        closure_on(&host, &self.at(program), &more)
    }

    fn closure(&self, program: &str, more: &[&str]) -> Result<Vec<ProgramFile>, ProgramFilesError> {
        self.closure_by(Linker::without_cache(vec![self.at("lib")]), program, more)
    }

    /// The paths in a closure, links with what they lead to.
    fn paths(&self, closure: Result<Vec<ProgramFile>, ProgramFilesError>) -> Vec<String> {
        let short = |path: &Path| path.strip_prefix(&self.top).unwrap_or(path).display().to_string();
        let line = |file: &ProgramFile| match &file.kind {
            Kind::File { executable: true, .. } => format!("{} executable", short(&file.path)),
            Kind::File { .. } => short(&file.path),
            Kind::Link { to } => format!("{} -> {}", short(&file.path), short(to)),
            Kind::Folder => format!("{}/", short(&file.path)),
        };
        closure.unwrap().iter().map(line).collect()
    }

    fn message(&self, closure: Result<Vec<ProgramFile>, ProgramFilesError>) -> String {
        crate::error_chain::chain(&closure.unwrap_err()).replace(self.folder.path().to_str().unwrap(), "/TOP")
    }
}

#[test]
fn a_program_comes_with_its_interpreter_and_the_libraries_of_its_libraries() {
    let machine = Machine::new();
    machine.program("bin/tool", &["liba.so", "libb.so"]);
    machine.library("lib/liba.so", &["libb.so", "ld.so"]);
    machine.library("lib/libb.so", &["liba.so"]);
    machine.library("lib/libunused.so", &[]);
    fs::set_permissions(machine.at("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let expected = ["bin/tool executable", "lib/ld.so", "lib/liba.so", "lib/libb.so"];
    assert_eq!(machine.paths(machine.closure("bin/tool", &[])), expected);
}

#[test]
fn a_static_program_needs_nothing() {
    let machine = Machine::new();
    machine.elf("bin/static", Planted::default());
    assert_eq!(machine.paths(machine.closure("bin/static", &[])), ["bin/static"]);
}

#[test]
fn links_stay_links_to_the_file_where_it_is() {
    let machine = Machine::new();
    machine.program("opt/tool-1/bin/tool", &["liba.so"]);
    machine.link("opt/tool", "tool-1");
    machine.link("bin/tool", "../opt/tool/bin/tool");
    machine.library("lib/liba.so.1.2", &[]);
    machine.link("lib/liba.so", "liba.so.1.2");
    let expected = [
        "bin/tool -> opt/tool-1/bin/tool",
        "lib/ld.so",
        "lib/liba.so -> lib/liba.so.1.2",
        "lib/liba.so.1.2",
        "opt/tool-1/bin/tool",
    ];
    assert_eq!(machine.paths(machine.closure("bin/tool", &[])), expected);
}

#[test]
fn a_program_says_where_its_libraries_are() {
    let machine = Machine::new();
    let interpreter = machine.at("lib/ld.so");
    let program = Planted { interpreter: interpreter.to_str(), needed: &["liba.so"], ..Planted::default() };
    for path in ["lib/liba.so", "lib/libb.so", "opt/lib/libb.so"] {
        machine.library(path, &[]);
    }
    machine.library("opt/lib/liba.so", &["libb.so"]);
    let of = |planted| {
        machine.elf("opt/bin/tool", planted);
        machine.paths(machine.closure("opt/bin/tool", &[]))
    };
    let runpath = Some("$ORIGIN/../lib");
    let expected = ["lib/ld.so", "lib/libb.so", "opt/bin/tool", "opt/lib/liba.so"];
    assert_eq!(of(Planted { runpath, ..program }), expected, "a RUNPATH is not for the libraries of a library");
    let expected = ["lib/ld.so", "opt/bin/tool", "opt/lib/liba.so", "opt/lib/libb.so"];
    assert_eq!(of(Planted { rpath: runpath, ..program }), expected, "an RPATH is");
    let expected = ["lib/ld.so", "lib/liba.so", "opt/bin/tool"];
    let both = Planted { rpath: runpath, runpath: Some("/nonexistent"), ..program };
    assert_eq!(of(both), expected, "with a RUNPATH an RPATH does not count");
}

#[test]
fn a_library_in_the_linkers_cache_comes_with_the_cache_and_for_every_processor() {
    let machine = Machine::new();
    machine.program("bin/tool", &["liba.so"]);
    for path in ["lib/liba.so", "local/liba.so", "local/v3/liba.so"] {
        machine.library(path, &[]);
    }
    let entries = [(1 << 62, "local/v3/liba.so"), (0, "local/liba.so"), (1, "gone/liba.so")];
    let paths = entries.map(|(hardware, path)| (hardware, machine.at(path).display().to_string()));
    let entries: Vec<_> = paths.iter().map(|(hardware, path)| (0x0303, *hardware, "liba.so", path.as_str())).collect();
    machine.file("etc/cache", cache(&entries));
    let linker = Linker::with_cache(&machine.at("etc/cache"), vec![machine.at("lib")]);
    let expected = ["bin/tool", "etc/cache", "lib/ld.so", "local/liba.so", "local/v3/liba.so"];
    assert_eq!(machine.paths(machine.closure_by(linker, "bin/tool", &[])), expected);
}

#[test]
fn what_is_for_another_machine_is_passed_over_as_library_and_refused_as_program() {
    let machine = Machine::new();
    machine.program("bin/tool", &["liba.so"]);
    machine.elf("other/liba.so", Planted { machine: Some(183), ..Planted::default() });
    machine.library("lib/liba.so", &[]);
    let both = || Linker::without_cache(vec![machine.at("other"), machine.at("lib")]);
    let expected = ["bin/tool", "lib/ld.so", "lib/liba.so"];
    assert_eq!(machine.paths(machine.closure_by(both(), "bin/tool", &[])), expected);
    let refused = machine.message(machine.closure("other/liba.so", &[]));
    insta::assert_snapshot!(refused, @"/TOP/other/liba.so is for another machine, 64 bits, ELF machine 183; guests run programs for x86-64");
}

#[test]
fn a_missing_library_is_named_with_what_needs_it() {
    let machine = Machine::new();
    machine.program("bin/tool", &["liba.so"]);
    machine.library("lib/liba.so", &["libmissing.so.7"]);
    insta::assert_snapshot!(machine.message(machine.closure("bin/tool", &[])), @"the library libmissing.so.7 is missing on this machine; /TOP/lib/liba.so needs it");
    machine.program("bin/tool", &["liba.so"]);
    fs::remove_file(machine.at("lib/ld.so")).unwrap();
    insta::assert_snapshot!(machine.message(machine.closure("bin/tool", &[])), @"/TOP/bin/tool is started by /TOP/lib/ld.so: cannot read /TOP/lib/ld.so: No such file or directory (os error 2)");
}

#[test]
fn a_script_comes_with_what_starts_it() {
    let machine = Machine::new();
    machine.program("bin/env", &[]);
    machine.program("bin/python", &["liba.so"]);
    machine.library("lib/liba.so", &[]);
    machine.file("script", format!("#!{}/env python\n", machine.at("bin").display()));
    let expected = ["bin/env", "bin/python", "lib/ld.so", "lib/liba.so", "script"];
    assert_eq!(machine.paths(machine.closure("script", &[])), expected);
    machine.file("endless", format!("#!{}\n", machine.at("endless").display()));
    let endless = machine.message(machine.closure("endless", &[]));
    assert!(
        endless.ends_with("/endless is a script whose interpreter is a script, and so on: too often for the kernel"),
        "{endless}"
    );
    machine.file("text", "hello");
    insta::assert_snapshot!(machine.message(machine.closure("text", &[])), @"/TOP/text is not a program: neither an ELF file nor a script that starts with #!");
}

#[test]
fn more_files_come_as_they_are_and_libraries_with_theirs() {
    let machine = Machine::new();
    machine.program("bin/tool", &["libin.so"]);
    machine.library("lib/libin.so", &[]);
    machine.library("lib/libb.so", &[]);
    machine.library("plugin.so", &["libin.so", "libb.so"]);
    machine.elf("filter.bpf.o", Planted { machine: Some(247), needed: &["nothing"], ..Planted::default() });
    machine.file("config", "");
    let more = ["config", "filter.bpf.o", "plugin.so"];
    let expected = ["bin/tool", "config", "filter.bpf.o", "lib/ld.so", "lib/libb.so", "lib/libin.so", "plugin.so"];
    assert_eq!(machine.paths(machine.closure("bin/tool", &more)), expected);
    insta::assert_snapshot!(machine.message(machine.closure("bin/tool", &["gone"])), @"cannot read /TOP/gone: No such file or directory (os error 2)");
}

#[test]
fn a_folder_comes_whole_and_its_links_are_not_followed() {
    let machine = Machine::new();
    machine.elf("bin/tool", Planted::default());
    machine.file("data/1/deep/file", "");
    fs::create_dir(machine.at("data/1/empty")).unwrap();
    machine.link("data/1/up", "../../secret");
    machine.link("data/1/in", "deep/file");
    machine.file("secret/key", "");
    machine.library("data/1/module.so", &["libb.so", "libmissing.so"]);
    machine.library("lib/libb.so", &[]);
    machine.link("data/current", "1");
    let _socket = std::os::unix::net::UnixListener::bind(machine.at("data/1/socket")).unwrap();
    let expected = [
        "bin/tool",
        "data/1/",
        "data/1/deep/",
        "data/1/deep/file",
        "data/1/empty/",
        "data/1/in -> deep/file",
        "data/1/module.so",
        "data/1/up -> ../../secret",
        "data/current -> data/1",
        "lib/libb.so",
    ];
    assert_eq!(machine.paths(machine.closure("bin/tool", &["data/current"])), expected);
}

#[test]
fn what_is_too_large_or_hidden_is_named() {
    let machine = Machine::new();
    machine.elf("bin/tool", Planted::default());
    for (name, size) in [("one", LARGEST / 2), ("two", LARGEST)] {
        machine.file(name, "");
        fs::File::options().write(true).open(machine.at(name)).unwrap().set_len(size).unwrap();
    }
    insta::assert_snapshot!(machine.message(machine.closure("bin/tool", &["one", "two"])), @"/TOP/two (256 MiB) makes the files 384 MiB; a guest gets 256 MiB at most: name less, or use an image that has the program");
    let tool = machine.at("bin/tool");
    let top = machine.top.to_str().unwrap();
    let host = Host { linker: Linker::without_cache(Vec::new()), mounted: &[top], path: Vec::new() };
    insta::assert_snapshot!(machine.message(closure_on(&host, &tool, &[])), @"/TOP/bin/tool would not be seen in a guest, which mounts another /TOP; copy it to another folder");
    machine.elf("bin/folder/tool", Planted::default());
    insta::assert_snapshot!(machine.message(machine.closure("bin/folder", &[])), @"/TOP/bin/folder is not a regular file");
}

#[test]
fn damaged_headers_are_errors_and_not_more() {
    let machine = Machine::new();
    let interpreter = machine.at("lib/ld.so");
    let needed = ["liba.so"];
    let whole = elf(Planted { interpreter: interpreter.to_str(), needed: &needed, ..Planted::default() });
    machine.library("lib/liba.so", &[]);
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            machine.file("bin/tool", damaged);
            drop(machine.closure("bin/tool", &[]));
        }
        machine.file("bin/tool", &whole[..at]);
        assert!(machine.closure("bin/tool", &[]).is_err() || at > 64, "{at}");
    }
}

#[test]
fn the_shell_of_this_machine_comes_with_what_it_loads() {
    let files = closure(Path::new("/bin/sh"), &[]).unwrap();
    let listed = |path: &str| files.iter().any(|file| file.path == Path::new(path));
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "while read -r line; do echo \"$line\"; done </proc/$$/maps"]);
    let maps = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let loaded: BTreeSet<_> = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    let loaded: Vec<_> = loaded.into_iter().filter(|path| path.starts_with('/')).collect();
    assert!(!loaded.is_empty());
    for path in loaded {
        assert!(listed(path), "{path} is loaded, but not in {files:?}");
    }
}
