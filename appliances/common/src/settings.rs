//! The settings, from text to types that cannot be wrong.
//!
//! There is one TOML document, with `[appliance]` for what all appliances have and `[service]` for
//! what this one has; unknown keys are errors. Variables of the environment come before it, and
//! secrets come by the environment only, which in a domain is xenstore.
//!
//! | variable | key in `[appliance]` | meaning | without it |
//! |---|---|---|---|
//! | `CONFIG` | | the document itself | the file, then an empty document |
//! | `CONFIG_FILE` | | the document's file, on Linux | none |
//! | `HTTP_ADDRESS` | `http` | where HTTP is served, as `ADDRESS:PORT`, or `off` | `[::]:80` |
//! | `HTTPS_ADDRESS` | `https` | where HTTPS is served, or `off` | `[::]:443` |
//! | `MANAGEMENT_ADDRESS` | `management` | where `/health`, `/ready` and `/metrics` are | `[::]:8008` |
//! | `TRANSPARENT` | `transparent` | `true`: connections meant for others' addresses are taken; on Linux that needs CAP_NET_ADMIN, and a wildcard listener of a domain does it always | `false` |
//! | `CONNECTIONS_MAX` | `connections-max` | clients' connections at once | [`CONNECTIONS_MAX`] |
//! | `DRAIN_SECONDS` | `drain-seconds` | for requests in flight, when it ends | [`DRAIN_TIME_MAX`] |
//! | `TLS_NAMES` | `tls-names` | names and addresses in the certificate that is made if none is given; with commas, or as a list | `NAME.edge.example` |
//! | `TLS_CERTIFICATE` | | the certificate and those that link it to its authority, in PEM | one is made at the start, and its fingerprint printed |
//! | `TLS_KEY` | | its private key, in PEM | a new one |
//! | `EDGECLOUD_METADATA` | | the controller's metadata service, which also has the document | none: the appliance stands alone |
//! | `EDGECLOUD_KEY` | | the private key that the domain's token names, in PEM | none |

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::limits::{CONNECTIONS_MAX, DOCUMENT_BYTES_MAX, DRAIN_SECONDS_MAX, DRAIN_TIME_MAX};
use crate::registration::{Controller, HolderKey, Service};

/// The `[service]` of an appliance that has no settings of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// What the appliance is told.
#[derive(Debug)]
pub(crate) struct Settings<T> {
    pub(crate) common: Common,
    pub(crate) service: T,
}

/// What every appliance is told.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) addresses: Addresses,
    pub(crate) connections_max: usize,
    pub(crate) drain_time: Duration,
    pub(crate) identity: Identity,
}

/// Where is listened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// Where HTTP is served, if it is.
    pub(crate) http: Option<SocketAddr>,
    /// Where HTTPS is served, if it is.
    pub(crate) https: Option<SocketAddr>,
    pub(crate) management: SocketAddr,
    /// Whether clients' connections to others' addresses are taken.
    pub(crate) transparent: bool,
}

/// Who the service is to clients of HTTPS.
pub(crate) enum Identity {
    /// The certificate comes first, then those that link it to its authority.
    Given {
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    },
    /// A certificate is made for these names and addresses.
    SelfSigned { names: Vec<String> },
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Given { chain, .. } => write!(f, "Given({} certificates)", chain.len()),
            Identity::SelfSigned { names } => f.debug_tuple("SelfSigned").field(names).finish(),
        }
    }
}

/// Which setting is wrong, why, and what would be right. No value of a secret is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{0} is not UTF-8; write it again")]
    NotText(&'static str),
    #[error("{variable}={value} is {wrong}; write it like {example}, or leave it out")]
    NoValue {
        variable: &'static str,
        value: String,
        wrong: &'static str,
        example: &'static str,
    },
    #[error("{present} is set and {absent} is not; the two come together")]
    Half {
        present: &'static str,
        absent: &'static str,
    },
    #[error(
        "TLS_NAMES is for the certificate that is made here, and TLS_CERTIFICATE is set; leave one of them out"
    )]
    NamesAndCertificate,
    #[error(
        "TLS_NAMES has {0:?}, which is neither a host's name nor an address; write names with commas between them"
    )]
    NoName(String),
    #[error(
        "{0} holds no PEM of the right kind; it begins with -----BEGIN and keeps its line ends"
    )]
    NoPem(&'static str),
    #[error(
        "EDGECLOUD_METADATA={0} is no address of the metadata service; write it like http://169.254.169.254/v1/"
    )]
    NoService(String),
    #[error("neither http nor https is served; leave HTTP_ADDRESS or HTTPS_ADDRESS on")]
    NothingServed,
    #[error("CONFIG and CONFIG_FILE are both set; leave one of them out")]
    TwoDocuments,
    #[error("CONFIG_FILE={file} cannot be read: {source}; name a file that is there")]
    NoFile {
        file: String,
        source: std::io::Error,
    },
    #[error("the configuration has more than {DOCUMENT_BYTES_MAX} bytes; make it shorter")]
    DocumentTooLarge,
    #[error("the configuration is wrong in {place}: {cause}")]
    Document { place: String, cause: String },
}

const HTTP_ADDRESS: &str = "[::]:80";
const HTTPS_ADDRESS: &str = "[::]:443";
const MANAGEMENT_ADDRESS: &str = "[::]:8008";
/// What stands for an address where nothing shall listen.
const OFF: &str = "off";

/// The document, with its own part as the appliance's type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "T: DeserializeOwned")]
struct Document<T> {
    #[serde(default)]
    appliance: Written,
    service: Option<T>,
}

/// `[appliance]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    http: Option<String>,
    https: Option<String>,
    management: Option<String>,
    transparent: Option<bool>,
    connections_max: Option<u64>,
    drain_seconds: Option<u64>,
    tls_names: Option<Vec<String>>,
}

/// Variables by name, as [`std::env::var_os`] has them.
pub(crate) struct Environment<L>(pub(crate) L);

impl<L: Fn(&'static str) -> Option<OsString>> Environment<L> {
    /// A variable that is set.
    pub(crate) fn text(&self, variable: &'static str) -> Result<Option<String>, SettingsError> {
        match (self.0)(variable).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(SettingsError::NotText(variable)),
        }
    }

    /// The document that this machine has, if it has one.
    pub(crate) fn document(&self) -> Result<Option<String>, SettingsError> {
        match (self.text("CONFIG")?, self.text("CONFIG_FILE")?) {
            (Some(_), Some(_)) => Err(SettingsError::TwoDocuments),
            (Some(document), None) => Ok(Some(document)),
            (None, None) => Ok(None),
            (None, Some(file)) => std::fs::read_to_string(&file)
                .map(Some)
                .map_err(|source| SettingsError::NoFile { file, source }),
        }
    }

    /// The controller that launched this domain, if one did.
    pub(crate) fn controller(&self) -> Result<Option<Controller>, SettingsError> {
        let half = |present, absent| Err(SettingsError::Half { present, absent });
        let (url, key) = ("EDGECLOUD_METADATA", "EDGECLOUD_KEY");
        match (self.text(url)?, self.text(key)?) {
            (None, None) => Ok(None),
            (Some(_), None) => half(url, key),
            (None, Some(_)) => half(key, url),
            (Some(at), Some(pem)) => Ok(Some(Controller {
                service: Service::at(&at).ok_or(SettingsError::NoService(at))?,
                key: HolderKey::from_pem(&pem).ok_or(SettingsError::NoPem(key))?,
            })),
        }
    }

    /// Reads the settings, with what the environment says before what the document says.
    pub(crate) fn settings<T: DeserializeOwned>(
        &self,
        name: &str,
        document: &str,
    ) -> Result<Settings<T>, SettingsError> {
        let (written, service) = read::<T>(document)?;
        let address = |variable, key: Option<String>, default| {
            let value = self.text(variable)?.or(key);
            address(variable, value, default)
        };
        let addresses = Addresses {
            http: address("HTTP_ADDRESS", written.http, HTTP_ADDRESS)?,
            https: address("HTTPS_ADDRESS", written.https, HTTPS_ADDRESS)?,
            management: address("MANAGEMENT_ADDRESS", written.management, MANAGEMENT_ADDRESS)?
                .ok_or_else(|| no_value("MANAGEMENT_ADDRESS", OFF, "needed", MANAGEMENT_ADDRESS))?,
            transparent: self
                .value("TRANSPARENT", written.transparent, "true")?
                .unwrap_or(false),
        };
        if addresses.http.is_none() && addresses.https.is_none() {
            return Err(SettingsError::NothingServed);
        }
        let common = Common {
            addresses,
            connections_max: self.connections_max(written.connections_max)?,
            drain_time: self.drain_time(written.drain_seconds)?,
            identity: identity(
                self.text("TLS_CERTIFICATE")?,
                self.text("TLS_KEY")?,
                self.names(written.tls_names)?,
                name,
            )?,
        };
        Ok(Settings { common, service })
    }

    fn value<V: FromStr>(
        &self,
        variable: &'static str,
        written: Option<V>,
        example: &'static str,
    ) -> Result<Option<V>, SettingsError> {
        let Some(text) = self.text(variable)? else {
            return Ok(written);
        };
        let value = text.parse().map(Some);
        value.map_err(|_| no_value(variable, &text, "not of the right kind", example))
    }

    fn connections_max(&self, written: Option<u64>) -> Result<usize, SettingsError> {
        let (variable, example) = ("CONNECTIONS_MAX", "128");
        let Some(value) = self.value(variable, written, example)? else {
            return Ok(CONNECTIONS_MAX);
        };
        let fits = usize::try_from(value).ok().filter(|&max| max > 0);
        fits.ok_or_else(|| no_value(variable, &value.to_string(), "no number of them", example))
    }

    fn drain_time(&self, written: Option<u64>) -> Result<Duration, SettingsError> {
        let (variable, example) = ("DRAIN_SECONDS", "5");
        match self.value(variable, written, example)? {
            None => Ok(DRAIN_TIME_MAX),
            Some(seconds) if seconds <= DRAIN_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
            Some(seconds) => {
                let wrong = "longer than an hour";
                Err(no_value(variable, &seconds.to_string(), wrong, example))
            }
        }
    }

    fn names(&self, written: Option<Vec<String>>) -> Result<Option<Vec<String>>, SettingsError> {
        let text = self.text("TLS_NAMES")?;
        let split = |text: String| text.split(',').map(|name| name.trim().to_owned()).collect();
        text.map(split).or(written).map(checked_names).transpose()
    }
}

fn no_value(
    variable: &'static str,
    value: &str,
    wrong: &'static str,
    example: &'static str,
) -> SettingsError {
    SettingsError::NoValue {
        variable,
        value: value.to_owned(),
        wrong,
        example,
    }
}

fn read<T: DeserializeOwned>(document: &str) -> Result<(Written, T), SettingsError> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(SettingsError::DocumentTooLarge);
    }
    let wrong = |error: toml::de::Error| SettingsError::Document {
        place: place(document, error.span().map(|span| span.start)),
        // Without the line itself, in which a secret might be.
        cause: error.message().trim_end().replace('\n', ", "),
    };
    let parsed: Document<T> = toml::from_str(document).map_err(wrong)?;
    let service = match parsed.service {
        Some(service) => service,
        // What the appliance needs is then missing from its table, and not the table from here.
        None => toml::from_str("").map_err(|error| SettingsError::Document {
            place: "[service], which is not there".to_owned(),
            cause: error.message().trim_end().replace('\n', ", "),
        })?,
    };
    Ok((parsed.appliance, service))
}

/// Where an offset is, as people count.
fn place(document: &str, offset: Option<usize>) -> String {
    let Some(before) = offset.and_then(|offset| document.get(..offset)) else {
        return "the document".to_owned();
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!("line {line}, column {column}")
}

fn address(
    variable: &'static str,
    value: Option<String>,
    default: &'static str,
) -> Result<Option<SocketAddr>, SettingsError> {
    let value = value.unwrap_or_else(|| default.to_owned());
    if value == OFF {
        return Ok(None);
    }
    let address = value.parse().map(Some);
    address.map_err(|_| no_value(variable, &value, "no address with a port", default))
}

fn identity(
    certificate: Option<String>,
    key: Option<String>,
    names: Option<Vec<String>>,
    appliance: &str,
) -> Result<Identity, SettingsError> {
    let half = |present, absent| Err(SettingsError::Half { present, absent });
    match (certificate, key, names) {
        (Some(_), None, _) => half("TLS_CERTIFICATE", "TLS_KEY"),
        (None, Some(_), _) => half("TLS_KEY", "TLS_CERTIFICATE"),
        (Some(_), Some(_), Some(_)) => Err(SettingsError::NamesAndCertificate),
        (Some(certificate), Some(key), None) => {
            let (chain, key) = given(&certificate, &key)?;
            Ok(Identity::Given { chain, key })
        }
        (None, None, names) => Ok(Identity::SelfSigned {
            names: names.unwrap_or_else(|| vec![format!("{appliance}.edge.example")]),
        }),
    }
}

/// A chain and its first certificate's key, of PEM.
pub(crate) fn given(
    certificate: &str,
    key: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SettingsError> {
    let chain = chain(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    Ok((chain, key.map_err(|_| SettingsError::NoPem("TLS_KEY"))?))
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| SettingsError::NoPem("TLS_CERTIFICATE"))?;
    match chain.is_empty() {
        true => Err(SettingsError::NoPem("TLS_CERTIFICATE")),
        false => Ok(chain),
    }
}

fn checked_names(names: Vec<String>) -> Result<Vec<String>, SettingsError> {
    let bad = |name: &&String| ServerName::try_from(name.as_str()).is_err();
    match names.iter().find(bad) {
        Some(bad) => Err(SettingsError::NoName(bad.clone())),
        None if names.is_empty() => Err(SettingsError::NoName(String::new())),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "hello.edge.example";

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Own {
        origin: SocketAddr,
        #[serde(default)]
        depth: u8,
    }

    fn environment(
        variables: &[(&str, &str)],
    ) -> Environment<impl Fn(&'static str) -> Option<OsString>> {
        Environment(|variable: &'static str| {
            let (_, value) = variables.iter().find(|(name, _)| *name == variable)?;
            Some(OsString::from(value))
        })
    }

    fn read(variables: &[(&str, &str)]) -> Result<Settings<NoSettings>, SettingsError> {
        let environment = environment(variables);
        let document = environment.document()?.unwrap_or_default();
        environment.settings("hello", &document)
    }

    fn read_document(document: &str) -> Result<Settings<Own>, SettingsError> {
        environment(&[("HTTP_ADDRESS", "127.0.0.1:1")]).settings("hello", document)
    }

    #[track_caller]
    fn check_refused(variables: &[(&str, &str)], parts: &[&str]) {
        check_error(read(variables), parts);
    }

    #[track_caller]
    fn check_error<T: fmt::Debug>(settings: Result<T, SettingsError>, parts: &[&str]) {
        let error = settings.expect_err("refused").to_string();
        for part in parts {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
    }

    #[test]
    fn nothing_need_be_set() {
        let common = read(&[]).expect("the defaults").common;
        let shown = |address: Option<SocketAddr>| address.expect("on").to_string();
        assert_eq!(shown(common.addresses.http), "[::]:80");
        assert_eq!(shown(common.addresses.https), "[::]:443");
        assert_eq!(common.addresses.management.to_string(), "[::]:8008");
        assert!(!common.addresses.transparent);
        assert!(matches!(common.identity, Identity::SelfSigned { names } if names == [NAME]));
    }

    #[test]
    fn names_and_addresses_are_taken() {
        let common = read(&[
            ("HTTP_ADDRESS", "127.0.0.1:8080"),
            ("HTTPS_ADDRESS", "off"),
            ("TRANSPARENT", "true"),
            ("DRAIN_SECONDS", "60"),
            ("TLS_NAMES", "a.example, 10.0.0.2,fd00::2"),
        ])
        .expect("good settings")
        .common;
        assert_eq!(common.addresses.http, "127.0.0.1:8080".parse().ok());
        assert!(common.addresses.https.is_none() && common.addresses.transparent);
        assert_eq!(common.drain_time.as_secs(), 60);
        let Identity::SelfSigned { names } = common.identity else {
            panic!("no certificate was given");
        };
        assert_eq!(names, ["a.example", "10.0.0.2", "fd00::2"]);
    }

    #[test]
    fn the_environment_comes_before_the_document() {
        let settings = read_document(
            "[appliance]\nhttp = \"[::]:81\"\nconnections-max = 7\ntls-names = [\"b.example\"]\n\
             [service]\norigin = \"192.0.2.1:80\"\n",
        )
        .expect("good settings");
        assert_eq!(settings.common.addresses.http, "127.0.0.1:1".parse().ok());
        assert_eq!(settings.common.connections_max, 7);
        assert_eq!(settings.service.origin.to_string(), "192.0.2.1:80");
        assert_eq!(settings.service.depth, 0);
    }

    #[test]
    fn a_document_that_makes_no_sense_is_explained() {
        let check = |document: &str, parts: &[&str]| check_error(read_document(document), parts);
        check("", &["[service]", "not there", "missing field `origin`"]);
        check(
            "[appliance]\nhttps = 4",
            &["line 2, column 9", "expected a string"],
        );
        check(
            "[service]\norigin = 'x'",
            &["line 2", "invalid socket address"],
        );
        check(
            "[service]\norigin = '[::]:1'\ndepht = 'SECRET'",
            &["line 3, column 1", "unknown field `depht`", "`depth`"],
        );
        check("[servise]", &["line 1", "unknown field `servise`"]);
        check("a = \"SECRET", &["line 1"]);
        let error = read_document("[service]\norigin = '[::]:1'\ndepht = 'SECRET'");
        assert!(!error.expect_err("refused").to_string().contains("SECRET"));
        check(&"#".repeat(DOCUMENT_BYTES_MAX + 1), &["make it shorter"]);
        check_refused(&[("CONFIG", "x = 1")], &["line 1", "unknown field `x`"]);
        check_refused(&[("CONFIG", ""), ("CONFIG_FILE", "x")], &["leave one"]);
        check_refused(
            &[("CONFIG_FILE", "/nowhere/x")],
            &["/nowhere/x", "cannot be read"],
        );
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        check_refused(
            &[("HTTP_ADDRESS", "80")],
            &["HTTP_ADDRESS=80 is no address", "like [::]:80"],
        );
        check_refused(&[("HTTPS_ADDRESS", "")], &["HTTPS_ADDRESS="]);
        check_refused(&[("MANAGEMENT_ADDRESS", "off")], &["is needed"]);
        check_refused(
            &[("HTTP_ADDRESS", "off"), ("HTTPS_ADDRESS", "off")],
            &["neither"],
        );
        check_refused(&[("TRANSPARENT", "yes")], &["TRANSPARENT=yes", "like true"]);
        check_refused(&[("CONNECTIONS_MAX", "0")], &["CONNECTIONS_MAX=0"]);
        check_refused(&[("DRAIN_SECONDS", "3601")], &["longer than an hour"]);
        check_refused(&[("TLS_NAMES", "a..b")], &["\"a..b\"", "neither"]);
        check_refused(&[("TLS_NAMES", "a,")], &["\"\""]);
        check_refused(&[("TLS_CERTIFICATE", "x")], &["TLS_KEY is not"]);
        check_refused(&[("TLS_KEY", "x")], &["TLS_CERTIFICATE is not"]);
        check_refused(
            &[
                ("TLS_KEY", "x"),
                ("TLS_CERTIFICATE", "y"),
                ("TLS_NAMES", "z"),
            ],
            &["leave one of them out"],
        );
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let certified =
            rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let certificate = certified.cert.pem();
        for key in ["SECRET", "-----BEGIN PRIVATE KEY-----\nSECRET\n"] {
            let variables = [("TLS_CERTIFICATE", &*certificate), ("TLS_KEY", key)];
            check_refused(&variables, &["TLS_KEY holds no PEM"]);
            let error = read(&variables).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("SECRET"));
        }
        let key = certified.signing_key.serialize_pem();
        let settings = read(&[("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &key)]);
        let shown = format!("{:?}", settings.expect("good settings"));
        assert!(shown.contains("Given(1 certificates)"), "{shown}");
    }

    #[test]
    fn a_controller_comes_with_its_key() {
        let check = |variables: &[(&str, &str)], parts: &[&str]| {
            check_error(environment(variables).controller(), parts);
        };
        let (metadata, key) = ("EDGECLOUD_METADATA", "EDGECLOUD_KEY");
        check(&[(key, "SECRET")], &["EDGECLOUD_METADATA is not"]);
        check(&[(metadata, "x")], &["EDGECLOUD_KEY is not"]);
        check(&[(metadata, "x"), (key, "y")], &["=x is no", "http://169"]);
        check(
            &[(metadata, "http://a/"), (key, "y")],
            &["EDGECLOUD_KEY holds"],
        );
        assert!(environment(&[]).controller().expect("alone").is_none());
    }

    #[test]
    fn a_certificate_is_pem() {
        check_refused(
            &[("TLS_KEY", "x"), ("TLS_CERTIFICATE", "not PEM")],
            &["TLS_CERTIFICATE holds no PEM"],
        );
    }
}
