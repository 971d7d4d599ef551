//! The settings that result from the assignments of a unit.

use std::collections::BTreeSet;

use harness_uapi::vocabulary::Kind;

use super::{
    capability::Capabilities,
    filter::Filter,
    words::{self, BLANKS},
};
use crate::{
    configuration::{
        Assignment, Bpffs, Configuration, Effect, Element, MOST_ELEMENTS, MOUNT_POINT, Meaning, Rejection, Section,
    },
    execution_context::{HidesBpffs, Namespace, NamespaceType, Setting, TOKEN_PATH, User, UserNamespace},
    names::Names,
    source::Location,
    text::{Text, has_variable, shown},
};

/// Returns the setting that delegates names of this kind.
pub const fn setting_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Cmd => "BPFDelegateCommands",
        Kind::Map => "BPFDelegateMaps",
        Kind::Prog => "BPFDelegatePrograms",
        Kind::Attach => "BPFDelegateAttachments",
    }
}

/// The settings that are checked, besides those of [`setting_of`].
const OTHERS: [&str; 21] = [
    "PrivateBPF",
    "PrivateUsers",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivateIPC",
    "IPCNamespacePath",
    "NetworkNamespacePath",
    "DelegateNamespaces",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "NoNewPrivileges",
    "ProtectKernelTunables",
    "SystemCallFilter",
    "DynamicUser",
    "User",
    "UserNamespacePath",
    "Environment",
    "InaccessiblePaths",
    "TemporaryFileSystem",
    "RestrictFileSystems",
    "BindPaths",
];

/// Other settings of systemd that are similar to a checked one and would be taken for a misspelling of it.
const SIMILAR: [&str; 1] = ["PrivateTmp"];

/// Words that people write in place of the last part of a setting that delegates.
const ABBREVIATED: [(&str, Kind); 11] = [
    ("cmd", Kind::Cmd),
    ("command", Kind::Cmd),
    ("map", Kind::Map),
    ("prog", Kind::Prog),
    ("program", Kind::Prog),
    ("attach", Kind::Attach),
    ("attachment", Kind::Attach),
    ("attachtype", Kind::Attach),
    ("cmdtype", Kind::Cmd),
    ("maptype", Kind::Map),
    ("progtype", Kind::Prog),
];

/// Groups of file systems that have `bpf` (`src/core/bpf-restrict-fs.c`, `filesystem_sets`).
const GROUPS_WITH_BPF: [&str; 2] = ["@privileged-api", "@known"];

/// Whether a setting is checked here.
pub(crate) fn is_checked(key: &str) -> bool {
    kind_of(key).is_some() || OTHERS.contains(&key)
}

fn kind_of(key: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| setting_of(*kind) == key)
}

/// What a mount unit mounts.
#[derive(Debug, Default)]
pub(crate) struct UnitMount {
    pub(crate) is_bpf: bool,
    pub(crate) target: String,
    pub(crate) options: Option<Text>,
}

/// The settings of a unit while its files are read.
pub(crate) struct Settings<'a> {
    pub(crate) configuration: Configuration,
    names: &'a Names<'a>,
    /// The effect of a value that systemd cannot read.
    effect: Effect,
    bounding: Capabilities,
    ambient: Capabilities,
    filter: Filter,
    /// Recognizes values that are not in the file, such as a shell's variables.
    is_unknown: fn(&str) -> bool,
    private_users: Setting<bool>,
    user_namespace_path: Option<Location>,
    /// Whether `RestrictFileSystems=` allows a list or refuses it, whether bpf is on it, and where that is decided.
    file_systems: Option<(bool, bool, Location)>,
    pub(crate) mount: UnitMount,
    /// The value of `DelegateNamespaces=`; an empty assignment resets it.
    delegated: Option<Setting<BTreeSet<NamespaceType>>>,
    private_mounts: Option<Setting<bool>>,
    private_network: Setting<bool>,
    private_ipc: Setting<bool>,
    ipc_path: Option<Location>,
    network_path: Option<Location>,
    user: Option<Setting<String>>,
    dynamic_user: Setting<bool>,
}

impl<'a> Settings<'a> {
    /// Returns the settings of a unit before any assignment.
    pub(crate) fn new(configuration: Configuration, names: &'a Names<'a>) -> Self {
        Self {
            configuration,
            names,
            effect: Effect::Ignored,
            bounding: Capabilities::BOUNDING,
            ambient: Capabilities::AMBIENT,
            filter: Filter::default(),
            is_unknown: |_| false,
            private_users: Setting::default_of(false),
            user_namespace_path: None,
            file_systems: None,
            mount: UnitMount::default(),
            delegated: None,
            private_mounts: None,
            private_network: Setting::default_of(false),
            private_ipc: Setting::default_of(false),
            ipc_path: None,
            network_path: None,
            user: None,
            dynamic_user: Setting::default_of(false),
        }
    }

    /// Returns the settings of a command line, which systemd-run refuses if it cannot read something.
    pub(crate) fn of_command(configuration: Configuration, names: &'a Names<'a>) -> Self {
        Self { effect: Effect::Refused, is_unknown: has_variable, ..Self::new(configuration, names) }
    }

    /// Returns the settings of a unit within another file.
    pub(crate) fn of_part(configuration: Configuration, is_unknown: fn(&str) -> bool, names: &'a Names<'a>) -> Self {
        Self { is_unknown, ..Self::new(configuration, names) }
    }

    /// Reports a property of a command line that is not an assignment.
    pub(crate) fn without_value(&mut self, property: &Text) {
        if has_variable(property.as_str()) {
            return self.configuration.unknown_value(property.whole(), property.as_str(), None);
        }
        let message = format!("`{}` has no value: expected NAME=VALUE", shown(property.as_str()));
        self.configuration.problem(property.whole(), self.effect, message);
    }

    /// Applies an assignment that is at this location.
    pub(crate) fn assign(&mut self, key: &Text, value: &Text, whole: &Location) {
        let said = value.as_str();
        self.configuration.record(Section::Exec, key.as_str(), said, whole);
        let matters = is_checked(key.as_str()) && (key.as_str() != "Environment" || said.contains(TOKEN_PATH));
        if (self.is_unknown)(key.as_str()) || (matters && (self.is_unknown)(said)) {
            return self.unknown(key, value);
        }
        if let Some(kind) = kind_of(key.as_str()) {
            return self.delegate(kind, value, whole);
        }
        match key.as_str() {
            "PrivateBPF" => self.private_bpf(value, whole),
            "PrivateUsers" => self.private_users(value, whole),
            // Only the D-Bus interface has it: the same setting with a value other than yes or no.
            "PrivateUsersEx" if self.effect == Effect::Refused => self.private_users(value, whole),
            "UserNamespacePath" => self.user_namespace_path = (!said.is_empty()).then(|| whole.clone()),
            "Environment" => self.environment(said, whole),
            "InaccessiblePaths" | "TemporaryFileSystem" => self.hidden_paths(key.as_str(), said, whole),
            "BindPaths" | "BindReadOnlyPaths" => self.bound_paths(said),
            "Type" => self.mount.is_bpf = said == "bpf",
            "Where" => said.clone_into(&mut self.mount.target),
            "Options" => self.mount.options = Some(value.clone()).filter(|_| !said.is_empty()),
            "RestrictFileSystems" => self.restrict_file_systems(said, whole),
            "PrivateMounts" if said.is_empty() => self.private_mounts = None,
            "PrivateMounts" => self.private_mounts = self.boolean(key, value, whole).or(self.private_mounts.take()),
            "PrivateNetwork" => {
                let new = self.boolean(key, value, whole);
                set(&mut self.private_network, new);
            }
            "PrivateIPC" => {
                let new = self.boolean(key, value, whole);
                set(&mut self.private_ipc, new);
            }
            "IPCNamespacePath" => self.ipc_path = (!said.is_empty()).then(|| whole.clone()),
            "NetworkNamespacePath" => self.network_path = (!said.is_empty()).then(|| whole.clone()),
            "DelegateNamespaces" => self.delegate_namespaces(value, whole),
            "CapabilityBoundingSet" | "AmbientCapabilities" => self.capabilities(key.as_str(), value, whole),
            "NoNewPrivileges" => {
                let new = self.boolean(key, value, whole);
                set(&mut self.configuration.execution_context.no_new_privileges, new);
            }
            "ProtectKernelTunables" => {
                let new = self.boolean(key, value, whole);
                set(&mut self.configuration.execution_context.protect_kernel_tunables, new);
            }
            "SystemCallFilter" => self.system_call_filter(value, whole),
            "DynamicUser" => self.dynamic_user(value, whole),
            "User" if said.is_empty() => self.user = None,
            "User" => self.user = Some(Setting::assigned(said.to_owned(), whole.clone())),
            _ => self.maybe_misspelled(key),
        }
    }

    /// Returns the configuration that results from all assignments.
    pub(crate) fn finish(mut self) -> Configuration {
        let mount_namespace = self.mount_namespace();
        let execution_context = &mut self.configuration.execution_context;
        execution_context.refused_calls = self.filter.refused();
        if let Some((_, _, location)) = self.file_systems.take().filter(|(allows, listed, _)| allows != listed) {
            let (setting, is_certain) = ("RestrictFileSystems=", false);
            execution_context.hides_bpffs.push(HidesBpffs { location, setting, is_certain });
        }
        if let Some(location) = self.user_namespace_path.clone().filter(|_| self.private_users.value) {
            let message = "UserNamespacePath= with PrivateUsers=: systemd refuses the unit";
            self.configuration.problem(location, Effect::Refused, message);
        }
        let execution_context = &mut self.configuration.execution_context;
        let path = self.user_namespace_path.take().map(|path| Setting::assigned(true, path));
        self.private_users = path.unwrap_or(self.private_users);
        execution_context.user_namespace = match (&self.private_users, &self.delegated) {
            (Setting { value: true, location }, _) | (_, Some(Setting { location, .. })) => {
                Setting { value: UserNamespace::Own, location: location.clone() }
            }
            (Setting { location, .. }, None) => Setting { value: UserNamespace::Host, location: location.clone() },
        };
        execution_context.mount_namespace = mount_namespace;
        execution_context.network_namespace = match (&self.network_path, &self.private_network) {
            (Some(location), _) => Setting::assigned(Namespace::Own, location.clone()),
            (None, Setting { value, location }) => Setting { value: namespace(*value), location: location.clone() },
        };
        let delegates = |of| self.delegated.as_ref().is_some_and(|delegated| delegated.value.contains(&of));
        let has_own_ipc = self.private_ipc.value || self.ipc_path.is_some();
        if has_own_ipc && delegates(NamespaceType::Mnt) && !delegates(NamespaceType::Ipc) {
            execution_context.ipc_of_host = self.ipc_path.take().or(self.private_ipc.location.take());
        }
        execution_context.delegated_namespaces = self.delegated.unwrap_or_else(|| Setting::default_of(BTreeSet::new()));
        execution_context.user = match (self.user, self.dynamic_user) {
            (_, Setting { value: true, location }) => Setting { value: User::Dynamic, location },
            (Some(Setting { value, location }), _) => {
                let user = if matches!(value.as_str(), "root" | "0") { User::Root } else { User::Named(value) };
                Setting { value: user, location }
            }
            (None, _) => Setting::default_of(User::Root),
        };
        self.configuration
    }

    fn mount_namespace(&self) -> Setting<Namespace> {
        let network = self.private_network.value || self.network_path.is_some();
        match (&self.private_mounts, &self.configuration.bpffs) {
            (Some(Setting { value: true, location }), _) => {
                Setting { value: Namespace::Own, location: location.clone() }
            }
            (_, Some(bpffs)) => Setting::assigned(Namespace::Own, bpffs.location.clone()),
            (None, None) if network => Setting::default_of(Namespace::Own),
            (Some(Setting { location, .. }), _) => Setting { value: Namespace::Shared, location: location.clone() },
            (None, None) => Setting::default_of(Namespace::Shared),
        }
    }

    fn private_bpf(&mut self, value: &Text, whole: &Location) {
        match parse_boolean(value.as_str()) {
            Some(true) => {
                self.configuration.bpffs = Some(Bpffs { path: MOUNT_POINT.to_owned(), location: whole.clone() });
            }
            Some(false) => self.configuration.bpffs = None,
            None => self.unreadable("PrivateBPF", value, whole, "yes or no"),
        }
    }

    /// Records a variable of a shell as the value of a setting.
    fn unknown(&mut self, key: &Text, value: &Text) {
        let option = kind_of(key.as_str());
        let (location, text) = if has_variable(key.as_str()) { (key.whole(), key) } else { (value.whole(), value) };
        self.configuration.unknown_value(location, text.as_str(), option);
    }

    /// Reads `Environment=`, whose assignments add up.
    fn environment(&mut self, said: &str, whole: &Location) {
        let path = &mut self.configuration.execution_context.token_path;
        if said.is_empty() {
            *path = None;
        }
        for word in words::unquoted(said) {
            if let Some(value) = word.text.strip_prefix(TOKEN_PATH) {
                *path = Some(Setting::assigned(value.to_owned(), whole.clone()));
            }
        }
    }

    /// Reads a list of paths that are replaced by something empty.
    fn hidden_paths(&mut self, key: &str, said: &str, whole: &Location) {
        let setting = if key == "InaccessiblePaths" { "InaccessiblePaths=" } else { "TemporaryFileSystem=" };
        let hides = &mut self.configuration.execution_context.hides_bpffs;
        if said.is_empty() {
            hides.retain(|other| other.setting != setting);
        }
        let covers = |word: &words::Word| {
            let path = word.text.trim_start_matches(['-', '+']);
            // TemporaryFileSystem= has mount options after a colon.
            let path = path.split(':').next().unwrap_or_default().trim_end_matches('/');
            // systemd mounts the bpffs after what is above it, and makes that inaccessible last.
            path == MOUNT_POINT || (key == "InaccessiblePaths" && matches!(path, "/sys/fs" | "/sys" | ""))
        };
        if words::unquoted(said).iter().any(covers) {
            hides.push(HidesBpffs { location: whole.clone(), setting, is_certain: true });
        }
    }

    /// Reads where else the bpffs is bound to.
    fn bound_paths(&mut self, said: &str) {
        let copies = &mut self.configuration.execution_context.bpffs_copies;
        if said.is_empty() {
            copies.clear();
        }
        for word in words::unquoted(said).iter().take(MOST_ELEMENTS) {
            let mut paths = word.text.trim_start_matches(['-', '+']).split(':');
            if let (Some(MOUNT_POINT), Some(to)) = (paths.next().map(|from| from.trim_end_matches('/')), paths.next()) {
                copies.push(to.to_owned());
            }
        }
    }

    /// Reads `RestrictFileSystems=` (`src/core/load-fragment.c`, `config_parse_restrict_filesystems`): the first assignment
    /// decides whether the list allows or refuses.
    fn restrict_file_systems(&mut self, said: &str, whole: &Location) {
        if said.is_empty() {
            self.file_systems = None;
            return;
        }
        let (inverted, list) = said.strip_prefix('~').map_or((false, said), |list| (true, list));
        let names_it = |word: &words::Word| word.text == "bpf" || GROUPS_WITH_BPF.contains(&word.text.as_str());
        let named = words::unquoted(list).iter().any(names_it);
        let (allows, listed, location) = self.file_systems.get_or_insert((!inverted, false, whole.clone()));
        if named {
            *listed = *allows != inverted;
            *location = whole.clone();
        }
    }

    fn private_users(&mut self, value: &Text, whole: &Location) {
        let named = matches!(value.as_str(), "self" | "identity" | "full" | "managed").then_some(true);
        match parse_boolean(value.as_str()).or(named) {
            Some(own) => self.private_users = Setting::assigned(own, whole.clone()),
            None => self.unreadable("PrivateUsers", value, whole, "yes, no, self, identity, full or managed"),
        }
    }

    fn dynamic_user(&mut self, value: &Text, whole: &Location) {
        match parse_boolean(value.as_str()) {
            Some(dynamic) => self.dynamic_user = Setting::assigned(dynamic, whole.clone()),
            None => {
                let message =
                    format!("DynamicUser=: expected yes or no, not `{}`; systemd refuses the unit", value.as_str());
                self.configuration.problem(location_of(value, whole), Effect::Refused, message);
            }
        }
    }

    fn delegate(&mut self, kind: Kind, value: &Text, whole: &Location) {
        let (words, dangling) = match value.as_str() {
            "any" => (vec![words::Word { text: "any".to_owned(), span: 0..3 }], None),
            list => words::plain(list, &[',']),
        };
        let sole_any = value.as_str() == "any";
        let room = self.configuration.room();
        let elements: Vec<Element> =
            words.iter().take(room).map(|word| self.element(kind, word, value, sole_any)).collect();
        for element in elements.iter().filter(|element| element.read_as != Some(element.meaning)) {
            let problem = self.not_accepted(kind, element);
            self.configuration.push(problem);
        }
        if words.len() > room {
            let message = format!("more than {MOST_ELEMENTS} names: the rest is not checked");
            self.configuration.problem(whole.clone(), Effect::Refused, message);
        }
        if dangling.is_some() {
            self.unreadable(setting_of(kind), value, whole, "a list that does not end in a backslash");
        }
        let assignment =
            Assignment { location: whole.clone(), value: value.whole(), elements, taken: dangling.is_none() };
        self.configuration.assign(kind, assignment);
    }

    fn element(&self, kind: Kind, word: &words::Word, value: &Text, sole_any: bool) -> Element {
        let meaning = self.names.meaning(kind, &word.text);
        let read_as = match meaning {
            Meaning::Any => sole_any.then_some(Meaning::Any),
            Meaning::Name(_) => self.names.systemd_bit(kind, &word.text).map(Meaning::Name),
            Meaning::Number(_) | Meaning::Unreadable => None,
        };
        let blanks = |c: char| BLANKS.contains(&c);
        let start = word.span.start
            + (value.as_str()[word.span.clone()].len()
                - value.as_str()[word.span.clone()].trim_start_matches(blanks).len());
        let end = start + value.as_str()[start..word.span.end].trim_end_matches(blanks).len();
        Element { location: value.location(start..end), text: word.text.clone(), meaning, read_as }
    }

    /// Returns why systemd drops or misreads an element, and what it would accept.
    fn not_accepted(&self, kind: Kind, element: &Element) -> Rejection {
        let setting = setting_of(kind);
        if let Some(Meaning::Name(bit)) = element.read_as {
            let (release, name) = (self.names.systemd_release().number, self.names.kernel(kind, bit).unwrap_or("?"));
            let message =
                format!("{setting}=: systemd {release} takes `{}` for the {kind} {name}, bit {bit}", element.text);
            let (location, effect) = (element.location.clone(), Effect::Misread);
            return Rejection { location, message, effect, instead: None, is_misspelled: false };
        }
        let text = element.text.trim();
        let has_whitespace = text.len() < element.text.len();
        let (why, instead) = match element.meaning {
            Meaning::Any => ("it accepts `any` only alone and in lower case".to_owned(), None),
            Meaning::Number(_) => ("it accepts no numbers".to_owned(), None),
            Meaning::Unreadable if !self.configuration.wants_advice() => (format!("unknown {kind}"), None),
            Meaning::Unreadable => {
                (self.names.unknown_to_systemd(kind, text).map(|unknown| unknown.to_string()).unwrap_or_default(), None)
            }
            Meaning::Name(number) => match self.names.systemd(kind, number) {
                Some(name) if name == text && has_whitespace => {
                    ("it takes whitespace for a part of the name; separate names only by commas".to_owned(), None)
                }
                Some(name) => (format!("it spells this name {name}"), Some(name)),
                None => (format!("systemd {} does not know this name", self.names.systemd_release().number), None),
            },
        };
        let message = format!("systemd drops `{}` from {setting}=: {why}", shown(text));
        Rejection {
            location: element.location.clone(),
            message,
            effect: Effect::Ignored,
            instead,
            is_misspelled: false,
        }
    }

    fn delegate_namespaces(&mut self, value: &Text, whole: &Location) {
        let said = value.as_str();
        if said.is_empty() {
            self.delegated = None;
            return;
        }
        let types = match parse_boolean(said) {
            Some(true) => NamespaceType::ALL.into(),
            Some(false) => BTreeSet::new(),
            None => match self.merged_namespaces(said) {
                Some(types) => types,
                None => {
                    let wanted = "yes, no, or a list of cgroup, ipc, net, mnt, pid and uts, separated by spaces, optionally after `~`";
                    return self.unreadable("DelegateNamespaces", value, whole, wanted);
                }
            },
        };
        self.delegated = Some(Setting::assigned(types, whole.clone()));
    }

    /// Merges a list of types with those before, if systemd accepts it (`src/core/load-fragment.c`,
    /// `config_parse_namespace_flags`). `user` can only be removed; `time` is accepted and ignored.
    fn merged_namespaces(&self, said: &str) -> Option<BTreeSet<NamespaceType>> {
        let (inverted, list) = said.strip_prefix('~').map_or((false, said), |list| (true, list));
        let (words, dangling) = words::plain(list, &BLANKS);
        let nameable = |word: &words::Word| matches!(word.text.as_str(), "time") || (inverted && word.text == "user");
        let mut named = BTreeSet::new();
        for word in &words {
            match NamespaceType::ALL.into_iter().find(|ty| ty.name() == word.text) {
                Some(ty) => drop(named.insert(ty)),
                None if nameable(word) => {}
                None => return None,
            }
        }
        let before = self.delegated.as_ref().map(|setting| setting.value.clone());
        let merged = match (before, inverted) {
            (None, false) => named,
            (None, true) => BTreeSet::from(NamespaceType::ALL).difference(&named).copied().collect(),
            (Some(before), false) => before.union(&named).copied().collect(),
            (Some(before), true) => before.difference(&named).copied().collect(),
        };
        dangling.is_none().then_some(merged)
    }

    fn capabilities(&mut self, key: &str, value: &Text, whole: &Location) {
        let execution_context = &mut self.configuration.execution_context;
        let (set, setting) = match key {
            "AmbientCapabilities" => (&mut self.ambient, &mut execution_context.ambient_set),
            _ => (&mut self.bounding, &mut execution_context.bounding_set),
        };
        let unknown = set.assign(value.as_str());
        *setting = Setting::assigned(set.set(), whole.clone());
        for word in unknown {
            let message = format!("systemd drops `{}` from {key}=: unknown capability", shown(&word.text));
            self.configuration.problem(value.location(word.span), Effect::IgnoredSilently, message);
        }
    }

    fn system_call_filter(&mut self, value: &Text, whole: &Location) {
        for ignored in self.filter.assign(value.as_str(), whole) {
            let message = format!("SystemCallFilter=: {}", ignored.why);
            self.configuration.problem(value.location(ignored.span), Effect::Ignored, message);
        }
    }

    fn boolean(&mut self, key: &Text, value: &Text, whole: &Location) -> Option<Setting<bool>> {
        let parsed = parse_boolean(value.as_str());
        if parsed.is_none() {
            self.unreadable(key.as_str(), value, whole, "yes or no");
        }
        parsed.map(|value| Setting::assigned(value, whole.clone()))
    }

    fn unreadable(&mut self, key: &str, value: &Text, whole: &Location, wanted: &str) {
        let comment = comment_start(value.as_str()).filter(|_| self.effect == Effect::Ignored);
        if let Some(start) = comment {
            let message = format!(
                "{key}=: `{}` is a part of the value; systemd has comments only on lines of their own, and ignores this line",
                shown(&value.as_str()[start..])
            );
            let location = value.location(start..value.as_str().len());
            let (effect, instead) = (self.effect, Some(String::new()));
            return self.configuration.push(Rejection { location, message, effect, instead, is_misspelled: false });
        }
        let effect = if self.effect == Effect::Ignored { "; systemd ignores the line" } else { "" };
        let message = format!("{key}=: expected {wanted}, not `{}`{effect}", shown(value.as_str()));
        self.configuration.problem(location_of(value, whole), self.effect, message);
    }

    fn maybe_misspelled(&mut self, key: &Text) {
        let text = key.as_str();
        if SIMILAR.contains(&text) || text.starts_with("X-") || text.len() > 40 {
            return;
        }
        let lower = text.to_ascii_lowercase();
        let checked = Kind::ALL.into_iter().map(setting_of).chain(OTHERS).filter(|checked| checked.len() > 4);
        let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase());
        let near = abbreviated(&lower)
            .or_else(|| checked.min_by_key(|name| distance(name)).filter(|name| distance(name) <= 2));
        if near.is_some() || lower.starts_with("bpfdelegate") {
            let advice = near.map(|name| format!("; did you mean {name}=?")).unwrap_or_default();
            let message = format!("systemd has no setting `{}`{advice}", shown(text));
            let instead = near.map(str::to_owned);
            let is_misspelled = near.is_none_or(|name| name == "PrivateBPF" || kind_of(name).is_some());
            self.configuration.push(Rejection {
                location: key.whole(),
                message,
                effect: self.effect,
                instead,
                is_misspelled,
            });
        }
    }
}

/// Returns the setting that an abbreviation of its last part, such as `bpfdelegateprogs`, stands for.
fn abbreviated(lower: &str) -> Option<&'static str> {
    let last = lower.strip_prefix("bpfdelegate")?;
    let last = last.strip_suffix('s').unwrap_or(last);
    ABBREVIATED.iter().find(|(word, _)| *word == last).map(|(_, kind)| setting_of(*kind))
}

/// Returns where something that looks like a comment begins behind a value.
pub(super) fn comment_start(value: &str) -> Option<usize> {
    [" #", "\t#", " ;", "\t;"].iter().filter_map(|sign| value.find(sign)).min().map(|at| at + 1)
}

fn set<T>(setting: &mut Setting<T>, new: Option<Setting<T>>) {
    if let Some(new) = new {
        *setting = new;
    }
}

const fn namespace(own: bool) -> Namespace {
    if own { Namespace::Own } else { Namespace::Shared }
}

/// Returns the location of the value, or of the assignment if the value is empty.
fn location_of(value: &Text, whole: &Location) -> Location {
    if value.as_str().is_empty() { whole.clone() } else { value.whole() }
}

/// Parses a boolean (`src/basic/parse-util.c`, `parse_boolean`).
fn parse_boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 6]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match () {
        () if is_one_of(["1", "yes", "y", "true", "t", "on"]) => Some(true),
        () if is_one_of(["0", "no", "n", "false", "f", "off"]) => Some(false),
        () => None,
    }
}
