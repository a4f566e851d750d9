//! What is printed: a document with `--json`, and lines for people without.

use std::process::ExitCode;

use serde_json::Value;

/// The exit code where the authority made an offer.
const OFFERED: u8 = 4;

/// What a command found.
#[derive(Debug)]
pub(crate) struct Report {
    document: Value,
    text: String,
    code: u8,
}

impl Report {
    pub(crate) fn new(document: Value, text: impl Into<String>) -> Self {
        Self {
            document,
            text: text.into(),
            code: 0,
        }
    }

    /// An offer is neither what was asked for nor a refusal.
    pub(crate) fn offered(self) -> Self {
        Self {
            code: OFFERED,
            ..self
        }
    }

    pub(crate) fn print(&self, json: bool) -> ExitCode {
        use std::io::Write as _;
        let text = match json {
            true => self.document.to_string(),
            false => visible(&self.text),
        };
        let text = text.trim_end_matches('\n');
        if !text.is_empty() {
            // Who reads us may have heard enough.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
        ExitCode::from(self.code)
    }
}

/// A text without what would steer a terminal.
pub(crate) fn visible(text: &str) -> String {
    let keep = |c: char| {
        if c.is_control() && c != '\n' && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(keep).collect()
}

/// Rows under headings, in columns. A row's cell is what its member says: texts as they are, lists
/// with commas, nothing as a hyphen.
pub(crate) fn table(rows: &[Value], columns: &[(&str, &str)]) -> String {
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned());
    let mut lines = vec![headings.collect::<Vec<_>>()];
    let cells = |row: &Value| columns.iter().map(|(_, key)| cell(&row[*key])).collect();
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let line = |cells: &Vec<String>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

/// A value as a person reads it.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace(['\n', '\t'], " "),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_stand_in_columns() {
        let rows = [
            json!({"a": "x", "b": ["1", "2"]}),
            json!({"a": "long", "b": null}),
        ];
        let text = table(&rows, &[("NAME", "a"), ("LIST", "b"), ("NONE", "c")]);
        assert_eq!(text, "NAME  LIST  NONE\nx     1,2   -\nlong  -     -\n");
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(visible("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\n");
    }
}
