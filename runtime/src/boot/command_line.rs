//! The command line's words: environment variables and arguments.
//!
//! Words are separated by blanks. Quotes and backslash mean what they mean in a POSIX shell (section
//! 2.2): nothing is special within single quotes; within double quotes a backslash escapes only `"`,
//! `\`, `$` and `` ` ``. A word `NAME=value` with NAME in `[A-Z_][A-Z0-9_]*`, written without quotes up
//! to the `=`, is an environment variable; every other word is an argument, and so is each word after
//! `--`. Bytes are not required to be UTF-8, as on Linux.

use alloc::vec::Vec;

/// What a command line says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandLine {
    /// Names and values, in order; a later one replaces an earlier one of the same name.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The arguments, without the program's name.
    pub arguments: Vec<Vec<u8>>,
}

/// Why a command line cannot be taken apart. Offsets are in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandLineError {
    /// A quote that is never closed.
    Unclosed {
        /// Which quote.
        quote: char,
        /// Where it opens.
        offset: usize,
    },
    /// A backslash with nothing behind it.
    TrailingBackslash,
}

impl core::fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unclosed { quote, offset } => write!(
                f,
                "the quote {quote} at byte {offset} of the command line is never closed: close it, or \
                 write \\{quote} for the character itself"
            ),
            Self::TrailingBackslash => f.write_str(
                "the command line ends with a backslash: write \\\\ for the character itself",
            ),
        }
    }
}

impl CommandLine {
    /// Takes a command line apart.
    pub fn parse(line: &[u8]) -> Result<Self, CommandLineError> {
        let mut parsed = Self::default();
        let mut only_arguments = false;
        let mut at = 0;
        while let Some(word) = next_word(line, &mut at)? {
            match word.assignment {
                _ if only_arguments => parsed.arguments.push(word.text),
                Some(equals) => {
                    let value = word.text[equals + 1..].to_vec();
                    parsed.set(word.text[..equals].to_vec(), value);
                }
                None if word.text == b"--" => only_arguments = true,
                None => parsed.arguments.push(word.text),
            }
        }
        Ok(parsed)
    }

    /// Sets a variable, in place of an earlier one of the same name.
    pub fn set(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.environment.retain(|(existing, _)| *existing != name);
        self.environment.push((name, value));
    }
}

struct Word {
    text: Vec<u8>,
    /// Where the `=` of an assignment is.
    assignment: Option<usize>,
}

fn next_word(line: &[u8], at: &mut usize) -> Result<Option<Word>, CommandLineError> {
    while line.get(*at).is_some_and(|&byte| is_blank(byte)) {
        *at += 1;
    }
    if *at >= line.len() {
        return Ok(None);
    }
    let mut text = Vec::new();
    let mut plain_until = usize::MAX;
    while let Some(&byte) = line.get(*at) {
        if is_blank(byte) {
            break;
        }
        if matches!(byte, b'\'' | b'"' | b'\\') {
            plain_until = plain_until.min(text.len());
        }
        *at += 1;
        match byte {
            b'\'' | b'"' => quoted(line, at, byte, &mut text)?,
            b'\\' => {
                let &escaped = line.get(*at).ok_or(CommandLineError::TrailingBackslash)?;
                text.push(escaped);
                *at += 1;
            }
            _ => text.push(byte),
        }
    }
    let assignment = text
        .iter()
        .position(|&byte| byte == b'=')
        .filter(|&equals| equals < plain_until && is_name(&text[..equals]));
    Ok(Some(Word { text, assignment }))
}

/// Takes what stands between quotes; `at` is just behind the opening one.
fn quoted(
    line: &[u8],
    at: &mut usize,
    quote: u8,
    text: &mut Vec<u8>,
) -> Result<(), CommandLineError> {
    let offset = *at - 1;
    loop {
        let unclosed = CommandLineError::Unclosed {
            quote: char::from(quote),
            offset,
        };
        let &byte = line.get(*at).ok_or(unclosed)?;
        *at += 1;
        if byte == quote {
            return Ok(());
        }
        let escapes = byte == b'\\' && quote == b'"';
        match line.get(*at) {
            Some(&next @ (b'"' | b'\\' | b'$' | b'`')) if escapes => {
                text.push(next);
                *at += 1;
            }
            _ => text.push(byte),
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether these bytes can be the name of an environment variable here.
pub fn is_name(name: &[u8]) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    match name.split_first() {
        Some((&first, rest)) => {
            letter(first)
                && rest
                    .iter()
                    .all(|&byte| letter(byte) || byte.is_ascii_digit())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, environment: &[(&str, &str)], arguments: &[&str]) {
        let parsed = CommandLine::parse(line.as_bytes()).unwrap();
        let bytes = |text: &str| text.as_bytes().to_vec();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect();
        let arguments: Vec<_> = arguments.iter().map(|word| bytes(word)).collect();
        assert_eq!(
            parsed,
            CommandLine {
                environment,
                arguments
            },
            "{line}"
        );
    }

    #[test]
    fn words_variables_and_quotes() {
        check("", &[], &[]);
        check("  one\ttwo  ", &[], &["one", "two"]);
        check("PORT=80 serve -v", &[("PORT", "80")], &["serve", "-v"]);
        check(
            "serve PORT=80 _X1=",
            &[("PORT", "80"), ("_X1", "")],
            &["serve"],
        );
        check("A=1 A=2", &[("A", "2")], &[]);
        check("key=value 1A=2 =x", &[], &["key=value", "1A=2", "=x"]);
        check("'NAME'=x N\\AME=x", &[], &["NAME=x", "NAME=x"]);
        check(
            "NAME='a b' X=\"c \\\" d\"",
            &[("NAME", "a b"), ("X", "c \" d")],
            &[],
        );
        check("'' \"\" 'it'\\''s'", &[], &["", "", "it's"]);
        check("\"a\\nb\" 'a\\b'", &[], &["a\\nb", "a\\b"]);
        check("-- A=1 -- x", &[], &["A=1", "--", "x"]);
        check("'--' A=1", &[], &["A=1"]);
    }

    #[test]
    fn bytes_need_not_be_utf_8() {
        let parsed = CommandLine::parse(b"\xff\xfe X=\x80").unwrap();
        assert_eq!(parsed.arguments, [b"\xff\xfe".to_vec()]);
        assert_eq!(parsed.environment, [(b"X".to_vec(), b"\x80".to_vec())]);
    }

    #[test]
    fn says_what_is_not_closed() {
        let unclosed = |quote, offset| Err(CommandLineError::Unclosed { quote, offset });
        assert_eq!(CommandLine::parse(b"a 'b"), unclosed('\'', 2));
        assert_eq!(CommandLine::parse(b"a=\"b\\\""), unclosed('"', 2));
        assert_eq!(
            CommandLine::parse(b"a \\"),
            Err(CommandLineError::TrailingBackslash)
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..20_000 {
            let line: Vec<u8> = (0..state % 24)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    b"A=' \"\\-x\xff"[(state >> 33) as usize % 9]
                })
                .collect();
            state = state.wrapping_add(0x1234_5678_9abc_def1);
            let _ = CommandLine::parse(&line);
        }
    }
}
