//! The scene: phone, site, operator, publisher, and the publisher's two appliances.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use site::{
    Backhaul, Launch, NAMES, Network, ORIGIN, Operator, Patience, Place, Publisher, Service,
    Settings,
};

/// The uploader's disk: the originals of an afternoon.
pub const UPLOADER_DISK_MIB: u32 = 256;

/// The site's name.
const SITE: &str = "www.photos.example";
/// The uploader's name, at which the thumbnailer opens it.
const UPLOADER: &str = "uploader.edge.photos.example";

/// Where the uploader tells the operator what it has.
const STATUS_PORT: u16 = 8009;

/// The addresses of many phones are 10.0.0.100 and so on.
const FIRST_OF_MANY: usize = 100;

/// What curl needs to know of the site: where it is, and whose certificate it has.
const TO_SITE: &str = "--resolve www.photos.example:443:203.0.113.7 --cacert \"$HERE/site.pem\"";

/// What the operator allows its partner: everything that concerns its own names, and one another.
const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource)
when { ["arp", "nd", "dns", "icmp"].containsAll(context.protocols) };

@id("own-names")
permit (principal in Group::"partners", action in [Action::"intercept", Action::"call"], resource)
when { context has toName && context.toName like "*.photos.example" };

@id("own-services")
permit (principal in Group::"partners", action == Action::"serve", resource)
when { context.name like "*.edge.photos.example" };
"#;

const UPLOADER_MANIFEST: &str = r#"
on-fail = "block"
[[speak]]
protocols = ["arp", "dns", "icmp"]
[[serve]]
as = "uploader.edge.photos.example"
from = "10.0.1.0/24"
tcp = [80]
[[call]]
to = { name = "www.photos.example", tcp = [443] }
"#;

const THUMBNAIL_MANIFEST: &str = r#"
on-fail = "pass"
[[speak]]
protocols = ["arp", "dns", "icmp"]
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [443] }
where = { path = "/upload*" }
[[call]]
to = { name = "www.photos.example", tcp = [443] }
[[call]]
to = { name = "uploader.edge.photos.example", tcp = [80] }
"#;

/// A photograph on the phone.
#[derive(Debug, Clone)]
pub struct Photo {
    /// The file's name.
    pub name: String,
    /// Where it is on this computer.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub id: String,
}

impl Photo {
    /// Reads one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &Path) -> Result<Photo> {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let digest = Sha256::digest(&bytes);
        Ok(Photo {
            name: name.into_owned(),
            file: file.to_owned(),
            bytes: bytes.len() as u64,
            id: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// What the phone saw of an upload.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// When it began, in milliseconds since 1970.
    pub began: u64,
    /// When it had its answer.
    pub answered: u64,
    /// The answer.
    pub status: u16,
}

/// What the site says came.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// `original` or `thumbnail`.
    pub kind: String,
    /// The photograph's SHA-256.
    pub photo: String,
    /// `original`, or the thumbnail's size.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// It was there already.
    pub again: bool,
}

/// Everything. Fields are dropped in this order: who speaks before what is spoken through.
pub struct Scene<'p> {
    origin: Option<Service<'p>>,
    _names: Service<'p>,
    /// The operator.
    pub operator: Operator<'p>,
    publisher: Publisher<'p>,
    /// The links.
    pub network: Network<'p>,
    place: &'p Place<'p>,
    album: String,
    albums: u32,
    /// The uploader's and the thumbnailer's.
    images: [String; 2],
}

impl<'p> Scene<'p> {
    /// Sets it: everything but the appliances.
    ///
    /// # Errors
    /// What cannot be built or started, and why.
    pub fn set(place: &'p Place<'p>, backhaul: &Backhaul) -> Result<Scene<'p>> {
        let album = place.program("photo", "photo-site")?;
        let images = [place.image("uploader")?, place.image("thumbnail")?];
        let publisher = Publisher::new(place, "photos")?;
        let network = Network::make(place, backhaul)?;
        // The publisher's: it gives it to its thumbnailer, too, which stands for the site.
        place.run(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
                 -keyout \"$HERE/site.key\" -out \"$HERE/site.pem\" -subj /CN={SITE} \
                 -addext subjectAltName=DNS:{SITE} -addext basicConstraints=critical,CA:FALSE \
                 2>\"$HERE/openssl.log\"; chmod 600 \"$HERE/site.key\""
        ))?;
        let names = network.serve_names(&format!("address=/{SITE}/{ORIGIN}"))?;
        let settings = Settings {
            policies: POLICIES.to_owned(),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"Photos Inc.\"\naccounts = [\"photos\"]\n\
                 groups = [\"partners\"]\n",
                publisher.key()
            ),
            ipv6: false,
            patience: Patience::default(),
            daemon: format!("[resolver]\nupstream = [\"{NAMES}\"]\nclients = [\"10.0.0.0/24\"]\n"),
        };
        let operator = Operator::start(place, &settings)?;
        let mut scene = Scene {
            origin: None,
            _names: names,
            operator,
            publisher,
            network,
            place,
            album,
            albums: 0,
            images,
        };
        scene.open_album()?;
        Ok(scene)
    }

    /// Opens the photo site with an empty album.
    ///
    /// # Errors
    /// It does not start.
    pub fn open_album(&mut self) -> Result<()> {
        self.origin = None;
        self.albums += 1;
        let (album, number) = (&self.album, self.albums);
        let command = format!(
            "exec ip netns exec origin {album} \"$HERE/album-{number}\" {ORIGIN}:443 \
                 \"$HERE/site.pem\" \"$HERE/site.key\""
        );
        self.origin = Some(self.place.start("photo-site", &command)?);
        self.place
            .run(&format!(
                "for i in $(seq 100); do ip netns exec phone curl -sf --max-time 5 -o /dev/null \
                     {TO_SITE} https://{SITE}/events && exit; sleep 0.1; done; exit 1"
            ))
            .context("the photo site cannot be reached from the phone")?;
        Ok(())
    }

    /// Launches the publisher's appliances, each from a signed manifest. Originals wait until the
    /// link is cheap, which is after so many seconds, up to the next full minute.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn launch(&self, cheap_after: Duration) -> Result<()> {
        let disk = format!("{}/uploader.disk", self.place.directory());
        self.place
            .run(&format!("truncate -s {UPLOADER_DISK_MIB}M {disk}"))?;
        let [uploader, thumbnail] = &self.images;
        let certificate = self.place.run("cat \"$HERE/site.pem\"")?;
        // A process has no /dev/xvda of its own.
        let device = match self.place.is_xen() {
            true => "/dev/xvda",
            false => disk.as_str(),
        };
        self.publisher.launch(
            &self.operator,
            &Launch {
                name: "uploader",
                image: uploader,
                memory_mib: 64,
                manifest: UPLOADER_MANIFEST,
                configuration: &format!(
                    "[service]\ndevice = \"{device}\"\nrest-seconds = 0\n\
                     status = \"[::]:{STATUS_PORT}\"\n{}\
                     origin-ca = \"\"\"\n{certificate}\"\"\"\n",
                    self.timetable(cheap_after)?
                ),
                disk: self.place.is_xen().then_some(disk.as_str()),
                more: "",
            },
        )?;
        self.publisher.launch(
            &self.operator,
            &Launch {
                name: "thumbnail",
                image: thumbnail,
                memory_mib: 256,
                manifest: THUMBNAIL_MANIFEST,
                configuration: &format!(
                    "[appliance]\ntransparent = true\n[service]\n\
                     uploader = \"http://{UPLOADER}:80/files\"\n\
                     sizes = [\"grid=512x512\", \"small=160x160\"]\n\
                     origin-ca = \"\"\"\n{certificate}\"\"\"\n"
                ),
                disk: None,
                more: "--env-file TLS_CERTIFICATE=site.pem --env-file TLS_KEY=site.key",
            },
        )
    }

    /// A timetable by which the link is dear now and cheap from then on. Its zone is the one where
    /// it is noon now, so that no midnight lies between.
    fn timetable(&self, cheap_after: Duration) -> Result<String> {
        const NOON: u64 = 12 * 60;
        let now: u64 = self.place.run("date +%s")?.trim().parse()?;
        let minute = now / 60 % (24 * 60);
        let cheap = (now % 60 + cheap_after.as_secs()).div_ceil(60);
        Ok(format!(
            "timetable = [\"00:00 price=8\", \"{:02}:{:02} price=0\"]\nutc-offset-minutes = {}\n",
            (NOON + cheap) / 60,
            (NOON + cheap) % 60,
            NOON.cast_signed() - minute.cast_signed()
        ))
    }

    /// Brings photographs to the phone; done once.
    ///
    /// # Errors
    /// They cannot be read or written.
    pub fn load_phone(&self, photos: &[Photo]) -> Result<()> {
        for photo in photos {
            self.place
                .put(&format!("phone-{}", photo.id), &photo.file)?;
        }
        Ok(())
    }

    /// The phone uploads a photograph with curl; returns when it has its answer.
    ///
    /// # Errors
    /// curl's.
    pub fn upload(&self, photo: &Photo, limit: Duration) -> Result<Taken> {
        let script = format!(
            "began=$(date +%s%3N)
             status=$(ip netns exec phone curl -sS -o /dev/null -w '%{{http_code}}' \
                 --max-time {} {TO_SITE} -H 'Content-Type: image/jpeg' \
                 --data-binary @\"$HERE/phone-{}\" https://{SITE}/upload/{})
             echo $began $(date +%s%3N) $status",
            limit.as_secs(),
            photo.id,
            photo.id.get(..8).unwrap_or_default(),
        );
        let said = self
            .place
            .run_within(&script, limit + Duration::from_secs(30))?;
        let words: Vec<u64> = said
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let [began, answered, status] = words[..] else {
            bail!("the phone says {said:?}");
        };
        let status = u16::try_from(status)?;
        Ok(Taken {
            began,
            answered,
            status,
        })
    }

    /// The phone uploads the first so many bytes of a photograph, and then has nothing to send; when that is
    /// over the service writes `ended`, and the answer if there was one.
    ///
    /// # Errors
    /// It does not start.
    pub fn begin_upload(&self, photo: &Photo, bytes: u64, limit: Duration) -> Result<Service<'p>> {
        let script = self
            .place
            .write("half.py", include_str!("half.py").as_bytes())?;
        let (seconds, id) = (limit.as_secs(), &photo.id);
        let command = format!(
            "exec ip netns exec phone python3 {script} {SITE} {ORIGIN} \"$HERE/site.pem\" /upload/cut \
                 \"$HERE/phone-{id}\" {bytes} {seconds}"
        );
        self.place.start("phone-begins", &command)
    }

    /// As many phones as there are photographs, each with an address of its own, upload one each, all at
    /// once; what they are answered.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn upload_at_once(&self, photos: &[&Photo], limit: Duration) -> Result<Vec<u16>> {
        let script = self
            .place
            .write("phones.py", include_str!("phones.py").as_bytes())?;
        let (mut addresses, mut phones) = (String::new(), String::new());
        for (number, photo) in photos.iter().enumerate() {
            let address = format!("10.0.0.{}", FIRST_OF_MANY + number);
            addresses += &format!("ip -n phone address replace {address}/24 dev eth0\n");
            phones += &format!(" {address}=\"$HERE/phone-{}\"", photo.id);
        }
        let seconds = limit.as_secs();
        let said = self.place.run_within(
            &format!(
                "{addresses}ip netns exec phone python3 {script} {SITE} {ORIGIN} \"$HERE/site.pem\" \
                     {seconds}{phones}"
            ),
            limit + Duration::from_secs(60),
        )?;
        serde_json::from_str(&said).with_context(|| said)
    }

    /// How many originals the uploader has the beginning of, and no more.
    ///
    /// # Errors
    /// It does not say.
    pub fn arriving(&self) -> Result<usize> {
        let domain = self.operator.domain("uploader")?.context("no uploader")?;
        let addresses = domain["addresses"].as_array().context("no addresses")?;
        let address = addresses.iter().find_map(|one| one.as_str()?.parse().ok());
        let address: std::net::Ipv4Addr = address.context("no IPv4 address")?;
        let said = self.place.run(&format!(
            "curl -sSf --max-time 20 http://{address}:{STATUS_PORT}/status.json"
        ))?;
        let status: serde_json::Value = serde_json::from_str(&said)?;
        let uploads = status["uploads"].as_array().context("no uploads")?;
        let arrives = |upload: &&serde_json::Value| {
            upload["state"] == "arriving" && upload["is_thumbnail"] == false
        };
        Ok(uploads.iter().filter(arrives).count())
    }

    /// What both appliances and the daemon say, for a step that failed.
    pub fn diagnosis(&self) -> String {
        let logs = |name: &str| self.operator.edgecloud(&format!("logs {name}"));
        let consoles = ["thumbnail", "uploader"].map(|name| logs(name).unwrap_or_default());
        format!("{}\n{}", consoles.join("\n"), self.operator.daemon_log())
    }

    /// Kills an appliance as a crash does.
    ///
    /// # Errors
    /// There is none.
    pub fn kill(&self, name: &str) -> Result<()> {
        let domain = self.operator.domain(name)?;
        let id = domain.and_then(|domain| domain["id"].as_u64());
        let id = id.with_context(|| format!("{name} does not run"))?;
        self.place.run(&match self.place.is_xen() {
            true => format!("xl destroy {id}"),
            false => format!("kill -KILL {id}"),
        })?;
        Ok(())
    }

    /// What came to the site.
    ///
    /// # Errors
    /// It does not answer.
    pub fn site_has(&self) -> Result<Vec<Event>> {
        let said = self.place.run(&format!(
            "ip netns exec origin curl -sSf --max-time 30 {TO_SITE} https://{SITE}/events"
        ))?;
        Ok(serde_json::from_str(&said)?)
    }

    /// The album's page as the site shows it now.
    ///
    /// # Errors
    /// It does not answer.
    pub fn album_page(&self) -> Result<String> {
        self.place.run(&format!(
            "ip netns exec origin curl -sSf --max-time 30 {TO_SITE} https://{SITE}/"
        ))
    }

    /// Waits until the site has these originals; `seen` is told of each event once.
    ///
    /// # Errors
    /// They are not there within the limit: which.
    pub fn wait_for_originals(
        &self,
        photos: &[Photo],
        limit: Duration,
        mut seen: impl FnMut(&Event),
    ) -> Result<Vec<Event>> {
        let deadline = Instant::now() + limit;
        let mut told = 0;
        loop {
            let events = self.site_has()?;
            events.iter().skip(told).for_each(&mut seen);
            told = events.len();
            let originals: BTreeMap<&str, &Event> = events
                .iter()
                .filter(|event| event.kind == "original")
                .map(|event| (event.photo.as_str(), event))
                .collect();
            let missing: Vec<&str> = photos
                .iter()
                .filter(|photo| !originals.contains_key(photo.id.as_str()))
                .map(|photo| photo.name.as_str())
                .collect();
            if missing.is_empty() {
                return Ok(events);
            }
            ensure!(
                Instant::now() < deadline,
                "the site has no original of {} after {} s",
                missing.join(", "),
                limit.as_secs()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
