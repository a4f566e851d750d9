//! What clients and stores send, as a fuzzer calls it: heads of requests, metadata, and answers in XML.

use axum::http::{HeaderMap, Method};
use edgecloud_appliance::Refusal as _;

use crate::metadata::Metadata;
use crate::outbound;
use crate::tus::{self, Ask, Kind};

/// What is asked by a head, in words, or why it is refused.
///
/// # Errors
/// The reason, as it is counted.
///
/// # Panics
/// If something was understood that must not be.
pub fn head(
    method: &Method,
    headers: &HeaderMap,
    names_upload: bool,
) -> Result<String, &'static str> {
    let asked = tus::ask(method, headers, names_upload).map_err(|refused| refused.reason())?;
    match &asked {
        Ask::Create(creation) => {
            let written = creation.metadata.written();
            assert_eq!(Metadata::parse(&written).as_ref(), Ok(&creation.metadata));
            let is_final = matches!(creation.kind, Kind::Final(_));
            assert!(!is_final || creation.length.is_none() && creation.patch.is_none());
            let at_start = |patch: &tus::Patch| patch.offset == 0 && patch.checksums.len() <= 2;
            assert!(creation.patch.as_ref().is_none_or(at_start));
        }
        Ask::Patch(patch) => assert!(patch.checksums.len() <= 2),
        Ask::Options | Ask::Head | Ask::Delete => {}
    }
    Ok(format!("{asked:?}"))
}

/// Reads metadata, which are written as they were read.
///
/// # Panics
/// If they are not.
pub fn metadata(text: &str) {
    if let Ok(metadata) = Metadata::parse(text) {
        assert_eq!(Metadata::parse(&metadata.written()), Ok(metadata));
    }
}

/// Reads the answer of a store that speaks S3.
///
/// # Panics
/// If something was understood that must not be.
pub fn answer(xml: &[u8]) {
    outbound::read_answer(xml);
}
