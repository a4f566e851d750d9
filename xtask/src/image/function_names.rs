//! Functions as people read them: symbols demangled, and the crate that a function is from.

/// In characters: the name of a generic function can fill a screen.
const LENGTH_MAX: usize = 120;

/// The name as it stands in the source, without the digest of the older mangling.
pub(crate) fn demangle(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// A name that is not too long for a message.
pub(crate) fn cut(function: &str) -> String {
    match function.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &function[..end]),
        None => function.to_owned(),
    }
}

/// `<&mut std::process::Command as …>::output` is std's.
pub(crate) fn crate_of(function: &str) -> Option<&str> {
    let path = function.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path
        .trim_start_matches("mut ")
        .trim_start_matches("const ")
        .trim_start_matches("dyn ");
    let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    path[end..].starts_with("::").then_some(&path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_read_from_the_function() {
        for (function, name) in [
            ("std::process::Command::spawn", Some("std")),
            ("<std::process::Command as app::Run>::run", Some("std")),
            ("<&mut tokio::process::Child>::wait", Some("tokio")),
            ("main", None),
            ("aes_setup", None),
        ] {
            assert_eq!(crate_of(function), name, "{function}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("main"), "main");
        assert_eq!(cut(&"ä".repeat(200)), "ä".repeat(LENGTH_MAX) + "…");
    }
}
