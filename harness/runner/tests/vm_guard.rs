//! The guard where it cannot be put in force, early or late: it says why, and the policy decides whether the machine goes on. And
//! where the kernel ends every process: it stays in force. And known loaders.

mod built;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use harness_builder::{
    cache::Cache,
    guest_program::guard::{self, GuardProgram},
    initramfs,
    kernel::{self, catalogue::Catalogue},
    pins::Pins,
    progress::Progress,
    project::Project,
};
use harness_protocol::plan::{GUARD_PROGRAM, Guard};
use harness_runner::{
    session::RunFolder,
    vm::{self, Vm, VmEnd, VmEvent, VmSpec},
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use built::Built;

/// The limit for a VM; even under software emulation on a busy machine it takes much less.
const PATIENCE: Duration = Duration::from_secs(400);

/// The kernel before the LSM hooks of tokens and of loading, which came with Linux 6.9.
const OLD: &str = "6.1-debian";

/// A kernel with IMA, so with loaders that are known by a digest: a policy that is reloaded has no others.
const INTEGRITY: &str = "7.3-integrity";

const POLICY: &str = "version = 1\nmode = \"enforce\"\n[[rule]]\nallow = true\n";

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |name: &str, test: fn(&Built) -> Result<()>| {
        built::trial(name, move |built| test(built).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let old = Trial::ignorable_test("a_kernel_without_the_hooks_is_named_and_goes_on", || match old_kernel() {
        Ok(Some(built)) => without_hooks(&built).map(|()| Completion::Completed).map_err(failed),
        Ok(None) => Ok(Completion::ignored_with(format!(
            "kernel {OLD} is not built; `cargo xtask kernel build {OLD}` builds it"
        ))),
        Err(error) => Err(failed(error)),
    });
    let integrity = Trial::ignorable_test("a_loader_is_known_again_after_a_reload", || {
        let built = Built::of_kernel(INTEGRITY).map_err(|error| Failed::from(error.to_string()))?;
        match built {
            Some(built) => loader_and_reload(&built).map(|()| Completion::Completed).map_err(failed),
            None => Ok(Completion::ignored_with(format!(
                "kernel {INTEGRITY} is not built; `cargo xtask kernel build {INTEGRITY}` builds it"
            ))),
        }
    });
    let trials = vec![
        integrity,
        trial("without_bpf_in_the_list_of_lsms_the_machine_goes_on", without_bpf_lsm),
        trial("or_stops_if_the_policy_says_so", halted),
        old,
        trial("a_hook_that_is_full_keeps_a_late_guard_out", full_hook),
        trial("a_guard_stays_in_force_when_sysrq_ends_every_process", sysrq),
        trial("a_known_loader_is_the_file_that_was_executed", loaders),
        trial("a_policy_that_names_functions_is_reloaded_on_its_kernel_only", reloads),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}

/// Returns the old kernel if it is built. In CI it is built: it is a package that is downloaded.
fn old_kernel() -> Result<Option<Built>> {
    if std::env::var_os("CI").is_some() {
        let manifest = Catalogue::of_folder(&Project::find()?.kernels())?.get(OLD)?;
        kernel::build(&manifest, Pins::default(), &Cache::from_env()?, &Progress::silent())?;
    }
    Built::of_kernel(OLD).map_err(|error| anyhow::anyhow!("{error}"))
}

fn without_bpf_lsm(built: &Built) -> Result<()> {
    let ended = run(built, "warn", &["lsm=landlock,lockdown"])?;
    insta::assert_snapshot!(ended, @r#"
    init: guard: bpf-guard: NOT in force: BPF programs on LSM hooks do not run: `bpf` is not in the list of LSMs; add it to `lsm=` on the kernel's command line; going on, as the policy has `on_failure = "warn"`
    bpf-guard: BPF programs on LSM hooks do not run: `bpf` is not in the list of LSMs; add it to `lsm=` on the kernel's command line
    bpf-guard: the policy has rules with `loginuid`, and this kernel has no logins (CONFIG_AUDIT)
    the command ended
    "#);
    Ok(())
}

fn halted(built: &Built) -> Result<()> {
    let ended = run(built, "halt", &["lsm=landlock,lockdown"])?;
    insta::assert_snapshot!(ended, @"
    init: the guard is not in force (exit status: 1): bpf-guard: BPF programs on LSM hooks do not run: `bpf` is not in the list of LSMs; add it to `lsm=` on the kernel's command line; ending the VM
    the VM ended
    ");
    Ok(())
}

fn without_hooks(built: &Built) -> Result<()> {
    let ended = run(built, "warn", &[])?;
    insta::assert_snapshot!(ended, @r#"
    init: guard: bpf-guard: NOT in force: this kernel has no LSM hook bpf_prog_load; the guard needs Linux 6.9 or newer with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF; going on, as the policy has `on_failure = "warn"`
    bpf-guard: this kernel has no LSM hook bpf_prog_load; the guard needs Linux 6.9 or newer with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF
    bpf-guard: this kernel has no LSM hook bpf_prog_load; the guard needs Linux 6.9 or newer with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF
    the command ended
    "#);
    Ok(())
}

/// The kernel runs 36 to 38 programs for a function (`BPF_MAX_TRAMP_LINKS`, `include/linux/bpf.h`). Other guards fill the hooks here.
/// The clock of a guest on a busy machine may run ahead, so nothing here has a limit but the VM.
fn full_hook(built: &Built) -> Result<()> {
    // Files of 9p are not read while they are written: what was appended is sometimes read as zeros.
    const COMMAND: &str = r"cd /mnt/vmtest; mkdir -p /run; mount -t tmpfs tmpfs /run
        for number in $(seq 40); do
            said=/run/said.$number
            sleep 1000000 | ./bpf-guard try --commands late.guard.toml >$said 2>&1 &
            until grep -q 'ready\|^bpf-guard' $said 2>/dev/null; do sleep 0.1; done
            grep -q ready $said || break
        done
        echo guard $number
        grep . $said";
    let folder = RunFolder::create(&built.runs)?;
    let spec = prepared(built, folder.path(), POLICY)?;
    let spec = VmSpec { memory_mib: 1536, command: COMMAND.to_owned(), ..spec };
    let said = said(&spec, folder.path().join("worker"))?;
    insta::assert_snapshot!(said, @"
    guard 39
    bpf-guard: attaching guard_bpf: the hook is full: the kernel runs at most 38 BPF programs for a function (36 since 7.3), and others are attached to it; `bpftool link` lists them
    the command ended
    ");
    Ok(())
}

/// Nothing is left of the guard but its links: the reader has ended, and process 1 has no descriptor of it.
fn sysrq(built: &Built) -> Result<()> {
    const POLICY: &str =
        "version = 1\nmode = \"enforce\"\n[[rule]]\ncmds = [\"map_create\"]\ndeny = true\n[[rule]]\nallow = true\n";
    const SCRIPT: &str = r#"
        late() {
            /bpf-guard try --commands /late.guard.toml </dev/null 2>&1 | grep -o 'ready\|^bpf-guard: .*' | sed "s/^/init: $1: /"
        }
        late "a guard alone"
        mkdir -p /run/guard
        /bpf-guard early --policy /late.guard.toml --bpffs /run/guard && echo "init: the guard is in force"
        sleep 1000 | /bpf-guard try --commands >/tmp/records &
        for wait in $(seq 300); do grep -q ready /tmp/records && break; sleep 0.1; done
        pidof bpf-guard sleep | wc -w | sed 's/^/init: processes: /'
        late "another one"
        echo i >/proc/sysrq-trigger
        wait
        pidof bpf-guard sleep | wc -w | sed 's/^/init: processes: /'
        late "another one"
        "#;
    let said = booted(built, POLICY, SCRIPT)?;
    insta::assert_snapshot!(said, @"
    init: a guard alone: ready
    init: the guard is in force
    init: processes: 2
    init: another one: bpf-guard: loading the guard's programs: Operation not permitted (os error 1)
    init: processes: 0
    init: another one: bpf-guard: loading the guard's programs: Operation not permitted (os error 1)
    the VM ended
    ");
    Ok(())
}

/// The same program as a known loader, as a stranger that differs in one byte, and under the loader's name. What it loads is a
/// second guard. Nobody reads a loader's memory, and its linker is told to ignore variables; both are otherwise with a stranger.
fn loaders(built: &Built) -> Result<()> {
    const POLICY: &str = r#"
        version = 1
        mode = "enforce"
        loaders.known = { file = "/run/known", identity = "inode" }
        loaders.shell = { file = "/run/sh", identity = "inode" }
        [[rule]]
        loader = "any"
        allow = true
        [[rule]]
        cmds = "@read"
        allow = true
        "#;
    const SCRIPT: &str = r#"
        mount -t tmpfs run /run
        load() {
            what=$1
            shift
            "$@" try --commands /late.guard.toml </dev/null 2>&1 | grep -o 'ready\|^[^{].*' | sed "s/^/init: $what: /"
        }
        cp /bpf-guard /run/known
        cp /bpf-guard /run/stranger
        echo >>/run/stranger
        cp $(readlink -f /bin/sh) /run/sh
        load "a stranger without a guard" /run/stranger
        mkdir /run/guard
        /bpf-guard early --policy /late.guard.toml --bpffs /run/guard && echo "init: the guard is in force"
        load "the loader" /run/known
        load "a stranger" /run/stranger
        ln /run/known /run/other-name
        load "the loader by another name" /run/other-name
        load "a stranger that another loader executes" /run/sh -c 'exec /run/stranger "$@"' sh
        load "a loader that another one executes" /run/sh -c 'exec /run/known "$@"' sh
        waits() {
            what=$1
            shift
            "$@" -c 'read line </run/fifo' &
            pid=$!
            sleep 1
            : 2>&1 </proc/$pid/mem | sed "s/^.*: /init: memory of $what: /"
            hexdump -v -e '2/8 "%d " "\n"' /proc/$pid/auxv | grep '^23 ' | sed "s/^/init: AT_SECURE of $what: /"
            kill $pid
        }
        mkfifo /run/fifo
        waits "a loader" /run/sh
        waits "a stranger" sh
        mv /run/known /run/moved
        cp /run/stranger /run/known
        load "a stranger at the loader's path" /run/known
        load "the loader at another path" /run/moved
        "#;
    let said = booted(built, POLICY, SCRIPT)?;
    insta::assert_snapshot!(said, @"
    init: a stranger without a guard: ready
    init: the guard is in force
    init: the loader: ready
    init: a stranger: bpf-guard: the list of the kernel's BTF objects: Operation not permitted (os error 1)
    init: the loader by another name: ready
    init: a stranger that another loader executes: bpf-guard: the list of the kernel's BTF objects: Operation not permitted (os error 1)
    init: a loader that another one executes: ready
    init: memory of a loader: Permission denied
    init: AT_SECURE of a loader: 23 1
    init: AT_SECURE of a stranger: 23 0
    init: a stranger at the loader's path: bpf-guard: the list of the kernel's BTF objects: Operation not permitted (os error 1)
    init: the loader at another path: ready
    the VM ended
    ");
    Ok(())
}

/// By the programs of users, as an administrator runs them. The build id of an image begins behind eight bytes.
fn reloads(built: &Built) -> Result<()> {
    const POLICY: &str = r#"
        version = 1
        revision = 1
        mode = "enforce"
        guard.reload = "root"
        profiles.p = { cmds = ["map_create"], kfuncs = ["bpf_cpumask_create"] }
        [[rule]]
        cmds = ["map_create"]
        profile = "p"
        [[rule]]
        allow = true
        "#;
    const SCRIPT: &str = r#"
        guard() { /bpf-guard "$@" 2>&1 | sed "s/^/init: /"; }
        of_revision() { sed "s/revision = 1/revision = $1/" /late.guard.toml >/tmp/policy.toml; }
        guard reload /late.guard.toml
        mkdir -p /run/guard
        guard early --policy /late.guard.toml --bpffs /run/guard
        of_revision 2
        guard compile /tmp/policy.toml --output /tmp/2
        of_revision 3
        guard compile /tmp/policy.toml --output /tmp/3
        cp /tmp/3 /tmp/other
        printf x | dd of=/tmp/other bs=1 seek=8 conv=notrunc 2>/dev/null
        guard reload /tmp/other
        guard reload /tmp/3
        guard reload /tmp/2
        printf x | dd of=/tmp/2 bs=1 seek=0 conv=notrunc 2>/dev/null
        guard reload /tmp/2
        guard reload /tmp/3 --signature /bpf-guard
        "#;
    let said = booted(built, POLICY, SCRIPT)?;
    insta::assert_snapshot!(said, @"
    init: bpf-guard: /late.guard.toml is no policy that `bpf-guard compile` has made
    init: bpf-guard: in force, 2 rules, mode enforce
    init: /tmp/2: revision 2, 2 rules
    init: /tmp/3: revision 3, 2 rules
    init: bpf-guard: the guard does not take the policy: it was compiled for another kernel; compile it on a machine with this one; the one in force stays
    init: bpf-guard: revision 3 is in force
    init: bpf-guard: the guard does not take the policy: its revision is 2, which is not higher than that of the policy in force; the one in force stays
    init: bpf-guard: /tmp/2 is no policy that `bpf-guard compile` has made
    init: bpf-guard: the guard does not take the policy: a signature has at most 4096 bytes; the one in force stays
    the VM ended
    ");
    Ok(())
}

/// A process that was executed under one policy is looked up in the next one by what it was then, whatever its place in the list
/// is there: nobody else opens the memory of a known loader.
fn loader_and_reload(built: &Built) -> Result<()> {
    const POLICY: &str = r#"
        version = 1
        revision = 1
        mode = "enforce"
        guard.reload = "root"
        loaders.shell = { file = "/run/known/sh", identity = "ima", digest = "sha256:DIGEST" }
        [[rule]]
        allow = true
        "#;
    const SCRIPT: &str = r#"
        mount -t tmpfs run /run
        mkdir /run/known /run/stranger /run/guard
        cp $(readlink -f /bin/sh) /run/known/sh
        cp $(readlink -f /bin/sh) /run/stranger/sh
        echo >>/run/stranger/sh
        digest=$(sha256sum /run/known/sh | cut -d ' ' -f 1)
        another=$(echo | sha256sum | cut -d ' ' -f 1)
        policy() {
            sed "s/DIGEST/$2/; s/revision = 1/revision = $1/" /late.guard.toml
        }
        with_another_before() {
            policy $1 $digest | sed "s/^ *loaders.shell/loaders.a = { file = '\/a', identity = 'ima', digest = 'sha256:$another' }\n&/"
        }
        policy 1 $digest >/run/1.toml
        with_another_before 2 >/run/2.toml
        policy 3 $another >/run/3.toml
        with_another_before 4 >/run/4.toml
        for revision in 2 3 4; do /bpf-guard compile /run/$revision.toml --output /run/$revision 2>&1 | sed 's/^/init: /'; done
        /bpf-guard early --policy /run/1.toml --bpffs /run/guard && echo "init: the guard is in force"
        mkfifo /run/fifo
        memory() { echo "init: $1: $( (: </proc/$2/mem) 2>&1 | sed 's/^.*: //' | grep . || echo open)"; }
        /run/known/sh -c 'read line </run/fifo' &
        known=$!
        /run/stranger/sh -c 'read line </run/fifo' &
        stranger=$!
        sleep 1
        memory "memory of a loader" $known
        memory "memory of a stranger" $stranger
        /bpf-guard reload /run/2 && memory "memory of the second loader of the list" $known
        /bpf-guard reload /run/3 && memory "memory of a loader that the policy does not know" $known
        /bpf-guard reload /run/4 && memory "memory of a loader that it knows again" $known
        memory "memory of a stranger" $stranger
        kill $known $stranger
        "#;
    let said = booted(built, POLICY, SCRIPT)?;
    insta::assert_snapshot!(said, @"
    init: /run/2: revision 2, 1 rules
    init: /run/3: revision 3, 1 rules
    init: /run/4: revision 4, 1 rules
    init: the guard is in force
    init: memory of a loader: Permission denied
    init: memory of a stranger: open
    init: memory of the second loader of the list: Permission denied
    init: memory of a loader that the policy does not know: open
    init: memory of a loader that it knows again: Permission denied
    init: memory of a stranger: open
    the VM ended
    ");
    Ok(())
}

/// Boots with this script as process 1, which finds the guard's program and a policy at the root, and switches the VM off at its
/// end. Returns what it said.
fn booted(built: &Built, policy: &str, script: &str) -> Result<String> {
    const BEFORE: &str = "#!/bin/sh
        mount -t proc proc /proc
        mount -t sysfs sys /sys
        mount -t devtmpfs dev /dev
        mount -t securityfs security /sys/kernel/security
        exec >/dev/console 2>&1";
    const AFTER: &str = "
        echo o >/proc/sysrq-trigger
        sleep 1000
        ";
    let folder = RunFolder::create(&built.runs)?;
    let spec = prepared(built, folder.path(), policy)?;
    let root = folder.path().join("root");
    for name in [GUARD_PROGRAM, "late.guard.toml"] {
        fs::copy(folder.path().join("share").join(name), root.join(name))?;
    }
    fs::write(root.join("first"), [BEFORE, script, AFTER].concat())?;
    fs::set_permissions(root.join("first"), fs::Permissions::from_mode(0o755))?;
    let kernel_args = spec.kernel_args.iter().cloned().chain(["init=/first".to_owned()]).collect();
    said(&VmSpec { kernel_args, command: "true".to_owned(), ..spec }, folder.path().join("worker"))
}

/// Boots with an early guard and then tries a late one. Returns what they said, and how the VM ended.
fn run(built: &Built, on_failure: &str, arguments: &[&str]) -> Result<String> {
    let folder = RunFolder::create(&built.runs)?;
    let path = |name: &str| folder.path().join(name);
    let policy = format!("{POLICY}[guard]\non_failure = \"{on_failure}\"\n");
    let spec = prepared(built, folder.path(), &policy)?;
    fs::write(path("share/logins.guard.toml"), policy.replace("allow =", "loginuid = 'unset'\nallow ="))?;
    let early = Guard { early: true, ..Guard::new(policy) };
    initramfs::with_guard(&built.kernel, &built.guest, &program()?, &early, &path("initramfs"))?;
    let kernel_args = spec.kernel_args.iter().cloned().chain(arguments.iter().map(|&argument| argument.to_owned()));
    let spec = VmSpec {
        qemu_args: vec!["-initrd".to_owned(), path("initramfs").display().to_string()],
        kernel_args: kernel_args.collect(),
        command: "cd /mnt/vmtest; for policy in late logins; do ./bpf-guard try $policy.guard.toml 2>&1; done"
            .to_owned(),
        ..spec
    };
    said(&spec, path("worker"))
}

fn program() -> Result<GuardProgram> {
    let program = guard::find_built(Project::find()?.root(), &Cache::from_env()?)?;
    program.context("the guard's program is not built: `cargo xtask run --filter 'guard/*'`")
}

/// Returns a VM whose folders are below this one; the shared one has the program and a policy.
fn prepared(built: &Built, folder: &Path, policy: &str) -> Result<VmSpec> {
    let path = |name: &str| folder.join(name);
    ["share", "worker"].iter().try_for_each(|name| fs::create_dir(path(name)))?;
    built.image.private_copy(&built.guest, &path("root"))?;
    fs::copy(program()?.path(), path("share").join(GUARD_PROGRAM))?;
    fs::write(path("share/late.guard.toml"), policy)?;
    let spec = built.spec().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(VmSpec { root: path("root"), share: path("share"), ..spec })
}

fn said(spec: &VmSpec, folder: PathBuf) -> Result<String> {
    let mut vm = Vm::start(spec, &folder)?;
    let (start, mut said, mut console) = (Instant::now(), Vec::new(), Vec::new());
    while start.elapsed() < PATIENCE {
        match vm.next_event(Duration::from_secs(1)).map(|event| event.event) {
            Some(VmEvent::Console(line)) => {
                said.extend(line.strip_prefix("init: ").map(|line| format!("init: {line}")));
                console.push(line);
            }
            Some(VmEvent::Output(line)) => said.push(line),
            Some(VmEvent::Ended(VmEnd::CommandEnded)) => {
                said.push("the command ended".to_owned());
                return Ok(said.join("\n"));
            }
            Some(VmEvent::Ended(VmEnd::QemuGone(_))) if !said.is_empty() => {
                said.push("the VM ended".to_owned());
                return Ok(said.join("\n"));
            }
            Some(VmEvent::Ended(end)) => bail!("{end}\n{}", console.join("\n")),
            Some(VmEvent::Reached(_) | VmEvent::LinesDropped(_)) | None => {}
        }
    }
    vm.stop();
    bail!("the guest did not end in time\n{}", console.join("\n"))
}
