//! Tables of TOML, read key by key: what is missing, of the wrong type or unknown is an error with
//! its place.

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong, and which bytes of the text it is about.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) problem: String,
}

/// Longest part of the text that an error quotes.
const QUOTE_LENGTH_MAX: usize = 64;

/// A table whose keys are taken one by one; none may remain.
pub(super) struct Section<'a> {
    what: &'static str,
    span: Range<usize>,
    table: DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(what: &'static str, span: Range<usize>, table: DeTable<'a>) -> Self {
        Self {
            what,
            span,
            table,
            asked: Vec::new(),
        }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether a value is there; it stays.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.asked.push(key);
        self.table.contains_key(key)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let value = self.table.remove(key)?;
        Some(Value { key, value })
    }

    /// A value that must be there; `cure` says what to write.
    pub(super) fn need(&mut self, key: &'static str, cure: &str) -> Result<Value<'a>, Fault> {
        let (what, span) = (self.what, self.span());
        self.take(key).ok_or_else(|| Fault {
            span,
            problem: format!("`{key}` is missing in {what}: add {cure}"),
        })
    }

    /// Nothing may remain: a misspelt key would otherwise be a wish that nobody heard.
    pub(super) fn end(self) -> Result<(), Fault> {
        let first = self.table.iter().min_by_key(|(key, _)| key.span().start);
        let Some((key, _)) = first else {
            return Ok(());
        };
        let known = self.asked.join("`, `");
        let quoted: String = key.get_ref().chars().take(QUOTE_LENGTH_MAX).collect();
        Err(Fault {
            span: key.span(),
            problem: format!(
                "{} has no key {quoted:?}: its keys are `{known}`",
                self.what
            ),
        })
    }
}

/// A value of a key.
pub(super) struct Value<'a> {
    key: &'static str,
    value: Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub(super) fn fault(&self, problem: impl Display) -> Fault {
        Fault {
            span: self.span(),
            problem: format!("`{}`: {problem}", self.key),
        }
    }

    fn is_not(&self, wanted: &str) -> Fault {
        self.fault(format_args!(
            "write {wanted}, not {}",
            kind(self.value.get_ref())
        ))
    }

    /// A text with a meaning.
    pub(super) fn parsed<T: FromStr<Err: Display>>(self) -> Result<T, Fault> {
        match self.value.get_ref() {
            DeValue::String(text) => text.parse().map_err(|error| self.fault(error)),
            _ => Err(self.is_not("a text in quotes")),
        }
    }

    pub(super) fn boolean(self) -> Result<bool, Fault> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.is_not("true or false")),
        }
    }

    /// A date and time of TOML, which has no quotes.
    pub(super) fn moment(self) -> Result<crate::Timestamp, Fault> {
        match self.value.get_ref() {
            DeValue::Datetime(moment) => moment
                .to_string()
                .parse()
                .map_err(|error| self.fault(error)),
            _ => Err(self.is_not("a moment such as 2027-01-01T00:00:00Z, without quotes")),
        }
    }

    /// A number, or a text with a meaning.
    pub(super) fn number_or_text(&self) -> Result<String, Fault> {
        match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::String(text) => Ok(text.to_string()),
            _ => Err(self.is_not("a number or a text in quotes")),
        }
    }

    pub(super) fn items(self) -> Result<Vec<Value<'a>>, Fault> {
        let key = self.key;
        if !self.value.get_ref().is_array() {
            return Err(self.is_not("a list in brackets"));
        }
        match self.value.into_inner() {
            DeValue::Array(items) => Ok(items
                .into_iter()
                .map(|value| Value { key, value })
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn section(self, what: &'static str) -> Result<Section<'a>, Fault> {
        let span = self.span();
        if !self.value.get_ref().is_table() {
            return Err(self.is_not("a table"));
        }
        match self.value.into_inner() {
            DeValue::Table(table) => Ok(Section::new(what, span, table)),
            _ => Ok(Section::new(what, span, DeTable::default())),
        }
    }

    /// The tables of `[[kind]]`.
    pub(super) fn tables(self, kind: &'static str) -> Result<Vec<Section<'a>>, Fault> {
        if !self.value.get_ref().is_array() {
            return Err(self.is_not(&format!("`[[{kind}]]`, with two brackets")));
        }
        let items = self.items()?;
        items.into_iter().map(|item| item.section(kind)).collect()
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a moment",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
