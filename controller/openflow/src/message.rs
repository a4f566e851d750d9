//! A message: a header of version, type, length and number, and what it says.

use crate::action::{NICIRA, ONF};
use crate::async_config::AsyncConfig;
use crate::bundle::{BundleAdd, BundleControl};
use crate::conntrack_flush::ConntrackFlush;
use crate::error::{EmitError, ParseCause, ParseError};
use crate::error_message::ErrorMessage;
use crate::features::Features;
use crate::flow_mod::FlowMod;
use crate::flow_removed::FlowRemoved;
use crate::group_mod::GroupMod;
use crate::hello::Hello;
use crate::meter_mod::MeterMod;
use crate::multipart::{MultipartReply, MultipartRequest};
use crate::packet_in::PacketIn;
use crate::packet_in2::PacketIn2;
use crate::packet_out::PacketOut;
use crate::port::PortStatus;
use crate::role::RoleMessage;
use crate::switch_config::SwitchConfig;
use crate::version::Version;
use crate::wire::{Emitted, HEADER, Parsed, Reader, Writer};

/// What every message says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The version that its layout is of.
    pub version: Version,
    /// Its number; an answer has the question's.
    pub xid: u32,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// 0: which versions are spoken. The only one that may come in a version that is not.
    Hello(Hello),
    /// 1: a refusal.
    Error(ErrorMessage),
    /// 2: are you there?
    EchoRequest(Vec<u8>),
    /// 3: I am, with the question's bytes.
    EchoReply(Vec<u8>),
    /// 5: what are you?
    FeaturesRequest,
    /// 6: what the switch is.
    FeaturesReply(Features),
    /// 7: how are you set?
    GetConfigRequest,
    /// 8: how the switch is set.
    GetConfigReply(SwitchConfig),
    /// 9: set yourself so.
    SetConfig(SwitchConfig),
    /// 10: a packet.
    PacketIn(PacketIn),
    /// 11: a flow went.
    FlowRemoved(FlowRemoved),
    /// 12: a port changed.
    PortStatus(PortStatus),
    /// 13: send this packet.
    PacketOut(PacketOut),
    /// 14: change flows.
    FlowMod(FlowMod),
    /// 15: change groups.
    GroupMod(GroupMod),
    /// 18: tell.
    MultipartRequest(MultipartRequest),
    /// 19: told.
    MultipartReply(MultipartReply),
    /// 20: finish everything before this.
    BarrierRequest,
    /// 21: everything before that is finished.
    BarrierReply,
    /// 24: take this role.
    RoleRequest(RoleMessage),
    /// 25: the role taken.
    RoleReply(RoleMessage),
    /// 26: what do you tell unasked?
    GetAsyncRequest,
    /// 27: what is told unasked.
    GetAsyncReply(AsyncConfig),
    /// 28: tell this unasked.
    SetAsync(AsyncConfig),
    /// 29: change meters.
    MeterMod(MeterMod),
    /// 33: do something with a bundle.
    BundleControl(BundleControl),
    /// 34: add this message to a bundle.
    BundleAdd(BundleAdd),
    /// NXT 16: send packets as 0 PACKET_IN, 1 NXT_PACKET_IN, 2 NXT_PACKET_IN2.
    SetPacketInFormat(u32),
    /// NXT 20: this controller's number, for [`crate::ToController::controller_id`].
    SetControllerId(u16),
    /// NXT 28: go on with a packet that was held.
    Resume(PacketIn2),
    /// NXT 29: forget the connections of a zone.
    ConntrackFlushZone(u16),
    /// NXT 30: a packet, perhaps held.
    PacketIn2(PacketIn2),
    /// NXT 32: forget connections.
    ConntrackFlush(ConntrackFlush),
    /// A message that this crate does not know, as it came.
    Other {
        /// Its type; 4 for experimenters, whose number then begins the body.
        kind: u8,
        /// What follows the header.
        body: Vec<u8>,
    },
}

/// `OFPT_*`.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const EXPERIMENTER: u8 = 4;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const GET_CONFIG_REQUEST: u8 = 7;
    pub(super) const GET_CONFIG_REPLY: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 9;
    pub(super) const PACKET_IN: u8 = 10;
    pub(super) const FLOW_REMOVED: u8 = 11;
    pub(super) const PORT_STATUS: u8 = 12;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
    pub(super) const GROUP_MOD: u8 = 15;
    pub(super) const MULTIPART_REQUEST: u8 = 18;
    pub(super) const MULTIPART_REPLY: u8 = 19;
    pub(super) const BARRIER_REQUEST: u8 = 20;
    pub(super) const BARRIER_REPLY: u8 = 21;
    pub(super) const ROLE_REQUEST: u8 = 24;
    pub(super) const ROLE_REPLY: u8 = 25;
    pub(super) const GET_ASYNC_REQUEST: u8 = 26;
    pub(super) const GET_ASYNC_REPLY: u8 = 27;
    pub(super) const SET_ASYNC: u8 = 28;
    pub(super) const METER_MOD: u8 = 29;
    pub(super) const BUNDLE_CONTROL: u8 = 33;
    pub(super) const BUNDLE_ADD: u8 = 34;
}

/// `NXT_*`, and ONF's bundles of 1.3.
mod vendor_kind {
    pub(super) const SET_PACKET_IN_FORMAT: u32 = 16;
    pub(super) const SET_CONTROLLER_ID: u32 = 20;
    pub(super) const RESUME: u32 = 28;
    pub(super) const CT_FLUSH_ZONE: u32 = 29;
    pub(super) const PACKET_IN2: u32 = 30;
    pub(super) const CT_FLUSH: u32 = 32;
    pub(super) const ONF_BUNDLE_CONTROL: u32 = 2300;
    pub(super) const ONF_BUNDLE_ADD: u32 = 2301;
}

impl Message {
    /// Reads a whole message, as [`crate::Deframer`] hands it out.
    ///
    /// The version in a HELLO or ERROR may be any, since these come before one is agreed on; the
    /// header returned then has the nearest version that this crate speaks.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub fn parse(bytes: &[u8]) -> Result<(Header, Message), ParseError> {
        let mut from = Reader::new(bytes, 0);
        let mut whole = from.sized("message", 2, HEADER)?;
        from.done("message")?;
        Message::parse_part(&mut whole, true)
    }

    pub(crate) fn parse_part(from: &mut Reader<'_>, bundles: bool) -> Parsed<(Header, Message)> {
        let place = from.clone();
        let number = from.u8("version")?;
        let kind = from.u8("message's type")?;
        from.pad("message's length", 2)?;
        let xid = from.u32("message's number")?;
        let version = match kind {
            kind::HELLO | kind::ERROR if number < Version::V15.wire() => Version::V13,
            kind::HELLO | kind::ERROR => Version::V15,
            _ => Version::parse(number)?,
        };
        let header = Header { version, xid };
        let is_bundle = |message: &Message| {
            matches!(message, Message::BundleAdd(_) | Message::BundleControl(_))
        };
        let in_bundle = !bundles;
        if in_bundle && matches!(kind, kind::BUNDLE_CONTROL | kind::BUNDLE_ADD) {
            return Err(place.error("bundle in a bundle", ParseCause::TooMany));
        }
        let message = match kind {
            kind::HELLO => Message::Hello(Hello::parse(from, number)?),
            kind::EXPERIMENTER => parse_experimenter(from, header, bundles)?,
            kind => parse_standard(from, header, kind)?,
        };
        if in_bundle && is_bundle(&message) {
            return Err(place.error("bundle in a bundle", ParseCause::TooMany));
        }
        Ok((header, message))
    }

    /// Writes the message.
    ///
    /// # Errors
    /// What of it the version does not have, does not fit, or depends on what is not there.
    pub fn emit(&self, header: Header) -> Result<Vec<u8>, EmitError> {
        let mut bytes = Vec::new();
        self.emit_into(&mut bytes, header)?;
        Ok(bytes)
    }

    /// Writes the message behind what there is, so that many can be sent at once without memory for
    /// each. On an error nothing is added.
    ///
    /// # Errors
    /// As [`Message::emit`].
    pub fn emit_into(&self, bytes: &mut Vec<u8>, header: Header) -> Result<(), EmitError> {
        let before = bytes.len();
        let mut to = Writer::behind(std::mem::take(bytes));
        let emitted = self.emit_part(&mut to, header);
        *bytes = to.into_bytes();
        if emitted.is_err() {
            bytes.truncate(before);
        }
        emitted
    }

    pub(crate) fn emit_part(&self, to: &mut Writer, header: Header) -> Emitted {
        let Header { version, xid } = header;
        let start = to.len();
        to.u8(match self {
            Message::Hello(hello) => hello.highest,
            _ => version.wire(),
        });
        to.u8(self.kind(version));
        to.u16(0);
        to.u32(xid);
        self.emit_body(to, header)?;
        to.set_length("message", start + 2, start)
    }

    fn emit_body(&self, to: &mut Writer, header: Header) -> Emitted {
        let version = header.version;
        match self {
            Message::Hello(hello) => hello.emit(to),
            Message::Error(error) => error.emit(to),
            Message::EchoRequest(bytes) | Message::EchoReply(bytes) => to.bytes(bytes),
            Message::FeaturesReply(features) => features.emit(to),
            Message::GetConfigReply(config) | Message::SetConfig(config) => config.emit(to),
            Message::PacketIn(packet_in) => packet_in.emit(to, version)?,
            Message::FlowRemoved(removed) => removed.emit(to, version)?,
            Message::PortStatus(status) => status.emit(to, version)?,
            Message::PacketOut(packet_out) => packet_out.emit(to, version)?,
            Message::FlowMod(flow_mod) => flow_mod.emit(to, version)?,
            Message::GroupMod(group_mod) => group_mod.emit(to, version)?,
            Message::MultipartRequest(request) => request.emit(to, version)?,
            Message::MultipartReply(reply) => reply.emit(to, version)?,
            Message::RoleRequest(role) | Message::RoleReply(role) => role.emit(to),
            Message::GetAsyncReply(config) | Message::SetAsync(config) => {
                config.emit(to, version)?;
            }
            Message::MeterMod(meter_mod) => meter_mod.emit(to)?,
            Message::BundleControl(control) => {
                emit_bundle_vendor(to, version, vendor_kind::ONF_BUNDLE_CONTROL);
                control.emit(to);
            }
            Message::BundleAdd(add) => {
                emit_bundle_vendor(to, version, vendor_kind::ONF_BUNDLE_ADD);
                add.emit(to, header)?;
            }
            Message::Other { body, .. } => to.bytes(body),
            Message::GetConfigRequest
            | Message::FeaturesRequest
            | Message::GetAsyncRequest
            | Message::BarrierRequest
            | Message::BarrierReply => {}
            _ => self.emit_nicira(to, version)?,
        }
        Ok(())
    }

    fn emit_nicira(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u32(NICIRA);
        match self {
            Message::SetPacketInFormat(format) => {
                to.u32(vendor_kind::SET_PACKET_IN_FORMAT);
                to.u32(*format);
            }
            Message::SetControllerId(number) => {
                to.u32(vendor_kind::SET_CONTROLLER_ID);
                to.zeros(6);
                to.u16(*number);
            }
            Message::Resume(packet_in) => {
                to.u32(vendor_kind::RESUME);
                packet_in.emit(to, version)?;
            }
            Message::PacketIn2(packet_in) => {
                to.u32(vendor_kind::PACKET_IN2);
                packet_in.emit(to, version)?;
            }
            Message::ConntrackFlushZone(zone) => {
                to.u32(vendor_kind::CT_FLUSH_ZONE);
                to.zeros(6);
                to.u16(*zone);
            }
            Message::ConntrackFlush(flush) => {
                to.u32(vendor_kind::CT_FLUSH);
                flush.emit(to)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn kind(&self, version: Version) -> u8 {
        match self {
            Message::Hello(_) => kind::HELLO,
            Message::Error(_) => kind::ERROR,
            Message::EchoRequest(_) => kind::ECHO_REQUEST,
            Message::EchoReply(_) => kind::ECHO_REPLY,
            Message::FeaturesRequest => kind::FEATURES_REQUEST,
            Message::FeaturesReply(_) => kind::FEATURES_REPLY,
            Message::GetConfigRequest => kind::GET_CONFIG_REQUEST,
            Message::GetConfigReply(_) => kind::GET_CONFIG_REPLY,
            Message::SetConfig(_) => kind::SET_CONFIG,
            Message::PacketIn(_) => kind::PACKET_IN,
            Message::FlowRemoved(_) => kind::FLOW_REMOVED,
            Message::PortStatus(_) => kind::PORT_STATUS,
            Message::PacketOut(_) => kind::PACKET_OUT,
            Message::FlowMod(_) => kind::FLOW_MOD,
            Message::GroupMod(_) => kind::GROUP_MOD,
            Message::MultipartRequest(_) => kind::MULTIPART_REQUEST,
            Message::MultipartReply(_) => kind::MULTIPART_REPLY,
            Message::BarrierRequest => kind::BARRIER_REQUEST,
            Message::BarrierReply => kind::BARRIER_REPLY,
            Message::RoleRequest(_) => kind::ROLE_REQUEST,
            Message::RoleReply(_) => kind::ROLE_REPLY,
            Message::GetAsyncRequest => kind::GET_ASYNC_REQUEST,
            Message::GetAsyncReply(_) => kind::GET_ASYNC_REPLY,
            Message::SetAsync(_) => kind::SET_ASYNC,
            Message::MeterMod(_) => kind::METER_MOD,
            Message::BundleControl(_) if version >= Version::V15 => kind::BUNDLE_CONTROL,
            Message::BundleAdd(_) if version >= Version::V15 => kind::BUNDLE_ADD,
            Message::Other { kind, .. } => *kind,
            _ => kind::EXPERIMENTER,
        }
    }
}

/// 1.3 has bundles by ONF's extension only.
fn emit_bundle_vendor(to: &mut Writer, version: Version, kind: u32) {
    if version < Version::V15 {
        to.u32(ONF);
        to.u32(kind);
    }
}

fn parse_standard(from: &mut Reader<'_>, header: Header, kind: u8) -> Parsed<Message> {
    let version = header.version;
    let message = match kind {
        kind::ERROR => Message::Error(ErrorMessage::parse(from)?),
        kind::ECHO_REQUEST => Message::EchoRequest(from.rest().to_vec()),
        kind::ECHO_REPLY => Message::EchoReply(from.rest().to_vec()),
        kind::FEATURES_REQUEST => Message::FeaturesRequest,
        kind::FEATURES_REPLY => Message::FeaturesReply(Features::parse(from)?),
        kind::GET_CONFIG_REQUEST => Message::GetConfigRequest,
        kind::GET_CONFIG_REPLY => Message::GetConfigReply(SwitchConfig::parse(from)?),
        kind::SET_CONFIG => Message::SetConfig(SwitchConfig::parse(from)?),
        kind::PACKET_IN => Message::PacketIn(PacketIn::parse(from)?),
        kind::FLOW_REMOVED => Message::FlowRemoved(FlowRemoved::parse(from, version)?),
        kind::PORT_STATUS => Message::PortStatus(PortStatus::parse(from, version)?),
        kind::PACKET_OUT => Message::PacketOut(PacketOut::parse(from, version)?),
        kind::FLOW_MOD => Message::FlowMod(FlowMod::parse(from, version)?),
        kind::GROUP_MOD => Message::GroupMod(GroupMod::parse(from, version)?),
        kind::MULTIPART_REQUEST => {
            Message::MultipartRequest(MultipartRequest::parse(from, version)?)
        }
        kind::MULTIPART_REPLY => Message::MultipartReply(MultipartReply::parse(from, version)?),
        kind::BARRIER_REQUEST => Message::BarrierRequest,
        kind::BARRIER_REPLY => Message::BarrierReply,
        kind::ROLE_REQUEST => Message::RoleRequest(RoleMessage::parse(from)?),
        kind::ROLE_REPLY => Message::RoleReply(RoleMessage::parse(from)?),
        kind::GET_ASYNC_REQUEST => Message::GetAsyncRequest,
        kind::GET_ASYNC_REPLY => Message::GetAsyncReply(AsyncConfig::parse(from, version)?),
        kind::SET_ASYNC => Message::SetAsync(AsyncConfig::parse(from, version)?),
        kind::METER_MOD => Message::MeterMod(MeterMod::parse(from)?),
        kind::BUNDLE_CONTROL if version >= Version::V15 => {
            Message::BundleControl(BundleControl::parse(from)?)
        }
        kind::BUNDLE_ADD if version >= Version::V15 => {
            Message::BundleAdd(BundleAdd::parse(from, header)?)
        }
        kind => Message::Other {
            kind,
            body: from.rest().to_vec(),
        },
    };
    from.done("message")?;
    Ok(message)
}

fn parse_experimenter(from: &mut Reader<'_>, header: Header, bundles: bool) -> Parsed<Message> {
    let mut as_it_came = from.clone();
    let place = from.clone();
    let vendor = from.u32("message's vendor")?;
    let kind = from.u32("message's vendor's type")?;
    let message = match (vendor, kind) {
        (ONF, vendor_kind::ONF_BUNDLE_CONTROL | vendor_kind::ONF_BUNDLE_ADD) if !bundles => {
            return Err(place.error("bundle in a bundle", ParseCause::TooMany));
        }
        (ONF, vendor_kind::ONF_BUNDLE_CONTROL) if header.version < Version::V15 => {
            Message::BundleControl(BundleControl::parse(from)?)
        }
        (ONF, vendor_kind::ONF_BUNDLE_ADD) if header.version < Version::V15 => {
            Message::BundleAdd(BundleAdd::parse(from, header)?)
        }
        (NICIRA, vendor_kind::SET_PACKET_IN_FORMAT) => {
            Message::SetPacketInFormat(from.u32("packet-in's format")?)
        }
        (NICIRA, vendor_kind::SET_CONTROLLER_ID) => {
            from.pad("controller id's padding", 6)?;
            Message::SetControllerId(from.u16("controller's id")?)
        }
        (NICIRA, vendor_kind::RESUME) => Message::Resume(PacketIn2::parse(from)?),
        (NICIRA, vendor_kind::PACKET_IN2) => Message::PacketIn2(PacketIn2::parse(from)?),
        (NICIRA, vendor_kind::CT_FLUSH_ZONE) => {
            from.pad("zone's padding", 6)?;
            Message::ConntrackFlushZone(from.u16("zone")?)
        }
        (NICIRA, vendor_kind::CT_FLUSH) => Message::ConntrackFlush(ConntrackFlush::parse(from)?),
        _ => {
            return Ok(Message::Other {
                kind: kind::EXPERIMENTER,
                body: as_it_came.rest().to_vec(),
            });
        }
    };
    from.done("message")?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow-mod of 1.5 with the bytes of a match's fields and of instructions.
    fn flow_mod(fields: &[u8], instructions: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 40];
        body.extend([0, 1]);
        body.extend((fields.len() as u16 + 4).to_be_bytes());
        body.extend(fields);
        body.resize(body.len().next_multiple_of(8), 0);
        body.extend(instructions);
        let mut bytes = vec![6, kind::FLOW_MOD];
        bytes.extend((body.len() as u16 + 8).to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn actions_in_actions_end_somewhere() {
        // `clone(clone(…))`, as deep as a message has room.
        let mut actions = Vec::new();
        while actions.len() < 60_000 {
            let length = (actions.len() as u16 + 16).to_be_bytes();
            let head = [
                0xff, 0xff, length[0], length[1], 0, 0, 0x23, 0x20, 0, 42, 0, 0, 0, 0, 0, 0,
            ];
            actions.splice(0..0, head);
        }
        let length = (actions.len() as u16 + 8).to_be_bytes();
        let apply = [&[0, 4, length[0], length[1], 0, 0, 0, 0], &actions[..]].concat();
        let error = Message::parse(&flow_mod(&[], &apply)).unwrap_err();
        assert_eq!(
            (error.what, error.cause),
            ("nested actions", ParseCause::TooMany)
        );
    }

    #[test]
    fn fields_that_are_not_known_are_kept() {
        let known = [0x80, 0, 4 << 1, 6, 1, 2, 3, 4, 5, 6];
        let unknown = [0, 1, 90 << 1, 2, 0xaa, 0xbb];
        let bytes = flow_mod(&[&known[..], &unknown].concat(), &[]);
        let (header, message) = Message::parse(&bytes).unwrap();
        let Message::FlowMod(read) = &message else {
            panic!("{message:?}")
        };
        assert_eq!(read.matching.unknown().len(), 1);
        assert_eq!(
            read.matching.to_string(),
            "dl_src=01:02:03:04:05:06,unknown(class=0x1,number=90)=aabb"
        );
        assert_eq!(message.emit(header).unwrap(), bytes);
        let twice = flow_mod(&[unknown, unknown].concat(), &[]);
        assert_eq!(
            Message::parse(&twice).unwrap_err().cause,
            ParseCause::Repeated
        );
    }

    #[test]
    fn wrong_versions_and_lengths_are_refused_by_name() {
        let cause = |bytes: &[u8]| Message::parse(bytes).unwrap_err().cause;
        assert_eq!(cause(&[]), ParseCause::Truncated);
        assert_eq!(cause(&[5, 20, 0, 8, 0, 0, 0, 1]), ParseCause::Version(5));
        assert_eq!(cause(&[6, 20, 0, 9, 0, 0, 0, 1]), ParseCause::Length(9));
        assert_eq!(cause(&[6, 20, 0, 8, 0, 0, 0, 1, 0]), ParseCause::Length(1));
        let text = Message::parse(&[5, 20, 0, 8, 0, 0, 0, 1])
            .unwrap_err()
            .to_string();
        assert_eq!(
            text,
            "version at byte 0: version 0x05 is neither 0x04 (1.3) nor 0x06 (1.5)"
        );
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let header = Header {
            version: Version::V15,
            xid: 1,
        };
        let long = Message::EchoRequest(vec![0; 65_528]);
        assert_eq!(long.emit(header), Err(EmitError::TooLong("message")));
        let most = Message::EchoRequest(vec![0; 65_527]);
        assert_eq!(most.emit(header).map(|bytes| bytes.len()), Ok(65_535));
        let mut stream = Message::BarrierRequest.emit(header).unwrap();
        let error = long.emit_into(&mut stream, header).unwrap_err();
        assert_eq!((error, stream.len()), (EmitError::TooLong("message"), 8));
    }

    #[test]
    fn messages_one_behind_the_other_are_what_each_is_alone() {
        let header = Header {
            version: Version::V15,
            xid: 1,
        };
        let bytes = flow_mod(&[0x80, 0, 4 << 1, 6, 1, 2, 3, 4, 5, 6], &[]);
        let (_, message) = Message::parse(&bytes).unwrap();
        let mut stream = vec![0xaa; 3];
        message.emit_into(&mut stream, header).unwrap();
        message.emit_into(&mut stream, header).unwrap();
        assert_eq!(stream, [&[0xaa; 3][..], &bytes, &bytes].concat());
    }
}
