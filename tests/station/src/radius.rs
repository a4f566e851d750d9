//! FreeRADIUS behind the backhaul, with a configuration of its own; and what the operator asks for by it.

use anyhow::{Result, ensure};
use site::{Place, Service};

/// The server's address.
pub(crate) const ADDRESS: &str = "203.0.113.54";
const SECRET: &str = "shared-by-two-of-this-scenario";
/// `Disconnect-Request` and `CoA-Request` (RFC 5176), and what says that they were carried out.
pub(crate) const DISCONNECT: u8 = 40;
pub(crate) const DISCONNECT_ACK: u8 = 41;
pub(crate) const DISCONNECT_NAK: u8 = 42;
pub(crate) const COA: u8 = 43;
pub(crate) const COA_ACK: u8 = 44;

/// The server.
pub(crate) struct Radius<'p> {
    server: Service<'p>,
    place: &'p Place<'p>,
}

/// A message of accounting, as FreeRADIUS wrote it down.
#[derive(Debug)]
pub(crate) struct Accounted(Vec<(String, String)>);

impl Accounted {
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(of, _)| of == name);
        found.map_or("", |(_, value)| value.trim_matches('"'))
    }
}

/// The portal's settings.
pub(crate) fn settings() -> String {
    format!(
        "[service.radius]\nservers = [\"{ADDRESS}:1812\"]\naccounting = [\"{ADDRESS}:1813\"]\n\
         nas-identifier = \"station\"\ndynamic = \"0.0.0.0:3799\"\ninterim-seconds = 60\n"
    )
}

/// A client's account there.
pub(crate) fn account(client: u8) -> (String, String) {
    (format!("passenger-{client}"), format!("tea-{client}"))
}

impl<'p> Radius<'p> {
    /// Starts it; it knows an account of each client's.
    pub(crate) fn start(place: &'p Place<'p>, clients: &[u8]) -> Result<Radius<'p>> {
        place.write("radius.secret", SECRET.as_bytes())?;
        let here = format!("{}/radius", place.directory());
        place.run("mkdir -p \"$HERE/radius\"")?;
        let users = clients.iter().map(|client| {
            let (name, password) = account(*client);
            format!(
                "{name} Cleartext-Password := \"{password}\"\n\
                 \tSession-Timeout = 3600, WISPr-Bandwidth-Max-Down = 40000000, Class = 0x616263\n"
            )
        });
        let users: String = users.collect();
        place.write("radius/users", users.as_bytes())?;
        place.write("radius/radiusd.conf", configuration(&here).as_bytes())?;
        // The dictionary is where Debian has it.
        let server = place.start(
            "radius",
            &format!("exec ip netns exec origin freeradius -X -d {here} -D /usr/share/freeradius"),
        )?;
        let ready = "for i in $(seq 600); do
                 grep -q 'Ready to process' \"$HERE/radius.log\" && exit; sleep 0.1
             done; exit 1";
        let radius = Radius { server, place };
        let is_ready = place.run(ready).is_ok();
        ensure!(is_ready, "FreeRADIUS is not ready: {}", radius.log());
        Ok(radius)
    }

    /// Where its output ends.
    pub(crate) fn log(&self) -> String {
        let log = self.server.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// What it was told of an account's sessions.
    pub(crate) fn accounted(&self, name: &str) -> Result<Vec<Accounted>> {
        let detail = self
            .place
            .run("cat \"$HERE/radius/detail\" 2>/dev/null || true")?;
        let field = |line: &str| {
            let (name, value) = line.trim().split_once(" = ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        let records = detail.split("\n\n");
        let records = records.map(|record| Accounted(record.lines().filter_map(field).collect()));
        Ok(records
            .filter(|record| record.get("User-Name") == name)
            .collect())
    }

    /// Asks the portal for something about an account's sessions, as the server; the answer's code.
    pub(crate) fn asks(&self, portal: &str, code: u8, name: &str, kbit: Option<u32>) -> Result<u8> {
        let script = include_str!("coa.py");
        let script = self.place.write("coa.py", script.as_bytes())?;
        let kbit = kbit.map_or(String::new(), |kbit| kbit.to_string());
        let said = self.place.run(&format!(
            "ip netns exec origin python3 {script} \"$HERE/radius.secret\" {ADDRESS} {portal} {code} \
                 {name} {kbit}"
        ))?;
        Ok(said.trim().parse()?)
    }
}

fn configuration(here: &str) -> String {
    format!(
        "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nlibdir = /usr/lib/freeradius\n\
         pidfile = {here}/pid\nmax_requests = 4096\n\
         security {{\n allow_core_dumps = no\n max_attributes = 200\n reject_delay = 0\n status_server = no\n}}\n\
         client domains {{\n ipaddr = 10.0.1.0/24\n secret = {SECRET}\n require_message_authenticator = yes\n}}\n\
         modules {{\n pap {{ }}\n files {{\n filename = {here}/users\n }}\n\
         detail {{\n filename = {here}/detail\n permissions = 0600\n }}\n }}\n\
         server station {{\n\
         listen {{\n type = auth\n ipaddr = {ADDRESS}\n port = 1812\n }}\n\
         listen {{\n type = acct\n ipaddr = {ADDRESS}\n port = 1813\n }}\n\
         authorize {{\n files\n pap\n }}\n authenticate {{\n Auth-Type PAP {{\n pap\n }}\n }}\n\
         post-auth {{\n update reply {{\n Message-Authenticator := 0x00\n }}\n\
         Post-Auth-Type REJECT {{\n update reply {{\n Message-Authenticator := 0x00\n }}\n }}\n }}\n\
         accounting {{\n detail\n }}\n}}\n"
    )
}
