//! The operator's policies: Cedar, evaluated for each rule of a manifest.
//!
//! | policy | says |
//! |---|---|
//! | `permit (…)` | granted |
//! | `@narrow("tcp=443 rate=10Mbit days=7") permit (…)` | this much of it is granted |
//! | `@price("0.05 EUR per GB") permit (…)` | granted for money; with `@narrow` that much of it |
//! | `forbid (…)` | refused, whatever else permits it |
//!
//! Each policy has an `@id("…")`, and may have a `@reason("…")` for the publisher. What nothing
//! permits is refused. Of several permits the one that asks least counts: without a condition
//! before narrowed before priced, and the first by its id among equals.
//!
//! Policies are checked against the schema when they are loaded, so that a policy with a misspelt
//! attribute, which would never hold, is an error with its place. A policy that fails while it is
//! evaluated refuses the rule: a failing `forbid` must not permit.

mod conditions;
mod context;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::str::FromStr as _;

use cedar_policy::{
    Authorizer, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicyId, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use manifest::{Account, Answer, Digest, Limit, Name, OnFail, Outcome, PublicKey, Rule, Timestamp};

use conditions::Conditions;

/// Longest text of all policies together: an operator writes them by hand.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;
/// Policies that may be loaded: each is evaluated for each rule of each manifest.
pub const POLICIES_MAX: usize = 1024;
/// Ports that a rule may name for policies to look at, of TCP and of UDP. Policies see them one by
/// one, as numbers; more are refused, for nobody could say in a policy what they mean.
pub const PORTS_MAX: usize = 1024;

const SCHEMA: &str = include_str!("schema.cedarschema");

/// Policies that fit the schema, ready to answer.
pub struct Policies {
    schema: Schema,
    set: PolicySet,
    conditions: std::collections::HashMap<PolicyId, Conditions>,
    authorizer: Authorizer,
    digest: Digest,
}

/// Why policies are not loaded: all that is wrong, a line for each, with its place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

/// What is asked about: the submission, apart from its rules.
pub struct Wish<'a> {
    /// The publisher, whose signature is valid.
    pub publisher: &'a PublicKey,
    /// What the operator calls the publisher.
    pub publisher_name: &'a str,
    /// The groups that the operator put it in.
    pub groups: &'a [String],
    /// What the publisher calls the application.
    pub application: &'a str,
    /// Where it shall run.
    pub hosts: &'a [Name],
    /// Who pays, which the publisher may.
    pub account: &'a Account,
    /// Whether clients get the traffic for free.
    pub free_to_client: bool,
    /// What holds for rules that do not say what becomes of their traffic.
    pub on_fail: OnFail,
    /// What all rules together shall get.
    pub limit: Limit,
    /// Until when.
    pub expires: Timestamp,
    /// The present moment.
    pub now: Timestamp,
}

/// What policies answer to all rules of a manifest.
pub struct Verdict {
    /// One answer for each rule, in order.
    pub answers: Vec<Answer>,
    /// What all rules together would get.
    pub limit: Limit,
    /// When the permission would end.
    pub expires: Timestamp,
}

impl Policies {
    /// Reads policies and checks them against the schema.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError(format!(
                "the policies have {} bytes, and may have {POLICY_BYTES_MAX}",
                text.len()
            )));
        }
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)
            .map_err(|error| PolicyError(format!("the schema of this program: {error}")))?;
        let parsed = PolicySet::from_str(text).map_err(|errors| syntax_errors(text, &errors))?;
        let mut problems = String::new();
        if parsed.num_of_templates() > 0 {
            problems.push_str("a policy has a slot such as ?principal: write it out\n");
        }
        let set = named(text, &parsed, &mut problems);
        let conditions = all_conditions(text, &set, &mut problems);
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        for error in result.validation_errors() {
            let _ = writeln!(problems, "{}{error}", place(text, error));
        }
        if set.policies().count() > POLICIES_MAX {
            let _ = writeln!(problems, "there are more than {POLICIES_MAX} policies");
        }
        if !problems.is_empty() {
            return Err(PolicyError(problems.trim_end().to_owned()));
        }
        Ok(Self {
            schema,
            set,
            conditions,
            authorizer: Authorizer::new(),
            digest: Digest::of(text.as_bytes()),
        })
    }

    /// The digest of the text, by which the audit log knows what was decided by.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many policies there are.
    pub fn count(&self) -> usize {
        self.conditions.len()
    }

    /// Answers all rules of a manifest.
    pub fn answer(&self, wish: &Wish<'_>, rules: &[Rule]) -> Verdict {
        let mut verdict = Verdict {
            answers: Vec::with_capacity(rules.len()),
            limit: wish.limit,
            expires: wish.expires,
        };
        let entities = self.entities(wish);
        for rule in rules {
            let answer = match &entities {
                Ok(entities) => self.answer_rule(wish, rule, entities, &mut verdict),
                Err(problem) => refused("entities", problem),
            };
            verdict.answers.push(answer);
        }
        verdict
    }

    fn answer_rule(
        &self,
        wish: &Wish<'_>,
        rule: &Rule,
        entities: &Entities,
        verdict: &mut Verdict,
    ) -> Answer {
        let request = match self.request(wish, rule) {
            Ok(request) => request,
            Err(problem) => return refused("ports-bound", &problem),
        };
        let response = self.authorizer.is_authorized(&request, &self.set, entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return refused("evaluation", &format!("a policy failed: {error}"));
        }
        let mut reasons: Vec<&PolicyId> = response.diagnostics().reason().collect();
        reasons.sort();
        match response.decision() {
            Decision::Allow => self.granted(rule, &reasons, wish, verdict),
            Decision::Deny => match reasons.first() {
                Some(id) => {
                    let reason = self.conditions[*id].reason.as_deref();
                    refused(id.as_ref(), reason.unwrap_or("the operator forbids it"))
                }
                None => refused("default-deny", "no policy of the operator permits it"),
            },
        }
    }

    /// What the permit that asks least leaves of a rule.
    fn granted(
        &self,
        rule: &Rule,
        permits: &[&PolicyId],
        wish: &Wish<'_>,
        verdict: &mut Verdict,
    ) -> Answer {
        let mut permits = permits.to_vec();
        permits.sort_by_key(|id| self.conditions[*id].burden());
        for id in &permits {
            let conditions = &self.conditions[*id];
            if let Some(outcome) = conditions.apply(rule, wish, verdict) {
                let reason = conditions.reason.as_deref().unwrap_or_default();
                return Answer::new(outcome, id.as_ref(), reason);
            }
        }
        let last = permits.last().map_or("default-deny", |id| id.as_ref());
        refused(last, "nothing of the rule remains within what is permitted")
    }

    fn entities(&self, wish: &Wish<'_>) -> Result<Entities, String> {
        let problem = |error: &dyn std::fmt::Display| error.to_string();
        let groups: HashSet<EntityUid> =
            wish.groups.iter().map(|name| uid("Group", name)).collect();
        let name = RestrictedExpression::new_string(wish.publisher_name.to_owned());
        let attributes = [("name".to_owned(), name)].into();
        let publisher = uid("Publisher", &wish.publisher.to_string());
        let publisher =
            Entity::new(publisher, attributes, groups.clone()).map_err(|error| problem(&error))?;
        let account = Entity::new_no_attrs(uid("Account", wish.account.as_str()), HashSet::new());
        let groups = groups
            .into_iter()
            .map(|group| Entity::new_no_attrs(group, HashSet::new()));
        let all = [publisher, account].into_iter().chain(groups);
        Entities::from_entities(all, Some(&self.schema)).map_err(|error| problem(&error))
    }

    fn request(&self, wish: &Wish<'_>, rule: &Rule) -> Result<Request, String> {
        Request::new(
            uid("Publisher", &wish.publisher.to_string()),
            uid("Action", rule.kind()),
            uid("Account", wish.account.as_str()),
            context::of(wish, rule)?,
            Some(&self.schema),
        )
        .map_err(|error| error.to_string())
    }
}

fn refused(policy: &str, reason: &str) -> Answer {
    Answer::new(Outcome::Refused, policy, reason)
}

fn uid(kind: &str, id: &str) -> EntityUid {
    let kind = EntityTypeName::from_str(kind).expect("a name of the schema");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

/// The policies by the names that their `@id` gives.
fn named(text: &str, parsed: &PolicySet, problems: &mut String) -> PolicySet {
    let mut set = PolicySet::new();
    for policy in parsed.policies() {
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            let _ = writeln!(
                problems,
                "{}a policy has no name: write @id(\"…\") before it",
                place_of(text, policy)
            );
            continue;
        };
        if set.add(policy.new_id(PolicyId::new(id))).is_err() {
            let _ = writeln!(
                problems,
                "{}two policies are named {id:?}: rename one",
                place_of(text, policy)
            );
        }
    }
    set
}

fn all_conditions(
    text: &str,
    set: &PolicySet,
    problems: &mut String,
) -> std::collections::HashMap<PolicyId, Conditions> {
    let mut found = std::collections::HashMap::new();
    for policy in set.policies() {
        let forbids = policy.effect() == Effect::Forbid;
        match Conditions::parse(policy.annotations(), forbids) {
            Ok(conditions) => {
                found.insert(policy.id().clone(), conditions);
            }
            Err(problem) => {
                let _ = writeln!(
                    problems,
                    "{}policy {}: {problem}",
                    place_of(text, policy),
                    policy.id()
                );
            }
        }
    }
    found
}

fn syntax_errors(text: &str, errors: &cedar_policy::ParseErrors) -> PolicyError {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("{}{error}", place(text, error)))
        .collect();
    PolicyError(lines.join("\n"))
}

/// `line L, column C: ` of an error, if it knows its place.
fn place(text: &str, error: &dyn miette::Diagnostic) -> String {
    let label = error.labels().and_then(|mut labels| labels.next());
    label.map_or_else(String::new, |label| line_and_column(text, label.offset()))
}

fn line_and_column(text: &str, offset: usize) -> String {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("line {line}, column {column}: ")
}

/// The place of a policy, which keeps its text.
fn place_of(text: &str, policy: &Policy) -> String {
    let shown = policy.to_string();
    let found = text.find(shown.trim());
    found.map_or_else(String::new, |offset| line_and_column(text, offset))
}

#[cfg(test)]
mod tests;
