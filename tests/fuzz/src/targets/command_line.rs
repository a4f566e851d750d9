//! A domain's command line, from whoever wrote its configuration: the bytes are the line.

use edgecloud_runtime::boot::command_line::{CommandLine, is_name};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "command_line",
    run,
    seeds,
};

fn run(line: &[u8]) {
    let parsed = match CommandLine::parse(line) {
        Ok(parsed) => parsed,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for (position, (name, _)) in parsed.environment.iter().enumerate() {
        assert!(is_name(name), "{name:?} is no name");
        let later = &parsed.environment[position + 1..];
        assert!(
            later.iter().all(|(other, _)| other != name),
            "{name:?} twice"
        );
    }
    let again = CommandLine::parse(&quoted(&parsed));
    assert_eq!(
        again.as_ref(),
        Ok(&parsed),
        "what it says, quoted, says something else"
    );
}

/// A line that says the same, with everything quoted that may be.
fn quoted(parsed: &CommandLine) -> Vec<u8> {
    let mut line = Vec::new();
    let quote = |line: &mut Vec<u8>, text: &[u8]| {
        line.push(b'\'');
        for &byte in text {
            match byte {
                b'\'' => line.extend(b"'\\''"),
                _ => line.push(byte),
            }
        }
        line.push(b'\'');
    };
    for (name, value) in &parsed.environment {
        line.extend(name);
        line.push(b'=');
        quote(&mut line, value);
        line.push(b' ');
    }
    line.extend(b"-- ");
    for argument in &parsed.arguments {
        quote(&mut line, argument);
        line.push(b' ');
    }
    line
}

fn seeds() -> Vec<Vec<u8>> {
    [
        r"NET=ip=10.0.0.2/24 RUST_BACKTRACE=1 serve --port 80",
        r#"A="two words" B='$x' C=a\ b -- D=argument "" ''"#,
        r#"\"quoted\" "a\\b\$c\`d" A=1 A=2"#,
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}
