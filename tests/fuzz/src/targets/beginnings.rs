//! What connections begin with that were meant for others: a ClientHello, or the head of a request. The first byte
//! says in pieces of what size it comes.

use edgecloud_appliance::beginning;

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "beginnings",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    if let Some((piece, bytes)) = bytes.split_first() {
        beginning(bytes, usize::from(*piece));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let heads = [
        "\x10GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n",
        "\x03POST http://Chat.example/a HTTP/1.0\r\nA: b\r\nHOST:chat.example:80\r\n\r\nbody",
        "\x7fGET / HTTP/1.1\r\nHost: chat.example\r\nhost: bank.example\r\n\r\n",
    ];
    let heads = heads.into_iter().map(|head| head.as_bytes().to_vec());
    heads.chain([hello(b"chat.example")]).collect()
}

/// A ClientHello of TLS 1.3 (RFC 8446, section 4.1.2) for a name.
fn hello(name: &[u8]) -> Vec<u8> {
    let vector = |width: usize, bytes: &[u8]| {
        let length = (bytes.len() as u32).to_be_bytes();
        [&length[4 - width..], bytes].concat()
    };
    let extension = |kind: u16, bytes: &[u8]| [&kind.to_be_bytes()[..], &vector(2, bytes)].concat();
    let host = [&[0][..], &vector(2, name)].concat();
    let extensions = [
        extension(0, &vector(2, &host)),
        extension(10, &vector(2, &[0, 29])),
        extension(13, &vector(2, &[4, 3, 8, 7])),
        extension(43, &vector(1, &[3, 4])),
        extension(
            51,
            &vector(2, &[&[0, 29][..], &vector(2, &[9; 32])].concat()),
        ),
    ];
    let body = [
        &[3, 3][..],
        &[7; 32],
        &vector(1, &[]),
        &vector(2, &[0x13, 1, 0x13, 2]),
        &vector(1, &[0]),
        &vector(2, &extensions.concat()),
    ];
    let message = [&[1][..], &vector(3, &body.concat())].concat();
    [&[9, 22, 3, 1][..], &vector(2, &message)].concat()
}
