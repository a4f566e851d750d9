//! The network's configuration (`NET`), from the command line or xenstore: the bytes are its text. What is
//! accepted must make a stack that runs.

use edgecloud_runtime::net::Config;

use super::network::Victim;
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "configuration",
    run,
    seeds,
};

fn run(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match text.parse::<Config>() {
        Ok(config) => {
            let mut victim = Victim::new(config);
            victim.pass(60_000);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "ip=10.0.0.2/24,gateway=10.0.0.1,dns=10.0.0.1,ip=2001:db8::2/64,gateway=2001:db8::1",
        "ip=dhcp,ip=auto,mtu=1280,host=origin@10.0.0.9",
        "ip=fd00::2/64,gateway=fe80::1,mtu=9000",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
