//! The attempts of a case: who makes them, with which token, and what they leave for later ones.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{self, Actor, Call, Token};
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
}

impl ExpandContext<'_, '_> {
    /// Works one attempt out; `None` if something about it is wrong. What is wrong with its actor does not hide what is
    /// wrong with its arguments.
    pub(crate) fn attempt(&mut self, attempt: &Attempt, key_path: KeyPath) -> Option<(ExpandedAttempt, plan::Attempt)> {
        let common = attempt.common();
        let actor = self.containers.actor(common.by, &key_path.key("by"), self.problems);
        let token = actor.as_ref().and_then(|actor| self.token(attempt.op(), &common, actor, &key_path.key("token")));
        if let Some(gone) = actor.as_ref().filter(|actor| self.ended.contains(actor)) {
            let message = format!("{} was ended by an earlier `exit`", describe(gone));
            self.problems.problem(&key_path, message);
        }
        let caps = actor.as_ref().map(|actor| self.caps(common.caps, actor, &key_path.key("caps")));
        let setting = AttemptContext { key_path: key_path.clone(), actor };
        let made = calls::make(self, attempt, &setting);
        if let Some(name) = common.save {
            let object = made.as_ref().and_then(|made| made.gives.clone());
            self.objects.save(name, object, common.expect, &key_path.key("save"), self.problems);
        }
        Some(self.finish(attempt, AttemptActor { actor: setting.actor?, token: token?, caps: caps? }, made?))
    }

    /// The numbers of the capabilities in effect, if they are written; the actor must have them.
    fn caps(&mut self, written: Option<&[String]>, actor: &Actor, key_path: &KeyPath) -> Option<Vec<u32>> {
        let numbers = capabilities::numbers(written?, key_path, self.problems);
        let lacking = numbers.iter().find(|number| !self.containers.has_cap(actor, **number));
        if let Some(name) = lacking.and_then(|number| capability::NAMES.get(*number as usize)) {
            let message = format!("{} does not have `{name}`, so it cannot be in effect", describe(actor));
            self.problems.advise(key_path, message, "give it to the container: `caps`");
        }
        Some(numbers)
    }

    /// Why the kernel cannot take the token that is handed over, if one is.
    fn lacks_token(&self, call: &Call, token: &Token) -> Option<String> {
        if *token == Token::None {
            return None;
        }
        let member = call.token_member().and_then(|member| self.resolver.lacks_attr(member));
        member.or_else(|| self.resolver.lacks_tokens())
    }

    fn finish(&self, attempt: &Attempt, who: AttemptActor, made: ExpandedCall) -> (ExpandedAttempt, plan::Attempt) {
        let AttemptActor { actor, token, caps } = who;
        let common = attempt.common();
        let delegates = self.containers.delegates(&actor);
        let words = made.words.in_effect(caps.as_deref());
        let expanded = ExpandedAttempt {
            text: words.finish(&actor, &token, delegates, common.takes_token),
            op: attempt.op(),
            container: label::actor(&actor).to_owned(),
            expect: common.expect,
            missing: made.missing.or_else(|| self.lacks_token(&made.call, &token)),
            part: AttemptRole::Line,
        };
        (
            expanded,
            plan::Attempt { caps, save: common.save.map(str::to_owned), ..plan::Attempt::new(actor, token, made.call) },
        )
    }

    fn token(&mut self, op: &str, common: &Common<'_>, actor: &Actor, key_path: &KeyPath) -> Option<Token> {
        if !common.takes_token {
            return Some(Token::None);
        }
        let token = match common.token {
            None => self.usual_token(actor),
            Some(TokenChoice::None) => Token::None,
            Some(TokenChoice::Own) => self.own_token(actor, key_path)?,
            Some(TokenChoice::Saved(name)) => self.saved_token(name, common.expect, key_path)?,
        };
        if op == "token_info" && token == Token::None {
            self.problems.advise(key_path, "`token_info` asks about a token, and this actor has none", NO_TOKEN);
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

    fn own_token(&mut self, actor: &Actor, key_path: &KeyPath) -> Option<Token> {
        if self.containers.delegates(actor) {
            return Some(Token::Own);
        }
        let who = label::actor(actor);
        let message = match actor {
            Actor::Host => format!("`{HOST}` makes no token"),
            Actor::Container(_) => format!("`{who}` makes no token, because nothing is delegated to it"),
        };
        self.problems.advise(key_path, message, NO_TOKEN);
        None
    }

    /// Where the kernel is to refuse it, anything can be handed over as a token.
    fn saved_token(&mut self, name: &str, expect: Option<Expect>, key_path: &KeyPath) -> Option<Token> {
        let refused = matches!(expect, Some(Expect::Denied | Expect::Malformed));
        let is_token = |object: &Object| (refused || matches!(object, Object::Token)).then_some(());
        self.objects.find(name, "a token", is_token, key_path, self.problems)?;
        if self.objects.is_refused(name) {
            let message = format!("there will be no token `{name}`: the attempt that makes it is expected to fail");
            self.problems.problem(key_path, message);
            return None;
        }
        Some(Token::Saved(name.to_owned()))
    }
}

const NO_TOKEN: &str =
    "delegate something to the container, or name a token that an earlier `token_create` saved: `token = \"NAME\"`";
