//! A publisher: its key, its manifests, and its appliances.

use anyhow::{Result, ensure};

use crate::operator::{HOST, Operator};
use crate::place::Place;

/// A publisher, known by the name of its files.
pub struct Publisher<'p> {
    place: &'p Place<'p>,
    name: String,
    key: String,
}

/// An appliance of a publisher, from manifest to domain.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The domain's name, and the files'.
    pub name: &'a str,
    /// As [`Place::image`] told.
    pub image: &'a str,
    /// The domain's memory.
    pub memory_mib: u32,
    /// The manifest's rules, and what else it says, TOML; name, publisher, expiry and bill are put
    /// before it.
    pub manifest: &'a str,
    /// The appliance's settings, TOML.
    pub configuration: &'a str,
    /// Its disk, if it has one: a file or a device in the place.
    pub disk: Option<&'a str>,
    /// Further words of `edgecloud launch`.
    pub more: &'a str,
}

/// A manifest for a host.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The application's name, and the files'.
    pub name: &'a str,
    /// As [`Place::image`] told.
    pub image: &'a str,
    /// The manifest's rules, as in [`Launch`].
    pub rules: &'a str,
    /// Which of the operator's hosts.
    pub host: &'a str,
    /// How long the manifest holds.
    pub seconds: u32,
}

impl<'p> Publisher<'p> {
    /// Makes a publisher's key, with the command line that is there already.
    ///
    /// # Errors
    /// What `edgecloud keygen` says.
    pub fn new(place: &'p Place<'p>, name: &str) -> Result<Publisher<'p>> {
        let cli = place.program("edgecloud", "edgecloud")?;
        let key = place.run(&format!("{cli} keygen \"$HERE/{name}.pem\""))?;
        Ok(Publisher {
            place,
            name: name.to_owned(),
            key: key.trim().to_owned(),
        })
    }

    /// Its public key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Signs the image and the manifest, has a token made, and launches a domain; returns when it
    /// is live.
    ///
    /// # Errors
    /// What `edgecloud` says; an offer instead of a token is one.
    pub fn launch(&self, operator: &Operator<'_>, launch: &Launch<'_>) -> Result<()> {
        let Launch {
            name,
            image,
            memory_mib,
            ..
        } = launch;
        let publisher = &self.name;
        self.submit(operator, name, image, launch.manifest)?;
        let devices = match launch.disk {
            Some(_) => "network,disk",
            None => "network",
        };
        operator.edgecloud(&format!(
            "image sign {image} --key {publisher}.pem --name {name} --memory-mib {memory_mib} \
                 --device {devices} --out {name}.descriptor"
        ))?;
        self.place.write(
            &format!("{name}.config.toml"),
            launch.configuration.as_bytes(),
        )?;
        let disk = launch.disk.map(|disk| format!("--disk {disk}"));
        operator.edgecloud(&format!(
            "launch {image} --name {name} --token {name}.token --descriptor {name}.descriptor \
                 --key {name}.holder.pem --config {name}.config.toml {} {}",
            disk.unwrap_or_default(),
            launch.more
        ))?;
        operator.wait_for_state(name, "live")
    }

    /// Submits a manifest for this host, for a day; the token is in `NAME.token`.
    ///
    /// # Errors
    /// What `edgecloud` says; an offer instead of a token is one.
    pub fn submit(
        &self,
        operator: &Operator<'_>,
        name: &str,
        image: &str,
        rules: &str,
    ) -> Result<()> {
        self.submit_for(
            operator,
            &Submission {
                name,
                image,
                rules,
                host: HOST,
                seconds: 86_400,
            },
        )
    }

    /// Submits a manifest; the token is in `NAME.token`, and the key that it names in
    /// `NAME.holder.pem`: a new one, unless that is there.
    ///
    /// # Errors
    /// What `edgecloud` says; an offer instead of a token is one.
    pub fn submit_for(&self, operator: &Operator<'_>, submission: &Submission<'_>) -> Result<()> {
        let (publisher, key) = (&self.name, &self.key);
        let Submission {
            name,
            image,
            rules,
            host,
            seconds,
        } = submission;
        let expires = format!("date -u -d '+{seconds} sec' +%Y-%m-%dT%H:%M:%SZ");
        let expires = self.place.run(&expires)?;
        let manifest = format!(
            "name = \"{name}\"\npublisher = \"{key}\"\nexpires = {}\n{rules}\n\
             [bill]\naccount = \"{publisher}\"\n",
            expires.trim()
        );
        self.place
            .write(&format!("{name}.toml"), manifest.as_bytes())?;
        let is_there = format!("test -e \"$HERE/{name}.holder.pem\"");
        if self.place.run(&is_there).is_err() {
            operator.edgecloud(&format!("keygen {name}.holder.pem >{name}.holder"))?;
        }
        let said = operator.edgecloud(&format!(
            "manifest submit {name}.toml --key {publisher}.pem --host {host} --image {image} \
                 --holder $(cat {name}.holder)"
        ))?;
        let has_token = self
            .place
            .run(&format!("test -s \"$HERE/{name}.token\""))
            .is_ok();
        ensure!(has_token, "no token: {said}");
        Ok(())
    }
}
