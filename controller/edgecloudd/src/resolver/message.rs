//! DNS messages (RFC 1035) as hickory-proto reads and writes them: what is asked, what is answered,
//! and what of an upstream server's answer belongs to the question.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::filter::Filter;

/// What a datagram may have, told by EDNS: no path's link has to cut it (RFC 9715).
pub(super) const DATAGRAM_BYTES_MAX: u16 = 1232;
/// What one may have without EDNS (RFC 1035, 4.2.1).
const PLAIN_BYTES_MAX: u16 = 512;
/// Records of an answer that are passed on: a name's addresses, and room for the largest TXT sets.
pub(super) const ANSWERS_MAX: usize = 128;
/// Aliases that are followed: the longest chains that content networks make have some five.
pub(super) const ALIASES_MAX: usize = 16;

/// What is asked for; the name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: RecordType,
}

/// An answer, still without the words of the one who asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    /// Whether it is our own word.
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
}

impl Reply {
    /// An answer that is only a code.
    pub(super) fn code(code: ResponseCode) -> Reply {
        Reply {
            code,
            ..Reply::default()
        }
    }

    /// How long all of it holds; nothing if it has no record.
    pub(super) fn ttl(&self) -> Option<Duration> {
        let records = self.answers.iter().chain(&self.authorities);
        let least = records.map(|record| record.ttl).min();
        least.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Limits how long it holds.
    pub(super) fn limit_ttl(&mut self, at_most: Duration) {
        let seconds = u32::try_from(at_most.as_secs()).unwrap_or(u32::MAX);
        for record in self.answers.iter_mut().chain(&mut self.authorities) {
            record.ttl = record.ttl.min(seconds);
        }
    }
}

/// A request that can be answered.
#[derive(Debug)]
pub(super) struct Asked {
    request: Metadata,
    query: Query,
    edns: Option<Edns>,
}

/// Reads a request. Nothing where silence is the answer; else the request, or the bytes that say
/// what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Option<Result<Asked, Vec<u8>>> {
    // A response that were answered could be answered again.
    let is_request = bytes.len() >= 12 && bytes[2] & 0x80 == 0;
    if !is_request {
        return None;
    }
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    let wrong = |code: ResponseCode, operation: OpCode| {
        let message = Message::error_msg(id, operation, code);
        Some(Err(message.to_vec().unwrap_or_default()))
    };
    let Ok(mut message) = Message::from_vec(bytes) else {
        return wrong(ResponseCode::FormErr, OpCode::Query);
    };
    let operation = message.metadata.op_code;
    if operation != OpCode::Query {
        return wrong(ResponseCode::NotImp, operation);
    }
    let (1, Some(query)) = (message.queries.len(), message.queries.pop()) else {
        return wrong(ResponseCode::FormErr, operation);
    };
    Some(Ok(Asked {
        request: message.metadata,
        query,
        edns: message.edns,
    }))
}

impl Asked {
    /// What is asked for, or the code that says that it is not answered.
    pub(super) fn question(&self) -> Result<Question, ResponseCode> {
        if self.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
            return Err(ResponseCode::BADVERS);
        }
        if self.query.query_class != DNSClass::IN {
            return Err(ResponseCode::Refused);
        }
        let kind = self.query.query_type;
        match kind {
            RecordType::ANY | RecordType::OPT => Err(ResponseCode::NotImp),
            RecordType::AXFR | RecordType::IXFR => Err(ResponseCode::Refused),
            _ => Ok(Question {
                name: self.query.name.to_lowercase(),
                kind,
            }),
        }
    }

    /// The answer in bytes; cut, and saying so, if a datagram has no room for it.
    pub(super) fn answer(&self, reply: &Reply, is_datagram: bool) -> Vec<u8> {
        let mut message = Message::response(self.request.id, OpCode::Query);
        let metadata = &mut message.metadata;
        metadata.recursion_desired = self.request.recursion_desired;
        metadata.recursion_available = true;
        metadata.checking_disabled = self.request.checking_disabled;
        metadata.authoritative = reply.authoritative;
        metadata.response_code = reply.code;
        message.add_query(self.query.clone());
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM_BYTES_MAX);
            message.edns = Some(edns);
        }
        let empty = message.clone();
        message.answers.clone_from(&reply.answers);
        for record in &mut message.answers {
            if record.name == self.query.name {
                // In the letters in which it was asked.
                record.name.clone_from(&self.query.name);
            }
        }
        message.authorities.clone_from(&reply.authorities);
        let asked_for = self
            .edns
            .as_ref()
            .map_or(PLAIN_BYTES_MAX, Edns::max_payload);
        let room = match is_datagram {
            true => asked_for.clamp(PLAIN_BYTES_MAX, DATAGRAM_BYTES_MAX),
            false => u16::MAX,
        };
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= room.into() => bytes,
            _ => {
                let mut cut = empty;
                cut.metadata.truncation = true;
                cut.to_vec().unwrap_or_default()
            }
        }
    }
}

/// A request to an upstream server, its name written as given.
pub(super) fn request(id: u16, name: &Name, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM_BYTES_MAX);
    message.edns = Some(edns);
    // A name and a type always fit.
    message.to_vec().unwrap_or_default()
}

/// What an upstream server's message is to a request.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer.
    Answer(Box<Message>),
    /// The answer to the same name in other letters: from a server that does not keep them, or
    /// from somebody who guesses.
    OtherLetters,
    /// Somebody else's, or nothing at all.
    Noise,
}

/// Reads what came back to [`request`].
pub(super) fn hear(bytes: &[u8], id: u16, name: &Name, kind: RecordType) -> Heard {
    let Ok(message) = Message::from_vec(bytes) else {
        return Heard::Noise;
    };
    let metadata = &message.metadata;
    let is_response = metadata.message_type == MessageType::Response;
    let is_ours = metadata.id == id && is_response && metadata.op_code == OpCode::Query;
    let [query] = &message.queries[..] else {
        return Heard::Noise;
    };
    let is_asked = query.query_type == kind && query.query_class == DNSClass::IN;
    if !is_ours || !is_asked || query.name != *name {
        return Heard::Noise;
    }
    match query.name.eq_case(name) {
        true => Heard::Answer(Box::new(message)),
        false => Heard::OtherLetters,
    }
}

/// What of a server's answer belongs to the question, without what the filter refuses.
#[derive(Debug)]
pub(super) struct Relevant {
    pub(super) reply: Reply,
    /// The addresses in it.
    pub(super) addresses: Vec<IpAddr>,
    /// The addresses that were refused.
    pub(super) refused: Vec<IpAddr>,
}

impl Relevant {
    /// Follows the aliases from the question's name; what lies beside the way is left out, so that
    /// a server answers for what it was asked and for nothing else.
    pub(super) fn of(message: Message, question: &Question, filter: &Filter) -> Relevant {
        let mut relevant = Relevant {
            reply: Reply::code(message.metadata.response_code),
            addresses: Vec::new(),
            refused: Vec::new(),
        };
        let mut at = question.name.clone();
        for _ in 0..ALIASES_MAX {
            let here = message.answers.iter().filter(|record| record.name == at);
            let here = here.filter(|record| record.dns_class == DNSClass::IN);
            let of_kind = here.clone().filter(|r| r.record_type() == question.kind);
            let found: Vec<&Record> = of_kind.take(ANSWERS_MAX).collect();
            if !found.is_empty() {
                found
                    .into_iter()
                    .for_each(|r| relevant.take(r, &at, filter));
                return relevant;
            }
            let alias = { here }.find_map(|record| match &record.data {
                RData::CNAME(alias) => Some((record, alias.0.to_lowercase())),
                _ => None,
            });
            let Some((record, target)) = alias else {
                break;
            };
            relevant.push(record, &at);
            at = target;
        }
        // Nothing there: how long that holds is in the zone's SOA (RFC 2308, section 3).
        let soa = message.authorities.into_iter().find_map(|mut record| {
            let RData::SOA(soa) = &record.data else {
                return None;
            };
            let is_above = record.name.zone_of(&at);
            record.ttl = record.ttl.min(soa.minimum);
            is_above.then_some(record)
        });
        relevant.reply.authorities.extend(soa);
        relevant
    }

    fn take(&mut self, record: &Record, owner: &Name, filter: &Filter) {
        if let Some(address) = address(record) {
            if filter.refuses(address) {
                self.refused.push(address);
                return;
            }
            self.addresses.push(address);
        }
        self.push(record, owner);
    }

    /// Takes over a record, its owner in lower case and not as the server was asked.
    fn push(&mut self, record: &Record, owner: &Name) {
        let mut record = record.clone();
        record.name = owner.clone();
        self.reply.answers.push(record);
    }
}

pub(super) fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// A record of an address.
pub(super) fn of_address(name: &Name, address: IpAddr, ttl: Duration) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    };
    let seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    Record::from_rdata(name.clone(), seconds, data)
}
