//! Reads policy files.

use std::{ops::Range, sync::Arc, time::Duration};

use harness_diagnostics::{
    limits::MOST_BYTES,
    node::{KeyPath, Node, Shape},
    report::{MOST_PROBLEMS, Problem, Report},
    structure,
    suggest::{did_you_mean, one_of},
};
use serde_json::Value;

use crate::{
    bits::Bits,
    file::{GuardKeys, Identity, LoaderKeys, PolicyKeys, ProfileKeys, Reload, RuleKeys},
    finding::{Finding, findings},
    group,
    layout::{ANY_LOADER, BITS, CGROUP_DEPTH, CGROUP_NAME, FILE_NAME, MOST_CGROUPS, MOST_RULES},
    list::{Functions, List, NameList, ProgKeys, ProgList, Size},
    name::Family,
    policy::{Action, Cgroup, Guard, Loader, Policy, Profile, Rule, WrittenName},
    quantity,
    schema::policy_schema,
};

/// The user id of processes that no login has started (`AUDIT_UID_UNSET`, `include/uapi/linux/audit.h`).
const UNSET: u32 = u32::MAX;
/// The longest name of a profile, function or cgroup, in bytes.
const LONGEST_NAME: usize = 128;
const PATIENCE: Duration = Duration::from_secs(10);
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const MOST_PATIENCE: Duration = Duration::from_secs(3600);

/// Reads the text of a policy file; `label` is the name of the file in messages. The problems of a policy that was read
/// are what its author should look at: the [`findings`] about it that are more than notes.
///
/// # Errors
/// A file that is too large, every syntax error, or everything that is wrong with keys, names, values and bounds.
pub fn parse(label: &str, text: &str) -> Result<(Policy, Vec<Problem>), Report> {
    if text.len() > MOST_BYTES {
        let message = format!("the file has more than {MOST_BYTES} bytes, the limit for a policy");
        let problem = Problem::new(0..0, message).help("a policy has at most 256 rules and 64 profiles");
        return Err(Report::new(label, "".into(), vec![problem]));
    }
    let shared: Arc<str> = text.into();
    let report = |problems| Report::new(label, shared.clone(), problems);
    let document = Node::read(text).map_err(report)?;
    let (root, mut problems) = structure::fitting(&document, policy_schema());
    let keys = match keys(&root) {
        Ok(keys) => keys,
        Err(error) => {
            if problems.is_empty() {
                problems.push(Problem::new(root.span.clone(), error.to_string()));
            }
            return Err(report(problems));
        }
    };
    let mut reader = Reader { root: &root, problems, named: Vec::new() };
    let policy = reader.policy(&keys);
    if !reader.problems.is_empty() {
        return Err(report(reader.problems));
    }
    let problem = |finding: Finding| Problem::new(finding.span, finding.message).help(finding.advice);
    let problems = findings(&policy).into_iter().filter(|finding| !finding.kind.is_note()).map(problem).collect();
    Ok((policy, problems))
}

fn keys(root: &Node) -> Result<PolicyKeys, serde_json::Error> {
    let mut document = root.to_json();
    if let Some(document) = document.as_object_mut() {
        // The only key that must be there; if it is missing or wrong, that is reported already.
        document.entry("version").or_insert_with(|| 1.into());
    }
    serde_json::from_value(document)
}

/// Checks what the keys say. Each method reports what is wrong and returns the rest.
struct Reader<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
    named: Vec<WrittenName>,
}

impl Reader<'_> {
    fn policy(&mut self, keys: &PolicyKeys) -> Policy {
        let top = KeyPath::default();
        let guard = self.guard(&keys.guard, &top.key("guard"));
        let profiles: Vec<Profile> = keys
            .profiles
            .iter()
            .map(|(name, profile)| self.profile(name, profile, &top.key("profiles").key(name)))
            .collect();
        let loaders: Vec<Loader> =
            keys.loaders.iter().map(|(name, keys)| self.loader(name, keys, &top.key("loaders").key(name))).collect();
        let mut cgroups = Vec::new();
        let rules: Vec<Rule> = keys
            .rule
            .iter()
            .zip(1..)
            .map(|(rule, number)| self.rule(number, rule, (&profiles, &loaders), &mut cgroups))
            .collect();
        let entries = rules.iter().fold(0, |sum: usize, rule| sum.saturating_add(rule.entries()));
        if entries > MOST_RULES {
            let widest = rules.iter().max_by_key(|rule| rule.entries()).map_or(0..0, |rule| rule.span.clone());
            let message = format!("the rules make {entries} entries, more than the limit of {MOST_RULES}");
            let advice = "a rule makes one for each combination of its ranges of `uid`, of `loginuid`, its cgroups and \
                          loaders; this one makes the most";
            self.problems.push(Problem::new(widest, message).help(advice));
        }
        if cgroups.len() > MOST_CGROUPS {
            let message = format!("{} cgroups, more than the limit of {MOST_CGROUPS}", cgroups.len());
            self.problems.push(Problem::new(self.root.span_of(&top.key("rule")), message));
        }
        Policy {
            revision: keys.revision,
            mode: keys.mode,
            default: keys.default,
            guard,
            profiles,
            loaders,
            rules,
            cgroups,
            named: std::mem::take(&mut self.named),
        }
    }

    fn guard(&mut self, keys: &GuardKeys, path: &KeyPath) -> Guard {
        let count_only = match &keys.count_only {
            Some(list) => self.names(Family::Cmd, list, &path.key("count_only")),
            None => Bits::of(group::find(Family::Cmd, "@read").into_iter().flat_map(group::Group::numbers)),
        };
        let patience = keys.patience.as_deref().map_or(PATIENCE, |text| self.patience(text, &path.key("patience")));
        Guard {
            when_full: keys.when_full,
            on_no_reader: keys.on_no_reader,
            patience,
            count_only,
            on_failure: keys.on_failure,
            unprotected: (!keys.self_protection).then(|| self.root.span_of(&path.key("self_protection"))),
            reload: keys.reload,
            by_root: (keys.reload == Reload::Root).then(|| self.root.span_of(&path.key("reload"))),
        }
    }

    fn patience(&mut self, text: &str, path: &KeyPath) -> Duration {
        let read = quantity::duration(text);
        match read.filter(|patience| (LEAST_PATIENCE..=MOST_PATIENCE).contains(patience)) {
            Some(patience) => patience,
            None => {
                let message = format!("`{}` is not a time from 1s to 60m", short(text));
                self.problem(path, message, Some("such as `10s` or `2m`"));
                PATIENCE
            }
        }
    }

    fn own_name(&mut self, name: &str, what: &str, path: &KeyPath) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            let message = format!("`{}` cannot be the name of a {what}", short(name));
            self.problem(path, message, Some("letters, digits, `-`, `_` and `.`, at most 128"));
        }
    }

    fn loader(&mut self, name: &str, keys: &LoaderKeys, path: &KeyPath) -> Loader {
        self.own_name(name, "loader", path);
        if name == "any" {
            self.problem(path, "`any` cannot be the name of a loader".to_owned(), Some("in rules it stands for all"));
        }
        let last = keys.file.rsplit('/').next().unwrap_or_default();
        if !keys.file.starts_with('/') || last.is_empty() || keys.file.contains('\0') {
            let message = format!("`{}` is not the path of a file", short(&keys.file));
            self.problem(&path.key("file"), message, Some("an absolute path, such as `/usr/sbin/agent`"));
        } else if last.len() >= FILE_NAME {
            let message = format!("`{}` is a name of more than 63 bytes", short(last));
            self.problem(&path.key("file"), message, None);
        }
        let texts = keys.digest.as_ref().map_or(&[][..], |texts| &texts.0);
        let digests = self.digests(texts, &path.key("digest"));
        match (keys.identity, texts.is_empty()) {
            (Identity::Inode, false) => {
                let message = "a loader that is known by its inode has no digest".to_owned();
                self.problem(&path.key("digest"), message, Some("leave it out, or choose `fs-verity` or `ima`"));
            }
            (Identity::FsVerity, true) => {
                let message = "this loader has no digest".to_owned();
                self.problem(path, message, Some("add `digest`, as `fsverity measure FILE` prints it"));
            }
            (Identity::Ima, true) => {
                let message = "this loader has no digest".to_owned();
                self.problem(path, message, Some("add `digest = \"sha256:…\"`, with what `sha256sum FILE` prints"));
            }
            _ => {}
        }
        let span = self.root.span_of(&path.key("identity"));
        Loader { name: name.to_owned(), file: keys.file.clone(), identity: keys.identity, digests, span }
    }

    fn digests(&mut self, texts: &[Value], path: &KeyPath) -> Vec<[u8; 32]> {
        let mut digests = Vec::new();
        for (index, text) in texts.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_str()?))) {
            match text.strip_prefix("sha256:").and_then(hex) {
                Some(digest) => digests.push(digest),
                None => {
                    let message = format!("`{}` is not a digest", short(text));
                    self.problem(&self.element(path, index), message, Some("`sha256:` and 64 hexadecimal digits"));
                }
            }
        }
        digests
    }

    /// The loaders of a rule.
    fn loaders(&mut self, texts: &[Value], loaders: &[Loader], path: &KeyPath) -> Vec<u8> {
        let mut numbers = Vec::new();
        for (index, text) in texts.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_str()?))) {
            let found = loaders.iter().position(|loader| loader.name == text).and_then(|at| u8::try_from(at + 1).ok());
            match found {
                _ if text == "any" && !loaders.is_empty() => numbers.push(ANY_LOADER),
                Some(number) => numbers.push(number),
                None if self.root.may_be_dropped(&KeyPath::default().key("loaders").key(text)) => {}
                None => {
                    let names = || loaders.iter().map(|loader| loader.name.as_str());
                    let advice = match loaders {
                        [] => "the policy has no `[loaders.NAME]`".to_owned(),
                        _ => did_you_mean(text, names()).unwrap_or_else(|| one_of(names())),
                    };
                    let message = format!("there is no loader `{}`", short(text));
                    self.problem(&self.element(path, index), message, Some(&advice));
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn profile(&mut self, name: &str, keys: &ProfileKeys, path: &KeyPath) -> Profile {
        self.own_name(name, "profile", path);
        let (progs, attach) = self.progs(keys.progs.as_ref(), &path.key("progs"));
        let maps = path.key("maps");
        Profile {
            name: name.to_owned(),
            cmds: self.maybe_names(Family::Cmd, keys.cmds.as_ref(), &path.key("cmds")),
            progs,
            attach,
            maps: self.maybe_names(Family::Map, keys.maps.types.as_ref(), &maps.key("types")),
            max_entries: keys.maps.max_entries,
            max_bytes: keys.maps.max_bytes.as_ref().and_then(|size| self.size(size, &maps.key("max_bytes"))),
            helpers: self.maybe_names(Family::Helper, keys.helpers.as_ref(), &path.key("helpers")),
            kfuncs: self.functions(&keys.kfuncs, &path.key("kfuncs")),
            targets: self.functions(&keys.targets, &path.key("targets")),
            max_insns: keys.max_insns,
            token: keys.token,
            signed: keys.signed,
            tags: keys.tags.as_ref().map(|tags| self.tags(tags, &path.key("tags"))),
            token_caps: keys
                .token_caps
                .as_ref()
                .map_or(Bits::ALL, |list| self.names(Family::Capability, list, &path.key("token_caps"))),
            modules: keys.modules,
            own_maps: keys.own_maps,
            span: self.root.span_of(path),
            keys: ["progs", "helpers", "targets", "modules"]
                .map(|key| (key, self.root.span_of(&path.key(key))))
                .into_iter()
                .collect(),
        }
    }

    fn progs(&mut self, list: Option<&ProgList>, path: &KeyPath) -> (Bits, Vec<Bits>) {
        let mut attach = vec![Bits::NONE; BITS];
        match list.map(|list| &list.0) {
            None => (Bits::NONE, attach),
            Some(List::Any) => (Bits::ALL, vec![Bits::ALL; BITS]),
            Some(List::Except(names)) => {
                let types = self.bits(Family::Prog, names, &path.key("except")).inverted();
                (types, vec![Bits::ALL; BITS])
            }
            Some(List::Listed(items)) => {
                let mut types = Bits::NONE;
                for (index, item) in items.iter().enumerate() {
                    let (more, asked) = self.prog(item, &self.element(path, index));
                    types = types.union(&more);
                    for (number, attach) in (0..).zip(&mut attach).filter(|(number, _)| more.contains(*number)) {
                        debug_assert!(types.contains(number));
                        *attach = attach.union(&asked);
                    }
                }
                (types, attach)
            }
        }
    }

    /// Reads an element of `progs`: program types, and the attach types they may ask for.
    fn prog(&mut self, item: &Value, path: &KeyPath) -> (Bits, Bits) {
        if let Some(text) = item.as_str() {
            return (self.name(Family::Prog, text, path), Bits::ALL);
        }
        match serde_json::from_value::<ProgKeys>(item.clone()) {
            Ok(keys) => {
                let types = self.name(Family::Prog, &keys.kind, &path.key("type"));
                let attach = path.key("attach");
                let asked = keys.attach.map_or(Bits::ALL, |list| self.names(Family::Attach, &list, &attach));
                (types, asked)
            }
            Err(error) => {
                self.problem(path, error.to_string(), None);
                (Bits::NONE, Bits::NONE)
            }
        }
    }

    fn maybe_names(&mut self, family: Family, list: Option<&NameList>, path: &KeyPath) -> Bits {
        list.map_or(Bits::NONE, |list| self.names(family, list, path))
    }

    fn names(&mut self, family: Family, list: &NameList, path: &KeyPath) -> Bits {
        match &list.0 {
            List::Any => Bits::ALL,
            List::Listed(names) => self.bits(family, names, path),
            List::Except(names) => self.bits(family, names, &path.key("except")).inverted(),
        }
    }

    fn bits(&mut self, family: Family, names: &[Value], path: &KeyPath) -> Bits {
        let texts = names.iter().enumerate().filter_map(|(index, value)| Some((index, value.as_str()?)));
        texts.fold(Bits::NONE, |bits, (index, text)| bits.union(&self.name(family, text, &self.element(path, index))))
    }

    /// The numbers of a name or group.
    fn name(&mut self, family: Family, text: &str, path: &KeyPath) -> Bits {
        if text.starts_with('@') {
            return self.group(family, text, path);
        }
        if family == Family::Attach && text.eq_ignore_ascii_case("none") {
            return Bits::of([0]);
        }
        match family.number(text) {
            Some(number) => {
                self.named.push(WrittenName { family, number, span: self.root.span_of(path) });
                Bits::of([number])
            }
            None => {
                let span = self.root.span_of(path);
                // The report lists no more, and a suggestion takes time.
                let problem = match self.problems.len() {
                    0..MOST_PROBLEMS => family.unknown(text, span),
                    _ => Problem::new(span, format!("`{}` is unknown", short(text))),
                };
                self.problems.push(problem);
                Bits::NONE
            }
        }
    }

    fn group(&mut self, family: Family, text: &str, path: &KeyPath) -> Bits {
        if let Some(group) = group::find(family, &text.to_ascii_lowercase()) {
            return Bits::of(group.numbers());
        }
        let names = || group::names(family);
        let advice = did_you_mean(text, names()).unwrap_or_else(|| one_of(names()));
        self.problem(path, format!("`{}` is not a group of {family}s", short(text)), Some(&advice));
        Bits::NONE
    }

    fn functions(&mut self, functions: &Functions, path: &KeyPath) -> Option<Vec<String>> {
        let Functions::Listed(names) = functions else { return None };
        let mut kept: Vec<String> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
                let message = format!("`{}` cannot be a name in the BTF of a kernel", short(name));
                self.problem(&path.index(index), message, Some("letters, digits, `_` and `.`, at most 128"));
            }
            kept.push(name.clone());
        }
        kept.sort();
        kept.dedup();
        Some(kept)
    }

    fn tags(&mut self, tags: &[String], path: &KeyPath) -> Vec<[u8; 8]> {
        let mut read = Vec::new();
        for (index, text) in tags.iter().enumerate() {
            match hex(text) {
                Some(tag) => read.push(tag),
                None => {
                    let message = format!("`{}` is not the tag of a program", short(text));
                    self.problem(
                        &path.index(index),
                        message,
                        Some("16 hexadecimal digits, as `bpftool prog` shows them"),
                    );
                }
            }
        }
        read
    }

    fn size(&mut self, size: &Size, path: &KeyPath) -> Option<u64> {
        let Value::String(text) = &size.0 else { return size.0.as_u64() };
        let read = quantity::size(text);
        if read.is_none() {
            let message = format!("`{}` is not a number of bytes", short(text));
            self.problem(path, message, Some("a number, or a string such as `64KiB` or `256MiB`"));
        }
        read
    }

    fn rule(
        &mut self,
        number: u16,
        keys: &RuleKeys,
        (profiles, loaders): (&[Profile], &[Loader]),
        cgroups: &mut Vec<Cgroup>,
    ) -> Rule {
        let path = KeyPath::default().key("rule").index(usize::from(number) - 1);
        let uid = keys.uid.as_ref().map(|ids| self.ranges(&ids.0, &path.key("uid"), false));
        let loginuid = keys.loginuid.as_ref().map(|ids| self.ranges(&ids.0, &path.key("loginuid"), true));
        let paths = keys.cgroup.as_ref().map_or(&[][..], |texts| &texts.0);
        let cgroups = self.cgroups(paths, &path.key("cgroup"), cgroups);
        let names = keys.loader.as_ref().map_or(&[][..], |texts| &texts.0);
        let loaders = self.loaders(names, loaders, &path.key("loader"));
        let cmds = keys.cmds.as_ref().map_or(Bits::ALL, |list| self.names(Family::Cmd, list, &path.key("cmds")));
        Rule {
            number,
            uid: uid.unwrap_or_default(),
            loginuid: loginuid.unwrap_or_default(),
            cgroups,
            userns: keys.userns,
            loaders,
            cmds,
            action: self.action(keys, profiles, &path),
            mode: keys.mode,
            span: self.root.span_of(&path),
        }
    }

    fn action(&mut self, keys: &RuleKeys, profiles: &[Profile], path: &KeyPath) -> Action {
        for (key, value) in [("allow", keys.allow), ("deny", keys.deny)] {
            if value == Some(false) {
                self.problem(&path.key(key), format!("`{key}` can only be true"), Some("leave it out"));
            }
        }
        match (&keys.profile, keys.allow.is_some(), keys.deny.is_some()) {
            (Some(name), false, false) => self.profile_named(name, profiles, path),
            (None, true, false) => Action::Allow,
            (None, false, true) => Action::Deny,
            (None, false, false) => {
                let dropped = ["profile", "allow", "deny"].iter().any(|key| self.root.may_be_dropped(&path.key(key)));
                if !dropped {
                    let advice = "add one of `profile`, `allow = true` and `deny = true`";
                    self.problem(path, "this rule says nothing about the calls that it takes".to_owned(), Some(advice));
                }
                Action::Deny
            }
            _ => {
                let message = "a rule has only one of `profile`, `allow` and `deny`".to_owned();
                self.problem(path, message, None);
                Action::Deny
            }
        }
    }

    fn profile_named(&mut self, name: &str, profiles: &[Profile], path: &KeyPath) -> Action {
        if let Some(index) = profiles.iter().position(|profile| profile.name == name) {
            return Action::Profile(index);
        }
        if !self.root.may_be_dropped(&KeyPath::default().key("profiles").key(name)) {
            let names = || profiles.iter().map(|profile| profile.name.as_str());
            let advice = did_you_mean(name, names()).unwrap_or_else(|| one_of(names()));
            self.problem(&path.key("profile"), format!("there is no profile `{}`", short(name)), Some(&advice));
        }
        Action::Deny
    }

    fn ranges(&mut self, items: &[Value], path: &KeyPath, unset: bool) -> Vec<(u32, u32)> {
        let mut ranges = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match range(item, unset) {
                Ok(range) => ranges.push(range),
                Err(message) => {
                    let advice =
                        if unset { "such as `1000`, `1000-1999` or `unset`" } else { "such as `0` or `1000-1999`" };
                    self.problem(&self.element(path, index), message, Some(advice));
                }
            }
        }
        ranges
    }

    fn cgroups(&mut self, paths: &[Value], path: &KeyPath, known: &mut Vec<Cgroup>) -> Vec<usize> {
        let mut indices = Vec::new();
        for (index, text) in paths.iter().enumerate().filter_map(|(index, path)| Some((index, path.as_str()?))) {
            match cgroup(text) {
                Ok(cgroup) => {
                    let at = known.iter().position(|other| *other == cgroup).unwrap_or(known.len());
                    if at == known.len() {
                        known.push(cgroup);
                    }
                    if !indices.contains(&at) {
                        indices.push(at);
                    }
                }
                Err((message, advice)) => self.problem(&self.element(path, index), message, Some(advice)),
            }
        }
        indices
    }

    /// The path of an element of a value that is a list, or the value itself.
    fn element(&self, path: &KeyPath, index: usize) -> KeyPath {
        match self.root.get(path).map(|node| &node.shape) {
            Some(Shape::Array(_)) => path.index(index),
            _ => path.clone(),
        }
    }

    fn problem(&mut self, path: &KeyPath, message: String, advice: Option<&str>) {
        let span: Range<usize> = self.root.span_of(path);
        self.problems.push(Problem::new(span, message).maybe_help(advice.map(str::to_owned)));
    }
}

/// Reads a user id or a range of them.
fn range(item: &Value, unset: bool) -> Result<(u32, u32), String> {
    if let Some(number) = item.as_u64().and_then(|number| u32::try_from(number).ok()) {
        return Ok((number, number));
    }
    let text = item.as_str().unwrap_or_default();
    if unset && text == "unset" {
        return Ok((UNSET, UNSET));
    }
    let wrong = || format!("`{}` is neither a user id nor a range of them", short(text));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten().ok_or_else(wrong)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first.trim())?, number(last.trim())?) {
        (first, last) if first > last => Err(format!("the range `{}` is empty", short(text))),
        range => Ok(range),
    }
}

/// Reads bytes as hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (text.len() == 2 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(())?;
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Reads the path of a cgroup.
fn cgroup(text: &str) -> Result<Cgroup, (String, &'static str)> {
    let wrong = |why: &str| format!("`{}` {why}", short(text));
    let Some(below) = text.strip_prefix('/') else {
        return Err((wrong("is not a path of a cgroup"), "it begins with `/`, the root of the unified hierarchy"));
    };
    if below.is_empty() {
        return Err((wrong("is the root, which all processes are below"), "leave out `cgroup`"));
    }
    let names: Vec<&str> = below.split('/').collect();
    if names.iter().any(|name| matches!(*name, "" | "." | "..") || name.contains(['\0', '\n'])) {
        return Err((
            wrong("is not a path of a cgroup"),
            "such as `/machine.slice/web.service`, without a `/` at the end",
        ));
    }
    if names.len() > CGROUP_DEPTH {
        return Err((wrong("has too many names"), "at most 4; name a cgroup above"));
    }
    if names.iter().any(|name| name.len() >= CGROUP_NAME) {
        return Err((wrong("has a name of more than 63 bytes"), "name a cgroup above"));
    }
    Ok(Cgroup(names.into_iter().map(str::to_owned).collect()))
}

/// A text as a message shows it.
fn short(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
