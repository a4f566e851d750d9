//! The uploader.
mod id;
mod limits;
mod metadata;
pub mod store;
