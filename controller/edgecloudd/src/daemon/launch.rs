//! Launching: a token, an image and a key become a replica.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use manifest::{
    Device, Digest, ImageDescriptor, Name, Rule, SignedImageDescriptor, SigningKey, Token,
};
use sha2::Digest as _;
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{Daemon, now};
use crate::api::documents::{Domain, Launch};
use crate::health::Probe;
use crate::refusal::Refusal;
use crate::state::{
    Application, ApplicationRecord, Change, ReplicaRecord, State, link_local, mac_of,
};

/// Longest name of a domain: it is in names of files and of Xen's.
const NAME_LENGTH_MAX: usize = 32;
/// Further variables of an environment, and their lengths: xenstore carries 4096 bytes of a value
/// less its path.
const VARIABLES_MAX: usize = 64;
const VALUE_LENGTH_MAX: usize = 3072;
/// Longest configuration of an appliance.
const CONFIGURATION_BYTES_MAX: usize = 65_536;
/// How much of an image is read at once.
const READ: usize = 1 << 16;

/// A launch whose documents were checked.
struct Checked {
    token: Token,
    token_bytes: Vec<u8>,
    descriptor: ImageDescriptor,
    image: PathBuf,
    probe: Probe,
    launch: Launch,
}

impl Daemon {
    /// Launches a domain; returns once it runs.
    ///
    /// # Errors
    /// Whatever speaks against it, or the toolstack.
    pub async fn launch(self: &Arc<Self>, launch: Launch) -> Result<Domain, Refusal> {
        let checked = self.check(launch)?;
        image_is(&checked.image, checked.token.image()).await?;
        let (number, _) = self.change(|state| self.place(state, &checked))?;
        let (told, tells) = oneshot::channel();
        self.supervise(number, Some(told));
        match tells.await {
            Ok(Ok(())) => self.domain(number),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Refusal::Ended),
        }
    }

    fn check(&self, launch: Launch) -> Result<Checked, Refusal> {
        let token_bytes = base64("token", &launch.token)?;
        let revocations = super::lock(&self.state).revocations.clone();
        let token = self.verifier.verify(&token_bytes, now(), &revocations)?;
        let descriptor = base64("descriptor", &launch.descriptor)?;
        let descriptor = SignedImageDescriptor::open_self_signed(&descriptor)?.into_document();
        if descriptor.publisher != *token.publisher() {
            return Err(Refusal::OtherPublisher);
        }
        if descriptor.digest != token.image() {
            return Err(Refusal::OtherImage {
                found: descriptor.digest.to_string(),
                whose: "token",
                named: token.image().to_string(),
            });
        }
        let key = SigningKey::from_pem(&launch.key);
        let key = key.map_err(|error| Refusal::Malformed(format!("`key`: {error}")))?;
        if key.public() != *token.holder() {
            return Err(Refusal::OtherKey);
        }
        let probe = launch.health.parse().map_err(Refusal::Malformed)?;
        check_rest(&launch, &descriptor)?;
        Ok(Checked {
            image: self.images().join(&launch.image),
            token,
            token_bytes,
            descriptor,
            probe,
            launch,
        })
    }

    /// Finds a zone, a number, a name and addresses.
    fn place(&self, state: &State, checked: &Checked) -> Result<(u32, Vec<Change>), Refusal> {
        let token = &checked.token;
        let application = token.number().get();
        if let Some(known) = state.applications.get(&application) {
            let (held, given) = (known.token.serial(), token.serial());
            if given < held {
                return Err(Refusal::OlderToken(held.0));
            }
            if known.record.withdrawn.is_some() && given == held {
                return Err(Refusal::Withdrawn);
            }
        }
        if let Some((name, holder)) = served_by_another(state, token) {
            return Err(Refusal::NameServed(name, holder));
        }
        let zone = state.zone_for(application).ok_or(Refusal::Full("zone"))?;
        let number = state.replica_number().ok_or(Refusal::Full("place"))?;
        let name = checked.launch.name.clone();
        let name = name.unwrap_or_else(|| generated_name(token, number));
        if state.named(&name).is_some() {
            return Err(Refusal::NameTaken(name));
        }
        let network = &self.config.domain_network;
        let own = self.config.network.addresses.iter();
        let taken: Vec<IpAddr> = own.chain(&network.gateways).copied().collect();
        let addresses = state.addresses(&network.prefixes, &taken);
        let mut addresses = addresses.ok_or(Refusal::Full("address"))?;
        let mac = mac_of(&self.config.host, number);
        if addresses.iter().any(IpAddr::is_ipv6) {
            addresses.push(link_local(mac));
        }
        let launch = &checked.launch;
        let record = ReplicaRecord {
            name,
            application,
            mac,
            addresses,
            image: checked.image.clone(),
            digest: checked.descriptor.digest.to_string(),
            memory_mib: checked.descriptor.memory_mib,
            key: Zeroizing::new(launch.key.clone()),
            configuration: launch.configuration.clone(),
            environment: launch.environment.clone(),
            probe: checked.probe.clone(),
            disk: launch.disk.as_ref().map(PathBuf::from),
            registered: false,
            ready: false,
            draining: false,
            failed: false,
            ending: false,
            restarts: 0,
        };
        let application = Application {
            record: ApplicationRecord {
                zone,
                token: checked.token_bytes.clone(),
                withdrawn: None,
            },
            token: token.clone(),
        };
        let changes = vec![
            Change::Application(Box::new(application)),
            Change::Replica(number, Box::new(record)),
            Change::NextReplica(number + 1),
        ];
        Ok((number, changes))
    }
}

/// A name that a token would serve and another application that is here does, and which.
fn served_by_another(state: &State, token: &Token) -> Option<(Name, u32)> {
    let wanted = served(token);
    state.applications.iter().find_map(|(number, application)| {
        let is_other = *number != token.number().get() && application.record.withdrawn.is_none();
        let is_here = state.replicas_of(*number).next().is_some();
        let names = (is_other && is_here).then(|| served(&application.token))?;
        let name = wanted.intersection(&names).next()?;
        Some((name.clone(), *number))
    })
}

/// The names that a token serves.
fn served(token: &Token) -> BTreeSet<Name> {
    let grants = token.grants().iter();
    let names = grants.filter_map(|grant| match &grant.rule {
        Rule::Serve(rule) => Some(rule.name.clone()),
        _ => None,
    });
    names.collect()
}

/// The application's name and the replica's number.
fn generated_name(token: &Token, number: u32) -> String {
    let number = number.to_string();
    let mut name = token.application().as_str().to_owned();
    name.truncate(NAME_LENGTH_MAX - number.len() - 1);
    format!("{name}-{number}")
}

fn base64(what: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    let decoded = BASE64.decode(text.as_bytes());
    decoded.map_err(|error| Refusal::Malformed(format!("`{what}` is no base64: {error}")))
}

/// What the documents do not say.
fn check_rest(launch: &Launch, descriptor: &ImageDescriptor) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(Refusal::Malformed(why.to_owned()));
    if let Some(name) = &launch.name {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let starts = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        if !starts || name.len() > NAME_LENGTH_MAX || !name.bytes().all(plain) {
            return wrong(
                "`name` has 1 to 32 lower-case letters, digits and hyphens, a letter first",
            );
        }
    }
    let variable = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let starts = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_uppercase());
        let is_ours = name == "NET" || name == "PATH" || name.starts_with("EDGECLOUD_");
        starts && !is_ours && name.len() <= 64 && name.bytes().all(plain)
    };
    let environment = &launch.environment;
    if environment.len() > VARIABLES_MAX || !environment.keys().all(|name| variable(name)) {
        return wrong(
            "`environment` has at most 64 names of capitals, digits and `_`, and none of the daemon's own",
        );
    }
    let long = |value: &String| value.len() > VALUE_LENGTH_MAX || value.contains('\0');
    if environment.values().any(long) {
        return wrong("a value in `environment` is longer than 3072 bytes, or has a NUL");
    }
    if launch.configuration.len() > CONFIGURATION_BYTES_MAX {
        return wrong("`configuration` is longer than 64 KiB");
    }
    if launch.image.contains(['"', '\n', '\0']) || launch.image.split('/').any(|part| part == "..")
    {
        return wrong("`image` is a path without quotes and `..`");
    }
    let odd = |disk: &String| disk.contains(['"', ',', '\n', '\0', ']']) || !disk.starts_with('/');
    if launch.disk.as_ref().is_some_and(odd) {
        return wrong("`disk` is an absolute path without quotes and commas");
    }
    if launch.disk.is_some() != descriptor.devices.contains(&Device::Disk) {
        return wrong("`disk` is given exactly if the descriptor names one");
    }
    if !descriptor.devices.contains(&Device::Network) {
        return wrong("the descriptor names no network: the daemon launches what takes part in it");
    }
    Ok(())
}

/// Checks that a file has a digest.
pub(super) async fn image_is(file: &Path, digest: Digest) -> Result<(), Refusal> {
    let wrong = |cause: std::io::Error| Refusal::Image {
        path: file.display().to_string(),
        cause: cause.to_string(),
    };
    let mut opened = tokio::fs::File::open(file).await.map_err(wrong)?;
    let mut hasher = sha2::Sha256::new();
    let mut bytes = vec![0; READ];
    loop {
        let count = opened.read(&mut bytes).await.map_err(wrong)?;
        if count == 0 {
            break;
        }
        hasher.update(bytes.get(..count).unwrap_or_default());
    }
    let found = Digest(hasher.finalize().into());
    if found != digest {
        return Err(Refusal::OtherImage {
            found: found.to_string(),
            whose: "token",
            named: digest.to_string(),
        });
    }
    Ok(())
}
