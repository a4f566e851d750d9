//! BUNDLE_CONTROL (33) and BUNDLE_ADD_MESSAGE (34): changes that happen all at once or not at all.
//! 1.5.1 section 7.3.9; in 1.3 ONF's extension EXT-230, with the same layout.

use crate::error::{EmitError, ParseCause};
use crate::message::{Header, Message};
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// What is done with a bundle, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BundleStep {
    /// Begin one.
    OpenRequest,
    /// It is begun.
    OpenReply,
    /// Take no more.
    CloseRequest,
    /// It takes no more.
    CloseReply,
    /// Do it.
    CommitRequest,
    /// It is done.
    CommitReply,
    /// Forget it.
    DiscardRequest,
    /// It is forgotten.
    DiscardReply,
}

impl BundleStep {
    const ALL: [BundleStep; 8] = [
        BundleStep::OpenRequest,
        BundleStep::OpenReply,
        BundleStep::CloseRequest,
        BundleStep::CloseReply,
        BundleStep::CommitRequest,
        BundleStep::CommitReply,
        BundleStep::DiscardRequest,
        BundleStep::DiscardReply,
    ];
}

/// How a bundle is done; all its messages must say the same (`OFPBF_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BundleFlags {
    /// No packet sees a part of it.
    pub atomic: bool,
    /// In the order of its messages.
    pub ordered: bool,
}

impl BundleFlags {
    /// In order and all at once.
    pub const ATOMIC_ORDERED: BundleFlags = BundleFlags {
        atomic: true,
        ordered: true,
    };

    fn parse(from: &mut Reader<'_>) -> Parsed<BundleFlags> {
        let place = from.clone();
        let bits = from.u16("bundle's flags")?;
        if bits > 3 {
            return Err(place.error("bundle's flags", ParseCause::Value(bits.into())));
        }
        Ok(BundleFlags {
            atomic: bits & 1 != 0,
            ordered: bits & 2 != 0,
        })
    }

    fn emit(self, to: &mut Writer) {
        to.u16(u16::from(self.atomic) | u16::from(self.ordered) << 1);
    }
}

/// BUNDLE_CONTROL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BundleControl {
    /// The bundle, of the controller's choice.
    pub id: u32,
    /// What is done with it.
    pub step: BundleStep,
    /// How it is done.
    pub flags: BundleFlags,
}

impl BundleControl {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<BundleControl> {
        let id = from.u32("bundle")?;
        let place = from.clone();
        let number = from.u16("bundle's step")?;
        let step = BundleStep::ALL.get(usize::from(number)).copied();
        let step = step.ok_or(place.error("bundle's step", ParseCause::Value(number.into())))?;
        let flags = BundleFlags::parse(from)?;
        // Properties are experimenters' only; nothing depends on them.
        from.rest();
        Ok(BundleControl { id, step, flags })
    }

    pub(crate) fn emit(&self, to: &mut Writer) {
        to.u32(self.id);
        to.u16(self.step as u16);
        self.flags.emit(to);
    }
}

/// BUNDLE_ADD_MESSAGE: a message that becomes part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BundleAdd {
    /// The bundle.
    pub id: u32,
    /// How the bundle is done.
    pub flags: BundleFlags,
    /// The message: a flow-mod, group-mod, packet-out or the like.
    pub message: Box<Message>,
}

impl BundleAdd {
    pub(crate) fn parse(from: &mut Reader<'_>, outer: Header) -> Parsed<BundleAdd> {
        let id = from.u32("bundle")?;
        from.pad("bundle's padding", 2)?;
        let flags = BundleFlags::parse(from)?;
        let mut inner = from.sized("message in a bundle", 2, crate::wire::HEADER)?;
        // What follows are properties, experimenters' only.
        from.rest();
        let place = inner.clone();
        let (header, message) = Message::parse_part(&mut inner, false)?;
        if header.version != outer.version {
            let version = u64::from(header.version.wire());
            return Err(place.error("message in a bundle", ParseCause::Value(version)));
        }
        if header.xid != outer.xid {
            return Err(place.error("message in a bundle", ParseCause::Value(header.xid.into())));
        }
        Ok(BundleAdd {
            id,
            flags,
            message: Box::new(message),
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer, header: Header) -> Emitted {
        if matches!(
            *self.message,
            Message::BundleAdd(_) | Message::BundleControl(_)
        ) {
            return Err(EmitError::NotAllowed("bundle in a bundle"));
        }
        to.u32(self.id);
        to.zeros(2);
        self.flags.emit(to);
        self.message.emit_part(to, header)
    }
}
