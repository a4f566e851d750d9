//! A switch's side of OpenFlow 1.0, 1.3 and 1.5, as far as learning switches speak it, by the
//! specifications' offsets. Only what controllers send is read, and all that is not understood is passed
//! over: what was not done is not counted.

use std::str::FromStr;

const HEADER: usize = 8;
/// `OFPT_*` whose numbers are the same in all versions.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const GET_CONFIG_REQUEST: u8 = 7;
    pub(super) const GET_CONFIG_REPLY: u8 = 8;
    pub(super) const PACKET_IN: u8 = 10;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
}
/// `OFP_NO_BUFFER`: the packet is in the message, as with Open vSwitch always.
const NO_BUFFER: [u8; 4] = [0xff; 4];

/// A version that both sides speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V10,
    V13,
    V15,
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Version, Self::Err> {
        match text {
            "1" => Ok(Version::V10),
            "4" => Ok(Version::V13),
            "6" => Ok(Version::V15),
            _ => Err("1, 4 or 6"),
        }
    }
}

/// What a controller said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said<'m> {
    /// It wants an answer, which is this.
    Asked(Vec<u8>),
    /// Install a flow for what goes to a MAC address.
    Flow { target: [u8; 6], port: u32 },
    /// Send a packet out of a port.
    Packet { port: u32, data: &'m [u8] },
    /// It refuses something.
    Refusal,
    /// What needs no answer, or is not understood.
    Other,
}

impl Version {
    fn number(self) -> u8 {
        match self {
            Version::V10 => 1,
            Version::V13 => 4,
            Version::V15 => 6,
        }
    }

    fn message(self, kind: u8, xid: [u8; 4], body: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![self.number(), kind, 0, 0];
        message.extend(xid);
        for part in body {
            message.extend_from_slice(part);
        }
        // What is written here is a few hundred bytes, or an echo of at most 65535.
        let length = (message.len() as u16).to_be_bytes();
        message[2..4].copy_from_slice(&length);
        message
    }

    pub(crate) fn hello(self) -> Vec<u8> {
        let bitmap = (1u32 << self.number()).to_be_bytes();
        let element: [&[u8]; 2] = [&[0, 1, 0, 8], &bitmap];
        let body = if self == Version::V10 {
            &[]
        } else {
            &element[..]
        };
        self.message(kind::HELLO, [0, 0, 0, 1], body)
    }

    /// A packet that no flow matched, added to what is to be sent.
    pub(crate) fn packet_in(self, to: &mut Vec<u8>, port: u32, frame: &[u8]) {
        let start = to.len();
        to.extend([self.number(), kind::PACKET_IN, 0, 0, 0, 0, 0, 0]);
        to.extend(NO_BUFFER);
        to.extend((frame.len() as u16).to_be_bytes());
        if self == Version::V10 {
            to.extend((port as u16).to_be_bytes());
            to.extend([0, 0]);
        } else {
            // Reason, table, cookie; a match of in_port, padded; two bytes more.
            to.extend([0; 10]);
            to.extend([0, 1, 0, 12, 0x80, 0, 0, 4]);
            to.extend(port.to_be_bytes());
            to.extend([0; 4 + 2]);
        }
        to.extend_from_slice(frame);
        let length = ((to.len() - start) as u16).to_be_bytes();
        to[start + 2..start + 4].copy_from_slice(&length);
    }

    /// Reads a whole message. Datapath `number` answers.
    pub(crate) fn read(self, message: &[u8], number: u16) -> Said<'_> {
        let Some((header, body)) = message.split_first_chunk::<HEADER>() else {
            return Said::Other;
        };
        let [_, kind, _, _, xid @ ..] = *header;
        let answer = |kind, body: &[&[u8]]| Said::Asked(self.message(kind, xid, body));
        // From 1.3 on: MULTIPART 18 and 19, BARRIER 20 and 21, ROLE 24 and 25; in 1.0 BARRIER is 18.
        let barrier = if self == Version::V10 { 18 } else { 20 };
        match kind {
            kind::PACKET_OUT => self.packet_out(body).unwrap_or(Said::Other),
            kind::FLOW_MOD => self.flow_mod(body).unwrap_or(Said::Other),
            kind::ERROR => Said::Refusal,
            kind::ECHO_REQUEST => answer(kind::ECHO_REPLY, &[body]),
            kind::FEATURES_REQUEST => {
                let datapath = u64::from(number).to_be_bytes();
                // No buffers, 254 tables; capabilities as Open vSwitch's: 0x4f.
                let rest = [0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0x4f, 0, 0, 0, 0];
                answer(kind::FEATURES_REPLY, &[&datapath, &rest])
            }
            kind::GET_CONFIG_REQUEST => answer(kind::GET_CONFIG_REPLY, &[&[0, 0, 0xff, 0xff]]),
            kind if kind == barrier => answer(barrier + 1, &[]),
            // The ports, of which there is nothing to tell; whatever else it is has an empty answer, too.
            18 => answer(19, &[body.get(..8).unwrap_or_default()]),
            24 => answer(25, &[body]),
            _ => Said::Other,
        }
    }

    fn flow_mod(self, body: &[u8]) -> Option<Said<'_>> {
        if self == Version::V10 {
            let target = *body.get(12..)?.first_chunk()?;
            let is_add = body.get(48..50)? == [0, 0];
            let port = self.output(body.get(64..)?)?;
            return is_add.then_some(Said::Flow { target, port });
        }
        let is_add = *body.get(17)? == 0;
        let (matching, instructions) = split_match(body.get(40..)?)?;
        let target = eth_dst(matching)?;
        // The first instruction is to apply actions, and the first of them an output.
        let is_apply = instructions.get(..2)? == [0, 4];
        let port = self.output(instructions.get(8..)?)?;
        (is_add && is_apply).then_some(Said::Flow { target, port })
    }

    fn packet_out(self, body: &[u8]) -> Option<Said<'_>> {
        if body.get(..4)? != NO_BUFFER {
            return None;
        }
        let (length, rest) = match self {
            Version::V10 => (body.get(6..8)?, body.get(8..)?),
            Version::V13 => (body.get(8..10)?, body.get(16..)?),
            Version::V15 => (body.get(4..6)?, split_match(body.get(8..)?)?.1),
        };
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        let (actions, data) = rest.split_at_checked(length)?;
        let port = self.output(actions)?;
        Some(Said::Packet { port, data })
    }

    /// The port of an output action.
    fn output(self, actions: &[u8]) -> Option<u32> {
        if actions.get(..2)? != [0, 0] {
            return None;
        }
        Some(match self {
            Version::V10 => u32::from(u16::from_be_bytes(*actions.get(4..)?.first_chunk()?)),
            _ => u32::from_be_bytes(*actions.get(4..)?.first_chunk()?),
        })
    }
}

/// A match's fields, and what follows the match.
fn split_match(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?));
    let fields = bytes.get(4..length)?;
    Some((fields, bytes.get(length.next_multiple_of(8)..)?))
}

/// OXM's field 3 of the basic class, without a mask.
fn eth_dst(mut fields: &[u8]) -> Option<[u8; 6]> {
    loop {
        let (header, rest) = fields.split_first_chunk::<4>()?;
        let (value, after) = rest.split_at_checked(header[3].into())?;
        if header[..3] == [0x80, 0, 3 << 1] {
            return value.try_into().ok();
        }
        fields = after;
    }
}

/// The first whole message of a stream, and what follows it; None until more has come.
pub(crate) fn split(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u16::from_be_bytes(*stream.get(2..)?.first_chunk()?);
    // A length below the header's would never end.
    stream.split_at_checked(usize::from(length).max(HEADER))
}

#[cfg(test)]
mod tests {
    use openflow::{
        Action, Field, Flow, FlowMod, Header, Instructions, Match, Message, PacketOut, PortNumber,
    };

    use super::*;

    /// What the codec writes is read here, where no line of it is used.
    #[test]
    fn what_the_codec_writes_is_understood() {
        for (ours, theirs) in [
            (Version::V13, openflow::Version::V13),
            (Version::V15, openflow::Version::V15),
        ] {
            let header = Header {
                version: theirs,
                xid: 7,
            };
            let target = [2, 0, 0, 0, 1, 9];
            let matching = Match::new().in_port(PortNumber(3)).eth_dst(target);
            let out = vec![Action::output(PortNumber(10))];
            let flow = Flow::new(0, 1, matching, Instructions::apply(out.clone()));
            let bytes = Message::FlowMod(FlowMod::add(flow)).emit(header).unwrap();
            assert_eq!(ours.read(&bytes, 1), Said::Flow { target, port: 10 });
            let packet = PacketOut::new(PortNumber(3), out, vec![1, 2, 3]);
            let bytes = Message::PacketOut(packet).emit(header).unwrap();
            let data = &[1, 2, 3];
            assert_eq!(ours.read(&bytes, 1), Said::Packet { port: 10, data });

            let mut bytes = Vec::new();
            ours.packet_in(&mut bytes, 3, &[9; 60]);
            let (_, Message::PacketIn(packet)) = Message::parse(&bytes).unwrap() else {
                panic!("no packet-in")
            };
            let port = packet.metadata.get(Field::InPort).map(|field| field.value);
            assert_eq!((port, packet.data), (Some(3), vec![9; 60]));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let hello = Version::V15.hello();
        assert_eq!(split(&hello), Some((&hello[..], &[][..])));
        for length in 0..hello.len() {
            assert_eq!(split(&hello[..length]), None);
            Version::V15.read(&hello[..length], 1);
        }
    }
}
