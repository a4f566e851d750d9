//! Both runs: straight to the site, and through the appliances.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use photo::{Event, Photo, Scene, Taken};
use site::{Backhaul, Place};

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    /// For each photograph, what the phone saw.
    pub(crate) taken: Vec<Taken>,
    /// What came to the site.
    pub(crate) events: Vec<Event>,
    /// Bytes from the phone, and bytes into the site.
    pub(crate) from_phone: u64,
    pub(crate) into_site: u64,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) world: &'static str,
    pub(crate) direct: Run,
    pub(crate) edge: Run,
    /// `edgecloud ps`, `edgecloud flows` and `edgecloud accounts`.
    pub(crate) domains: String,
    pub(crate) flows: String,
    pub(crate) accounts: String,
    /// The site's page when the phone had its last answer.
    pub(crate) album: String,
    /// The album's thumbnails: photograph, name and picture.
    pub(crate) thumbnails: Vec<(String, String, Vec<u8>)>,
}

/// `output` is where the appliances' logs go.
pub(crate) fn run(
    place: &Place<'_>,
    photos: &[Photo],
    backhaul: &Backhaul,
    output: &Path,
) -> Result<Results> {
    let world = match place.is_xen() {
        true => "xen",
        false => "netns",
    };
    println!("demo: building, and setting the scene ({world})");
    let mut scene = Scene::set(place, backhaul)?;
    scene.load_phone(photos)?;
    println!("demo: straight to the site, without EdgeCloud");
    let (direct, _) = play(&scene, photos, backhaul, Duration::ZERO)?;
    println!("demo: launching uploader and thumbnailer from signed manifests");
    scene.open_album()?;
    let cheap_after = cheap_after(photos, place.is_xen());
    println!(
        "demo: originals shall go when the link is cheap, {} s from now",
        cheap_after.as_secs()
    );
    scene.launch(cheap_after)?;
    println!("demo: the same photographs, with EdgeCloud");
    let played = play(&scene, photos, backhaul, cheap_after);
    for name in ["thumbnail", "uploader"] {
        std::fs::write(
            output.join(format!("{name}.log")),
            scene.operator.edgecloud(&format!("logs {name}"))?,
        )?;
    }
    let (edge, album) = played?;
    let thumbnails = thumbnails(place, photos, &edge.events)?;
    Ok(Results {
        world,
        direct,
        edge,
        domains: scene.operator.edgecloud("ps")?,
        flows: scene.operator.edgecloud("flows")?,
        accounts: scene.operator.edgecloud("accounts")?,
        album,
        thumbnails,
    })
}

/// What the album that is open shows: of each photograph the largest thumbnail, if it has one.
fn thumbnails(
    place: &Place<'_>,
    photos: &[Photo],
    events: &[Event],
) -> Result<Vec<(String, String, Vec<u8>)>> {
    let folder = place.run("ls -d \"$HERE\"/album-* | sort -V | tail -n 1")?;
    let read = |photo: &Photo| {
        let has = |event: &&Event| event.photo == photo.id && event.kind == "thumbnail";
        let name = events
            .iter()
            .filter(has)
            .max_by_key(|event| event.bytes)
            .map_or("original", |event| event.name.as_str());
        let file = format!("{}/{}/{name}", folder.trim(), photo.id);
        Ok((photo.id.clone(), name.to_owned(), place.read(&file)?))
    };
    photos.iter().map(read).collect()
}

/// Also gives the album's page when the phone had its last answer.
fn play(
    scene: &Scene<'_>,
    photos: &[Photo],
    backhaul: &Backhaul,
    cheap: Duration,
) -> Result<(Run, String)> {
    let (_, phone_before) = scene.network.bytes("phone", "eth0")?;
    let (site_before, _) = scene.network.bytes("origin", "eth0")?;
    let mut taken = Vec::new();
    for photo in photos {
        let seen = scene.upload(photo, limit(photo.bytes, backhaul))?;
        println!(
            "  {:<26} {:>6} kB  answered {} after {:>6.1} s",
            photo.name,
            photo.bytes / 1000,
            seen.status,
            seconds(seen.began, seen.answered)
        );
        ensure!(
            (200..300).contains(&seen.status),
            "the phone was answered {} for {}",
            seen.status,
            photo.name
        );
        taken.push(seen);
    }
    let album = scene.album_page()?;
    let all = photos.iter().map(|photo| photo.bytes).sum();
    let events = scene.wait_for_originals(photos, limit(all, backhaul) + cheap, |event| {
        let photo = photos.iter().find(|photo| photo.id == event.photo);
        let name = photo.map_or("somebody else's", |photo| photo.name.as_str());
        println!(
            "  the site has {name:<26} {} ({} bytes)",
            event.name, event.bytes
        );
    })?;
    let (_, phone_after) = scene.network.bytes("phone", "eth0")?;
    let (site_after, _) = scene.network.bytes("origin", "eth0")?;
    let run = Run {
        taken,
        events,
        from_phone: phone_after - phone_before,
        into_site: site_after - site_before,
    };
    Ok((run, album))
}

/// When the link becomes cheap: a demo has no patience until the night. Long enough for launching
/// the appliances and for the phone's uploads, which emulated domains take some seconds for each.
fn cheap_after(photos: &[Photo], is_xen: bool) -> Duration {
    match is_xen {
        true => Duration::from_secs(60 + 8 * photos.len() as u64),
        false => Duration::from_secs(25),
    }
}

/// Four times what the backhaul takes, and two minutes for everything else.
fn limit(bytes: u64, backhaul: &Backhaul) -> Duration {
    let seconds = bytes * 8 / 1000 / u64::from(backhaul.kbit_per_s.max(1));
    Duration::from_secs(4 * seconds + 120)
}

/// Between two times in milliseconds.
pub(crate) fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1000.0
}

impl Run {
    /// When something of a photograph was at the site, in seconds after its upload began: its first
    /// thumbnail or its original, whatever came first; or its original.
    pub(crate) fn at_site(&self, index: usize, photo: &Photo, only_original: bool) -> Option<f64> {
        let began = self.taken.get(index)?.began;
        self.events
            .iter()
            .filter(|event| event.photo == photo.id)
            .filter(|event| !only_original || event.kind == "original")
            .map(|event| seconds(began, event.at))
            .reduce(f64::min)
    }

    /// How long the phone waited for its answer, in seconds.
    pub(crate) fn answered(&self, index: usize) -> Option<f64> {
        let taken = self.taken.get(index)?;
        Some(seconds(taken.began, taken.answered))
    }
}
