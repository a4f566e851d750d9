//! `NAME.cfg`: the domain's configuration for `xl create`, and in it the command line that the runtime
//! turns into arguments and environment.

use super::description::{Defaults, Description, Device, ImageName};

/// `NAME.cfg` with `@WORDS@` to fill in; it explains its keys itself.
const TEMPLATE: &str = include_str!("../../../xen-configs/appliance.cfg.in");

/// Renders the configuration of an image.
pub(super) fn render(name: &ImageName, description: &Description) -> String {
    let mut text = TEMPLATE
        .replace("@NAME@", &name.to_string())
        .replace("@MEMORY@", &description.memory_mib.to_string())
        .replace(
            "@COMMAND_LINE@",
            &quoted(&command_line(&description.defaults)),
        );
    for device in &description.devices {
        text.push_str(&device_line(*device, name));
    }
    text
}

fn device_line(device: Device, name: &ImageName) -> String {
    match device {
        Device::Network => "vif = [ \"script=vif-edgecloud,bridge=edgecloud\" ]\n".to_owned(),
        Device::Disk => {
            format!(
                "disk = [ \"format=raw,vdev=xvda,access=rw,target=/var/lib/edgecloud/disks/{name}.img\" ]\n"
            )
        }
    }
}

/// The runtime's grammar: words as in a POSIX shell, of which `NAME=value` become environment until a
/// word `--`, after which every word is an argument.
fn command_line(defaults: &Defaults) -> String {
    let mut words: Vec<String> = defaults
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={}", word(value)))
        .collect();
    if !defaults.arguments.is_empty() {
        words.push("--".to_owned());
        words.extend(defaults.arguments.iter().map(|argument| word(argument)));
    }
    words.join(" ")
}

/// One word of the command line, in single quotes if it needs any.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,.:/@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A string of xl's configuration language (tools/libs/util/libxlu_cfg_l.l): backslash escapes.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(toml: &str, line: &str) {
        let text = render(
            &"x".parse().expect("a name"),
            &toml::from_str(toml).expect("a description"),
        );
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in:\n{text}"
        );
        assert!(!text.contains('@'), "{text}");
    }

    #[test]
    fn keys_come_from_the_description() {
        check("package = \"x\"", "name = \"x\"");
        check(
            "package = \"x\"",
            "kernel = \"/var/lib/edgecloud/images/x.elf\"",
        );
        check("package = \"x\"", "cmdline = \"\"");
        check("package = \"x\"\nmemory-mib = 8", "memory = 8");
        check("package = \"x\"\nmemory-mib = 8", "maxmem = 8");
        check(
            "package = \"x\"\ndevices = [\"network\"]",
            "vif = [ \"script=vif-edgecloud,bridge=edgecloud\" ]",
        );
        check(
            "package = \"x\"\ndevices = [\"disk\"]",
            "disk = [ \"format=raw,vdev=xvda,access=rw,target=/var/lib/edgecloud/disks/x.img\" ]",
        );
    }

    #[test]
    fn defaults_become_the_command_line() {
        let toml = r#"
            package = "x"
            [defaults]
            arguments = ["--level=3", "A=b", "it's", ""]
            environment = { RUST_LOG = "info", TITLE = 'a "b" \ c' }"#;
        check(
            toml,
            r#"cmdline = "RUST_LOG=info TITLE='a \"b\" \\ c' -- --level=3 A=b 'it'\\''s' ''""#,
        );
    }

    /// The file is in the tree for readers; it must be what the builder makes.
    #[test]
    fn the_configuration_in_the_tree_is_the_rendered_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let description = Description::read(&root.join("images/hello.toml")).expect("described");
        let rendered = render(&"hello".parse().expect("a name"), &description);
        let committed =
            std::fs::read_to_string(root.join("xen-configs/hello.cfg")).expect("committed");
        assert_eq!(
            committed, rendered,
            "copy target/images/hello.cfg to xen-configs/hello.cfg"
        );
    }
}
