//! The scene: phone, site, operator, publisher, and the publisher's two appliances.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use site::{
    Backhaul, Launch, NAMES, Network, ORIGIN, Operator, Place, Publisher, Service, Settings,
};

/// The uploader's disk: the originals of an afternoon.
pub const UPLOADER_DISK_MIB: u32 = 256;

/// The site's name.
const SITE: &str = "www.photos.example";
/// The uploader's name, at which the thumbnailer opens it.
const UPLOADER: &str = "uploader.edge.photos.example";

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
to = { name = "www.photos.example", tcp = [80] }
"#;

const THUMBNAIL_MANIFEST: &str = r#"
on-fail = "pass"
[[speak]]
protocols = ["arp", "dns", "icmp"]
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80] }
where = { path = "/upload*" }
[[call]]
to = { name = "www.photos.example", tcp = [80] }
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
        let names = network.serve_names(&format!("address=/{SITE}/{ORIGIN}"))?;
        let settings = Settings {
            policies: POLICIES.to_owned(),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"Photos Inc.\"\naccounts = [\"photos\"]\n\
                 groups = [\"partners\"]\n",
                publisher.key()
            ),
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
        let command =
            format!("exec ip netns exec origin {album} \"$HERE/album-{number}\" {ORIGIN}:80");
        self.origin = Some(self.place.start("photo-site", &command)?);
        self.place
            .run(&format!(
                "for i in $(seq 100); do ip netns exec phone curl -sf --max-time 5 -o /dev/null \
                     http://{ORIGIN}/events && exit; sleep 0.1; done; exit 1"
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
                    "[service]\ndevice = \"{device}\"\nrest-seconds = 0\n{}",
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
                     sizes = [\"grid=512x512\", \"small=160x160\"]\n"
                ),
                disk: None,
                more: "",
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
                 --max-time {} --resolve {SITE}:80:{ORIGIN} -H 'Content-Type: image/jpeg' \
                 --data-binary @\"$HERE/phone-{}\" http://{SITE}/upload/{})
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

    /// What came to the site.
    ///
    /// # Errors
    /// It does not answer.
    pub fn site_has(&self) -> Result<Vec<Event>> {
        let said = self.place.run(&format!(
            "ip netns exec origin curl -sSf --max-time 30 http://{ORIGIN}/events"
        ))?;
        Ok(serde_json::from_str(&said)?)
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
