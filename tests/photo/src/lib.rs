//! The photo path, from the phone to the album: what the demo shows and the scenario asserts.
//!
//! [`Scene::set`] makes a [`site::Network`] with a phone, a poor backhaul and the photo site behind
//! it, and the operator beside them. [`Scene::upload`] plays the phone: with no appliance there, its
//! photographs go straight to the site; after [`Scene::launch`] they are taken by the thumbnailer,
//! kept by the uploader, and the site has thumbnails first. [`Scene::site_has`] is what the site says
//! came, and when; clocks of both are the place's.

#![forbid(unsafe_code)]

mod photographs;
mod scene;

pub use photographs::debian;

pub use scene::{Event, Photo, Scene, Taken, UPLOADER_DISK_MIB};
