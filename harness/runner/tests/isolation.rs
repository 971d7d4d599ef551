//! A guest that writes wherever it can changes its own root and its share, but nothing else of the host.

mod built;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use harness_builder::digest::Sha256;
use harness_runner::{
    session::RunFolder,
    vm::{self, Phase, Vm, VmEnd, VmEvent, VmSpec},
};
use libtest_mimic::{Arguments, Failed};

use built::Built;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The limit for a VM; even under software emulation on a busy machine it takes much less.
const PATIENCE: Duration = Duration::from_secs(120);

/// The guest's commands, as root. `BESIDE` is the host's path of a folder that it must not reach.
const VANDAL: &str = r#"
for place in / /mnt/vmtest; do echo was here > $place/proof; done

# Out of what is shared, by `..` and by links to the host's names.
ln -s ../beside /mnt/vmtest/up
ln -s BESIDE /mnt/vmtest/out
ln -s BESIDE /out
for way in /mnt/vmtest/.. /mnt/vmtest/../beside /mnt/vmtest/up /mnt/vmtest/out /out /.. /../beside BESIDE; do
    mkdir -p $way
    echo ruined > $way/kept
    rm -f $way/removed
    chmod 777 $way
done

# Files that the cache has, too; a program that runs can be replaced, not written to.
for program in bash busybox bpf-token-guest qemu-ga; do
    chmod 777 /usr/bin/$program
    echo ruined >> /usr/bin/$program || { cp /usr/bin/$program /tmp/x; mv /tmp/x /usr/bin/$program; }
done
rm -rf /usr /etc /root /var
echo done > /mnt/vmtest/done
"#;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = built::trial("a_guest_that_writes_everywhere_changes_nothing_of_the_host", |built| {
        vandalised(built).map_err(|error| Failed::from(error.to_string()))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn vandalised(built: &Built) -> Result<()> {
    let folder = RunFolder::create(&built.runs)?;
    let path = |name: &str| folder.path().join(name);
    for name in ["share", "worker", "beside"] {
        fs::create_dir(path(name))?;
    }
    for name in ["kept", "removed"] {
        fs::write(path("beside").join(name), "of the host")?;
    }
    built.image.private_copy(&built.guest, &path("root"))?;
    let guarded = [path("beside"), built.image.folder.clone(), folder_of(&built.guest.path())];
    let before = guarded.iter().map(|folder| contents(folder)).collect::<Result<Vec<_>>>()?;
    let there = names(folder.path())?;

    let command = VANDAL.replace("BESIDE", &path("beside").display().to_string());
    let spec = VmSpec { root: path("root"), share: path("share"), command, ..built.spec()? };
    let shared = run(&spec, &path("worker"))?;

    check_damage(&path("root"), &path("share"))?;
    let after = guarded.iter().map(|folder| contents(folder)).collect::<Result<Vec<_>>>()?;
    for ((folder, before), after) in guarded.iter().zip(&before).zip(&after) {
        assert_eq!(before, after, "the guest changed {}", folder.display());
    }
    assert_eq!(names(folder.path())?, there, "the guest made or removed something beside its folders");
    assert_eq!(shared, [path("root"), path("share")], "QEMU was given something else of the host");
    Ok(())
}

/// Returns the names of what is in a folder.
fn names(folder: &Path) -> Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs the VM until its command has ended, and returns the folders its QEMU shared.
fn run(spec: &VmSpec, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut vm = Vm::start(spec, folder)?;
    let (start, mut shared, mut console) = (Instant::now(), Vec::new(), Vec::new());
    while start.elapsed() < PATIENCE {
        match vm.next_event(Duration::from_secs(1)).map(|event| event.event) {
            Some(VmEvent::Reached(Phase::SharesMounted)) => shared = shared_folders(&spec.root)?,
            Some(VmEvent::Console(line) | VmEvent::Output(line)) => console.push(line),
            Some(VmEvent::Ended(VmEnd::CommandEnded)) => return Ok(shared),
            Some(VmEvent::Ended(end)) => return Err(format!("{end}\n{}", console.join("\n")).into()),
            Some(VmEvent::Reached(_) | VmEvent::LinesDropped(_)) | None => {}
        }
    }
    vm.stop();
    Err(format!("the guest did not end in time\n{}", console.join("\n")).into())
}

/// Returns the folders that the QEMU with this root shares, in order of path. Asserts that it has no disk or network.
fn shared_folders(root: &Path) -> Result<Vec<PathBuf>> {
    let marker = format!("path={}", root.display());
    for process in fs::read_dir("/proc")?.flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        if !words.iter().any(|word| word.split(',').any(|part| part == marker)) {
            continue;
        }
        for disk in ["-drive", "-blockdev", "-hda", "-cdrom", "-netdev", "-nic"] {
            assert!(!words.contains(&disk), "QEMU was given {disk}");
        }
        let shares = words.windows(2).filter(|pair| matches!(pair[0], "-virtfs" | "-fsdev")).map(|pair| pair[1]);
        let paths = shares.filter_map(|share| share.split(',').find_map(|part| part.strip_prefix("path=")));
        let mut paths: Vec<PathBuf> = paths.map(PathBuf::from).collect();
        paths.sort();
        return Ok(paths);
    }
    Err("no QEMU process with this root was found".into())
}

/// Asserts that the guest did its damage; otherwise an unchanged host would prove nothing.
fn check_damage(root: &Path, share: &Path) -> Result<()> {
    for folder in [root, share] {
        assert_eq!(fs::read_to_string(folder.join("proof"))?, "was here\n", "{}", folder.display());
    }
    assert_eq!(fs::read_to_string(share.join("done"))?, "done\n");
    assert!(!root.join("usr").exists(), "the guest could not remove its own programs");
    Ok(())
}

/// Describes everything below a folder: kind, mode, owner, modification time, and contents.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        let what = match metadata.file_type() {
            kind if kind.is_dir() => {
                open.extend(fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?);
                "folder".to_owned()
            }
            kind if kind.is_symlink() => format!("link to {}", fs::read_link(&path)?.display()),
            _ => Sha256::of_file(&path)?.to_string(),
        };
        let (mode, uid) = (metadata.permissions().mode(), metadata.uid());
        found.insert(path, format!("{what} {mode:o} {uid} {}.{}", metadata.mtime(), metadata.mtime_nsec()));
    }
    Ok(found)
}
