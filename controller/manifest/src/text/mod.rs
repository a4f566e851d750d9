//! The manifest as people write it: TOML, read with errors that name line, column and cure.

mod reader;
mod rules;

use std::fmt;
use std::ops::Range;

use toml::de::DeTable;

use crate::document::{Bill, Limit, Manifest, ManifestError, ManifestParts};
use crate::rule::{OnFail, Rule};
use reader::{Fault, Section, Value};

/// Longest text: a full manifest with comments. More is refused before a byte is looked at.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Cause and cure.
    pub problem: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.problem
        )
    }
}

impl std::error::Error for TextError {}

impl TextError {
    fn at(text: &str, fault: Fault) -> Self {
        let start = text.floor_char_boundary(fault.span.start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: fault.problem,
        }
    }
}

impl Manifest {
    /// Reads a manifest as people write it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn from_toml(text: &str) -> Result<Self, TextError> {
        read(text).map_err(|fault| TextError::at(text, fault))
    }
}

fn read(text: &str) -> Result<Manifest, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!(
            "the manifest has {} bytes, and may have {TEXT_BYTES_MAX}: use ranges of ports and \
             wildcards, or split the application",
            text.len()
        );
        return Err(Fault {
            span: 0..0,
            problem,
        });
    }
    let document = DeTable::parse(text).map_err(|error| Fault {
        span: error.span().unwrap_or(0..0),
        problem: error.message().to_owned(),
    })?;
    let span = document.span();
    manifest(Section::new("the manifest", span, document.into_inner()))
}

fn manifest(mut top: Section<'_>) -> Result<Manifest, Fault> {
    let name = top.need(
        "name",
        "what you call the application, such as \"photos-edge\"",
    )?;
    let publisher = top.need("publisher", "your key, as `edgecloud keygen` prints it")?;
    let expires = top.need("expires", "such as 2027-01-01T00:00:00Z")?;
    let on_fail = top.take("on-fail").map(|value| value.parsed());
    let rules = all_rules(&mut top)?;
    let parts = ManifestParts {
        name: name.parsed()?,
        publisher: publisher.parsed()?,
        expires: expires.moment()?,
        on_fail: on_fail.transpose()?.unwrap_or(OnFail::default()),
        limit: limit(&mut top)?,
        bill: bill(&mut top)?,
        rules: rules.iter().map(|(rule, _)| rule.clone()).collect(),
    };
    let span = top.span();
    top.end()?;
    Manifest::new(parts).map_err(|error| Fault {
        span: place(&error, &rules).unwrap_or(span),
        problem: error.to_string(),
    })
}

/// Where an error about rules lies: at the one that is too much.
fn place(error: &ManifestError, rules: &[(Rule, Range<usize>)]) -> Option<Range<usize>> {
    let index = match error {
        ManifestError::Twice(_, second) => *second,
        ManifestError::TooManyRules(_) => crate::document::RULES_MAX,
        ManifestError::NoRules => return None,
    };
    rules.get(index).map(|(_, span)| span.clone())
}

/// The rules of all kinds in the order of the document, each with its place.
fn all_rules(top: &mut Section<'_>) -> Result<Vec<(Rule, Range<usize>)>, Fault> {
    let mut found = Vec::new();
    for (kind, read) in rules::KINDS {
        let Some(value) = top.take(kind) else {
            continue;
        };
        for table in value.tables(kind)? {
            let span = table.span();
            found.push((read(table)?, span));
        }
    }
    found.sort_by_key(|(_, span)| span.start);
    Ok(found)
}

fn limit(top: &mut Section<'_>) -> Result<Limit, Fault> {
    let Some(value) = top.take("limit") else {
        return Ok(Limit::default());
    };
    let mut section = value.section("[limit]")?;
    let rate = section.take("rate").map(Value::parsed).transpose()?;
    section.end()?;
    Ok(Limit { rate })
}

fn bill(top: &mut Section<'_>) -> Result<Bill, Fault> {
    let cure = "a table such as `[bill]` with `account = \"photos\"`: who pays";
    let mut section = top.need("bill", cure)?.section("[bill]")?;
    let account = section.need("account", "the operator's account that pays")?;
    let free = section.take("free-to-client").map(Value::boolean);
    let bill = Bill {
        account: account.parsed()?,
        free_to_client: free.transpose()?.unwrap_or(false),
    };
    section.end()?;
    Ok(bill)
}

#[cfg(test)]
mod tests;
