//! Who opened connections to an application, by what the connection tracker was told of the first
//! packet: the MAC address of a client whose IP address is known.

use std::net::IpAddr;
use std::path::Path;

use super::trace::{TraceError, control};
use crate::pipeline::{From, Label};

/// The MAC address of a client's connections in a zone; the last that is listed, if there are several.
///
/// # Errors
/// ovs-vswitchd is not there, or refuses.
pub async fn opener(run: &Path, zone: u16, client: IpAddr) -> Result<Option<[u8; 6]>, TraceError> {
    let zone = format!("zone={zone}");
    let text = control(run, "dpctl/dump-conntrack", &[&zone]).await?;
    Ok(text
        .lines()
        .filter_map(|line| read(line, client))
        .next_back())
}

/// The MAC address in a line about a connection of a client on the access side.
fn read(line: &str, client: IpAddr) -> Option<[u8; 6]> {
    let (_, original) = line.split_once("orig=(src=")?;
    let (source, _) = original.split_once(',')?;
    if source.parse() != Ok(client) {
        return None;
    }
    let (_, labels) = line.split_once("labels=0x")?;
    let digits = labels.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    let labels = u128::from_str_radix(digits, 16).ok()?;
    let part = |label: Label| {
        let field = label.subfield();
        labels >> field.offset() & ((1 << field.bits()) - 1)
    };
    let came_from = part(Label::From);
    let is_client = [From::Client, From::Visitor].map(|from| from as u128);
    let [_, _, .., a, b, c, d, e, f] = part(Label::Opener).to_be_bytes();
    is_client.contains(&came_from).then_some([a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opener_is_read_from_what_the_switch_lists() {
        // As Open vSwitch 3.1 writes it; From is 128, the opener 02:00:00:00:00:c1.
        let line = "tcp,orig=(src=10.0.0.5,dst=203.0.113.7,sport=5000,dport=80),\
                    reply=(src=203.0.113.7,dst=10.0.0.5,sport=80,dport=5000),zone=3,mark=5,\
                    labels=0x800200000000020200000000c1,protoinfo=(state=ESTABLISHED)";
        let client = |text: &str| text.parse().expect("an address");
        assert_eq!(read(line, client("10.0.0.5")), Some([2, 0, 0, 0, 0, 0xc1]));
        assert_eq!(read(line, client("10.0.0.6")), None);
        let called = line.replace("0x80", "0x20");
        assert_eq!(
            read(&called, client("10.0.0.5")),
            None,
            "a domain's own call"
        );
        assert_eq!(read("", client("10.0.0.5")), None);
    }
}
