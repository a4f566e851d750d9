//! HELLO (0): which versions the peer speaks. 1.5.1 section 7.5.1.
//!
//! It comes in any version; its own layout is the same in all.

use crate::error::ParseCause;
use crate::version::Version;
use crate::wire::{Parsed, Reader, Writer};

/// `OFPHET_VERSIONBITMAP`.
const VERSION_BITMAP: u16 = 1;

/// What a peer says first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The highest version it speaks, which is the version in the header.
    pub highest: u8,
    /// The versions it speaks as bits, those up to 31; without it, all up to the highest.
    pub bitmap: Option<u32>,
}

impl Hello {
    /// What this crate speaks.
    pub const fn ours() -> Hello {
        let bitmap = 1 << Version::V13.wire() | 1 << Version::V15.wire();
        Hello {
            highest: Version::V15.wire(),
            bitmap: Some(bitmap),
        }
    }

    /// The highest version that both this crate and the peer speak, as the specification has it: by
    /// the bitmaps where there are two, else the lower of the two highest.
    pub fn negotiate(&self) -> Option<Version> {
        match self.bitmap {
            Some(bitmap) => [Version::V15, Version::V13]
                .into_iter()
                .find(|version| bitmap & 1 << version.wire() != 0),
            None => Version::from_wire(self.highest.min(Version::V15.wire())),
        }
    }

    pub(crate) fn parse(from: &mut Reader<'_>, highest: u8) -> Parsed<Hello> {
        let mut hello = Hello {
            highest,
            bitmap: None,
        };
        while !from.is_empty() {
            let mut element = from.sized("hello's element", 2, 4)?;
            from.pad_to_8(element.len());
            let kind = element.u16("hello's element")?;
            element.pad("hello's element", 2)?;
            if kind != VERSION_BITMAP {
                // The specification: elements that are not known are passed over.
                continue;
            }
            if hello.bitmap.is_some() {
                return Err(element.error("hello's bitmap", ParseCause::Repeated));
            }
            hello.bitmap = Some(element.u32("hello's bitmap")?);
        }
        Ok(hello)
    }

    pub(crate) fn emit(&self, to: &mut Writer) {
        if let Some(bitmap) = self.bitmap {
            to.u16(VERSION_BITMAP);
            to.u16(8);
            to.u32(bitmap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_spoken() {
        let spoken = |highest, bitmap| Hello { highest, bitmap }.negotiate();
        assert_eq!(
            spoken(6, Some(1 << 1 | 1 << 4 | 1 << 6)),
            Some(Version::V15)
        );
        assert_eq!(spoken(6, Some(1 << 1 | 1 << 4)), Some(Version::V13));
        assert_eq!(spoken(5, Some(1 << 1 | 1 << 5)), None);
        assert_eq!(spoken(4, None), Some(Version::V13));
        assert_eq!(spoken(7, None), Some(Version::V15));
        // A peer whose highest is 1.4 or 1.0 and that names no others speaks that one.
        assert_eq!(spoken(5, None), None);
        assert_eq!(spoken(1, None), None);
        assert_eq!(Hello::ours().negotiate(), Some(Version::V15));
    }
}
