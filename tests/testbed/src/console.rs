//! A console as text.

/// The text of a console: without carriage returns and terminal control sequences, and with
/// [`char::REPLACEMENT_CHARACTER`] for what is not UTF-8.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {}
            '\x1b' => skip_escape(&mut chars),
            char => clean.push(char),
        }
    }
    clean
}

/// ECMA-48, 5.4: a control sequence is `ESC [`, parameters, and a final byte of 0x40 to 0x7e;
/// other sequences of interest here are `ESC` and one more character.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    if chars.next() == Some('[') {
        chars.find(|char| matches!(char, '\x40'..='\x7e'));
    }
}

/// The last lines of a text, for an error message.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go_and_text_stays() {
        let text = clean(b"\x1b[6n\x1b[1;31mred\x1b[0m\r\nplain \xff\ttab\n\x1bcreset");
        assert_eq!(text, "red\nplain \u{fffd}\ttab\nreset");
    }

    #[test]
    fn the_tail_of_a_text() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\nb", 5), "a\nb");
    }
}
