//! A site in which an appliance intercepts what a client sends to the origin, for `cargo xtask bench
//! redirect` and `cargo xtask bench revoke`.

use std::path::Path;

use anyhow::{Result, ensure};
use site::{Backhaul, Network, Operator, Patience, Place, Publisher, Settings};

/// The links are good: what is measured is the switch.
const BACKHAUL: Backhaul = Backhaul {
    kbit_per_s: 1_000_000,
    round_trip_ms: 0,
    loss_percent: 0.0,
};

const POLICIES: &str = "@id(\"all\") permit (principal, action, resource);\n";

/// The site, without any domain. Fields are dropped in this order.
pub(crate) struct Site<'p> {
    pub(crate) operator: Operator<'p>,
    pub(crate) publisher: Publisher<'p>,
    _network: Network<'p>,
    pub(crate) client: String,
}

/// The workspace, whose programs are built.
pub(crate) fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().and_then(Path::parent).unwrap_or(own)
}

impl<'p> Site<'p> {
    pub(crate) fn open(place: &'p Place<'p>) -> Result<Site<'p>> {
        let publisher = Publisher::new(place, "bench")?;
        let network = Network::make(place, &BACKHAUL)?;
        // Each host speaks for its own addresses only.
        let quiet = match place.is_xen() {
            true => "true",
            false => "sysctl -qw net.ipv4.conf.all.arp_ignore=1",
        };
        place.run(&format!(
            "{quiet}; for device in all eth0; do
                 ip netns exec router sysctl -qw net.ipv4.conf.$device.send_redirects=0
             done"
        ))?;
        let settings = Settings {
            policies: POLICIES.to_owned(),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"Bench\"\naccounts = [\"bench\"]\n",
                publisher.key()
            ),
            patience: Patience::default(),
            daemon: String::new(),
            ipv6: false,
        };
        Ok(Site {
            operator: Operator::start(place, &settings)?,
            publisher,
            _network: network,
            client: place.program("switch-load", "bench-client")?,
        })
    }

    /// Waits until who answers a client at an address says something with these words.
    pub(crate) fn wait_for_answer(&self, place: &Place<'_>, at: &str, words: &str) -> Result<()> {
        let waited = place.run(&format!(
            "for i in $(seq 300); do
                 ip netns exec phone curl -sS --max-time 3 http://{at}/ 2>/dev/null | grep -q '{words}' && exit 0
                 sleep 0.2
             done; exit 1"
        ));
        ensure!(
            waited.is_ok(),
            "{words:?} does not answer at {at}: {}",
            self.operator.daemon_log()
        );
        Ok(())
    }
}
