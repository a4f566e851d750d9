//! A photograph's way from the phone to the site over a poor backhaul, through thumbnailer and
//! uploader that a publisher launched: the same source in both worlds.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use photo::{Photo, Scene};
use site::{Backhaul, Place, Service};

use super::until_within;
use crate::image::workspace;
use crate::scenario::Scenario;
use crate::xen::Xen;

/// What a village has.
const BACKHAUL: Backhaul = Backhaul {
    kbit_per_s: 2000,
    round_trip_ms: 80,
    loss_percent: 0.5,
};
/// Of 0.7 and 0.9 MB; the thumbnailer is killed in the middle of the third, and is not there for the fourth.
const PHOTOGRAPHS: [&str; 4] = [
    "nature/Storm.jpg",
    "nature/TwoWings.jpg",
    "nature/LadyBird.jpg",
    "nature/Wood.jpg",
];
/// What each of many phones has a copy of, 81 kB.
const SMALL: &str = "nature/FreshFlower.jpg";
/// They upload at once; the last two have the same.
const PHONES: usize = 20;
/// Of the third's 352 kB.
const CUT_AFTER_BYTES: u64 = 150_000;
/// Until the originals may go: two photographs are uploaded and their thumbnails are on the site before.
const CHEAP_AFTER: Duration = Duration::from_secs(45);
/// An emulated machine that plays this beside another one took more than a minute for that.
const CHEAP_AFTER_EMULATED: Duration = Duration::from_secs(170);
/// For an upload: an emulated, busy machine needs some seconds.
const UPLOAD_LIMIT: Duration = Duration::from_secs(120);
/// For many at once.
const CROWD_LIMIT: Duration = Duration::from_secs(240);
/// For the originals: the wait for the cheap minute, and seven seconds on the backhaul, which an emulated, busy
/// machine takes many times.
const ORIGINALS_LIMIT: Duration = Duration::from_secs(700);

pub(crate) fn scenarios() -> Vec<Scenario> {
    let name = "photo: thumbnails come first, originals later and once, for many phones, through a \
                thumbnailer that dies, and without one as ever";
    let scenario = Scenario::on_xen(name, &[], |xen: &Xen| {
        photographs(&Place::xen(workspace(), &xen.testbed)?)
    });
    vec![scenario.and_as_process(|_| photographs(&Place::netns(workspace())?))]
}

fn photographs(place: &Place<'_>) -> Result<()> {
    let folder = photo::debian(&workspace().join("target/demo/debian"))?;
    let photos: Vec<Photo> = PHOTOGRAPHS
        .iter()
        .map(|name| Photo::read(&folder.join(name)))
        .collect::<Result<_>>()?;
    let scene = Scene::set(place, &BACKHAUL)?;
    scene.load_phone(&photos)?;
    let played = play(place, &scene, &photos, &folder.join(SMALL));
    played.with_context(|| scene.diagnosis())
}

fn play(place: &Place<'_>, scene: &Scene<'_>, photos: &[Photo], small: &Path) -> Result<()> {
    scene.launch(match place.is_xen() {
        true => CHEAP_AFTER_EMULATED,
        false => CHEAP_AFTER,
    })?;
    let (through, [cut, straight]) = photos.split_at(2) else {
        unreachable!("there are four")
    };
    for photo in through {
        let taken = scene.upload(photo, UPLOAD_LIMIT)?;
        ensure!(
            taken.status == 201,
            "the phone is answered {}",
            taken.status
        );
    }
    let events = scene.wait_for_originals(through, ORIGINALS_LIMIT, |_| {})?;
    for photo in through {
        let of: Vec<_> = events
            .iter()
            .filter(|event| event.photo == photo.id)
            .collect();
        let kinds: Vec<&str> = of.iter().map(|event| event.kind.as_str()).collect();
        ensure!(
            kinds == ["thumbnail", "thumbnail", "original"],
            "of {} the site has {kinds:?}",
            photo.name
        );
        ensure!(of[2].bytes == photo.bytes, "an original of another length");
    }

    killed(scene, cut)?;
    crowd(scene, small)?;
    // `on-fail = "pass"`: the site is reached as if nobody had ever been between.
    scene
        .operator
        .edgecloud("stop thumbnail --drain-seconds 0")?;
    let taken = scene.upload(straight, UPLOAD_LIMIT)?;
    ensure!(
        taken.status == 201,
        "the phone is answered {}",
        taken.status
    );
    let events = scene.site_has()?;
    let of_it: Vec<&str> = events
        .iter()
        .filter(|event| event.photo == straight.id)
        .map(|event| event.kind.as_str())
        .collect();
    ensure!(
        of_it == ["original"],
        "without a thumbnailer the site has {of_it:?}"
    );
    Ok(())
}

/// The thumbnailer dies while a photograph passes through it: the phone tries again, as phones do, and the
/// site has the photograph once.
fn killed(scene: &Scene<'_>, photo: &Photo) -> Result<()> {
    let phone = half_way(scene, photo, CUT_AFTER_BYTES)?;
    scene.kill("thumbnail")?;
    until("the phone is told", || Ok(phone.log().contains("ended ")))?;
    let said = phone.log();
    ensure!(
        said.contains("ended b''"),
        "half a photograph was taken for a whole one: {said}"
    );
    let mut tried = None;
    let through = until("the phone gets through", || {
        let taken = tried.insert(scene.upload(photo, UPLOAD_LIMIT));
        Ok(taken.as_ref().is_ok_and(|taken| taken.status == 201))
    });
    through.with_context(|| format!("{tried:?}"))?;
    let events = scene.wait_for_originals(std::slice::from_ref(photo), ORIGINALS_LIMIT, |_| {})?;
    let originals: Vec<_> = events
        .iter()
        .filter(|event| event.photo == photo.id && event.kind == "original")
        .collect();
    ensure!(
        originals.len() == 1 && originals[0].bytes == photo.bytes && !originals[0].again,
        "not once and whole: {originals:?}"
    );
    scene.operator.wait_for_state("thumbnail", "live")
}

/// A phone that has sent so much of a photograph, of which the uploader knows, and goes no further.
fn half_way<'p>(scene: &Scene<'p>, photo: &Photo, bytes: u64) -> Result<Service<'p>> {
    let before = scene.arriving()?;
    let phone = scene.begin_upload(photo, bytes, UPLOAD_LIMIT)?;
    let arrives = until("it arrives", || Ok(scene.arriving()? > before));
    arrives.with_context(|| phone.log())?;
    Ok(phone)
}

/// Many phones at once, two of them with the same photograph, and one that stops in the middle for ever:
/// all others are answered, and the site has each photograph once.
fn crowd(scene: &Scene<'_>, small: &Path) -> Result<()> {
    let bytes = std::fs::read(small)?;
    let folder = workspace().join("target/demo/crowd");
    std::fs::create_dir_all(&folder)?;
    let photos = (1..PHONES).map(|number| {
        // What follows the picture's end is nobody's business.
        let file = folder.join(format!("{number}.jpg"));
        std::fs::write(&file, [&bytes[..], &number.to_be_bytes()].concat())?;
        Photo::read(&file)
    });
    let photos = photos.collect::<Result<Vec<Photo>>>()?;
    scene.load_phone(&photos)?;
    let _stops = half_way(scene, &photos[0], bytes.len() as u64 / 2)?;
    let all: Vec<&Photo> = photos.iter().chain(photos.last()).collect();
    let answers = scene.upload_at_once(&all, CROWD_LIMIT)?;
    ensure!(
        answers.len() == PHONES && answers.iter().all(|answer| *answer == 201),
        "the phones are answered {answers:?}"
    );
    scene.wait_for_originals(&photos, ORIGINALS_LIMIT, |_| {})?;
    let mut counts = Vec::new();
    let all_there = until("the site has thumbnails of each", || {
        let events = scene.site_has()?;
        let of_each = photos.iter().map(|photo| {
            let of_it = events.iter().filter(|event| event.photo == photo.id);
            let (originals, thumbnails): (Vec<_>, Vec<_>) =
                of_it.partition(|event| event.kind == "original");
            (originals.len(), thumbnails.len())
        });
        counts = of_each.collect();
        let once = counts.iter().all(|(originals, _)| *originals == 1);
        ensure!(once, "an original that is not there once");
        Ok(counts.iter().all(|(_, thumbnails)| *thumbnails >= 2))
    });
    all_there.with_context(|| format!("originals and thumbnails of each: {counts:?}"))
}

fn until(what: &str, so: impl FnMut() -> Result<bool>) -> Result<()> {
    until_within(UPLOAD_LIMIT, what, so)
}
