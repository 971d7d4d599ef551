//! A manager of units, asked by D-Bus (org.freedesktop.systemd1(5)).
//!
//! Executing systemctl for each question takes several times as long as the question itself under emulation.

use std::time::{Duration, Instant};

use dbus::{
    Message, Path,
    arg::{AppendAll, Arg, Get, PropMap, Variant, prop_cast},
    channel::Channel,
};
use harness_protocol::plan::Manager;
use thiserror::Error;

/// The sockets on which managers take connections of root without a message bus (`bus_init_private`, `src/core/dbus.c`).
const SYSTEM_SOCKET: &str = "/run/systemd/private";
const USER_SOCKET: &str = "/run/user/1000/systemd/private";

/// How long a manager may take to reply. It replies to a request for a job before it carries out the job.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one wait for a signal lasts; a job may need several.
const WAIT: Duration = Duration::from_secs(10);

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const PEER: &str = "org.freedesktop.DBus.Peer";

/// The length of a connection's first message, which is more than systemd reads along with the end of the authentication
/// (`bus_socket_read_auth`, `src/libsystemd/sd-bus/bus-socket.c`). It would not look at a message that it has read whole
/// then, until more comes.
const GREETING: usize = 1024;

/// The errors of a connection, which are no answers (`dbus/dbus-protocol.h`).
const NO_ANSWERS: [&str; 5] = [
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.NoMemory",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.TimedOut",
    "org.freedesktop.DBus.Error.Timeout",
];

/// Why a manager cannot be asked.
#[derive(Debug, Error)]
pub(crate) enum ManagerError {
    /// It cannot be reached.
    #[error(
        "cannot connect to systemd at {socket}: {source}; a unit needs an image with systemd, such as `--image systemd-262`"
    )]
    Unreachable {
        /// Its socket.
        socket: &'static str,
        /// The error.
        source: dbus::Error,
    },
    /// It did not answer, or not as documented.
    #[error("{call} of {unit}: {source}")]
    Unanswered {
        /// What it was asked.
        call: &'static str,
        /// The unit.
        unit: String,
        /// The error.
        source: dbus::Error,
    },
}

/// A unit of a manager, over a connection of its own. The manager tells each change of it.
pub(super) struct ManagedUnit {
    channel: Channel,
    name: String,
    /// Its object, once the manager has told it.
    path: Option<Path<'static>>,
    state: State,
}

/// How a job ended: `done`, another result (`JobRemoved()`, org.freedesktop.systemd1(5)), or why there was no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobEnd(pub(super) String);

/// What a manager told of a unit: its properties by name, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// `LoadState=`.
    pub(super) load: String,
    /// `ActiveState=`.
    pub(super) active: String,
    /// `Result=`.
    pub(super) result: String,
    /// `ExecMainCode=`, which is `si_code` of waitid(2), and `ExecMainStatus=`, an exit code or signal.
    pub(super) main_end: (i32, i32),
}

impl JobEnd {
    /// Whether systemd did what was asked.
    pub(super) fn is_done(&self) -> bool {
        self.0 == "done"
    }
}

impl State {
    /// Whether no process of the unit is left, and systemd starts none.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }
}

impl std::fmt::Debug for ManagedUnit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ManagedUnit").field("name", &self.name).field("state", &self.state).finish()
    }
}

impl ManagedUnit {
    /// Connects to the manager of a unit, which need not have it yet.
    pub(super) fn of(manager: Manager, name: String) -> Result<Self, ManagerError> {
        let socket = match manager {
            Manager::System => SYSTEM_SOCKET,
            Manager::User => USER_SOCKET,
        };
        let unreachable = |source| ManagerError::Unreachable { socket, source };
        let channel = Channel::open_private(&format!("unix:path={socket}")).map_err(unreachable)?;
        let mut greeting = Message::call_with_args(DESTINATION, "/", PEER, "Ping", (" ".repeat(GREETING),));
        greeting.set_no_reply(true);
        channel.send(greeting).map_err(|()| unreachable(dbus::Error::new_failed("no memory for a message")))?;
        Ok(Self { channel, name, path: None, state: State::default() })
    }

    /// Starts it and waits until it is started, or systemd gives up.
    ///
    /// The wait has no end of its own: systemd ends a job by the time limits of the unit, and the host the VM by that of
    /// the scenario.
    pub(super) fn start(&mut self) -> Result<JobEnd, ManagerError> {
        self.job("StartUnit")
    }

    /// Stops it and waits until all its processes are gone, as [`Self::start`] waits.
    pub(super) fn stop(&mut self) -> Result<JobEnd, ManagerError> {
        self.job("StopUnit")
    }

    /// Makes systemd forget that it failed.
    pub(super) fn reset_failed(&self) -> Result<(), ManagerError> {
        self.call("ResetFailedUnit", (&*self.name,)).map(drop)
    }

    /// Waits until it is over by itself, but at most `patience`, and returns its state then.
    pub(super) fn await_end(&mut self, patience: Duration) -> Result<&State, ManagerError> {
        let deadline = Instant::now() + patience;
        if self.state.active.is_empty() {
            self.ask_state()?;
        }
        while !self.state.is_over() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.next_message("JobRemoved", left)?;
        }
        Ok(&self.state)
    }

    /// Asks for the state of a unit that nothing was told of: it was not loaded, or failed before it was told of.
    fn ask_state(&mut self) -> Result<(), ManagerError> {
        let call = "LoadUnit";
        let reply = self.call(call, (&*self.name,))?.map_err(|source| self.unanswered(call, source))?;
        let (path,) = reply.read_all::<(Path<'static>,)>().map_err(|source| self.unanswered(call, source))?;
        self.state = State {
            load: self.property(&path, UNIT, "LoadState")?,
            active: self.property(&path, UNIT, "ActiveState")?,
            result: self.property(&path, SERVICE, "Result")?,
            main_end: (
                self.property(&path, SERVICE, "ExecMainCode")?,
                self.property(&path, SERVICE, "ExecMainStatus")?,
            ),
        };
        self.path = Some(path);
        Ok(())
    }

    /// Has a job made, in the mode in which systemctl does, and waits for its end.
    fn job(&mut self, call: &'static str) -> Result<JobEnd, ManagerError> {
        let job: Path<'static> = match self.call(call, (&*self.name, "replace"))? {
            Ok(reply) => reply.read_all::<(Path<'_>,)>().map_err(|source| self.unanswered(call, source))?.0,
            Err(refusal) => {
                self.state = State::default();
                return Ok(JobEnd(refusal.to_string()));
            }
        };
        loop {
            let message = self.next_message(call, WAIT)?;
            if let Some(result) = message.and_then(|message| end_of(&message, &job)) {
                return Ok(JobEnd(result));
            }
        }
    }

    /// Waits for a message and takes what it tells of the unit.
    fn next_message(&mut self, call: &'static str, patience: Duration) -> Result<Option<Message>, ManagerError> {
        let message = self.channel.blocking_pop_message(patience).map_err(|source| self.unanswered(call, source))?;
        if let Some(message) = &message {
            self.path = self.path.take().or_else(|| object_of(message, &self.name));
            if self.path.is_some() && message.path() == self.path {
                self.state.take_changes(message);
            }
        }
        Ok(message)
    }

    fn property<T: Arg + for<'m> Get<'m>>(
        &self,
        path: &Path<'static>,
        interface: &str,
        name: &'static str,
    ) -> Result<T, ManagerError> {
        let call = Message::call_with_args(DESTINATION, path, PROPERTIES, "Get", (interface, name));
        let reply = self.channel.send_with_reply_and_block(call, PATIENCE);
        let value = reply.and_then(|reply| reply.read_all::<(Variant<T>,)>());
        value.map(|(value,)| value.0).map_err(|source| self.unanswered(name, source))
    }

    /// Calls a method of the manager. The inner error is an answer.
    fn call(
        &self,
        call: &'static str,
        arguments: impl AppendAll,
    ) -> Result<Result<Message, dbus::Error>, ManagerError> {
        let message = Message::call_with_args(DESTINATION, MANAGER_PATH, MANAGER, call, arguments);
        match self.channel.send_with_reply_and_block(message, PATIENCE) {
            Err(source) if source.name().is_none_or(|name| NO_ANSWERS.contains(&name)) => {
                Err(self.unanswered(call, source))
            }
            answer => Ok(answer),
        }
    }

    fn unanswered(&self, call: &'static str, source: dbus::Error) -> ManagerError {
        ManagerError::Unanswered { call, unit: self.name.clone(), source }
    }
}

impl State {
    /// Takes the changes that a message tells. systemd tells those of the service before those of the unit, so
    /// `ActiveState=` is the last (`send_changed_signal`, `src/core/dbus-unit.c`).
    fn take_changes(&mut self, message: &Message) {
        if !is_signal(message, PROPERTIES, "PropertiesChanged") {
            return;
        }
        let Ok((interface, changed, _)) = message.read_all::<(String, PropMap, Vec<String>)>() else { return };
        let text = |name: &str| prop_cast::<String>(&changed, name).cloned();
        let number = |name: &str| prop_cast::<i32>(&changed, name).copied();
        match interface.as_str() {
            UNIT => {
                self.load = text("LoadState").unwrap_or_else(|| "loaded".to_owned());
                self.active = text("ActiveState").unwrap_or_else(|| std::mem::take(&mut self.active));
            }
            SERVICE => {
                self.result = text("Result").unwrap_or_else(|| std::mem::take(&mut self.result));
                let (code, status) = self.main_end;
                self.main_end = (number("ExecMainCode").unwrap_or(code), number("ExecMainStatus").unwrap_or(status));
            }
            _ => {}
        }
    }
}

fn is_signal(message: &Message, interface: &str, member: &str) -> bool {
    message.interface().as_deref() == Some(interface) && message.member().as_deref() == Some(member)
}

/// Returns the object of a unit if a message tells it.
fn object_of(message: &Message, unit: &str) -> Option<Path<'static>> {
    let told = is_signal(message, MANAGER, "UnitNew").then(|| message.read_all::<(String, Path<'static>)>());
    told?.ok().filter(|(name, _)| name == unit).map(|(_, path)| path)
}

/// Returns the result of this job if a message says that it has ended.
fn end_of(message: &Message, job: &Path<'_>) -> Option<String> {
    let told = is_signal(message, MANAGER, "JobRemoved").then(|| message.read_all::<(u32, Path<'_>, String, String)>());
    told?.ok().filter(|(_, ended, ..)| ended == job).map(|(.., result)| result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(job: &str, member: &str) -> Message {
        let signal = Message::new_signal(MANAGER_PATH, MANAGER, member).unwrap();
        signal.append3(10_u32, Path::from(job.to_owned()), "unit.service").append1("timeout")
    }

    #[test]
    fn only_the_end_of_the_job_itself_is_waited_for() {
        let job = Path::from("/org/freedesktop/systemd1/job/10");
        assert_eq!(end_of(&removed(&job, "JobRemoved"), &job).as_deref(), Some("timeout"));
        for (of, member) in [("/org/freedesktop/systemd1/job/1", "JobRemoved"), (&*job, "JobNew")] {
            assert_eq!(end_of(&removed(of, member), &job), None, "{of} {member}");
        }
        let short = Message::new_signal(MANAGER_PATH, MANAGER, "JobRemoved").unwrap();
        assert_eq!(end_of(&short, &job), None);
    }

    #[test]
    fn an_image_without_systemd_is_named() {
        let source = dbus::Error::new_custom("org.freedesktop.DBus.Error.FileNotFound", "No such file or directory");
        insta::assert_snapshot!(ManagerError::Unreachable { socket: SYSTEM_SOCKET, source }, @"cannot connect to systemd at /run/systemd/private: No such file or directory; a unit needs an image with systemd, such as `--image systemd-262`");
    }
}
