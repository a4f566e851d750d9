//! A photograph's way from the phone to the site over a poor backhaul, through thumbnailer and
//! uploader that a publisher launched: the same source in both worlds.

use std::time::Duration;

use anyhow::{Result, ensure};
use photo::{Photo, Scene};
use site::{Backhaul, Place};

use crate::image::workspace;
use crate::scenario::Scenario;
use crate::xen::Xen;

/// What a village has.
const BACKHAUL: Backhaul = Backhaul {
    kbit_per_s: 2000,
    round_trip_ms: 80,
    loss_percent: 0.5,
};
/// Of 0.7 and 0.9 MB; the third goes when no thumbnailer is there.
const PHOTOGRAPHS: [&str; 3] = ["nature/Storm.jpg", "nature/TwoWings.jpg", "nature/Wood.jpg"];
/// Until the originals may go: for two uploads, and emulated decoding of them.
const CHEAP_AFTER: Duration = Duration::from_secs(45);
/// For an upload: an emulated, busy machine needs some seconds.
const UPLOAD_LIMIT: Duration = Duration::from_secs(120);
/// For the originals: the wait for the cheap minute, and seven seconds on the backhaul.
const ORIGINALS_LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn scenarios() -> Vec<Scenario> {
    let name = "photo: thumbnails come first, originals later and once, and without a thumbnailer \
                as ever";
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
    scene.launch(CHEAP_AFTER)?;
    let (through, [straight]) = photos.split_at(2) else {
        unreachable!("there are three")
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
