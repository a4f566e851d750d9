//! An operator and a publisher: keys, policies, manifests, a place for files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use manifest::*;

/// What the tests' operator permits.
pub(crate) const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource);

@id("own-names") @narrow("tcp=443") @reason("encrypted only")
permit (principal in Group::"partners", action == Action::"intercept", resource)
when { context has toName && context.toName like "*.photos.example" };

@id("calls") @price("0.05 EUR per GB")
permit (principal, action == Action::"call", resource);

@id("no-mail") @reason("mail is not carried here")
forbid (principal, action == Action::"call", resource)
when { context.tcp.contains(25) };
"#;

pub(crate) const SPEAK: &str = "[[speak]]\nprotocols = [\"dns\"]\n";
pub(crate) const INTERCEPT: &str = "[[intercept]]\nfrom = \"clients\"\n\
    to = { name = \"www.photos.example\", tcp = [80, 443] }\n";
pub(crate) const CALL: &str = "[[call]]\nto = { name = \"api.photos.example\", tcp = [443] }\n";
pub(crate) const MAIL: &str = "[[call]]\nto = { name = \"mx.photos.example\", tcp = [25] }\n";

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn authority_key() -> SigningKey {
    key(1)
}

pub(crate) fn operator() -> SigningKey {
    key(2)
}

pub(crate) fn publisher() -> SigningKey {
    key(3)
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What a publisher asks for.
pub(crate) struct Wish {
    pub(crate) publisher: SigningKey,
    pub(crate) application: String,
    pub(crate) account: &'static str,
    pub(crate) expires: &'static str,
    pub(crate) host: &'static str,
    pub(crate) rules: String,
}

impl Wish {
    pub(crate) fn with(rules: &[&str]) -> Self {
        Self {
            publisher: publisher(),
            application: "photos-edge".to_owned(),
            account: "photos",
            expires: "9000-01-01T00:00:00Z",
            host: "edge-1",
            rules: rules.concat(),
        }
    }

    pub(crate) fn signed(&self) -> SignedSubmission {
        let text = format!(
            "name = \"{}\"\npublisher = \"{}\"\nexpires = {}\n{}[bill]\naccount = \"{}\"\n",
            self.application,
            self.publisher.public(),
            self.expires,
            self.rules,
            self.account
        );
        let manifest = Signed::sign(Manifest::from_toml(&text).unwrap(), &self.publisher);
        let image = Digest::of(b"an ELF");
        let holder = key(9).public();
        let submission = Submission::new(manifest, vec![name(self.host)], image, holder).unwrap();
        Signed::sign(submission, &self.publisher)
    }
}

pub(crate) fn acceptance(offer: Digest, by: &SigningKey) -> SignedAcceptance {
    let publisher = by.public();
    Signed::sign(Acceptance { offer, publisher }, by)
}

pub(crate) fn order(serial: Serial, by: &SigningKey) -> Signed<RevocationOrder> {
    let order = RevocationOrder {
        serial,
        reason: "misuse".to_owned(),
        operator: by.public(),
    };
    Signed::sign(order, by)
}

pub(crate) fn verifier() -> Verifier {
    let keys = vec![authority_key().public()];
    Verifier::new(name("isp.example"), keys, name("edge-1")).unwrap()
}

/// A directory of one test, which is removed with its files.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("site-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
