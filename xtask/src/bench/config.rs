//! Reading and changing the text of an `xl.cfg`.

/// The text between the quotes of a line `key = "text"`.
pub(super) fn quoted_value<'c>(config: &'c str, key: &str) -> Option<&'c str> {
    let line = config.lines().find(|line| assigns(line, key))?;
    line.split('"').nth(1)
}

/// The configuration with another value for one of its keys.
pub(super) fn with_value(config: &str, key: &str, value: impl std::fmt::Display) -> String {
    let lines = config.lines().map(|line| match assigns(line, key) {
        true => format!("{key} = {value}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

fn assigns(line: &str, key: &str) -> bool {
    line.split_once('=')
        .is_some_and(|(before, _)| before.trim() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_replaced() {
        let config = "# memory = 3\nmemory = 8\nkernel = \"/k\"\n";
        assert_eq!(
            with_value(config, "memory", 16),
            "# memory = 3\nmemory = 16\nkernel = \"/k\"\n"
        );
        assert_eq!(quoted_value(config, "kernel"), Some("/k"));
        assert_eq!(quoted_value(config, "ramdisk"), None);
    }
}
