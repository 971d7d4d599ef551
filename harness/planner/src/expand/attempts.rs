//! Expands attempts: who makes them, with which token, and what they save for later ones.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{self, Actor, Call, Step, Token};
use harness_scenario::{
    attempt::{Attempt, Common},
    choice::TokenChoice,
    expanded::ExpandedAttempt,
    expect::Expect,
    layout::AttemptRole,
};
use harness_uapi::capability;

use crate::expand::{
    calls, capabilities,
    containers::HOST,
    context::{AttemptContext, ExpandContext, ExpandedCall, describe},
    label,
    objects::Object,
};

/// Who makes an attempt, and with what.
struct AttemptActor {
    actor: Actor,
    token: Token,
    caps: Option<Vec<u32>>,
    steps: Vec<Step>,
}

impl ExpandContext<'_, '_> {
    /// Expands one attempt; `None` if something about it is wrong. A wrong actor does not hide wrong arguments.
    pub(crate) fn attempt(&mut self, attempt: &Attempt, key_path: KeyPath) -> Option<(ExpandedAttempt, plan::Attempt)> {
        let common = attempt.common();
        let complete = self.problems.is_complete(&key_path);
        let actor = self.containers.actor(common.by, &key_path.key("by"), self.problems);
        let current = AttemptContext { key_path, actor, complete };
        let key_path = &current.key_path;
        let token = self.token(attempt.op(), &common, &current);
        if let Some(gone) = current.actor.as_ref().filter(|actor| complete && self.ended.contains(actor)) {
            let message = format!("an earlier `exit` ended {}", describe(gone));
            self.problems.problem(key_path, message);
        }
        let caps = current.actor.as_ref().map(|actor| self.caps(common.caps, actor, &current));
        let steps = current.actor.as_ref().and_then(|actor| self.steps(common.exec, actor, &current));
        let made = calls::make(self, attempt, &current);
        match common.save {
            Some(name) => {
                let object = made.as_ref().and_then(|made| made.result.clone()).filter(|_| complete);
                self.objects.save(name, object, common.expect, &key_path.key("save"), self.problems);
            }
            None if !self.problems.is_complete(&key_path.key("save")) => self.objects.may_lack_names(),
            None => {}
        }
        Some(self.finish(
            attempt,
            AttemptActor { actor: current.actor?, token: token?, caps: caps?, steps: steps? },
            made?,
        ))
    }

    /// Returns the numbers of the capabilities in effect, if the attempt lists them. The actor must have them.
    fn caps(&mut self, written: Option<&[String]>, actor: &Actor, current: &AttemptContext) -> Option<Vec<u32>> {
        let key_path = &current.key_path.key("caps");
        let numbers = capabilities::numbers(written?, key_path, self.problems);
        let lacking = numbers.iter().find(|number| current.complete && !self.containers.has_cap(actor, **number));
        if let Some(name) = lacking.and_then(|number| capability::NAMES.get(*number as usize)) {
            let message = format!("{} does not have `{name}`, so it cannot be in effect", describe(actor));
            self.problems.advise(key_path, message, "add it to the container's `caps`");
        }
        Some(numbers)
    }

    /// Returns why the kernel cannot take the token of the attempt, if it has one.
    fn lacks_token(&self, call: &Call, token: &Token) -> Option<String> {
        if *token == Token::None {
            return None;
        }
        let member = call.token_member().and_then(|member| self.resolver.lacks_attr(member));
        member.or_else(|| self.resolver.lacks_tokens())
    }

    fn finish(&self, attempt: &Attempt, who: AttemptActor, made: ExpandedCall) -> (ExpandedAttempt, plan::Attempt) {
        let AttemptActor { actor, token, caps, steps } = who;
        let common = attempt.common();
        let delegates = self.containers.delegates(&actor);
        let label = made.label.in_effect(caps.as_deref()).after(&steps);
        let expanded = ExpandedAttempt {
            text: label.finish(&actor, &token, delegates, common.takes_token),
            op: attempt.op(),
            container: label::actor(&actor).to_owned(),
            expect: common.expect,
            missing: made.missing.or_else(|| self.lacks_token(&made.call, &token)),
            part: AttemptRole::Line,
        };
        (
            expanded,
            plan::Attempt {
                caps,
                steps,
                save: common.save.map(str::to_owned),
                ..plan::Attempt::new(actor, token, made.call)
            },
        )
    }

    fn token(&mut self, op: &str, common: &Common<'_>, current: &AttemptContext) -> Option<Token> {
        let actor = current.actor.as_ref()?;
        if !common.takes_token {
            return Some(Token::None);
        }
        let key_path = &current.key_path.key("token");
        let token = match common.token {
            None => self.usual_token(actor),
            Some(TokenChoice::None) => Token::None,
            Some(TokenChoice::Own) => self.own_token(actor, current)?,
            Some(TokenChoice::Saved(name)) => self.saved_token(name, common.expect, current)?,
        };
        if op == "token_info" && token == Token::None {
            self.problems.advise(key_path, "`token_info` needs a token, and this actor has none", NO_TOKEN);
            return None;
        }
        if let (Token::Own, Actor::Container(name)) = (&token, actor) {
            self.containers.needs_token(name);
        }
        Some(token)
    }

    fn usual_token(&self, actor: &Actor) -> Token {
        if self.containers.delegates(actor) { Token::Own } else { Token::None }
    }

    fn own_token(&mut self, actor: &Actor, current: &AttemptContext) -> Option<Token> {
        if self.containers.delegates(actor) || !current.complete {
            return Some(Token::Own);
        }
        let who = label::actor(actor);
        let message = match actor {
            Actor::Host => format!("`{HOST}` creates no token"),
            Actor::Container(_) => format!("`{who}` creates no token, because nothing is delegated to it"),
        };
        self.problems.advise(&current.key_path.key("token"), message, NO_TOKEN);
        None
    }

    /// Returns a saved token. An attempt that must fail can pass any other object instead.
    fn saved_token(&mut self, name: &str, expect: Option<Expect>, current: &AttemptContext) -> Option<Token> {
        let key_path = &current.key_path.key("token");
        let fails = matches!(expect, Some(Expect::Denied | Expect::Malformed)) || !current.complete;
        let is_token = |object: &Object| (fails || matches!(object, Object::Token)).then_some(());
        self.objects.find(name, "a token", is_token, key_path, self.problems)?;
        if self.objects.is_refused(name) {
            let message = format!("there is no token `{name}`: the attempt that creates it is expected to fail");
            self.problems.problem(key_path, message);
            return None;
        }
        Some(Token::Saved(name.to_owned()))
    }
}

const NO_TOKEN: &str =
    "delegate something to the container, or use the token that an earlier `token_create` saved: `token = \"NAME\"`";
