//! What controls attack in place of the guard: a process, pins and objects of the actor's own.

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr,
};

use harness_protocol::{
    errno::Errno,
    plan::{Attack, AttackTarget, LsmHook},
};
use libbpf_sys as sys;
use rustix::{
    fs::Mode,
    mount::{MountFlags, UnmountFlags},
    pipe::PipeFlags,
    process::Pid,
};

use super::super::{elements::number_of, result::OperationError};
use crate::{
    bpf::{self, MapSpec, ProgSpec},
    copies,
    error::{During, SysError},
    kernel_types,
    process::{self, Fork},
    pseudofile,
    target::Target,
};

/// Ends when dropped, whatever is left of it.
pub(super) struct StandIn {
    target: Target,
    child: Option<Pid>,
    _objects: Vec<OwnedFd>,
}

impl StandIn {
    pub(super) fn new(way: Attack) -> Result<Self, OperationError> {
        let target = Target { is_stand_in: true, ..Target::default() };
        let mut stand_in = Self { target, child: None, _objects: Vec::new() };
        match way.target() {
            AttackTarget::Process => stand_in.sleep()?,
            AttackTarget::Objects => stand_in.make_objects()?,
            AttackTarget::Pins => stand_in.pin(way)?,
            AttackTarget::Calls => {}
        }
        Ok(stand_in)
    }

    /// Makes a process that executes a copy of the guest program, and waits until it runs.
    pub(super) fn executing(copy: &str) -> Result<Self, SysError> {
        let target = Target { is_stand_in: true, ..Target::default() };
        let mut stand_in = Self { target, child: None, _objects: Vec::new() };
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(|| "pipe")?;
        match process::fork()? {
            Fork::Child => {
                eprintln!("{}", copies::execute(copy, &["wait"], writer.as_fd()));
                process::leave(1)
            }
            Fork::Parent(child) => {
                stand_in.child = Some(child);
                stand_in.target.pid = child.as_raw_nonzero().get();
            }
        }
        drop(writer);
        match rustix::io::read(&reader, &mut [0; 1]).during(|| "read from a pipe")? {
            0 => Err(Errno::from_raw(libc::ECHILD)).during(|| format!("execve {copy}")),
            _ => Ok(stand_in),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    fn sleep(&mut self) -> Result<(), SysError> {
        match process::fork()? {
            Fork::Parent(child) => {
                self.child = Some(child);
                self.target.pid = child.as_raw_nonzero().get();
                Ok(())
            }
            Fork::Child => loop {
                std::thread::sleep(std::time::Duration::from_secs(60));
            },
        }
    }

    fn make_objects(&mut self) -> Result<(), OperationError> {
        let map = map().during(|| "BPF_MAP_CREATE")?;
        self.target.maps.push(id_of(&map, "map_id:")?);
        let (program, link) = lsm_link(hook()?, &bpf::returning(0))?;
        self.target.programs.push(id_of(&program, "prog_id:")?);
        self.target.links.push(id_of(&link, "link_id:")?);
        self._objects = vec![map, program, link];
        Ok(())
    }

    fn pin(&mut self, way: Attack) -> Result<(), OperationError> {
        let parent = format!("/tmp/stand-in-{}", std::process::id());
        let bpffs = format!("{parent}/bpffs");
        let none = MountFlags::empty();
        rustix::fs::mkdir(&*parent, Mode::RWXU).during(|| "mkdir")?;
        self.target.parent.clone_from(&parent);
        rustix::mount::mount("stand-in", &*parent, "tmpfs", none, None).during(|| "mount tmpfs")?;
        rustix::fs::mkdir(&*bpffs, Mode::RWXU).during(|| "mkdir")?;
        rustix::mount::mount("stand-in", &*bpffs, "bpf", none, None).during(|| "mount bpf")?;
        let pinned = match way {
            Attack::LinkDetach => lsm_link(hook()?, &bpf::returning(0))?.1,
            _ => map().during(|| "BPF_MAP_CREATE")?,
        };
        let path = CString::new(format!("{bpffs}/pin")).expect("a path has no zeros");
        bpf::obj_pin(pinned.as_fd(), &path).during(|| "BPF_OBJ_PIN")?;
        self.target.bpffs = bpffs;
        Ok(())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(child) = self.child {
            process::kill(child);
            process::reap(child);
        }
        if !self.target.parent.is_empty() {
            // Fails where the attack has succeeded.
            let _ = rustix::mount::unmount(&*self.target.parent, UnmountFlags::DETACH);
            let _ = rustix::fs::rmdir(&*self.target.parent);
        }
    }
}

/// Makes a map whose value can be mapped, and has room for what an attack writes.
pub(super) fn map() -> Result<OwnedFd, Errno> {
    map_of(64)
}

/// Makes a map of one value of this size in bytes, which can be mapped.
pub(crate) fn map_of(size: u32) -> Result<OwnedFd, Errno> {
    let spec = MapSpec {
        map_type: sys::BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: size,
        max_entries: 1,
        flags: sys::BPF_F_MMAPABLE,
        ..MapSpec::default()
    };
    bpf::map_create(spec, None)
}

/// Returns the LSM hook that programs of attackers are attached to, by the id of its function.
pub(super) fn hook() -> Result<u32, OperationError> {
    kernel_types::known().id(&LsmHook::Bpf.function()).map_err(OperationError::Type)
}

/// Attaches a program to an LSM hook. Returns the program and the link.
pub(super) fn lsm_link(hook: u32, body: &[u64]) -> Result<(OwnedFd, OwnedFd), SysError> {
    let spec = ProgSpec {
        prog_type: sys::BPF_PROG_TYPE_LSM,
        expected_attach_type: sys::BPF_LSM_MAC,
        target: hook,
        body,
        ..ProgSpec::PLAIN
    };
    let program = bpf::prog_load(spec, None).during(|| "BPF_PROG_LOAD")?;
    #[allow(unsafe_code)]
    // SAFETY: LSM programs are attached without a name; the descriptor is open.
    let link = unsafe { sys::bpf_raw_tracepoint_open(ptr::null(), program.as_raw_fd()) };
    let link = bpf::owned(link).during(|| "BPF_RAW_TRACEPOINT_OPEN")?;
    Ok((program, link))
}

pub(crate) fn id_of(object: &OwnedFd, field: &str) -> Result<u32, SysError> {
    Ok(number_of(&pseudofile::read(&format!("/proc/self/fdinfo/{}", object.as_raw_fd()))?, field))
}
