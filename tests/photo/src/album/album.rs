//! What the site has, on disk, and what came when.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Events that are remembered; the oldest go.
const EVENTS_MAX: usize = 100_000;

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Original,
    Thumbnail,
}

/// Something came.
#[derive(Debug, Serialize)]
struct Event {
    kind: Kind,
    /// The photograph's SHA-256.
    photo: String,
    /// `original`, or the thumbnail's size.
    name: String,
    bytes: usize,
    /// Milliseconds since 1970.
    at: u128,
    /// It was there already.
    again: bool,
}

/// A photograph's files, with their lengths, by its SHA-256.
type Photos = BTreeMap<String, Vec<(String, usize)>>;

#[derive(Debug, Default)]
struct Contents {
    photos: Photos,
    events: Vec<Event>,
}

/// The album.
#[derive(Debug)]
pub(crate) struct Album {
    directory: PathBuf,
    contents: Mutex<Contents>,
}

impl Album {
    /// In a directory, which is made.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Album> {
        std::fs::create_dir_all(&directory)?;
        Ok(Album {
            directory,
            contents: Mutex::default(),
        })
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a file of a photograph, once. The caller has seen to it that both names are words.
    pub(crate) fn keep(
        &self,
        photo: &str,
        kind: Kind,
        name: &str,
        bytes: &[u8],
        at: u128,
    ) -> io::Result<()> {
        let mut contents = self.contents();
        let names = contents.photos.get(photo);
        let again = names.is_some_and(|names| names.iter().any(|(known, _)| known == name));
        if !again {
            let directory = self.directory.join(photo);
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join(name), bytes)?;
            let names = contents.photos.entry(photo.to_owned()).or_default();
            names.push((name.to_owned(), bytes.len()));
        }
        if contents.events.len() == EVENTS_MAX {
            contents.events.remove(0);
        }
        contents.events.push(Event {
            kind,
            photo: photo.to_owned(),
            name: name.to_owned(),
            bytes: bytes.len(),
            at,
            again,
        });
        Ok(())
    }

    /// A file that was kept.
    pub(crate) fn file(&self, photo: &str, name: &str) -> Option<Vec<u8>> {
        let contents = self.contents();
        let known = contents
            .photos
            .get(photo)?
            .iter()
            .any(|(known, _)| known == name);
        known.then(|| std::fs::read(self.directory.join(photo).join(name)).ok())?
    }

    /// All events, JSON.
    pub(crate) fn events(&self) -> String {
        serde_json::to_string(&self.contents().events).unwrap_or_default()
    }

    /// The album page: each photograph by its largest thumbnail, and whether its original is there.
    pub(crate) fn page(&self) -> String {
        let contents = self.contents();
        let mut page = String::from(HEAD);
        if contents.photos.is_empty() {
            page += "<p>No photographs yet.</p>\n";
        }
        for (photo, names) in &contents.photos {
            let has_original = names.iter().any(|(name, _)| name == "original");
            let thumbnails = names.iter().filter(|(name, _)| name != "original");
            let shown = thumbnails.max_by_key(|(_, bytes)| *bytes);
            let shown = shown.map_or("original", |(name, _)| name);
            let (state, note) = match has_original {
                true => ("whole", "original is here"),
                false => ("coming", "original is on its way"),
            };
            let short = photo.get(..8).unwrap_or_default();
            let _ = writeln!(
                page,
                "<figure class={state}><img src=\"photos/{photo}/{shown}\" alt=\"photograph {short}\">\
                 <figcaption>{short} · {note}</figcaption></figure>"
            );
        }
        page + "</main>\n"
    }
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width\"><title>Album</title><style>\
body{font:16px/1.4 system-ui,sans-serif;margin:2rem;background:#f6f6f4;color:#222}\
main{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;background:#fff;padding:.5rem;\
box-shadow:0 1px 3px #0003}img{display:block;height:240px}figcaption{padding-top:.4rem;\
font-size:.85rem}.coming figcaption{color:#a15c00}.whole figcaption{color:#1d6b35}\
</style><h1>Album</h1><main>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_kept_once() {
        let directory = std::env::temp_dir().join(format!("album-{}", std::process::id()));
        let album = Album::open(directory.clone()).unwrap();
        album
            .keep("ab", Kind::Thumbnail, "medium", b"small", 1)
            .unwrap();
        assert!(album.page().contains("on its way"));
        for at in 2..4 {
            album
                .keep("ab", Kind::Original, "original", b"large", at)
                .unwrap();
        }
        assert!(!album.page().contains("on its way"));
        assert_eq!(album.file("ab", "medium").unwrap(), b"small");
        assert_eq!(album.file("ab", "../ab/medium"), None);
        let events: serde_json::Value = serde_json::from_str(&album.events()).unwrap();
        assert_eq!(events[1]["again"], false);
        assert_eq!(events[2]["again"], true);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
