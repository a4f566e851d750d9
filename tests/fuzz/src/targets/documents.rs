//! Signed documents, behind and in front of their signatures: the first byte chooses which kind, the rest
//! is its CBOR.

use manifest::encoding::{from_bytes, to_bytes};
use manifest::signed::{Document, Signed};
use manifest::{ImageDescriptor, Manifest, Offer, Proof, RevocationList, SigningKey, Token};

use super::manifest::EXAMPLE;
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "documents",
    run,
    seeds,
};

fn run(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => read::<Manifest>(bytes),
        1 => read::<Offer>(bytes),
        2 => read::<Token>(bytes),
        3 => read::<ImageDescriptor>(bytes),
        4 => read::<RevocationList>(bytes),
        _ => read::<Proof>(bytes),
    }
}

/// One meaning has one encoding, whoever writes it.
fn read<T: Document>(bytes: &[u8]) {
    if let Ok(document) = from_bytes::<T>(bytes, T::BYTES_MAX) {
        assert_eq!(to_bytes(&document), bytes);
    }
    let stranger = SigningKey::from_seed(&[1; 32]).public();
    if let Ok(signed) = Signed::<T>::open(bytes, &[stranger]) {
        assert_eq!(signed.bytes(), bytes);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let manifest = Manifest::from_toml(EXAMPLE).expect("a manifest");
    let plain = to_bytes(&manifest);
    let signed = Signed::sign(manifest, &SigningKey::from_seed(&[1; 32]));
    let seed = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    vec![seed(0, &plain), seed(0, signed.bytes()), seed(2, &plain)]
}
