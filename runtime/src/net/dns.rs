//! What a stub resolver needs (RFC 1035, RFC 3596), as pure functions: bytes of a question, and the
//! meaning of a response. Asking, waiting and choosing servers are the shell's part.
//!
//! **Threats.** Whoever can send datagrams may forge responses: the shell must draw an unpredictable id
//! and port per question, and [`parse`] checks id and question. Compression pointers may form loops:
//! each must point backwards, and their number is bounded.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::Config;
use super::packet::{u16_at, u32_at};

/// The port of name servers.
pub const PORT: u16 = 53;
/// The longest response over UDP without extensions.
pub const DATAGRAM_MAX: usize = 512;

const HEADER_LEN: usize = 12;
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// Most pointers in one name, and most aliases in one response.
const HOPS_MAX: usize = 16;
const CLASS_IN: u16 = 1;
const CNAME: u16 = 5;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordType {
    /// IPv4 addresses.
    A = 1,
    /// IPv6 addresses.
    Aaaa = 28,
}

/// Why a name cannot be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// No name, or an empty label as in `a..b`.
    Empty,
    /// Longer than 253 bytes, or a label longer than 63.
    TooLong,
    /// Bytes beyond printable ASCII; internationalised names must be given as `xn--…`.
    NotAscii,
}

/// What a response says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The addresses, and for how many seconds they hold.
    Addresses(Vec<IpAddr>, u32),
    /// The name is an alias whose addresses the server did not give: ask for this one.
    Alias(String),
    /// The name exists, but has no address of this kind (`EAI_NODATA`).
    NoData,
    /// The name does not exist (`EAI_NONAME`).
    NoSuchName,
    /// There is more than fits a datagram: ask again over TCP.
    Truncated,
    /// The server could not or would not answer: ask another (`EAI_AGAIN`). With its response code.
    Failure(u8),
}

/// Why bytes are not a response to the question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseError {
    /// Another id or question, or no response: a late or forged one. Keep waiting.
    NotOurs,
    /// It cannot be read.
    Malformed,
}

/// The question for a name's addresses. A trailing dot is allowed.
pub fn query(name: &str, kind: RecordType, id: u16) -> Result<Vec<u8>, NameError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong);
    }
    let mut out = Vec::with_capacity(HEADER_LEN + name.len() + 6);
    out.extend(id.to_be_bytes());
    out.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]); // recursion desired, one question
    for label in name.split('.') {
        match label.len() {
            0 => return Err(NameError::Empty),
            1..=LABEL_MAX => {}
            _ => return Err(NameError::TooLong),
        }
        if !label.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NameError::NotAscii);
        }
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.push(0);
    out.extend((kind as u16).to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    Ok(out)
}

/// A message as it is sent over TCP: with its length in front (RFC 1035 §4.2.2).
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = (message.len() as u16).to_be_bytes().to_vec();
    out.extend(message);
    out
}

/// The first whole message of a TCP stream, if it is there.
pub fn unframe(stream: &[u8]) -> Option<&[u8]> {
    stream.get(2..2 + usize::from(u16_at(stream, 0)?))
}

/// The meaning of a response to the question for `name`, `kind` and `id`.
pub fn parse(
    response: &[u8],
    name: &str,
    kind: RecordType,
    id: u16,
) -> Result<Answer, ResponseError> {
    let field = |at| u16_at(response, at).ok_or(ResponseError::Malformed);
    let flags = field(2)?;
    let is_response = flags & 0x8000 != 0 && (flags >> 11) & 0xf == 0;
    if field(0)? != id || !is_response || field(4)? != 1 {
        return Err(ResponseError::NotOurs);
    }
    let (asked, at) = read_name(response, HEADER_LEN)?;
    let wanted = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if asked != wanted || field(at)? != kind as u16 || field(at + 2)? != CLASS_IN {
        return Err(ResponseError::NotOurs);
    }
    match (flags & 0xf) as u8 {
        0 => {}
        3 => return Ok(Answer::NoSuchName),
        code => return Ok(Answer::Failure(code)),
    }
    if flags & 0x0200 != 0 {
        return Ok(Answer::Truncated);
    }
    let records = read_records(response, at + 4, field(6)?)?;
    Ok(resolve(&records, wanted, kind))
}

struct Record<'a> {
    name: String,
    kind: u16,
    lifetime: u32,
    data: Data<'a>,
}

enum Data<'a> {
    Bytes(&'a [u8]),
    Alias(String),
}

fn read_records(
    message: &[u8],
    mut at: usize,
    count: u16,
) -> Result<Vec<Record<'_>>, ResponseError> {
    let mut records = Vec::new();
    for _ in 0..count {
        let (name, fixed) = read_name(message, at)?;
        let field = |offset| u16_at(message, fixed + offset).ok_or(ResponseError::Malformed);
        let (kind, class, len) = (field(0)?, field(2)?, usize::from(field(8)?));
        let lifetime = u32_at(message, fixed + 4).ok_or(ResponseError::Malformed)?;
        let data_at = fixed + 10;
        let bytes = message
            .get(data_at..data_at + len)
            .ok_or(ResponseError::Malformed)?;
        at = data_at + len;
        if class != CLASS_IN {
            continue;
        }
        let data = if kind == CNAME {
            Data::Alias(read_name(message, data_at)?.0)
        } else {
            Data::Bytes(bytes)
        };
        records.push(Record {
            name,
            kind,
            lifetime,
            data,
        });
    }
    Ok(records)
}

/// Follows the aliases from `name` to addresses.
fn resolve(records: &[Record], mut name: String, kind: RecordType) -> Answer {
    let mut lifetime = u32::MAX;
    let mut aliased = false;
    for _ in 0..HOPS_MAX {
        let of_name = || records.iter().filter(|record| record.name == name);
        let mut addresses = Vec::new();
        for record in of_name().filter(|record| record.kind == kind as u16) {
            if let Data::Bytes(bytes) = record.data
                && let Some(address) = read_address(bytes, kind)
            {
                addresses.push(address);
                lifetime = lifetime.min(record.lifetime);
            }
        }
        if !addresses.is_empty() {
            return Answer::Addresses(addresses, lifetime);
        }
        let alias = of_name().find_map(|record| match &record.data {
            Data::Alias(target) => Some((target.clone(), record.lifetime)),
            Data::Bytes(_) => None,
        });
        match alias {
            Some((target, seconds)) => {
                (name, lifetime, aliased) = (target, lifetime.min(seconds), true);
            }
            // A resolver that knew the target to have none would have said so in the authority section,
            // but there is no harm in asking.
            None if aliased => return Answer::Alias(name),
            None => return Answer::NoData,
        }
    }
    Answer::Failure(2) // aliases in a circle
}

fn read_address(bytes: &[u8], kind: RecordType) -> Option<IpAddr> {
    match kind {
        RecordType::A => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        RecordType::Aaaa => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// The name at `at`, in lower case, and where what follows it begins.
fn read_name(message: &[u8], at: usize) -> Result<(String, usize), ResponseError> {
    let malformed = ResponseError::Malformed;
    let mut name = String::new();
    let (mut position, mut end, mut hops) = (at, None, 0);
    loop {
        let len = *message.get(position).ok_or(malformed)?;
        match len >> 6 {
            0 if len == 0 => return Ok((name, end.unwrap_or(position + 1))),
            0 => {
                let label = message
                    .get(position + 1..position + 1 + usize::from(len))
                    .ok_or(malformed)?;
                if !name.is_empty() {
                    name.push('.');
                }
                for &byte in label {
                    // A dot in a label would read as two labels.
                    if byte == b'.' || !byte.is_ascii_graphic() {
                        return Err(malformed);
                    }
                    name.push(char::from(byte.to_ascii_lowercase()));
                }
                if name.len() > NAME_MAX {
                    return Err(malformed);
                }
                position += 1 + usize::from(len);
            }
            3 => {
                let target = usize::from(u16_at(message, position).ok_or(malformed)? & 0x3fff);
                hops += 1;
                if target >= position || hops > HOPS_MAX {
                    return Err(malformed);
                }
                end.get_or_insert(position + 2);
                position = target;
            }
            _ => return Err(malformed),
        }
    }
}

/// What needs no server: numbers, `localhost` (RFC 6761 §6.3) and the configured hosts.
pub fn local_addresses(name: &str, config: &Config) -> Option<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Some(alloc::vec![address]);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let configured: Vec<IpAddr> = config
        .hosts
        .iter()
        .filter(|(host, _)| host.eq_ignore_ascii_case(name))
        .map(|&(_, address)| address)
        .collect();
    if !configured.is_empty() {
        return Some(configured);
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost").then(|| {
        alloc::vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Random;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|c| c.is_ascii_hexdigit()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    /// A query for `www.google.com` as dig and every textbook have it.
    #[test]
    fn asks_as_others_do() {
        let expected =
            hex("db42 0100 0001 0000 0000 0000 03777777 06676f6f676c65 03636f6d 00 0001 0001");
        assert_eq!(
            query("www.google.com", RecordType::A, 0xdb42).unwrap(),
            expected
        );
        assert_eq!(
            query("www.google.com.", RecordType::A, 0xdb42).unwrap(),
            expected
        );
    }

    /// BIND's response for `www.northeastern.edu`, as printed in Northeastern's networking course.
    #[test]
    fn reads_a_response_of_bind() {
        let response = hex(
            "db42 8180 0001 0001 0000 0000 03777777 0c6e6f7274686561737465726e 03656475 00 0001 0001
             c00c 0001 0001 00000258 0004 9b211144",
        );
        let addresses = vec![[155, 33, 17, 68].into()];
        let answer = parse(&response, "WWW.Northeastern.edu", RecordType::A, 0xdb42);
        assert_eq!(answer, Ok(Answer::Addresses(addresses, 600)));
        for len in 0..response.len() {
            assert!(
                parse(
                    &response[..len],
                    "www.northeastern.edu",
                    RecordType::A,
                    0xdb42
                )
                .is_err()
            );
        }
        assert_eq!(
            parse(&response, "www.northeastern.edu", RecordType::A, 1),
            Err(ResponseError::NotOurs)
        );
        assert_eq!(
            parse(&response, "www.northwestern.edu", RecordType::A, 0xdb42),
            Err(ResponseError::NotOurs)
        );
        assert_eq!(
            parse(&response, "www.northeastern.edu", RecordType::Aaaa, 0xdb42),
            Err(ResponseError::NotOurs)
        );
    }

    /// A chain of two aliases, the second by a pointer into the first's data, and two IPv6 addresses.
    #[test]
    fn follows_aliases() {
        let response = hex("0007 8180 0001 0004 0000 0000 0161 0162 00 001c 0001
             c00c 0005 0001 0000003c 0004 0163 c00e
             c021 0005 0001 0000001e 0004 0164 c00e
             c031 001c 0001 00000e10 0010 20010db8000000000000000000000001
             c031 001c 0001 00000e10 0010 20010db8000000000000000000000002");
        let addresses = vec![
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        ];
        assert_eq!(
            parse(&response, "a.b", RecordType::Aaaa, 7),
            Ok(Answer::Addresses(addresses, 30))
        );
    }

    #[test]
    fn an_alias_without_addresses_is_to_be_asked_for() {
        let response = hex(
            "0007 8180 0001 0001 0000 0000 0161 00 0001 0001 c00c 0005 0001 0000003c 0003 016200",
        );
        assert_eq!(
            parse(&response, "a", RecordType::A, 7),
            Ok(Answer::Alias("b".into()))
        );
        let circle = hex(
            "0007 8180 0001 0001 0000 0000 0161 00 0001 0001 c00c 0005 0001 0000003c 0002 c00c",
        );
        assert_eq!(
            parse(&circle, "a", RecordType::A, 7),
            Ok(Answer::Failure(2))
        );
    }

    #[test]
    fn says_what_the_server_says() {
        let with_flags = |flags: &str| {
            hex(&format!(
                "0007 {flags} 0001 0000 0000 0000 0161 00 0001 0001"
            ))
        };
        for (flags, answer) in [
            ("8180", Answer::NoData),
            ("8183", Answer::NoSuchName),
            ("8182", Answer::Failure(2)),
            ("8185", Answer::Failure(5)),
            ("8380", Answer::Truncated),
        ] {
            assert_eq!(parse(&with_flags(flags), "a", RecordType::A, 7), Ok(answer));
        }
        assert_eq!(
            parse(&with_flags("0100"), "a", RecordType::A, 7),
            Err(ResponseError::NotOurs)
        );
    }

    #[test]
    fn names_that_cannot_be_asked_for() {
        for (name, error) in [
            ("", NameError::Empty),
            ("a..b", NameError::Empty),
            (".", NameError::Empty),
            (&"a".repeat(64), NameError::TooLong),
            (&"a.".repeat(128), NameError::TooLong),
            ("ä.de", NameError::NotAscii),
            ("a b", NameError::NotAscii),
        ] {
            assert_eq!(query(name, RecordType::A, 1), Err(error), "{name}");
        }
    }

    #[test]
    fn pointers_in_a_loop_end() {
        let response = hex(
            "0007 8180 0001 0001 0000 0000 0161 00 0001 0001 c013 0001 0001 0000003c 0004 01020304",
        );
        assert_eq!(
            parse(&response, "a", RecordType::A, 7),
            Err(ResponseError::Malformed)
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = Random::seeded("dns");
        let good = hex(
            "0007 8180 0001 0002 0000 0000 0161 0162 00 001c 0001 c00c 0005 0001 0000003c 0004 0163 c00e
             c021 001c 0001 00000e10 0010 20010db8000000000000000000000001",
        );
        for _ in 0..200_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
            bytes.truncate(random.below(bytes.len() + 1));
            let _ = parse(&bytes, "a.b", RecordType::Aaaa, 7);
        }
    }

    #[test]
    fn knows_what_needs_no_server() {
        let config: Config = "ip=10.0.0.2/24,host=origin@10.0.0.9".parse().unwrap();
        assert_eq!(
            local_addresses("ORIGIN", &config),
            Some(vec![[10, 0, 0, 9].into()])
        );
        assert_eq!(
            local_addresses("2001:db8::1", &config).map(|list| list.len()),
            Some(1)
        );
        assert_eq!(
            local_addresses("x.localhost", &config).map(|list| list.len()),
            Some(2)
        );
        assert_eq!(local_addresses("example.org", &config), None);
    }

    #[test]
    fn tcp_frames() {
        let framed = frame(b"abc");
        assert_eq!(unframe(&framed), Some(&b"abc"[..]));
        assert_eq!(unframe(&framed[..4]), None);
    }
}
