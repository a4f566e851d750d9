//! Tokens that do not hold, and what becomes of an application whose token ends: it is cut, and
//! nobody else is.

use anyhow::{Context as _, Result, ensure};
use site::{ORIGIN, Submission};

use super::hosted::{HELLO_SAYS, HOST, Hosted, ORIGIN_BRIEF, ORIGIN_FILM, ORIGIN_SAYS};
use super::intruder::{Intruder, METADATA};

/// How long the token of `brief` holds: in namespaces it is waited for, on the testbed dom0's clock
/// is set forward, for nobody knows how long an emulated domain takes to come up.
const BRIEF_S: [u32; 2] = [20, 3600];

pub(super) fn tokens(hosted: &Hosted<'_>) -> Result<()> {
    hosted.place.run("cd \"$HERE\"; cp film.token old.token")?;
    let seconds = BRIEF_S[usize::from(hosted.place.is_xen())];
    submit(hosted, "brief", HOST, seconds, "")?;
    let descriptor = "--descriptor film.descriptor";
    let brief = format!("--token brief.token {descriptor} --key brief.holder.pem --name brief");
    let image = &hosted.image;
    let brief = format!("launch {image} {brief} --env TRANSPARENT=true");
    hosted.operator.edgecloud(&brief)?;
    hosted.wait_for_answer(ORIGIN_BRIEF, HELLO_SAYS)?;
    let held = [
        hosted.hold("held-photos", ORIGIN)?,
        hosted.hold("held-film", ORIGIN_FILM)?,
        hosted.hold("held-brief", ORIGIN_BRIEF)?,
    ];
    held_by(hosted, &["photos", "film", "brief"], &[])?;

    never_held(hosted)?;
    replayed(hosted)?;

    let clock = Clock::forward(hosted, seconds)?;
    let cut = "grep -q ^cut \"$HERE/held-brief.log\"";
    hosted.wait_until("what expired is cut", cut)?;
    hosted.wait_for_answer(ORIGIN_BRIEF, ORIGIN_SAYS)?;
    held_by(hosted, &["photos", "film"], &["brief"])?;
    hosted.refused(&brief, "expired")?;
    drop(clock);

    revoked(hosted, &["photos", "brief"])?;
    drop(held);
    Ok(())
}

/// The application of `one` is cut, as those of `cut` then are, and `film` goes on.
fn revoked(hosted: &Hosted<'_>, cut: &[&str]) -> Result<()> {
    let told = hosted.json(&format!("revoke {}", hosted.application))?;
    ensure!(told["domains"][0] == "one", "{told}");
    hosted.wait_until(
        "what is revoked is cut",
        "grep -q ^cut \"$HERE/held-photos.log\"",
    )?;
    hosted.wait_for_answer(ORIGIN, ORIGIN_SAYS)?;
    held_by(hosted, &["film"], cut)?;
    hosted.refused(&hosted.launching("two"), "withdrawn")
}

/// Dom0's clock, set forward; dropping it sets it back.
struct Clock<'h, 'p>(&'h Hosted<'p>, u32);

impl<'h, 'p> Clock<'h, 'p> {
    fn forward(hosted: &'h Hosted<'p>, seconds: u32) -> Result<Option<Clock<'h, 'p>>> {
        if !hosted.place.is_xen() {
            return Ok(None);
        }
        let clock = Clock(hosted, seconds);
        let forward = format!("date -s \"@$(($(date +%s) + {seconds}))\"");
        hosted.place.run(&forward)?;
        Ok(Some(clock))
    }
}

impl Drop for Clock<'_, '_> {
    fn drop(&mut self) {
        let back = format!("date -s \"@$(($(date +%s) - {}))\"", self.1);
        drop(self.0.place.run(&back));
    }
}

/// Submits a manifest of one more application, or of one again.
fn submit(hosted: &Hosted<'_>, name: &str, host: &str, seconds: u32, speak: &str) -> Result<()> {
    let rules = format!(
        "[[speak]]\nprotocols = [\"arp\", \"dns\", \"nd\"{speak}]\n[[intercept]]\n\
         from = \"clients\"\nto = {{ name = \"{name}.photos.example\", tcp = [80] }}\n"
    );
    let submission = Submission {
        name,
        image: &hosted.image,
        rules: &rules,
        host,
        seconds,
    };
    hosted.publisher.submit_for(&hosted.operator, &submission)
}

/// That clients are answered over the connections that they hold, and others' were cut.
fn held_by(hosted: &Hosted<'_>, answered: &[&str], cut: &[&str]) -> Result<()> {
    for name in answered {
        hosted.wait_for_more(&format!("held-{name}"), 5)?;
    }
    for (names, expected) in [(answered, "0"), (cut, "1")] {
        for name in names {
            let count = format!("grep -c ^cut \"$HERE/held-{name}.log\" || true");
            let count = hosted.place.run(&count)?;
            ensure!(count.trim() == expected, "{name} was cut {count} times");
        }
    }
    Ok(())
}

/// Launches `x` with a token, a descriptor and a key of an application's, some of them wrong.
fn launch(image: &str, token: &str, key: &str) -> String {
    format!("launch {image} --token {token} --descriptor film.descriptor --key {key} --name x")
}

fn never_held(hosted: &Hosted<'_>) -> Result<()> {
    let (place, image) = (hosted.place, hosted.image.as_str());
    let key = "film.holder.pem";
    // The signature is at the end.
    let token = place.read(&format!("{}/film.token", place.directory()))?;
    let (last, rest) = token.split_last().context("an empty token")?;
    place.write("forged.token", &[rest, &[last ^ 1]].concat())?;
    hosted.refused(&launch(image, "forged.token", key), "forged")?;
    place.write("short.token", rest)?;
    hosted.refused(&launch(image, "short.token", key), "malformed")?;
    // By this authority, for another of its hosts.
    submit(hosted, "elsewhere", "edge-2", 86_400, "")?;
    let elsewhere = launch(image, "elsewhere.token", "elsewhere.holder.pem");
    hosted.refused(&elsewhere, "other-audience")?;
    // Another program with the permissions of this one, and a thief with the wrong key.
    let other = format!("{}/other.elf", place.directory());
    place.run(&format!("cp {image} {other}; echo >>{other}"))?;
    hosted.refused(&launch(&other, "film.token", key), "other-image")?;
    hosted.refused(&launch(image, "film.token", "domain.pem"), "other-key")?;
    let taken = launch(image, "film.token", key).replace("--name x", "--name one");
    hosted.refused(&taken, "name-taken")
}

/// A token that a newer one took the place of, and a proof that was given once.
fn replayed(hosted: &Hosted<'_>) -> Result<()> {
    submit(hosted, "film", HOST, 86_400, ", \"icmp\"")?;
    let key = "film.holder.pem";
    let newer = launch(&hosted.image, "film.token", key).replace("--name x", "--name film-2");
    hosted.operator.edgecloud(&newer)?;
    hosted.refused(&launch(&hosted.image, "old.token", key), "older-token")?;

    let film = Intruder::enter(hosted, "film")?;
    let edge = &hosted.edge;
    let told = film.run(&format!("{edge} prove {METADATA}:80 \"$HERE/{key}\""))?;
    let statuses: Vec<&str> = told.lines().filter_map(|line| line.get(..3)).collect();
    ensure!(
        statuses == ["204", "403"] && told.contains("was used"),
        "a proof that is sent twice: {told}"
    );
    Ok(())
}
