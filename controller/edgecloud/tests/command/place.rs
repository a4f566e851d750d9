//! A directory with files, where the program runs; and an authority.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// A directory of one test, which is removed with its files.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("place-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("written");
    }

    pub(crate) fn write_manifest(&self, publisher: &str, rules: &str) {
        let text = format!(
            "name = \"photos-edge\"\npublisher = \"{publisher}\"\nexpires = 9000-01-01T00:00:00Z\n\
             {rules}[bill]\naccount = \"photos\"\n"
        );
        self.write("m.toml", &text);
    }

    /// Runs the program here: exit code, standard output and standard error.
    pub(crate) fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_edgecloud"))
            .args(words)
            .current_dir(&self.0)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("a code");
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// What it prints when all is well.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {out} {err}");
        out.trim_end().to_owned()
    }

    /// That it ends with this code, and says these things.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str], parts: &[&str]) {
        let (found, out, err) = self.run(words);
        assert_eq!(found, code, "{words:?}: {out} {err}");
        for part in parts {
            assert!(err.contains(part), "no {part:?} in {err}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource);

@id("own-names") @narrow("tcp=443") @reason("encrypted only")
permit (principal in Group::"partners", action == Action::"intercept", resource)
when { context has toName && context.toName like "*.photos.example" };
"#;

/// `edgecloud-authority` as a process.
pub(crate) struct Authority {
    child: Child,
    url: String,
    ca: PathBuf,
    /// Its public key.
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn start(place: &Place, publisher: &str) -> Self {
        let key = place.done(&["keygen", "authority.pem"]);
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        place.write("tls.pem", &pair.cert.pem());
        place.write("tls.key", &pair.signing_key.serialize_pem());
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(place.file("tls.key"), owner_only).expect("ours");
        place.write("policies.cedar", POLICIES);
        let config = json!({
            "issuer": "isp.example",
            "listen": "127.0.0.1:0",
            "key": "authority.pem",
            "database": "authority.redb",
            "policies": "policies.cedar",
            "hosts": ["edge-1"],
            "operators": [key],
            "tls": { "certificates": "tls.pem", "key": "tls.key" },
            "publishers": [{
                "key": publisher,
                "name": "Photos",
                "accounts": ["photos"],
                "groups": ["partners"],
            }],
        });
        place.write("authority.toml", &toml::to_string(&config).expect("TOML"));
        let mut child = Command::new(program())
            .arg("--config")
            .arg(place.file("authority.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut lines = log.lines().map_while(Result::ok);
        let ready = lines
            .by_ref()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["fields"]["message"] == "ready");
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let ready = ready.expect("it is ready before it ends");
        let address = ready["fields"]["address"].as_str().expect("an address");
        let port = address.rsplit(':').next().expect("a port");
        Self {
            child,
            url: format!("https://localhost:{port}"),
            ca: place.file("tls.pem"),
            key,
        }
    }

    /// The words of a command, with where the authority is.
    pub(crate) fn with(&self, words: &[&str]) -> Vec<String> {
        let ca = self.ca.to_str().expect("text");
        let at = [
            "--authority",
            &self.url,
            "--ca",
            ca,
            "--authority-key",
            &self.key,
        ];
        words
            .iter()
            .chain(&at)
            .map(|word| (*word).to_owned())
            .collect()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The authority's program. It belongs to another package, which this one does not depend on, so
/// cargo is asked to have it beside this one; it is there already where the workspace is tested.
fn program() -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_edgecloud"));
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "edgecloud-authority",
            "--bin",
            "edgecloud-authority",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.expect("cargo starts").success());
    ours.with_file_name("edgecloud-authority")
}
