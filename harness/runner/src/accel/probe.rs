//! Tests whether KVM runs guests, with a ROM of a few instructions that enters 64-bit kernel mode, computes with a
//! vector register there and ends QEMU with a known exit code.
//!
//! Entering real mode would prove nothing: a host without hardware support can emulate that. The difference is an
//! ordinary instruction in kernel mode that its emulator does not know (`KVM internal error. Suberror: 1`).

use std::{
    fs, io,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tempfile::TempDir;

use super::kind::Accel;
use crate::{
    confinement::{Confinement, Reach},
    qemu::Qemu,
};

/// Whether the test guest ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It ran to its end.
    Ran,
    /// It did not run, with the reason.
    Failed(String),
}

/// How long the test guest may take; hardware needs a few hundredths of a second.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// A file in the memory folder.
pub(super) struct Memory {
    name: &'static str,
}

/// Where the result for KVM is kept.
pub(super) const KVM: Memory = Memory { name: "kvm-proof.json" };

/// A result, and what it applies to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered<T> {
    subject: String,
    proof: T,
}

impl Memory {
    /// A file in the memory folder for results of another kind.
    pub(super) const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Returns the kept result, if there is one for this boot of the host and this QEMU.
    pub(super) fn recall<T: DeserializeOwned>(&self, qemu: &Qemu, memory: &Path) -> Option<T> {
        let text = fs::read(memory.join(self.name)).ok()?;
        let known = serde_json::from_slice::<Remembered<T>>(&text).ok()?;
        (known.subject == subject(qemu)).then_some(known.proof)
    }

    /// Keeps a result. If that fails, it is found again the next time.
    pub(super) fn keep<T: Serialize>(&self, qemu: &Qemu, memory: &Path, proof: &T) {
        if let Ok(text) = serde_json::to_vec(&Remembered { subject: subject(qemu), proof }) {
            let _ = fs::create_dir_all(memory).and_then(|()| fs::write(memory.join(self.name), text));
        }
    }
}

/// Returns the result kept in the folder `memory` for this boot of the host and this QEMU, or runs the test guest and
/// keeps the result.
///
/// If the file cannot be read or written, the test guest just runs again.
pub(super) fn remembered(qemu: &Qemu, memory: &Path) -> Proof {
    if let Some(proof) = known(qemu, memory) {
        return proof;
    }
    let proof = run(qemu.path(), Accel::Kvm, DEADLINE);
    KVM.keep(qemu, memory, &proof);
    proof
}

/// Returns the kept result, if there is one for this boot of the host and this QEMU.
pub(super) fn known(qemu: &Qemu, memory: &Path) -> Option<Proof> {
    KVM.recall(qemu, memory)
}

fn subject(qemu: &Qemu) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} {} {}", boot.trim(), qemu.path().display(), qemu.version())
}

/// Runs the ROM in QEMU with this accelerator, for at most `deadline`.
pub fn run(qemu: &Path, accel: Accel, deadline: Duration) -> Proof {
    try_run(qemu, accel, deadline, None).unwrap_or_else(|error| Proof::Failed(error.to_string()))
}

/// As [`run`], with QEMU confined, a shared folder and a socket, as a VM has them.
pub(super) fn run_confined(qemu: &Path, accel: Accel, deadline: Duration, confinement: Confinement) -> Proof {
    try_run(qemu, accel, deadline, Some(confinement)).unwrap_or_else(|error| Proof::Failed(error.to_string()))
}

fn try_run(qemu: &Path, accel: Accel, deadline: Duration, confinement: Option<Confinement>) -> io::Result<Proof> {
    let folder = TempDir::new()?;
    let (rom, errors) = (folder.path().join("probe.rom"), folder.path().join("errors"));
    fs::write(&rom, rom_image())?;
    let mut command = command(qemu, accel, &rom);
    command.stderr(fs::File::create(&errors)?);
    let mut child = match confinement {
        Some(confinement) => spawn_confined(&mut command, confinement, qemu, folder.path())?,
        None => command.spawn()?,
    };
    let proof = wait(&mut child, &errors, Instant::now() + deadline);
    let _ = child.kill();
    child.wait()?;
    proof
}

fn command(qemu: &Path, accel: Accel, rom: &Path) -> Command {
    let accel = match accel {
        Accel::Kvm => "kvm",
        Accel::Tcg => "tcg",
    };
    // Not xshell: the process has a deadline, and its errors are read while it runs.
    let mut command = Command::new(qemu);
    command
        .args(["-accel", accel, "-machine", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-bios"])
        .arg(rom)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Starts QEMU from a thread of its own that is confined first: what it starts is confined, too.
fn spawn_confined(command: &mut Command, confinement: Confinement, qemu: &Path, folder: &Path) -> io::Result<Child> {
    let share = folder.join("share");
    fs::create_dir(&share)?;
    let drive = format!("local,id=share,path={},mount_tag=share,security_model=none,multidevs=remap", share.display());
    let socket = format!("unix:{},server=on,wait=off", folder.join("socket").display());
    command.args(confinement.arguments()).args(["-virtfs", &drive, "-qmp", &socket]);
    let reach =
        Reach { readable: vec![folder.join("probe.rom")], writable: vec![share], sockets: vec![folder.to_owned()] };
    thread::scope(|scope| {
        let spawned = scope.spawn(|| confinement.apply(qemu, &reach).and_then(|()| command.spawn()));
        spawned.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts QEMU panicked")))
    })
}

fn wait(child: &mut Child, errors: &Path, end: Instant) -> io::Result<Proof> {
    loop {
        if let Some(status) = child.try_wait()? {
            let printed = fs::read_to_string(errors)?;
            return Ok(match status.code() {
                Some(EXPECTED_EXIT) => Proof::Ran,
                _ => Proof::Failed(format!("QEMU ended with {status}{}", last_line(&printed))),
            });
        }
        let printed = fs::read_to_string(errors)?;
        if let Some(line) = printed.lines().find(|line| line.contains("internal error")) {
            return Ok(Proof::Failed(line.to_owned()));
        }
        if Instant::now() >= end {
            return Ok(Proof::Failed(format!("it did not end in time{}", last_line(&printed))));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().map(|line| format!(": {line}")).unwrap_or_default()
}

/// The exit code of QEMU: `isa-debug-exit` turns the byte written to it, 0x2a, into `(0x2a << 1) | 1`.
const EXPECTED_EXIT: i32 = 85;

/// The offset of the code in the ROM; the processor sees the ROM at 0xf0000.
const CODE_OFFSET: usize = 0xff00;

/// The offset where a processor starts: 16 bytes below the end.
const RESET_OFFSET: usize = 0xfff0;

/// `jmp 0xff00`.
const RESET_CODE: [u8; 3] = [0xe9, 0x0d, 0xff];

#[rustfmt::skip]
const CODE: [u8; 0x7f] = [
    // ff00, 16 bit
    0xfa,                                     // cli
    0xea, 0x06, 0xff, 0x00, 0xf0,             // ljmp $0xf000, $0xff06: leave the alias below 4 GiB
    0x31, 0xc0,                               // xor  %ax, %ax
    0x8e, 0xd8,                               // mov  %ax, %ds
    0x8e, 0xd0,                               // mov  %ax, %ss
    0xc7, 0x06, 0x00, 0x10, 0x03, 0x20,       // movw $0x2003, 0x1000: page tables that map the
    0xc7, 0x06, 0x00, 0x20, 0x03, 0x30,       // movw $0x3003, 0x2000: first 2 MiB to themselves
    0xc7, 0x06, 0x00, 0x30, 0x83, 0x00,       // movw $0x0083, 0x3000
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00,       // mov  $0x1000, %eax
    0x0f, 0x22, 0xd8,                         // mov  %eax, %cr3
    0x66, 0xb8, 0x20, 0x02, 0x00, 0x00,       // mov  $0x220, %eax: PAE, OSFXSR
    0x0f, 0x22, 0xe0,                         // mov  %eax, %cr4
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,       // mov  $0xc0000080, %ecx: EFER
    0x66, 0xb8, 0x00, 0x01, 0x00, 0x00,       // mov  $0x100, %eax: LME
    0x66, 0x31, 0xd2,                         // xor  %edx, %edx
    0x0f, 0x30,                               // wrmsr
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x59, 0xff, // lgdtl %cs:0xff59
    0x66, 0xb8, 0x33, 0x00, 0x00, 0x80,       // mov  $0x80000033, %eax: PG, NE, ET, MP, PE
    0x0f, 0x22, 0xc0,                         // mov  %eax, %cr0
    0x66, 0xea, 0x70, 0xff, 0x0f, 0x00, 0x08, 0x00, // ljmpl $8, $0xfff70
    // ff59: limit and address of the descriptor table
    0x0f, 0x00, 0x60, 0xff, 0x0f, 0x00, 0x90,
    // ff60: no descriptor, then 64-bit code
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9b, 0x20, 0x00,
    // ff70, 64 bit
    0x66, 0x0f, 0xef, 0xc0,                   // pxor %xmm0, %xmm0
    0x66, 0x0f, 0xfe, 0xc0,                   // paddd %xmm0, %xmm0
    0xb0, 0x2a,                               // mov  $0x2a, %al
    0xe6, 0xf4,                               // out  %al, $0xf4: ends QEMU
    0xf4,                                     // hlt
    0xeb, 0xfe,                               // jmp  .
];

fn rom_image() -> Vec<u8> {
    let mut image = vec![0; 0x10000];
    image[CODE_OFFSET..CODE_OFFSET + CODE.len()].copy_from_slice(&CODE);
    image[RESET_OFFSET..RESET_OFFSET + RESET_CODE.len()].copy_from_slice(&RESET_CODE);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU that runs every guest and counts them in a file beside it.
    fn counting_qemu(folder: &Path) -> Qemu {
        let path = folder.join("qemu");
        let script = "#!/bin/sh\ncase $1 in --version) echo 'QEMU emulator version 9.0.0' ;;\n\
                      *) echo >> \"${0%/*}/runs\"; exit 85 ;; esac\n";
        let text = folder.join("qemu.sh");
        fs::write(&text, script).unwrap();
        // Copied by another process: a child that another test forks may inherit a descriptor of a file that this
        // process has open for writing, and such a file cannot be executed (ETXTBSY, execve(2)).
        let copied = std::process::Command::new("install").args(["-m", "755"]).arg(&text).arg(&path).status();
        assert!(copied.unwrap().success());
        Qemu::at(&path).unwrap()
    }

    #[test]
    fn the_probe_runs_once_and_again_if_its_file_is_damaged_or_of_another_boot() {
        let folder = tempfile::tempdir().unwrap();
        let (qemu, memory) = (counting_qemu(folder.path()), folder.path().join("memory"));
        let runs = || fs::read_to_string(folder.path().join("runs")).unwrap().lines().count();
        for _ in 0..2 {
            assert_eq!(remembered(&qemu, &memory), Proof::Ran);
            assert_eq!(runs(), 1);
        }
        let other_boot = Remembered { subject: "another boot".to_owned(), proof: Proof::Failed("then".to_owned()) };
        fs::write(memory.join(KVM.name), serde_json::to_vec(&other_boot).unwrap()).unwrap();
        assert_eq!(remembered(&qemu, &memory), Proof::Ran);
        fs::write(memory.join(KVM.name), "{\"sub").unwrap();
        assert_eq!(remembered(&qemu, &memory), Proof::Ran);
        assert_eq!(runs(), 3);
    }

    #[test]
    fn without_a_memory_the_probe_runs_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs::write(&file, "").unwrap();
        assert_eq!(remembered(&counting_qemu(folder.path()), &file), Proof::Ran);
    }

    #[test]
    fn the_reset_vector_jumps_to_the_code() {
        let image = rom_image();
        assert_eq!(image.len(), 0x10000);
        assert_eq!(image[RESET_OFFSET..RESET_OFFSET + 3], RESET_CODE);
        // The near jump is relative to the end of its three bytes.
        let target = RESET_OFFSET as u16 + 3;
        assert_eq!(usize::from(target.wrapping_add(u16::from_le_bytes([RESET_CODE[1], RESET_CODE[2]]))), CODE_OFFSET);
    }
}
