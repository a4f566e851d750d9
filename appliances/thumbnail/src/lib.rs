//! The thumbnailer: it takes photographs on their way to a site.

pub mod picture;
