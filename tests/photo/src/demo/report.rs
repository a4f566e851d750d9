//! What was seen, as a table on the terminal and as a page with pictures and a plot.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use photo::Photo;
use serde_json::json;
use site::Backhaul;

use crate::run::{Results, Run};

/// The three times of a photograph: the phone's answer, something to see on the site, the original.
fn times(run: &Run, index: usize, photo: &Photo) -> [Option<f64>; 3] {
    [
        run.answered(index),
        run.at_site(index, photo, false),
        run.at_site(index, photo, true),
    ]
}

fn shown(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"))
}

/// The middle one of the ratios of a time without EdgeCloud to that with it.
fn sooner(photos: &[Photo], results: &Results, which: usize) -> Option<f64> {
    let mut ratios: Vec<f64> = photos
        .iter()
        .enumerate()
        .filter_map(|(index, photo)| {
            let without = times(&results.direct, index, photo)[which]?;
            let with = times(&results.edge, index, photo)[which]?;
            Some(without / with.max(0.001))
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// The table.
pub(crate) fn text(photos: &[Photo], results: &Results) -> String {
    let mut text = String::from(
        "\nseconds from the first byte            without EdgeCloud           with EdgeCloud\n\
         photograph                    kB    answer  to see  whole    answer  to see  whole\n",
    );
    for (index, photo) in photos.iter().enumerate() {
        let without = times(&results.direct, index, photo).map(shown);
        let with = times(&results.edge, index, photo).map(shown);
        let _ = writeln!(
            text,
            "{:<26} {:>6}    {:>6}  {:>6} {:>6}    {:>6}  {:>6} {:>6}",
            photo.name,
            photo.bytes / 1000,
            without[0],
            without[1],
            without[2],
            with[0],
            with[1],
            with[2]
        );
    }
    let ratio = |which| {
        sooner(photos, results, which).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}"))
    };
    let _ = writeln!(
        text,
        "median: the phone is answered {} times sooner, the photograph can be seen {} times sooner\n\
         bytes from the phone {} / {}, into the site {} / {} (without / with)",
        ratio(0),
        ratio(1),
        results.direct.from_phone,
        results.edge.from_phone,
        results.direct.into_site,
        results.edge.into_site
    );
    text
}

/// Everything in numbers, for programs: `figures.json`.
fn figures(photos: &[Photo], results: &Results) -> serde_json::Value {
    let named = |run: &Run, index: usize, photo: &Photo| {
        let [answered, seen, whole] = times(run, index, photo);
        json!({"answered_s": answered, "seen_s": seen, "whole_s": whole})
    };
    let photographs: Vec<_> = photos
        .iter()
        .enumerate()
        .map(|(index, photo)| {
            json!({
                "name": photo.name,
                "bytes": photo.bytes,
                "without": named(&results.direct, index, photo),
                "with": named(&results.edge, index, photo),
            })
        })
        .collect();
    json!({
        "world": results.world,
        "photographs": photographs,
        "answered_sooner": sooner(photos, results, 0),
        "seen_sooner": sooner(photos, results, 1),
    })
}

/// Writes the page and its pictures; the page's path.
pub(crate) fn write(
    output: &Path,
    photos: &[Photo],
    backhaul: &Backhaul,
    results: &Results,
) -> Result<PathBuf> {
    let album = output.join("album");
    // Of an earlier run.
    drop(std::fs::remove_dir_all(&album));
    for (id, name, picture) in &results.thumbnails {
        let folder = album.join("photos").join(id);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), picture)?;
    }
    std::fs::write(album.join("index.html"), &results.album)?;
    let figures = serde_json::to_vec_pretty(&figures(photos, results))?;
    std::fs::write(output.join("figures.json"), figures)?;
    let plot = plot(photos, results);
    std::fs::write(output.join("plot.svg"), &plot)?;
    let mut page = format!(
        "{HEAD}<h1>Photographs over a poor backhaul</h1>\n<p>{} photographs, {} kbit/s, {} ms there \
         and back, {} % lost; world: {}.</p>\n",
        photos.len(),
        backhaul.kbit_per_s,
        backhaul.round_trip_ms,
        backhaul.loss_percent,
        results.world
    );
    page += &plot;
    page += "<h2>As the site shows them</h2><p>The site's \
             <a href=\"album/index.html\">own page</a> when the phone had its last answer.</p>\
             <div class=album>\n";
    for (photo, (id, file, _)) in photos.iter().zip(&results.thumbnails) {
        let _ = writeln!(
            page,
            "<figure><img src=\"album/photos/{id}/{file}\" alt=\"{name}\">\
             <figcaption>{name}</figcaption></figure>",
            name = escaped(&photo.name)
        );
    }
    page += "</div>\n";
    for (title, text) in [
        (
            "Figures",
            self::text(photos, results).trim_start_matches('\n'),
        ),
        ("Domains (edgecloud ps)", results.domains.as_str()),
        ("Accounts (edgecloud accounts)", results.accounts.as_str()),
        (
            "What the switch holds (edgecloud flows)",
            results.flows.as_str(),
        ),
    ] {
        let _ = writeln!(page, "<h2>{title}</h2><pre>{}</pre>", escaped(text));
    }
    let path = output.join("index.html");
    std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width\"><title>EdgeCloud: a photograph's way</title><style>\
body{font:16px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222}\
.album{display:flex;flex-wrap:wrap;gap:.8rem}figure{margin:0}img{height:160px;display:block}\
figcaption{font-size:.8rem}pre{background:#f4f4f2;padding:.8rem;overflow:auto;font-size:.8rem}\
svg{width:100%;height:auto}</style>\n";

/// Two bars for each photograph and run, on one scale, and when the original came: later, as is meant.
fn plot(photos: &[Photo], results: &Results) -> String {
    const LEFT: f64 = 210.0;
    const WIDTH: f64 = 560.0;
    const ROW: f64 = 54.0;
    let runs = [("without", &results.direct), ("with", &results.edge)];
    let longest = photos
        .iter()
        .enumerate()
        .flat_map(|(index, photo)| runs.map(|(_, run)| times(run, index, photo)))
        .flat_map(|[answered, seen, _]| [answered, seen])
        .flatten()
        .fold(1.0, f64::max);
    let height = ROW * photos.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 {height}\" \
         font-family=\"sans-serif\" role=\"img\" aria-label=\"seconds until the answer, the first \
         picture and the original\" font-size=\"12\">\n"
    );
    let colours = ["#2a6f97", "#f4a259"];
    let names = ["phone answered", "to be seen on the site"];
    for (place, (colour, name)) in colours.iter().zip(names).enumerate() {
        let x = LEFT + place as f64 * 190.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"6\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"16\">{name}</text>",
            x + 18.0
        );
    }
    for (index, photo) in photos.iter().enumerate() {
        let top = 32.0 + ROW * index as f64;
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{}\">{}</text>",
            top + 22.0,
            escaped(&photo.name)
        );
        for (row, (label, run)) in runs.iter().enumerate() {
            let top = top + row as f64 * 24.0;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">{label}</text>",
                LEFT - 6.0,
                top + 14.0
            );
            let [answered, seen, whole] = times(run, index, photo);
            let mut end = 0.0_f64;
            for (bar, time) in [answered, seen].into_iter().enumerate() {
                let Some(time) = time else { continue };
                let length = (time / longest * WIDTH).max(1.0);
                end = end.max(length);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"8\" \
                     fill=\"{}\"><title>{time:.1} s</title></rect>",
                    top + 2.0 + bar as f64 * 8.5,
                    colours[bar]
                );
            }
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{}\" fill=\"#666\">{} s; original after {} s</text>",
                LEFT + end + 8.0,
                top + 15.0,
                shown(answered),
                shown(whole)
            );
        }
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">{longest:.0} s</text></svg>",
        LEFT + WIDTH,
        height - 2.0
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
