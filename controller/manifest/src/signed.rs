//! Documents under a signature: COSE_Sign1 (RFC 9052) with Ed25519.
//!
//! The protected header has the algorithm and the kind of document as its content type, so that a
//! signature over one kind is never taken for one over another, though the same key makes both.
//! There is nothing else in the headers, and what is read is written again and compared: nobody
//! without the key can make a second valid form of a signed document.

use coset::{
    CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable as _, iana,
};

use crate::encoding::{self, DecodeError, Encoding};
use crate::key::{PublicKey, SigningKey};
use crate::token::Digest;

/// What COSE adds to a document: header, lengths, signature.
const ENVELOPE_BYTES_MAX: usize = 256;

/// A kind of document that is signed.
pub trait Document: Encoding {
    /// Its media type, which is signed with it.
    const CONTENT_TYPE: &'static str;
    /// The most bytes that it may have.
    const BYTES_MAX: usize;
}

/// A document that says itself who must have signed it.
pub trait SelfSigned: Document {
    /// Whose signature it needs.
    fn signer(&self) -> &PublicKey;
}

/// A document, its signature, which is valid, and the bytes of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    document: T,
    signer: PublicKey,
    bytes: Vec<u8>,
}

/// Why bytes are no signed document of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// More bytes than such a document may have.
    #[error("{length} bytes, where {max} are the limit")]
    TooLarge {
        /// How many came.
        length: usize,
        /// How many may come.
        max: usize,
    },
    /// Not a COSE_Sign1 with the header that this library writes.
    #[error("not a signed document: sign it with `edgecloud`")]
    Malformed,
    /// A signed document of another kind.
    #[error("not of the kind {expected}: give the right file")]
    OtherKind {
        /// What was expected.
        expected: &'static str,
    },
    /// The signature is not by the key that must have made it.
    #[error("the signature is not by the key that must have made it")]
    Forged,
    /// The signature is right, and what it signs is no such document.
    #[error("the signed document is wrong: {0}")]
    Content(#[from] DecodeError),
}

impl<T: Document> Signed<T> {
    /// Signs a document.
    pub fn sign(document: T, key: &SigningKey) -> Self {
        let sealed = CoseSign1Builder::new()
            .protected(header::<T>())
            .payload(encoding::to_bytes(&document))
            .create_signature(&[], |message| key.sign(message).to_vec())
            .build();
        Self {
            document,
            signer: key.public(),
            bytes: sealed.to_tagged_vec().expect("integers and bytes are CBOR"),
        }
    }

    /// Reads a document that one of these keys must have signed.
    ///
    /// # Errors
    /// Any other bytes.
    pub fn open(bytes: &[u8], signers: &[PublicKey]) -> Result<Self, OpenError> {
        let sealed = unseal::<T>(bytes)?;
        let by = |signer: &&PublicKey| signed_by(&sealed, signer);
        let signer = *signers.iter().find(by).ok_or(OpenError::Forged)?;
        // Only what somebody trusted has signed is looked at.
        let document = encoding::from_bytes(payload(&sealed), T::BYTES_MAX)?;
        Ok(Self {
            document,
            signer,
            bytes: bytes.to_vec(),
        })
    }

    /// What is signed.
    pub fn document(&self) -> &T {
        &self.document
    }

    /// What is signed, without its signature.
    pub fn into_document(self) -> T {
        self.document
    }

    /// Who signed it.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The tagged COSE_Sign1.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of document and signature.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl<T: SelfSigned> Signed<T> {
    /// Reads a document by whoever it says it is by.
    ///
    /// # Errors
    /// Any other bytes.
    pub fn open_self_signed(bytes: &[u8]) -> Result<Self, OpenError> {
        let sealed = unseal::<T>(bytes)?;
        let document: T = encoding::from_bytes(payload(&sealed), T::BYTES_MAX)?;
        let signer = *document.signer();
        if !signed_by(&sealed, &signer) {
            return Err(OpenError::Forged);
        }
        Ok(Self {
            document,
            signer,
            bytes: bytes.to_vec(),
        })
    }
}

fn header<T: Document>() -> Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(T::CONTENT_TYPE.to_owned())
        .build()
}

/// The envelope, if it is one that [`Signed::sign`] could have made. Says nothing of the signature.
fn unseal<T: Document>(bytes: &[u8]) -> Result<CoseSign1, OpenError> {
    let (length, max) = (bytes.len(), T::BYTES_MAX + ENVELOPE_BYTES_MAX);
    if length > max {
        return Err(OpenError::TooLarge { length, max });
    }
    let sealed = CoseSign1::from_tagged_slice(bytes).map_err(|_| OpenError::Malformed)?;
    let expected = header::<T>();
    if sealed.protected.header.content_type != expected.content_type {
        return Err(OpenError::OtherKind {
            expected: T::CONTENT_TYPE,
        });
    }
    let again = CoseSign1Builder::new()
        .protected(expected)
        .payload(payload(&sealed).to_vec())
        .signature(sealed.signature)
        .build();
    match again.clone().to_tagged_vec() {
        Ok(same) if same == bytes => Ok(again),
        _ => Err(OpenError::Malformed),
    }
}

fn payload(sealed: &CoseSign1) -> &[u8] {
    sealed.payload.as_deref().unwrap_or_default()
}

fn signed_by(sealed: &CoseSign1, signer: &PublicKey) -> bool {
    let verify = |signature: &[u8], message: &[u8]| {
        signer.verifies(message, signature).then_some(()).ok_or(())
    };
    sealed.verify_signature(&[], verify).is_ok()
}
