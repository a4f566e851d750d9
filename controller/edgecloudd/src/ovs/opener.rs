//! Who opened connections to an application, by what the connection tracker was told of the first
//! packet: the MAC addresses behind clients' addresses and ports.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::trace::{TraceError, control};
use crate::pipeline::{From, Label};

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opener {
    /// The client's end.
    pub client: SocketAddr,
    /// The MAC address that its first packet came from.
    pub mac: [u8; 6],
}

/// Who opened the connections in a zone, of the clients on the access side.
///
/// # Errors
/// ovs-vswitchd is not there, or refuses.
pub async fn openers(run: &Path, zone: u16) -> Result<Vec<Opener>, TraceError> {
    let zone = format!("zone={zone}");
    let text = control(run, "dpctl/dump-conntrack", &[&zone]).await?;
    Ok(text.lines().filter_map(read).collect())
}

/// The opener in a line about a TCP connection of a client on the access side.
fn read(line: &str) -> Option<Opener> {
    let (_, original) = line.split_once("orig=(src=")?;
    let (original, _) = original.split_once(')')?;
    let mut fields = original.split(',');
    let source: IpAddr = fields.next()?.parse().ok()?;
    let port = fields.find_map(|field| field.strip_prefix("sport="))?;
    let client = SocketAddr::new(source, port.parse().ok()?);
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
    let mac = [a, b, c, d, e, f];
    is_client
        .contains(&came_from)
        .then_some(Opener { client, mac })
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
        let opener = Opener {
            client: "10.0.0.5:5000".parse().expect("an address"),
            mac: [2, 0, 0, 0, 0, 0xc1],
        };
        assert_eq!(read(line), Some(opener));
        let called = line.replace("0x80", "0x20");
        assert_eq!(read(&called), None, "a domain's own call");
        assert_eq!(read(&line.replace("sport=5000,", "")), None, "an echo");
        assert_eq!(read(""), None);
    }
}
