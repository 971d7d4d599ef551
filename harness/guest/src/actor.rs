//! Running actors: how the guest sets up a container or a host actor, uses it, and ends it.

mod error;
mod remote;
mod unit;

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    outcome::TokenMasks,
    plan::{BpffsFd, Container, Namespace},
};
use rustix::process::Pid;

use crate::{
    bpf, bpffs,
    cgroup::Cgroup,
    context::GuestContext,
    error::SysError,
    executor,
    guard::Suspect,
    identity::IdMap,
    message::{NoToken, Reply, Request, UnitLocation},
    pseudofile,
    systemd::Service,
};
pub(crate) use error::ActorError;
use remote::{RemoteExecutor, unexpected};

/// A running actor with everything that belongs to it. Dropping it ends its executors and every process in its
/// container.
#[derive(Debug)]
pub(crate) struct RunningActor {
    executor: RemoteExecutor,
    /// A second executor in the container's namespaces, with every capability. Made when first needed.
    privileged: Option<RemoteExecutor>,
    /// A third one, also with every capability, behind the container's system call filter.
    filtered: Option<RemoteExecutor>,
    site: ActorSite,
    context: GuestContext,
    cgroup: Cgroup,
    /// The plan of its container; `None` for full root in the initial namespaces.
    plan: Option<Container>,
    /// The id maps of its own user namespace; `None` in the initial one.
    ids: Option<[IdMap; 2]>,
    token: Option<Rc<OwnedFd>>,
    /// Further bpffs instances of its user namespace, by what they delegate.
    extra_bpffs: BTreeMap<Vec<MountOption>, ExtraBpffs>,
    /// Set if it is a systemd unit.
    unit: Option<UnitState>,
}

/// The state of an actor that is a systemd unit.
#[derive(Debug)]
struct UnitState {
    /// `None` once it is stopped.
    service: Option<Service>,
    /// Whether its process was executed.
    ran: bool,
    /// The namespaces of its own.
    namespaces: Vec<String>,
    /// Why no further attempt can be made; `None` while its process runs.
    gone: Option<&'static str>,
    no_token: Option<NoToken>,
    is_filtered: bool,
    /// The mount where its bpffs should be.
    mount: Option<String>,
}

/// Which namespaces an actor is in.
#[derive(Clone, Debug)]
enum ActorSite {
    /// The initial user namespace.
    Initial(Needs),
    /// A user and a mount namespace of its own, and these.
    Container(Vec<Namespace>),
    /// Where systemd started a unit, and these namespaces.
    Unit { location: UnitLocation, namespaces: Vec<Namespace> },
}

/// A further bpffs instance: its root, and its token once one is made.
#[derive(Debug)]
struct ExtraBpffs {
    root: Rc<OwnedFd>,
    token: Option<Rc<OwnedFd>>,
}

/// A container that was set up.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its actor.
    pub(crate) actor: RunningActor,
    /// The delegation that its bpffs shows.
    pub(crate) mounted: Vec<MountOption>,
    /// What its token holds, if one was made.
    pub(crate) token: Option<TokenMasks>,
    /// The errno of the refused token, where a refusal is an answer.
    pub(crate) no_token: Option<Errno>,
}

/// What the attempts of a case need from every actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Network interfaces; the initial namespaces may lack them.
    pub(crate) interfaces: bool,
    /// A pair of netkit interfaces, where the network namespace is the actor's own.
    pub(crate) netkit: bool,
    /// A tmpfs, to ask for a token or to pin in.
    pub(crate) tmpfs: bool,
}

impl RunningActor {
    /// Sets up full root in the initial namespaces.
    pub(crate) fn host(context: &GuestContext, label: &str, needs: Needs) -> Result<Self, ActorError> {
        let cgroup = context.hierarchy.make(label.to_owned())?;
        let mut actor = Self::of(RemoteExecutor::fork(context, cgroup.as_fd())?, context, cgroup, None);
        actor.ask(&stay(needs), &[])?;
        Ok(actor)
    }

    /// Sets up a container that still has every capability; [`Self::confine`] finishes it.
    pub(crate) fn container(
        context: &GuestContext,
        label: &str,
        plan: &Container,
        mut parent: Option<&mut RunningActor>,
        needs: Needs,
    ) -> Result<Made, ActorError> {
        let cgroup = context.hierarchy.make(label.to_owned())?;
        let executor = match parent.as_deref_mut() {
            None => RemoteExecutor::fork(context, cgroup.as_fd())?,
            Some(parent) => spawned(parent, &cgroup)?,
        };
        let mut actor = Self::of(executor, context, cgroup, Some(plan.clone()));
        if let Some(uid) = plan.loginuid {
            actor.ask(&Request::LogIn { uid }, &[])?;
        }
        if !plan.unshare {
            actor.join(plan, parent, needs)?;
            return Ok(Made { actor, mounted: Vec::new(), token: None, no_token: None });
        }
        let (pid, context) = actor.isolate(plan)?;
        actor.ids = map_ids(pid, plan, parent)?;
        let netkit = needs.netkit && plan.namespaces.contains(&Namespace::Net);
        let prepare = Request::Prepare { netkit, tmpfs: needs.tmpfs };
        let prepared = if actor.is_before_tokens() {
            let context = bpffs::open("bpf")?;
            bpffs::create(context.as_fd())?;
            actor.ask(&prepare, &[context.as_fd()])?
        } else {
            bpffs::configure(context.as_fd(), &plan.options)?;
            bpffs::create(context.as_fd()).map_err(|source| explained(&source))?;
            actor.ask(&prepare, &[])?
        };
        let mounted = match prepared {
            (Reply::Mounted(shown), _) => shown,
            (extra, _) => return Err(unexpected(&extra)),
        };
        let mut token = None;
        if plan.token && !actor.is_before_tokens() {
            let fd = actor.executor.ask_for_fd(&Request::MakeToken, &[])?;
            token = Some(masks(fd.as_fd())?);
            actor.token = Some(Rc::new(fd));
        }
        Ok(Made { actor, mounted, token, no_token: None })
    }

    fn of(executor: RemoteExecutor, context: &GuestContext, cgroup: Cgroup, plan: Option<Container>) -> Self {
        let context = context.clone();
        let site = match &plan {
            None => ActorSite::Initial(Needs::default()),
            Some(plan) => ActorSite::Container(plan.namespaces.clone()),
        };
        Self {
            executor,
            privileged: None,
            filtered: None,
            site,
            context,
            cgroup,
            plan,
            ids: None,
            token: None,
            extra_bpffs: BTreeMap::new(),
            unit: None,
        }
    }

    fn isolate(&mut self, plan: &Container) -> Result<(Pid, OwnedFd), ActorError> {
        let request = Request::Isolate { uid: plan.uid, gid: plan.gid, namespaces: plan.namespaces.clone() };
        let (reply, fds) = self.ask(&request, &[])?;
        let pid = remote::pid_of(&reply)?;
        self.executor.pid = Some(pid);
        let context = fds.into_iter().next().ok_or_else(|| unexpected(&reply))?;
        Ok((pid, context))
    }

    /// Turns the executor into a process of another user in its current namespaces, which pins in its parent's bpffs.
    fn join(&mut self, plan: &Container, parent: Option<&mut RunningActor>, needs: Needs) -> Result<(), ActorError> {
        let shared = match parent {
            Some(parent) => {
                self.site = ActorSite::Container(parent.own_namespaces());
                parent.ask(&Request::ShareBpffs, &[])?.1
            }
            None => {
                self.site = ActorSite::Initial(needs);
                self.ask(&stay(needs), &[])?.1
            }
        };
        let shared: Vec<BorrowedFd<'_>> = shared.iter().map(AsFd::as_fd).collect();
        self.ask(&Request::Join { uid: plan.uid, gid: plan.gid }, &shared).map(|_| ())
    }

    fn own_namespaces(&self) -> Vec<Namespace> {
        self.plan.as_ref().map(|plan| plan.namespaces.clone()).unwrap_or_default()
    }

    /// Applies the plan's restrictions to the executor and drops every capability that the plan does not list.
    pub(crate) fn confine(&mut self, plan: &Container) -> Result<(), ActorError> {
        if !plan.restrictions.is_none() {
            self.ask(&Request::Restrict(plan.restrictions.clone()), &[])?;
        }
        self.ask(&Request::Confine { caps: plan.caps.clone() }, &[]).map(|_| ())
    }

    /// Ends its executors and waits until they are gone. It takes no requests afterwards.
    pub(crate) fn end(&mut self) {
        [&mut self.privileged, &mut self.filtered].into_iter().for_each(|executor| drop(executor.take()));
        self.extra_bpffs.clear();
        self.token = None;
        self.executor.end();
    }

    /// Returns its processes and the name of its cgroup.
    pub(crate) fn belongings(&self) -> (impl Iterator<Item = Pid>, &str) {
        let executors = std::iter::once(&self.executor).chain(&self.privileged).chain(&self.filtered);
        (executors.flat_map(|executor| executor.pid.into_iter().chain(executor.child)), self.cgroup.name())
    }

    /// Returns how the guard's records show that a call is its own.
    pub(crate) fn suspect(&self) -> Result<Suspect, SysError> {
        let processes = self.belongings().0.filter_map(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()).collect();
        let mut cgroups = vec![self.cgroup.id()?];
        if let (true, Some(pid)) = (self.is_unit(), self.executor.pid) {
            // Without a process it makes no attempts.
            cgroups.extend(self.context.hierarchy.id_of(pid).ok());
        }
        let filter = self.plan.as_ref().is_some_and(|plan| plan.restrictions.filter.is_some());
        Ok(Suspect { cgroups, processes, is_filtered: filter || self.is_filtered_unit() })
    }

    /// Returns the plan of its container; `None` for full root in the initial namespaces.
    pub(crate) fn plan(&self) -> Option<&Container> {
        self.plan.as_ref()
    }

    /// Returns the token made while the container was set up.
    pub(crate) fn token(&self) -> Option<Rc<OwnedFd>> {
        self.token.clone()
    }

    /// Returns a token of another bpffs instance of its user namespace, which delegates `options`.
    pub(crate) fn token_of(&mut self, options: &[MountOption]) -> Result<Rc<OwnedFd>, ActorError> {
        let root = self.bpffs_of(options)?;
        if let Some(token) = self.extra_bpffs.get(options).and_then(|extra| extra.token.clone()) {
            return Ok(token);
        }
        let token = Rc::new(self.privileged()?.ask_for_fd(&Request::MakeTokenOf, &[root.as_fd()])?);
        self.extra_bpffs.entry(options.to_vec()).and_modify(|extra| extra.token = Some(Rc::clone(&token)));
        Ok(token)
    }

    /// Returns the root of another bpffs instance of its user namespace, which delegates `options`.
    pub(crate) fn bpffs_of(&mut self, options: &[MountOption]) -> Result<Rc<OwnedFd>, ActorError> {
        if let Some(extra) = self.extra_bpffs.get(options) {
            return Ok(Rc::clone(&extra.root));
        }
        let privileged = self.privileged()?;
        let context = privileged.ask_for_fd(&Request::OpenBpffs, &[])?;
        bpffs::configure(context.as_fd(), options)?;
        bpffs::create(context.as_fd()).map_err(|source| explained(&source))?;
        let root = Rc::new(privileged.ask_for_fd(&Request::MountBpffs, &[])?);
        self.extra_bpffs.insert(options.to_vec(), ExtraBpffs { root: Rc::clone(&root), token: None });
        Ok(root)
    }

    /// Returns the privileged executor: root in the same namespaces, with every capability.
    pub(crate) fn privileged(&mut self) -> Result<&mut RemoteExecutor, ActorError> {
        let privileged = match self.privileged.take() {
            Some(privileged) => privileged,
            None => self.make_privileged()?,
        };
        Ok(self.privileged.insert(privileged))
    }

    /// Returns a privileged executor behind the container's system call filter.
    pub(crate) fn filtered_privileged(&mut self) -> Result<&mut RemoteExecutor, ActorError> {
        let privileged = match self.filtered.take() {
            Some(privileged) => privileged,
            None => {
                let mut privileged = self.make_privileged()?;
                let restrictions = self.plan.as_ref().map(|plan| plan.restrictions.clone()).unwrap_or_default();
                privileged.ask(&Request::Restrict(restrictions), &[])?;
                privileged
            }
        };
        Ok(self.filtered.insert(privileged))
    }

    /// Returns whether the kernel predates tokens.
    pub(crate) fn is_before_tokens(&self) -> bool {
        self.context.plan.kernel.before_tokens
    }

    /// Returns whether a token can be made where it runs; not in the initial user namespace (`bpf_token_create`,
    /// `kernel/bpf/token.c`).
    pub(crate) fn can_have_tokens(&self) -> bool {
        matches!(self.site, ActorSite::Container(_) | ActorSite::Unit { location: UnitLocation { user: true, .. }, .. })
            && !self.is_before_tokens()
    }

    fn make_privileged(&self) -> Result<RemoteExecutor, ActorError> {
        let pid = self.executor.pid.ok_or_else(|| {
            ActorError::Refused("its process has ended, so its namespaces cannot be entered".to_owned())
        })?;
        let mut privileged = RemoteExecutor::fork(&self.context, self.cgroup.as_fd())?;
        let pid = pid.as_raw_nonzero().get();
        let request = match &self.site {
            ActorSite::Initial(needs) => stay(*needs),
            ActorSite::Container(namespaces) => Request::Enter { pid, namespaces: namespaces.clone(), unit: None },
            ActorSite::Unit { location, namespaces } => {
                Request::Enter { pid, namespaces: namespaces.clone(), unit: Some(*location) }
            }
        };
        if let Err(error) = privileged.ask(&request, &[]) {
            privileged.retire();
            return Err(error);
        }
        privileged.ask(&Request::Unpin, &[])?;
        if let Some(Container { unshare: false, uid, gid, .. }) = self.plan {
            privileged.ask(&Request::Join { uid, gid }, &[])?;
        }
        Ok(privileged)
    }

    /// Returns its cgroup's directory, opened for reading.
    pub(crate) fn cgroup(&self) -> BorrowedFd<'_> {
        self.cgroup.as_fd()
    }

    /// Opens the network namespace of its executor.
    pub(crate) fn netns(&self) -> Result<OwnedFd, ActorError> {
        let pid = self
            .executor
            .pid
            .ok_or_else(|| ActorError::Refused("its process has ended, so it has no network namespace".to_owned()))?;
        Ok(pseudofile::open(&format!("/proc/{}/ns/net", pid.as_raw_nonzero()))?)
    }

    /// Returns a descriptor of its bpffs.
    pub(crate) fn bpffs(&mut self, which: BpffsFd) -> Result<OwnedFd, ActorError> {
        self.executor.ask_for_fd(&Request::Bpffs(which), &[])
    }

    /// Returns the executor that makes its attempts.
    pub(crate) fn executor(&mut self) -> &mut RemoteExecutor {
        &mut self.executor
    }

    fn ask(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>), ActorError> {
        self.executor.ask(request, fds)
    }
}

/// The first request to an executor in the initial namespaces.
fn stay(needs: Needs) -> Request {
    let Needs { interfaces, netkit, tmpfs } = needs;
    Request::Stay { interfaces, netkit, tmpfs }
}

/// Has the container's executor fork another one, in a cgroup of its own.
fn spawned(parent: &mut RunningActor, cgroup: &Cgroup) -> Result<RemoteExecutor, ActorError> {
    let executor = parent.executor.spawn()?;
    executor.pid.map_or(Ok(()), |pid| cgroup.admit(pid))?;
    Ok(executor)
}

/// Reads what a token holds, from its fdinfo and `BPF_OBJ_GET_INFO_BY_FD`.
fn masks(token: BorrowedFd<'_>) -> Result<TokenMasks, ActorError> {
    let description = pseudofile::read(&format!("/proc/self/fdinfo/{}", token.as_raw_fd()))?;
    let fdinfo = MASKS.map(|field| field_of(&description, field).unwrap_or_default().to_owned());
    let info = bpf::token_info(token).ok();
    let info = info.map(|info| [info.allowed_cmds, info.allowed_maps, info.allowed_progs, info.allowed_attachs]);
    Ok(TokenMasks { fdinfo, info })
}

/// The lines of a token's fdinfo (`bpf_token_show_fdinfo`, `kernel/bpf/token.c`).
const MASKS: [&str; 4] = ["allowed_cmds:", "allowed_maps:", "allowed_progs:", "allowed_attachs:"];

fn field_of<'t>(description: &'t str, field: &str) -> Option<&'t str> {
    description.lines().find_map(|line| line.strip_prefix(field)).map(str::trim)
}

/// Adds the likely reason to an error: kernels before 6.9 refuse a bpffs that belongs to a user namespace (commit
/// 35f96de04127).
fn explained(error: &SysError) -> ActorError {
    ActorError::Refused(format!("{error} (a bpffs in a user namespace, and so a token, needs Linux 6.9)"))
}

/// Maps a container's ids, through the parent whose user namespace it is made in. Returns the maps.
fn map_ids(pid: Pid, plan: &Container, parent: Option<&mut RunningActor>) -> Result<Option<[IdMap; 2]>, ActorError> {
    let pid = pid.as_raw_nonzero().get();
    let around = parent.as_ref().and_then(|parent| parent.ids.as_ref());
    let of = |which: usize, id| around.map_or_else(|| IdMap::from_initial(id), |ids| ids[which].within(id));
    let [uids, gids] = [of(0, plan.uid), of(1, plan.gid)];
    match parent {
        None => executor::write_id_maps(pid, uids.text(), gids.text())?,
        Some(parent) => {
            let request = Request::MapIds { pid, uids: uids.text().to_owned(), gids: gids.text().to_owned() };
            parent.ask(&request, &[])?;
        }
    }
    Ok(Some([uids, gids]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_explain_an_old_kernel_and_a_lost_executor() {
        let old = SysError { call: "fsconfig CMD_CREATE".to_owned(), errno: Errno::EPERM };
        let errors =
            [explained(&old), ActorError::Died("was killed by signal 9".to_owned()), remote::unexpected(&Reply::Done)];
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @r"
        fsconfig CMD_CREATE: EPERM (a bpffs in a user namespace, and so a token, needs Linux 6.9)
        its executor was killed by signal 9
        its executor sent an unexpected reply: Done
        ");
    }

    #[test]
    fn a_description_of_a_token_has_four_masks() {
        let description = "pos:\t0\nallowed_cmds:\t0x21\nallowed_maps:\tany\nallowed_progs:\t0x0\n";
        let masks = MASKS.map(|field| field_of(description, field));
        assert_eq!(masks, [Some("0x21"), Some("any"), Some("0x0"), None]);
    }
}
