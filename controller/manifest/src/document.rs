//! The manifest: what a publisher wants of the network for one application.

use crate::key::PublicKey;
use crate::label::{Account, ApplicationName};
use crate::rate::Rate;
use crate::rule::{OnFail, Rule};
use crate::time::Timestamp;

/// Rules that one manifest may have. The flows' cookies have room for 65,535; one application that
/// needs more than this is several, and a switch holds thousands of applications.
pub const RULES_MAX: usize = 512;

const _: () = assert!(
    RULES_MAX <= u16::MAX as usize,
    "the cookie's rule has 16 bits"
);

/// What a publisher wants of the network for one application. Immutable, and valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    name: ApplicationName,
    publisher: PublicKey,
    expires: Timestamp,
    on_fail: OnFail,
    rules: Vec<Rule>,
    limit: Limit,
    bill: Bill,
}

/// The parts of a [`Manifest`], each valid alone.
#[derive(Clone, Debug)]
pub struct ManifestParts {
    /// What the publisher calls the application.
    pub name: ApplicationName,
    /// Whose application it is.
    pub publisher: PublicKey,
    /// When the wish ends.
    pub expires: Timestamp,
    /// For rules that do not say it themselves.
    pub on_fail: OnFail,
    /// In the order of the document; a rule is known by its index.
    pub rules: Vec<Rule>,
    /// What all rules together may use.
    pub limit: Limit,
    /// Who pays.
    pub bill: Bill,
}

/// What all rules of an application together may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Traffic in both directions; without it the operator's own limits hold.
    pub rate: Option<Rate>,
}

/// Who pays for the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bill {
    /// The account at the operator.
    pub account: Account,
    /// Whether clients get the traffic for free, as in a hotspot before login.
    pub free_to_client: bool,
}

/// Why parts make no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// No rule at all: such an application is denied everything.
    #[error("the manifest has no rule: add one of [[speak]], [[intercept]], [[call]], [[serve]]")]
    NoRules,
    /// More than [`RULES_MAX`].
    #[error(
        "the manifest has {0} rules, and may have {RULES_MAX}: use ranges of ports and wildcards, or split the application"
    )]
    TooManyRules(usize),
    /// The same rule stands twice, at these indices.
    #[error("rule {} is the same as rule {}: remove one", .1 + 1, .0 + 1)]
    Twice(usize, usize),
}

impl Manifest {
    /// The manifest with these parts.
    ///
    /// # Errors
    /// No rules, too many, or one twice.
    pub fn new(parts: ManifestParts) -> Result<Self, ManifestError> {
        let ManifestParts {
            name,
            publisher,
            expires,
            on_fail,
            rules,
            limit,
            bill,
        } = parts;
        check_rules(&rules)?;
        Ok(Self {
            name,
            publisher,
            expires,
            on_fail,
            rules,
            limit,
            bill,
        })
    }

    /// What the publisher calls the application.
    pub fn name(&self) -> &ApplicationName {
        &self.name
    }

    /// Whose application it is.
    pub fn publisher(&self) -> &PublicKey {
        &self.publisher
    }

    /// When the wish ends.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// What holds for rules that do not say it themselves.
    pub fn on_fail(&self) -> OnFail {
        self.on_fail
    }

    /// The rules, at most [`RULES_MAX`], in the order of the document.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What all rules together may use.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Who pays.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }
}

fn check_rules(rules: &[Rule]) -> Result<(), ManifestError> {
    if rules.is_empty() {
        return Err(ManifestError::NoRules);
    }
    if rules.len() > RULES_MAX {
        return Err(ManifestError::TooManyRules(rules.len()));
    }
    let mut seen = std::collections::HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        if let Some(first) = seen.insert(rule, index) {
            return Err(ManifestError::Twice(first, index));
        }
    }
    Ok(())
}
